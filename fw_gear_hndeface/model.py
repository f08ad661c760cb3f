"""The words of the code: grids, volumes, masks, regions, landmarks, plans and results. numpy only.

One frame inside: array index (k, j, i) = (slice, row, column) -> patient LPS mm at voxel centres. Objects are frozen and their
arrays read-only, so a value that was checked once stays true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fw_gear_hndeface.errors import GeometryError

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


class Unit(StrEnum):
    """What the numbers of a `Volume` are."""

    HU = "HU"
    BQ_ML = "Bq/mL"
    SUV = "SUV"
    GY = "Gy"
    ARBITRARY = "a.u."


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel lattice in patient space.

    Parameters
    ----------
    shape : (K, J, I)
    affine : (4, 4), (k, j, i, 1) -> (x, y, z, 1) in LPS mm. Gantry tilt is a sheared affine.
    frame : FrameOfReferenceUID; never printed whole.
    """

    shape: tuple[int, int, int]
    affine: Float
    frame: str = ""

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
            raise ValueError("affine must be a finite 4x4 matrix")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive sizes, got {self.shape}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("The voxel axes are not independent: check ImageOrientationPatient and PixelSpacing.")
        object.__setattr__(self, "affine", _read_only(affine))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_mm(self) -> Float:
        """Lengths of the slice, row and column steps, (3,), mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def to_patient(self, index: ArrayLike) -> Float:
        """LPS mm of array indices, (..., 3) -> (..., 3)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, points: ArrayLike) -> Float:
        """Continuous array indices of LPS mm points, (..., 3) -> (..., 3)."""
        inverse = np.linalg.inv(self.affine[:3, :3])
        return (np.asarray(points, dtype=np.float64) - self.affine[:3, 3]) @ inverse.T

    def corners(self) -> Float:
        """LPS mm of the eight outermost voxel centres, (8, 3)."""
        ends = [(0, n - 1) for n in self.shape]
        return self.to_patient(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)

    def contains(self, points: ArrayLike, margin_mm: float = 0.0) -> Bool:
        """Whether LPS points lie inside the lattice's voxels, grown by `margin_mm`; (..., 3) -> (...)."""
        index = self.to_index(points)
        slack = 0.5 + margin_mm / self.spacing_mm
        inside: Bool = np.all((index >= -slack) & (index <= np.array(self.shape) - 1 + slack), axis=-1)
        return inside

    def crop(self, box: tuple[slice, slice, slice]) -> Grid:
        """The lattice of `array[box]`; steps other than one are not allowed."""
        start = np.array([s.indices(n)[0] for s, n in zip(box, self.shape, strict=True)])
        shape = tuple(len(range(*s.indices(n))) for s, n in zip(box, self.shape, strict=True))
        affine = self.affine.copy()
        affine[:3, 3] = self.to_patient(start)
        return Grid((shape[0], shape[1], shape[2]), affine, self.frame)

    def displacement_mm(self, other: Grid) -> float:
        """Largest distance between corresponding corners of two lattices, mm."""
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def matches(self, other: Grid, tolerance_mm: float = 0.01) -> bool:
        """Whether the other lattice has the same voxels in the same places."""
        return self is other or (self.shape == other.shape and self.displacement_mm(other) <= tolerance_mm)

    def require_match(self, other: Grid, tolerance_mm: float = 0.01) -> None:
        """Raise `GeometryError` unless the other lattice has the same voxels in the same places."""
        if not self.matches(other, tolerance_mm):
            raise GeometryError(f"Two grids differ: {self.shape} is not {other.shape}, or their corners lie apart.")


@dataclass(frozen=True, eq=False)
class Volume:
    """Numbers on a grid; `array` is (K, J, I) and read-only."""

    grid: Grid
    array: NDArray[Any]
    unit: Unit = Unit.HU

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"array {self.array.shape} does not fit the grid {self.grid.shape}")
        object.__setattr__(self, "array", _read_only(self.array))

    def crop(self, box: tuple[slice, slice, slice]) -> Volume:
        """The part of the volume in an index box, without a copy."""
        return Volume(self.grid.crop(box), self.array[box], self.unit)


@dataclass(frozen=True, eq=False)
class Mask:
    """A set of voxels of one grid, with a name that tells its story."""

    grid: Grid
    array: Bool
    name: str

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape or self.array.dtype != np.bool_:
            raise ValueError(f"mask '{self.name}' must be boolean and shaped {self.grid.shape}")
        object.__setattr__(self, "array", _read_only(self.array))

    @classmethod
    def empty(cls, grid: Grid, name: str) -> Mask:
        """No voxel at all."""
        return cls(grid, np.zeros(grid.shape, dtype=np.bool_), name)

    def __or__(self, other: Mask) -> Mask:
        self.grid.require_match(other.grid)
        return Mask(self.grid, self.array | other.array, f"{self.name} or {other.name}")

    def __and__(self, other: Mask) -> Mask:
        self.grid.require_match(other.grid)
        return Mask(self.grid, self.array & other.array, f"{self.name} and {other.name}")

    def __sub__(self, other: Mask) -> Mask:
        self.grid.require_match(other.grid)
        return Mask(self.grid, self.array & ~other.array, f"{self.name} minus {other.name}")

    def named(self, name: str) -> Mask:
        """The same voxels under another name."""
        return Mask(self.grid, self.array, name)

    def overlaps(self, other: Mask) -> bool:
        """Whether the two masks share a voxel."""
        self.grid.require_match(other.grid)
        return bool(np.any(self.array & other.array))

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.array))

    @property
    def volume_ml(self) -> float:
        """Volume in mL."""
        return self.count * self.grid.voxel_ml


class RoiKind(StrEnum):
    """What a drawn region is, as far as defacing cares."""

    TARGET = "target"
    ORGAN = "organ"
    NODE = "node"
    LANDMARK = "landmark"
    EXTERNAL = "external"
    SUPPORT = "support"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Roi:
    """A drawn region: closed planar polygons, each (N, 3) LPS mm."""

    name: str
    number: int
    kind: RoiKind
    contours_mm: tuple[Float, ...]


@dataclass(frozen=True)
class Label:
    """What one number of a label map is: the name its maker gave it, our word for it, and how far defacing cares."""

    number: int
    name: str
    meaning: str
    kind: RoiKind


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Segmented structures on a grid of their own: one number per voxel, 0 for none.

    Parameters
    ----------
    array : (K, J, I), unsigned integers
    labels : what each number is; a number without a label is a mistake of the reader
    source : who made it, such as "given" or "totalsegmentator"
    """

    grid: Grid
    array: NDArray[np.uint16]
    labels: Mapping[int, Label]
    source: str = "given"

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape or self.array.dtype != np.uint16:
            raise ValueError(f"a label map holds 16 bit numbers shaped {self.grid.shape}")
        object.__setattr__(self, "array", _read_only(self.array))

    def mask(self, *meanings: str) -> Mask:
        """Every voxel whose label has one of the meanings."""
        numbers = [number for number, label in self.labels.items() if label.meaning in meanings]
        return Mask(self.grid, np.isin(self.array, np.array(numbers, np.uint16)), " or ".join(meanings))

    def crop(self, box: tuple[slice, slice, slice]) -> LabelMap:
        """The part of the map in an index box, without a copy."""
        return LabelMap(self.grid.crop(box), self.array[box], self.labels, self.source)


class View(StrEnum):
    """Whether a landmark lies inside the scanned volume."""

    IN_VIEW = "in view"
    CUT = "cut"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Landmark:
    """One named point, LPS mm, with its uncertainty (1 sigma, mm) and where it came from."""

    point: Float
    sigma_mm: float
    source: str
    view: View = View.IN_VIEW

    def __post_init__(self) -> None:
        point = np.array(self.point, dtype=np.float64)
        if point.shape != (3,) or not np.all(np.isfinite(point)):
            raise ValueError("a landmark is one finite point")
        object.__setattr__(self, "point", _read_only(point))


@dataclass(frozen=True, eq=False)
class Landmarks(Mapping[str, Landmark]):
    """Named points of one face. Left is the patient's left. Names are in `vocabulary.LANDMARK_NAMES`."""

    points: Mapping[str, Landmark] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Landmark:
        return self.points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def stack(self, names: list[str] | tuple[str, ...]) -> Float:
        """The points of the given names, (N, 3) LPS mm."""
        return np.array([self.points[name].point for name in names], dtype=np.float64).reshape(-1, 3)

    def updated(self, other: Mapping[str, Landmark]) -> Landmarks:
        """These landmarks with those of `other` taking precedence."""
        return Landmarks({**self.points, **other})


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a method would change and to what, before anything is kept back.

    `fill_hu` holds one value per voxel of `change`, in C order of the array.
    """

    change: Mask
    fill_hu: NDArray[np.float32]
    method: str

    def __post_init__(self) -> None:
        if self.fill_hu.shape != (self.change.count,):
            raise ValueError(f"{self.fill_hu.shape} fill values for {self.change.count} changed voxels")
        if not np.all(np.isfinite(self.fill_hu)):
            raise ValueError("the fill must be finite")
        object.__setattr__(self, "fill_hu", _read_only(self.fill_hu))

    def joined(self, other: Proposal) -> Proposal:
        """Both proposals; where both want a voxel, this one has it."""
        self.change.grid.require_match(other.change.grid)
        ours, theirs = np.flatnonzero(self.change.array), np.flatnonzero(other.change.array)
        at = np.union1d(ours, theirs)
        fill = np.empty(at.size, dtype=np.float32)
        fill[np.searchsorted(at, theirs)] = other.fill_hu
        fill[np.searchsorted(at, ours)] = self.fill_hu
        change = Mask(self.change.grid, self.change.array | other.change.array, f"{self.change.name} and {other.change.name}")
        return Proposal(change, fill, self.method)

    def without(self, keep: Mask) -> Plan:
        """The plan that leaves every kept voxel alone: the one place where `keep` is taken away."""
        self.change.grid.require_match(keep.grid)
        at = np.flatnonzero(self.change.array)  # few voxels change: their places are quicker than masks as large as the scan
        stays = np.ravel(keep.array)[at]
        left = self.change.array.copy()
        left.reshape(-1)[at[stays]] = False
        change = Mask(self.change.grid, left, f"{self.change.name} minus {keep.name}")
        return Plan(change, keep, self.fill_hu[~stays], self.method)


@dataclass(frozen=True, eq=False)
class Plan:
    """What will change and to what. It cannot be built if it touches a kept voxel."""

    change: Mask
    keep: Mask
    fill_hu: NDArray[np.float32]
    method: str

    def __post_init__(self) -> None:
        if self.change.overlaps(self.keep):
            raise ValueError("a plan must not touch a kept voxel")
        if self.fill_hu.shape != (self.change.count,):
            raise ValueError(f"{self.fill_hu.shape} fill values for {self.change.count} changed voxels")
        object.__setattr__(self, "fill_hu", _read_only(self.fill_hu))

    def apply(self, volume: Volume) -> Volume:
        """The volume with the planned voxels set to their fill; every other voxel is the input's."""
        self.change.grid.require_match(volume.grid)
        array = volume.array.copy(order="C")
        fill = self.fill_hu
        array.reshape(-1)[np.flatnonzero(self.change.array)] = np.rint(fill) if np.issubdtype(array.dtype, np.integer) else fill
        return Volume(volume.grid, array, volume.unit)


class Level(StrEnum):
    """How much a finding matters to the reader."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """Something a reader of the report should know: a stable `code`, a sentence, and where."""

    level: Level
    code: str
    message: str
    where: str = ""


class Verdict(StrEnum):
    """How a run ended."""

    DEFACED = "defaced"
    PARTIAL = "partial"
    NO_FACE = "no_face"
    ALREADY_DEFACED = "already_defaced"
    REFUSED = "refused"


@dataclass(frozen=True, eq=False)
class Result:
    """Everything a run learnt: what was decided, what was planned, what was found and measured.

    `measures` is plain data (str, float, int, bool, None, list, dict with string keys): it goes into the report as it is.
    """

    verdict: Verdict
    plan: Plan | None
    findings: tuple[Finding, ...]
    measures: Mapping[str, Any]
