"""Where a plan moved the skin: what became air, what became tissue, and what is body and what is room around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Bool, Float, Grid, Plan, Volume
from fw_gear_hndeface.ops.boxes import mask_box
from fw_gear_hndeface.ops.morphology import filled_plane, with_neighbours, within_mm
from fw_gear_hndeface.ops.skin import SKIN_HU

#: How far from the change an outline drawn off the skin (partial volume, a margin, a mask shell) may still follow the old face.
REACH_MM = 10.0


@dataclass(frozen=True, eq=False)
class Change:
    """A plan's effect on the patient's surface, on the part of the scan around it; arrays are (K, J, I) of `grid`.

    Attributes
    ----------
    gone, came : tissue that became air, air that became tissue
    near : voxels within `REACH_MM` of these; only there an outline is made anew
    body : the new body in this part: tissue and what it encloses in its slice
    kept : voxels that no plan may touch
    planned : voxels with a new value, at the surface or below it
    """

    grid: Grid
    gone: Bool
    came: Bool
    near: Bool
    body: Bool
    kept: Bool
    planned: Bool

    def arrays(self) -> dict[str, Bool]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ("gone", "came", "near", "body", "kept", "planned")}

    @cached_property
    def room(self) -> Bool:
        """Air around the new body near the change: nothing drawn or dosed may reach into it."""
        return self.near & ~self.body

    @cached_property
    def before(self) -> Bool:
        """The old body: tissue that stayed, what it encloses, and tissue that went."""
        return (self.body & ~self.came) | self.gone

    def look_up(self, array: Bool, points: Float) -> Bool:
        """The value of one of the arrays at LPS points, (..., 3) -> (...); False off the grid."""
        index = np.rint(self.grid.to_index(points)).astype(np.intp)
        inside: Bool = np.all((index >= 0) & (index < np.array(self.grid.shape)), axis=-1)
        found = np.zeros(inside.shape, np.bool_)
        found[inside] = array[tuple(index[inside].T)]
        return found


def surface_change(before: Volume, plan: Plan) -> Change | None:
    """What a plan does to the surface of a scan in HU; None where it leaves the surface alone."""
    spacing = before.grid.spacing_mm
    margin = np.ceil(REACH_MM / spacing).astype(int) + 2
    box = mask_box(plan.change.array, (int(margin[0]), int(margin[1]), int(margin[2])))
    if box is None:
        return None
    part, changed = before.crop(box), plan.change.array[box]
    old = np.asarray(part.array > SKIN_HU)
    new = old.copy()
    new[changed] = _is_tissue(plan.fill_hu)
    gone, came = old & ~new, new & ~old
    if not (gone.any() or came.any()):
        return None
    body = _bodies(before, plan, box[0])[:, box[1], box[2]]
    # What a mask shell encloses counts as body, but never what was taken away, nor the rim of air that it leaves behind.
    body &= new | ~with_neighbours(gone)
    near = within_mm(gone | came, spacing, REACH_MM)
    return Change(part.grid, gone, came, near, body, plan.keep.array[box], changed)


def _bodies(before: Volume, plan: Plan, slices: slice) -> Bool:
    """Tissue after the change and what it encloses, slice by slice; whole slices, since a throat closes far from the face."""
    counts = np.concatenate([[0], np.cumsum(np.count_nonzero(plan.change.array, axis=(1, 2)))])
    return np.stack([_body(before.array[k] > SKIN_HU, plan, k, counts) for k in range(slices.start, slices.stop)])


def _body(tissue: Bool, plan: Plan, k: int, counts: NDArray[np.intp]) -> Bool:
    tissue = tissue.copy()
    tissue[plan.change.array[k]] = _is_tissue(plan.fill_hu[counts[k] : counts[k + 1]])
    return filled_plane(tissue)


def _is_tissue(fill_hu: NDArray[np.float32]) -> Bool:
    """Whether a fill is tissue as it is stored, in whole HU."""
    return np.asarray(np.rint(fill_hu) > SKIN_HU)
