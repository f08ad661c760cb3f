"""Every promise has a result that breaks it: tampered arrays must not pass."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.errors import GeometryError, VerificationError
from fw_gear_hndeface.methods.contract import Bounds
from fw_gear_hndeface.model import Grid, Label, LabelMap, Mask, Plan, Proposal, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.verify import label_costs, roi_costs, verify
from tests.phantom import ugly_grid

#: 240 mm of patient around the head frame, so that some voxels lie outside the face region.
GRID = ugly_grid((41, 51, 47), (7.0, 6.4, 6.1))
FRAME = HeadFrame(GRID.to_patient(np.array([22.0, 20.0, 23.0])), np.eye(3), 0.9)
NOSE, BEHIND = (20, 15, 23), (20, 45, 23)
VOXEL_ML = float(abs(np.linalg.det(GRID.affine[:3, :3]))) / 1000.0


def scan(dtype: type = np.int16) -> Volume:
    """Tissue of 40 HU with air in front."""
    array = np.full(GRID.shape, 40, dtype=dtype)
    array[:, :14] = -1000
    return Volume(GRID, array)


def planned(kept: tuple[int, int, int] | None = None, more: tuple[int, int, int] | None = None) -> Plan:
    """A block around the nose turned to air; `kept` is a voxel next to it that must stay."""
    change = np.zeros(GRID.shape, dtype=np.bool_)
    change[18:23, 14:17, 21:26] = True
    if more is not None:
        change[more] = True
    keep = np.zeros(GRID.shape, dtype=np.bool_)
    if kept is not None:
        keep[kept] = True
    fill = np.full(int(change.sum()), -1000, dtype=np.float32)
    return Proposal(Mask(GRID, change, "zone"), fill, "test").without(Mask(GRID, keep, "kept"))


def tampered(plan: Plan, index: tuple[int, int, int], value: float, dtype: type = np.int16) -> Volume:
    array = plan.apply(scan(dtype)).array.copy()
    array[index] = value
    return Volume(GRID, array)


def test_a_plan_carried_out_passes_and_tells_what_it_cost() -> None:
    plan = planned()
    cost = verify(scan(), plan.apply(scan()), plan, FRAME)
    assert cost.removed_ml == pytest.approx(5 * 3 * 5 * VOXEL_ML)
    assert (cost.added_ml, cost.retextured_ml) == (0.0, 0.0)


def test_cost_tells_removed_added_and_new_values_apart() -> None:
    change = np.zeros(GRID.shape, dtype=np.bool_)
    change[20, 12:18, 23] = True
    fill = np.array([20, 20, -1000, 60, 70, 80], dtype=np.float32)
    plan = Proposal(Mask(GRID, change, "zone"), fill, "t").without(Mask.empty(GRID, "nothing"))
    cost = verify(scan(), plan.apply(scan()), plan, FRAME)
    assert cost.added_ml == pytest.approx(2 * VOXEL_ML)
    assert cost.removed_ml == pytest.approx(1 * VOXEL_ML)
    assert cost.retextured_ml == pytest.approx(3 * VOXEL_ML)


def test_nothing_changed() -> None:
    with pytest.raises(VerificationError, match="nothing changed"):
        verify(scan(), scan(), planned(), FRAME)


def test_a_kept_voxel_changed() -> None:
    plan = planned(kept=(20, 18, 23))
    with pytest.raises(VerificationError, match="kept structure changed"):
        verify(scan(), tampered(plan, (20, 18, 23), -1000), plan, FRAME)


def test_a_voxel_outside_the_plan_changed() -> None:
    with pytest.raises(VerificationError, match="outside the plan changed"):
        verify(scan(), tampered(planned(), (20, 19, 23), 41), planned(), FRAME)


@pytest.mark.parametrize("value", [np.nan, 45.0])
def test_a_voxel_outside_the_plan_changed_in_a_scan_of_real_numbers(value: float) -> None:
    plan = planned()
    with pytest.raises(VerificationError, match="outside the plan changed"):
        verify(scan(np.float32), tampered(plan, (20, 19, 23), value, np.float32), plan, FRAME)


def test_rounding_is_no_change() -> None:
    plan = planned()
    verify(scan(np.float32), tampered(plan, (20, 19, 23), 40.3, np.float32), plan, FRAME)


def test_a_change_at_the_back_of_the_head() -> None:
    assert FRAME.to_frame(GRID.to_patient(np.array(BEHIND)))[1] > 100.0
    plan = planned(more=BEHIND)
    with pytest.raises(VerificationError, match="beyond the face"):
        verify(scan(), plan.apply(scan()), plan, FRAME)
    verify(scan(), plan.apply(scan()), plan, FRAME, Bounds(reach_mm=80.0))


@pytest.mark.parametrize("value", [-2000, 3000])
def test_values_that_the_scanner_does_not_write(value: int) -> None:
    plan = planned()
    with pytest.raises(VerificationError, match="outside the scanner's range"):
        verify(scan(), tampered(plan, NOSE, value), plan, FRAME)


def test_values_that_are_no_numbers() -> None:
    plan = planned()
    with pytest.raises(VerificationError, match="outside the scanner's range"):
        verify(scan(np.float32), tampered(plan, NOSE, np.nan, np.float32), plan, FRAME)


def test_more_removed_than_the_method_may() -> None:
    plan = planned()
    removed = 75 * VOXEL_ML
    with pytest.raises(VerificationError, match=f"{removed:.0f} mL of tissue would be removed"):
        verify(scan(), plan.apply(scan()), plan, FRAME, Bounds(most_removed_ml=removed - 0.1))
    verify(scan(), plan.apply(scan()), plan, FRAME, Bounds(most_removed_ml=removed + 0.1))


def test_the_usual_bound_is_a_face_not_a_head() -> None:
    change = np.zeros(GRID.shape, dtype=np.bool_)
    change[14:27, 14:22, 15:31] = True
    plan = Proposal(Mask(GRID, change, "z"), np.full(int(change.sum()), -1000, np.float32), "t").without(Mask.empty(GRID, "-"))
    assert change.sum() * VOXEL_ML > 400
    with pytest.raises(VerificationError, match="most: 400 mL"):
        verify(scan(), plan.apply(scan()), plan, FRAME)


def test_a_result_on_another_grid() -> None:
    affine = GRID.affine.copy()
    affine[0, 3] += 1.0
    with pytest.raises(GeometryError):
        verify(scan(), Volume(Grid(GRID.shape, affine, GRID.frame), scan().array), planned(), FRAME)


def square(k: int, number: int = 1) -> Roi:
    """Three by three voxels of one slice around the nose."""
    corners = np.array([[k, 13.5, 21.5], [k, 13.5, 24.5], [k, 16.5, 24.5], [k, 16.5, 21.5]])
    return Roi("PTV", number, RoiKind.TARGET, (GRID.to_patient(corners),))


def test_regions_tell_how_much_of_them_stayed() -> None:
    before = scan()
    array = before.array.copy()
    array[20, 14, 22] = array[20, 15, 22] = -1000
    array[20, 14, 22] = 41
    costs = roi_costs(before, Volume(GRID, array), [square(20), square(30, 2), square(500, 3)])
    assert [cost.roi.number for cost in costs] == [1, 2, 3]
    assert costs[0].unchanged_percent == pytest.approx(100 * (1 - 2 / 9), abs=0.01)
    assert costs[0].mean_change_hu == pytest.approx((1 - 1040) / 9)
    assert costs[1].unchanged_percent == 100.0
    assert costs[1].mean_change_hu == 0.0
    assert costs[2].mean_change_hu is None
    assert costs[2].unchanged_percent is None
    assert costs[2].volume_ml == 0.0
    assert costs[0].volume_ml == pytest.approx(9 * VOXEL_ML)


PAROTID = Label(3, "parotid_left", "parotid left", RoiKind.ORGAN)
JAW = Label(7, "mandible", "mandible", RoiKind.ORGAN)


def changed_around_the_nose() -> tuple[Volume, Volume]:
    before = scan()
    array = before.array.copy()
    array[20, 14:16, 22] = -60
    return before, Volume(GRID, array)


def test_labels_on_the_scans_grid_tell_how_much_of_them_stayed() -> None:
    numbers = np.zeros(GRID.shape, np.uint16)
    numbers[20, 14, 21:25] = 3
    numbers[30, 20, 20] = 7
    made = label_costs(*changed_around_the_nose(), [LabelMap(GRID, numbers, {3: PAROTID, 7: JAW}, "totalsegmentator")])
    assert [(cost.label.name, cost.source) for cost in made] == [
        ("parotid_left", "totalsegmentator"),
        ("mandible", "totalsegmentator"),
    ]
    assert made[0].unchanged_percent == pytest.approx(75.0)
    assert made[0].mean_change_hu == pytest.approx(-100.0 / 4)
    assert made[0].volume_ml == pytest.approx(4 * VOXEL_ML)
    assert (made[1].unchanged_percent, made[1].mean_change_hu) == (100.0, 0.0)


def test_a_label_of_coarse_voxels_counts_every_voxel_of_the_scan_in_them() -> None:
    """One voxel of 5 x 5 x 5 of the scan's, around the changed ones."""
    affine = GRID.affine.copy()
    affine[:3, :3] *= 5.0
    affine[:3, 3] = GRID.to_patient(np.array([20.0, 15.0, 22.0]))
    numbers = np.full((1, 1, 1), 3, np.uint16)
    (made,) = label_costs(*changed_around_the_nose(), [LabelMap(Grid((1, 1, 1), affine, ""), numbers, {3: PAROTID})])
    assert made.unchanged_percent == pytest.approx(100.0 * (1 - 2 / 125))
    assert made.volume_ml == pytest.approx(125 * VOXEL_ML)


def test_a_label_off_the_scan_is_told_as_not_measured() -> None:
    affine = GRID.affine.copy()
    affine[:3, 3] += 5000.0
    numbers = np.full((2, 2, 2), 3, np.uint16)
    (made,) = label_costs(*changed_around_the_nose(), [LabelMap(Grid((2, 2, 2), affine, ""), numbers, {3: PAROTID})])
    assert (made.unchanged_percent, made.mean_change_hu) == (None, None)
    assert made.told() == {"unchanged_percent": None, "volume_ml": round(8 * VOXEL_ML, 2), "mean_change_hu": None}
