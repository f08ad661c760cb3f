"""Did the change keep its promises? Checked on the result itself, not on how it was made; a broken promise stops the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.errors import VerificationError
from fw_gear_hndeface.methods.contract import Bounds
from fw_gear_hndeface.model import Grid, Plan, Roi, Volume
from fw_gear_hndeface.ops.boxes import mask_box
from fw_gear_hndeface.ops.frame import REGION_MM, HeadFrame
from fw_gear_hndeface.ops.polygons import rasterise, roi_box
from fw_gear_hndeface.ops.skin import SKIN_HU

#: What holds for a method that does not say otherwise (methods.md 1).
USUAL = Bounds()
#: Changes smaller than this are none, HU.
SAME_HU = 0.5


@dataclass(frozen=True)
class Cost:
    """What the change cost: tissue removed and added, and tissue given new values, mL."""

    removed_ml: float
    added_ml: float
    retextured_ml: float


@dataclass(frozen=True)
class RoiCost:
    """What became of one drawn region: share of its voxels unchanged, its volume, and by how much its mean HU moved.

    Share and mean are None where the region covers no voxel.
    """

    roi: Roi
    unchanged_percent: float | None
    volume_ml: float
    mean_change_hu: float | None = None


def verify(before: Volume, after: Volume, plan: Plan, frame: HeadFrame, bounds: Bounds = USUAL) -> Cost:
    """What the change cost, once every promise is seen to be kept.

    Raises
    ------
    VerificationError
        Nothing changed; something outside the plan or inside a kept structure changed; a change outside the face region;
        values no scanner writes; or more removed than the method's bounds allow.
    """
    before.grid.require_match(after.grid)
    everywhere = differing(before.array, after.array)
    box = mask_box(everywhere)
    if box is None:
        raise _broken("a face is in view but nothing changed")
    changed = everywhere[box]
    _demand(not np.any(changed & plan.keep.array[box]), "voxels of a kept structure changed")
    _demand(not np.any(changed & ~plan.change.array[box]), "voxels outside the plan changed")
    _demand(_inside_region(changed, before.grid.crop(box), frame, bounds.reach_mm), "the change reaches beyond the face")
    low, high = min(float(before.array.min()), -1024.0), max(float(before.array.max()), 300.0)
    values = after.array[box][changed]
    _demand(bool(np.all((values >= low) & (values <= high))), "new values lie outside the scanner's range")
    cost = measure(before.crop(box), after.crop(box), changed)
    text = f"{cost.removed_ml:.0f} mL of tissue would be removed (most: {bounds.most_removed_ml:.0f} mL)"
    _demand(cost.removed_ml <= bounds.most_removed_ml, text)
    return cost


def differing(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels whose values differ by more than rounding; slice by slice, so that no copy of a volume is made."""
    out = np.empty(one.shape, dtype=np.bool_)
    for k in range(len(one)):
        unlike = one[k] != other[k]
        if unlike.any() and not (np.issubdtype(one.dtype, np.integer) and np.issubdtype(other.dtype, np.integer)):
            unlike = ~(np.abs(other[k].astype(np.float64) - one[k]) <= SAME_HU)  # what is not a number differs
        out[k] = unlike
    return out


def _demand(kept: bool, broken: str) -> None:
    if not kept:
        raise _broken(broken)


def _broken(promise: str) -> VerificationError:
    return VerificationError(f"The result broke a promise: {promise}. No image was written; please report this case.")


def _inside_region(changed: NDArray[np.bool_], grid: Grid, frame: HeadFrame, reach_mm: float) -> bool:
    k, j, i = np.nonzero(changed)
    start, steps = frame.to_frame(grid.affine[:3, 3]), frame.axes @ grid.affine[:3, :3]
    for axis in range(3):
        place = start[axis] + steps[axis, 0] * k + steps[axis, 1] * j + steps[axis, 2] * i
        low, high = (float(end[axis]) * frame.scale for end in REGION_MM)
        if place.min() < low - reach_mm or place.max() > high + reach_mm:
            return False
    return True


def measure(before: Volume, after: Volume, changed: NDArray[np.bool_]) -> Cost:
    """Tissue removed, added and given new values (privacy.md 7)."""
    old, new = before.array[changed] > SKIN_HU, after.array[changed] > SKIN_HU
    voxel = before.grid.voxel_ml
    counts = [np.count_nonzero(part) * voxel for part in (old & ~new, ~old & new, old & new)]
    return Cost(*(float(count) for count in counts))


def roi_costs(before: Volume, after: Volume, rois: Sequence[Roi]) -> tuple[RoiCost, ...]:
    """The share of unchanged voxels in each drawn region, each rasterised in its own box."""
    return tuple(_roi_cost(before, after, roi) for roi in rois)


def _roi_cost(before: Volume, after: Volume, roi: Roi) -> RoiCost:
    box = roi_box(roi, before.grid)
    if box is None:
        return RoiCost(roi, None, 0.0)
    mask = rasterise(roi, before.grid.crop(box))
    changed = differing(before.array[box], after.array[box])
    if mask.count == 0:
        return RoiCost(roi, None, 0.0)
    moved = changed & mask.array
    share = 100.0 * (1.0 - np.count_nonzero(moved) / mask.count)
    difference = after.array[box][moved].astype(np.float64) - before.array[box][moved]
    return RoiCost(roi, float(share), mask.volume_ml, float(difference.sum()) / mask.count)
