"""D95, mean and maximum against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Roi, RoiKind, Unit, Volume
from fw_gear_hndeface.ops import dvh
from fw_gear_hndeface.ops.dvh import dose_numbers, region_points


def grid(shape: tuple[int, int, int], step: float) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([step] * 3))
    return Grid(shape, affine)


def ramp() -> Volume:
    """A dose of 1 Gy for each mm to the left, on voxels of 4 mm."""
    lattice = grid((12, 12, 12), 4.0)
    x = lattice.to_patient(np.stack(np.indices(lattice.shape), axis=-1))[..., 0]
    return Volume(lattice, x.astype(np.float32), Unit.GY)


def box_roi(left: float, right: float) -> Roi:
    """A box of 10 by 10 mm on planes of 1 mm."""
    corners = np.array([[left, 5], [right, 5], [right, 15], [left, 15]])
    return Roi("PTV", 1, RoiKind.TARGET, tuple(np.column_stack([corners, np.full(4, float(z))]) for z in range(5, 16)))


def test_a_ramp_gives_the_numbers_of_a_ramp() -> None:
    points = region_points(box_roi(10.0, 30.0), grid((40, 40, 40), 1.0))
    assert points is not None
    assert set(np.unique(points[:, 0])) == {float(x) for x in range(10, 31)}
    found = dose_numbers(ramp(), points)
    # 21 columns from 10 to 30 Gy, equally many voxels in each: one in twenty lies below the 5 % mark at 11 Gy
    assert found.d95 == pytest.approx(11.0)
    assert found.mean == pytest.approx(20.0)
    assert found.maximum == pytest.approx(30.0)
    assert found.measures() == {"d95": 11.0, "mean": 20.0, "max": 30.0}


def test_outside_the_dose_there_is_none() -> None:
    points = np.array([[-50.0, 0.0, 0.0], [10.0, 10.0, 10.0]])
    found = dose_numbers(ramp(), points)
    assert (found.mean, found.maximum) == (pytest.approx(5.0), pytest.approx(10.0))


def test_a_region_beside_the_scan_or_without_voxels_has_no_dose() -> None:
    assert region_points(box_roi(100.0, 130.0), grid((40, 40, 40), 1.0)) is None
    assert region_points(Roi("empty", 2, RoiKind.ORGAN, ()), grid((40, 40, 40), 1.0)) is None


def test_of_large_regions_a_fair_sample_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvh, "MOST_POINTS", 500)
    points = region_points(box_roi(10.0, 30.0), grid((40, 40, 40), 1.0))
    assert points is not None
    assert len(points) == 500
    assert dose_numbers(ramp(), points).mean == pytest.approx(20.0, abs=0.8)
