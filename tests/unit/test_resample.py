"""Resampling is exact in patient space: a field that is linear in mm stays the same field on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.resample import lps_grid, resample, resample_mask, sample
from tests.phantom import ugly_grid

SLOPE, LEVEL = np.array([1.3, -0.7, 2.1]), 40.0


def field(points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ SLOPE + LEVEL)


def centres(grid: Grid) -> np.ndarray:
    return grid.to_patient(np.stack(np.indices(grid.shape), axis=-1))


def ramp(grid: Grid) -> Volume:
    return Volume(grid, field(centres(grid)).astype(np.float32))


def turned(grid: Grid, angles: tuple[float, float, float], step_mm: float, shape: tuple[int, int, int]) -> Grid:
    """A lattice of another step and direction around the same middle."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(angles).as_matrix() * step_mm
    affine[:3, 3] = grid.corners().mean(axis=0) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, grid.frame)


@given(st.tuples(*[st.floats(-3, 3) for _ in range(3)]), st.floats(0.8, 4.0), st.floats(-20, 20))
@settings(max_examples=25, deadline=None)
def test_a_linear_field_stays_itself_on_any_grid(angles: tuple[float, float, float], step_mm: float, tilt: float) -> None:
    source = ugly_grid((15, 14, 19), (2.9, 3.3, 2.1), tilt)
    target = turned(source, angles, step_mm, (5, 6, 7))
    result = resample(ramp(source), target, outside=-999.0)
    expected = field(centres(target))
    inside = source.contains(centres(target), -float(source.spacing_mm.max()))
    assert np.allclose(result.array[inside], expected[inside], atol=0.05)
    beyond = ~source.contains(centres(target), 0.01)
    assert np.all(result.array[beyond] == -999.0)


def test_cubic_interpolation_keeps_a_linear_field_in_the_middle() -> None:
    source = ugly_grid((15, 14, 19), (2.9, 3.3, 2.1))
    target = turned(source, (0.2, -0.1, 0.3), 1.1, (5, 6, 7))
    assert np.allclose(resample(ramp(source), target, smooth=True).array, field(centres(target)), atol=0.5)


def test_a_grid_beside_the_scan_is_all_outside() -> None:
    source = ugly_grid((9, 8, 7))
    affine = source.affine.copy()
    affine[:3, 3] += 5000.0
    result = resample(ramp(source), Grid((3, 4, 5), affine, ""))
    assert np.all(result.array == -1000.0)
    assert resample_mask(Mask(source, np.ones(source.shape, np.bool_), "m"), Grid((3, 4, 5), affine, "")).count == 0


@pytest.mark.parametrize("parallel", [True, False])
def test_masks_move_by_the_nearest_voxel(parallel: bool) -> None:
    source = ugly_grid((13, 12, 17), (3.1, 2.3, 1.9))
    array = np.random.default_rng(4).random(source.shape) < 0.4
    if parallel:
        affine = source.affine.copy()
        affine[:3, :3] = affine[:3, :3] @ np.diag([0.7, 0.41, 1.3])
        affine[:3, 3] = source.to_patient([-0.8, 0.3, 0.55])
        target = Grid((16, 25, 13), affine, source.frame)
    else:
        target = turned(source, (0.3, -0.4, 1.1), 1.3, (11, 9, 10))
    result = resample_mask(Mask(source, array, "m"), target)
    index = source.to_index(centres(target))
    nearest = np.rint(index).astype(int)
    inside = np.all((nearest >= 0) & (nearest < source.shape), axis=-1)
    expected = np.zeros(target.shape, dtype=np.bool_)
    expected[inside] = array[tuple(nearest[inside].T)]
    sure = np.all(np.abs(index - np.floor(index) - 0.5) > 0.02, axis=-1)
    assert np.array_equal(result.array[sure], expected[sure])
    assert 0.05 < result.array.mean() < 0.6
    assert result.name == "m"


def test_sampling_points_is_linear_too_and_knows_the_outside() -> None:
    source = ugly_grid((9, 8, 7))
    points = source.to_patient(np.array([[2.5, 3.25, 1.125], [4.0, 6.9, 5.2]]))
    assert np.allclose(sample(ramp(source), points), field(points), atol=0.01)
    assert sample(ramp(source), points + 4000.0, outside=-7.0).tolist() == [-7.0, -7.0]
    assert sample(ramp(source), points.reshape(2, 1, 3)).shape == (2, 1)


def test_a_patient_grid_covers_the_points_along_the_patient_axes() -> None:
    points = np.array([[-10.2, 5.0, 100.0], [33.3, 8.1, 161.7]])
    grid = lps_grid(points, 2.0, "2.25.1", margin_mm=3.0)
    assert np.allclose(grid.spacing_mm, 2.0)
    assert grid.frame == "2.25.1"
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    assert np.allclose(low, points.min(axis=0) - 3.0)
    assert np.all(high >= points.max(axis=0) + 3.0 - 1e-9)
    assert np.all(high < points.max(axis=0) + 5.0 + 1e-9)
    steps = grid.to_patient(np.eye(3)) - grid.to_patient([0, 0, 0])
    assert np.allclose(steps, [[0, 0, 2], [0, 2, 0], [2, 0, 0]]), "k goes up, j back, i to the left"


def test_a_scan_s_own_values_come_back_on_its_own_grid() -> None:
    grid = ugly_grid((6, 7, 8))
    array = np.random.default_rng(1).integers(-1000, 1500, grid.shape).astype(np.int16)
    result = resample(Volume(grid, array), grid)
    assert np.abs(result.array.astype(int) - array).max() <= 1
