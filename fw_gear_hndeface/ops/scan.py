"""A defaced scan as the objects around it see it, in its own patient space or carried over into another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fw_gear_hndeface.model import Bool, Float, Grid, Mask, Roi, RoiKind
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.frame import HeadFrame, moved_head
from fw_gear_hndeface.ops.transform import Affine, Transform

#: Kinds of drawn region that hold medicine; externals, supports and helper shapes follow the skin instead.
KEPT = (RoiKind.TARGET, RoiKind.ORGAN, RoiKind.NODE, RoiKind.LANDMARK)


@dataclass(frozen=True, eq=False)
class Scan:
    """A defaced CT.

    Attributes
    ----------
    grid : the whole scan's lattice
    change : what happened to the skin; None where it stayed
    slices : UIDs of its defaced slices
    rois : the regions drawn on it, with the kinds that counted
    head : where its face lies; None where nobody asks
    slack_mm : how far it may lie beside its place in this frame of reference, by the registration that led there
    skin : points on the skin of its face before the change, (N, 3) LPS mm; none where nobody asks
    air : the room around the head, well away from it; None where nobody asks
    """

    grid: Grid
    change: Change | None
    slices: frozenset[str]
    rois: tuple[Roi, ...]
    head: HeadFrame | None = None
    slack_mm: float = 0.0
    skin: Float = field(default_factory=lambda: np.empty((0, 3)))
    air: Mask | None = None

    def moved(self, transform: Transform, frame: str) -> Scan:
        """The scan in another frame of reference, into which `transform` takes its points."""
        rois = tuple(replace(roi, contours_mm=tuple(transform(points) for points in roi.contours_mm)) for roi in self.rois)
        head = None if self.head is None else moved_head(self.head, transform)
        skin, air, change = transform(self.skin), self.air, self.change
        if isinstance(transform, Affine):
            grid = transform.moved(self.grid, frame)
            change = None if change is None else replace(change, grid=transform.moved(change.grid, frame))
            air = None if air is None else Mask(transform.moved(air.grid, frame), air.array, air.name)
        else:
            grid = _around(self.grid, transform, frame)
            if change is not None:
                change = Change(
                    _around(change.grid, transform, frame), **_warped(change.arrays(), change.grid, transform, frame)
                )
            if air is not None:
                warped = _warped({"air": air.array}, air.grid, transform, frame)
                air = Mask(_around(air.grid, transform, frame), warped["air"], air.name)
        return Scan(grid, change, self.slices, rois, head, self.slack_mm, skin, air)


def _around(grid: Grid, transform: Transform, frame: str) -> Grid:
    """A lattice with the same steps that holds what the transform makes of another one."""
    ends = [np.linspace(0, n - 1, 7) for n in grid.shape]
    points = transform(grid.to_patient(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)))
    index = grid.to_index(points)
    low = np.floor(index.min(axis=0)) - 2
    shape = np.ceil(index.max(axis=0) + 3 - low).astype(int)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_patient(low)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, frame)


def _warped(arrays: dict[str, Bool], source: Grid, transform: Transform, frame: str) -> dict[str, Bool]:
    """Arrays of a lattice looked up from `_around` it in the other space, slice by slice."""
    grid, back = _around(source, transform, frame), transform.inverse()
    out = {name: np.zeros(grid.shape, np.bool_) for name in arrays}
    rows, columns = np.indices(grid.shape[1:])
    for k in range(grid.shape[0]):
        points: Float = back(grid.to_patient(np.stack([np.full_like(rows, k), rows, columns], axis=-1)))
        index = np.rint(source.to_index(points)).astype(np.intp)
        inside = np.all((index >= 0) & (index < np.array(source.shape)), axis=-1)
        for name, array in arrays.items():
            out[name][k][inside] = array[tuple(index[inside].T)]
    return out
