"""Heads taken through the chain once and looked at by many tests, with the truth that the phantoms know about them.

Everything is cached for the session. `Look` holds what an observer can tell from two scans without any of the product's code.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from fw_gear_hndeface.casework import Case, Defaced, deface_case
from fw_gear_hndeface.methods import Scene
from fw_gear_hndeface.model import Mask, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make

#: A head that every source of landmarks sees well.
SEED = 4
#: Half way between air and fat, HU.
SKIN_HU = -300.0

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]


def no_stage(name: str, share: float) -> AbstractContextManager[None]:
    """Nobody watches the progress."""
    return nullcontext()


def frame_of(head: SyntheticHead) -> HeadFrame:
    """The head frame laid on the true landmarks."""
    frame = fit_frame(head.landmarks)
    assert frame is not None
    return frame


def scene_of(
    head: SyntheticHead, keep: Mask | None = None, *, seed: int = 3, strength: float = 1.0, fill: str = "auto"
) -> Scene:
    """What a method is given when every landmark and the body are known exactly."""
    kept = keep if keep is not None else Mask.empty(head.volume.grid, "nothing")
    return Scene(head.volume, head.structures["BODY"], kept, head.landmarks, frame_of(head), seed, strength=strength, fill=fill)


def drawn(head: SyntheticHead, name: str, kind: RoiKind = RoiKind.ORGAN, number: int = 1) -> Roi:
    """A structure as a person would contour it, slice by slice, half way between the last voxel inside and the first outside.

    Its voxel centres are exactly the structure's, on grids whose slices are planes of one (j, i) lattice.
    """
    mask = head.structures[name]
    contours = []
    for k in range(mask.grid.shape[0]):
        for line in find_contours(np.pad(mask.array[k].astype(float), 1), 0.5):
            inside = line[:-1] - 1.0
            contours.append(mask.grid.to_patient(np.column_stack([np.full(len(inside), float(k)), inside])))
    return Roi(name, number, kind, tuple(contours))


@cache
def defaced(seed: int = SEED, *names: str) -> tuple[SyntheticHead, Defaced, Volume]:
    """A plain phantom with the named structures drawn on it, defaced by default: the head, what was decided, the result."""
    head = make.phantom(seed, plain=True)
    rois = tuple(drawn(head, name, RoiKind.ORGAN, n + 1) for n, name in enumerate(names))
    done = deface_case(Case(head.volume, None, rois, "CT series 1"), Settings(), 11, no_stage)
    assert done is not None
    return head, done, done.plan.apply(head.volume)


@dataclass(frozen=True, eq=False)
class Look:
    """Two scans of one head on an axial grid, rows going back, as an observer without this software sees them.

    Parameters
    ----------
    head : where the truth comes from
    after : the scan that was released
    """

    head: SyntheticHead
    after: Volume

    @property
    def before(self) -> Volume:
        return self.head.volume

    @property
    def changed(self) -> Bool:
        return np.asarray(self.before.array != self.after.array)

    def points(self, array: Bool) -> Float:
        """LPS mm of the set voxels, (N, 3)."""
        return self.before.grid.to_patient(np.argwhere(array))

    def at(self, point: Float, scan: Volume | None = None) -> float:
        """HU of the voxel that holds a point."""
        index = np.rint(self.before.grid.to_index(point)).astype(int)
        return float((scan or self.after).array[tuple(index)])

    def front(self, scan: Volume) -> NDArray[np.intp]:
        """Row index of the first voxel of every (slice, column) that is no air; past the last row where there is none."""
        dense = scan.array > SKIN_HU
        return np.where(dense.any(axis=1), dense.argmax(axis=1), dense.shape[1])

    def skin_mm(self, scan: Volume) -> Float:
        """How far back the skin lies on every (slice, column), mm from the first row, interpolated; NaN where there is none."""
        front = self.front(scan)
        k, i = np.indices(front.shape)
        hit = np.clip(front, 1, scan.array.shape[1] - 1)
        air, tissue = (scan.array[k, row, i].astype(float) for row in (hit - 1, hit))
        with np.errstate(divide="ignore", invalid="ignore"):
            row = hit - (tissue - SKIN_HU) / (tissue - air)
        return np.where(front < scan.array.shape[1], row * self.before.grid.spacing_mm[1], np.nan)

    def face_zone(self) -> Bool:
        """(slice, column) of the part of the face that tells who it is: brows to lower lip, outer eye corner to eye corner."""
        marks = self.head.landmarks
        low = self.before.grid.to_index(marks["lip_lower"].point)[0]
        high = self.before.grid.to_index(marks["brow_left"].point)[0]
        right, left = (self.before.grid.to_index(marks[f"canthus_outer_{side}"].point)[2] for side in ("right", "left"))
        zone = np.zeros((self.before.grid.shape[0], self.before.grid.shape[2]), dtype=np.bool_)
        zone[int(np.ceil(low)) : int(high) + 1, int(np.ceil(right)) : int(left) + 1] = True
        return zone
