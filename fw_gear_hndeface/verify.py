"""Did the change keep its promises? Checked on the result itself, not on how it was made; a broken promise stops the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.errors import VerificationError
from fw_gear_hndeface.methods.contract import Bounds
from fw_gear_hndeface.model import Grid, Label, LabelMap, Mask, Plan, Roi, Volume
from fw_gear_hndeface.ops.boxes import Box, mask_box, points_box
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.labels import boxes_of
from fw_gear_hndeface.ops.polygons import rasterise, roi_box
from fw_gear_hndeface.ops.resample import resample_mask
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
class StructureCost:
    """What became of one structure: share of its voxels unchanged, its volume, and by how much its mean HU moved.

    Share and mean are None where the structure covers no voxel.
    """

    unchanged_percent: float | None
    volume_ml: float
    mean_change_hu: float | None = None

    def told(self) -> dict[str, float | None]:
        """Plain data for the report."""
        share, moved = self.unchanged_percent, self.mean_change_hu
        return {
            "unchanged_percent": None if share is None else round(share, 4),
            "volume_ml": round(self.volume_ml, 2),
            "mean_change_hu": None if moved is None else round(moved, 3),
        }


@dataclass(frozen=True, kw_only=True)
class RoiCost(StructureCost):
    """What became of one drawn region."""

    roi: Roi


@dataclass(frozen=True, kw_only=True)
class LabelCost(StructureCost):
    """What became of one structure of a label map, whose `source` says who made the map."""

    label: Label
    source: str


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
    x, y, z = frame.to_frame(grid.to_patient(np.argwhere(changed))).T
    return bool(frame.in_region(x, y, z, reach_mm).all())


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
        return RoiCost(None, 0.0, roi=roi)
    mask = rasterise(roi, before.grid.crop(box))
    if mask.count == 0:
        return RoiCost(None, 0.0, roi=roi)
    return RoiCost(*_fate(before, after, box, mask), roi=roi)


def _fate(before: Volume, after: Volume, box: Box, mask: Mask) -> tuple[float, float, float]:
    """Percent unchanged, mL and mean change in HU of the voxels of a mask that covers some of an index box."""
    old, new = before.array[box], after.array[box]
    moved = differing(old, new)
    moved &= mask.array
    share = 100.0 * (1.0 - np.count_nonzero(moved) / mask.count)
    difference = new[moved].astype(np.float64) - old[moved]
    return float(share), mask.volume_ml, float(difference.sum()) / mask.count


def label_costs(before: Volume, after: Volume, maps: Sequence[LabelMap]) -> tuple[LabelCost, ...]:
    """What became of every structure of label maps, each on the scan's voxels that are nearest to it.

    Volumes are the maps' own. A structure that lies off the scan, or between its voxels, has no share.
    """
    found = []
    for labels in maps:
        counts = np.bincount(labels.array.ravel())
        for number, inside in boxes_of(labels).items():
            volume_ml = float(counts[number]) * labels.grid.voxel_ml
            share, moved = _label_fate(before, after, labels.crop(inside), number)
            found.append(LabelCost(share, volume_ml, moved, label=labels.labels[number], source=labels.source))
    return tuple(found)


def _label_fate(before: Volume, after: Volume, part: LabelMap, number: int) -> tuple[float | None, float | None]:
    """Percent unchanged and mean change in HU of one label; None for both where no voxel of the scan is nearest to it."""
    rim = int(np.ceil(part.grid.spacing_mm.max() / before.grid.spacing_mm.min()))  # coarse voxels reach beyond their centres
    box = points_box([part.grid.corners()], before.grid, margin=rim)
    if box is None:
        return None, None
    mask = resample_mask(Mask(part.grid, part.array == number, part.labels[number].name), before.grid.crop(box))
    if mask.count == 0:
        return None, None
    share, _, moved = _fate(before, after, box, mask)
    return share, moved
