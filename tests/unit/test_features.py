"""Features, Dice and surface distances against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fw_gear_hndeface.evaluate.features import (
    FEATURES,
    body_of,
    dice,
    first_order,
    relative_change,
    rim_of,
    surface_hd95,
    unchanged_percent,
)
from fw_gear_hndeface.model import Grid

SPACING = (3.0, 0.98, 1.2)


def grid(shape: tuple[int, int, int]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))
    return Grid(shape, affine)


def test_features_of_five_values_by_hand() -> None:
    # X = -30, 0, 10, 20, 100: mean 20, deviations -50 -20 -10 0 80
    found = first_order(np.array([-30, 0, 10, 20, 100], dtype=np.int16))
    assert set(found) == set(FEATURES)
    assert found["90Percentile"] == pytest.approx(68.0)  # between 20 and 100 at 0.6
    assert found["Energy"] == pytest.approx(900 + 0 + 100 + 400 + 10000)
    assert found["Maximum"] == 100
    assert found["Median"] == 10
    assert found["Range"] == 130
    variance = (2500 + 400 + 100 + 0 + 6400) / 5
    assert found["Variance"] == pytest.approx(variance)
    assert found["Skewness"] == pytest.approx((-125000 - 8000 - 1000 + 512000) / 5 / variance**1.5)
    assert found["Kurtosis"] == pytest.approx((6250000 + 160000 + 10000 + 40960000) / 5 / variance**2)
    # bins of 25 from multiples of 25: [-50, -25) one, [0, 25) three, [100, 125) one
    assert found["Uniformity"] == pytest.approx((1 + 9 + 1) / 25)
    assert found["Entropy"] == pytest.approx(-(2 * 0.2 * math.log2(0.2) + 0.6 * math.log2(0.6)))


def test_a_normal_sample_has_kurtosis_three_and_no_skewness() -> None:
    found = first_order(np.random.default_rng(0).normal(40, 12, 400_000))
    assert found["Kurtosis"] == pytest.approx(3.0, abs=0.05)
    assert found["Skewness"] == pytest.approx(0.0, abs=0.02)


def test_energy_does_not_overflow_in_the_scans_own_type() -> None:
    assert first_order(np.full(1000, 3000, dtype=np.int16))["Energy"] == pytest.approx(9e9)


def test_equal_values_have_no_skewness() -> None:
    found = first_order(np.full(5, 7.0))
    assert math.isnan(found["Skewness"])
    assert found["Entropy"] == pytest.approx(0.0)
    assert found["Uniformity"] == 1.0


def test_no_voxels_no_features() -> None:
    with pytest.raises(ValueError, match="without voxels"):
        first_order(np.array([]))


def test_relative_change_has_the_sign_of_an_increase_and_skips_zero() -> None:
    assert relative_change(-100.0, -50.0) == 0.5
    assert relative_change(200.0, 150.0) == -0.25
    assert relative_change(0.0, 5.0) is None
    assert relative_change(float("nan"), 5.0) is None


def test_unchanged_percent_counts_inside_the_structure_only() -> None:
    changed, structure = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    structure[1] = True
    changed[1, 0, :3] = True
    changed[2] = True
    assert unchanged_percent(changed, structure) == pytest.approx(90.0)
    assert unchanged_percent(changed, np.zeros((4, 5, 6), bool)) is None


def test_dice_by_hand() -> None:
    one, other = np.zeros(10, bool), np.zeros(10, bool)
    one[:4], other[2:8] = True, True
    assert dice(one, other) == pytest.approx(2 * 2 / 10)
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def head() -> np.ndarray:
    """A box of tissue with an airway inside that opens at the bottom slice only."""
    array = np.full((12, 40, 36), -1000.0)
    array[:, 10:30, 8:28] = 40.0
    array[:6, 18:22, 16:20] = -1000.0
    return array


def test_the_body_holds_its_airways() -> None:
    body = body_of(head())
    assert np.count_nonzero(body) == 12 * 20 * 20
    rim = rim_of(body)
    assert not rim[5, 18, 18], "an airway's wall is no external surface"
    assert rim[5, 10, 18]
    assert not rim[0, 20, 12], "the cut end of a scan is no surface"


def test_hd95_by_hand() -> None:
    body = body_of(head())
    moved = body.copy()
    moved[:, 10:13] = False  # the whole front 3 rows of 0.98 mm back
    distance = surface_hd95(body, moved, grid(body.shape))
    assert distance == pytest.approx(3 * 0.98)
    assert surface_hd95(body, body, grid(body.shape)) == 0.0


def test_hd95_pools_surfaces_far_from_the_change() -> None:
    body = np.zeros((60, 40, 36), bool)
    body[:, 10:30, 8:28] = True
    moved = body.copy()
    moved[0:2, 10:12] = False  # 2 of 60 slices: less than 5 % of the surface
    assert surface_hd95(body, moved, grid(body.shape)) == 0.0
