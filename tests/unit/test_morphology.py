"""Morphology in mm: held against distances measured voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Mask
from fw_gear_hndeface.ops.morphology import (
    border_connected,
    dilate,
    distance_mm,
    erode,
    filled_plane,
    largest_component,
    opened,
    set_cells,
    with_neighbours,
    within_mm,
)

SPACING = np.array([3.0, 0.98, 1.2])


def mask(array: np.ndarray) -> Mask:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))
    return Mask(Grid(array.shape, affine, ""), array, "m")


def random_mask(seed: int, share: float = 0.03, shape: tuple[int, int, int] = (7, 12, 11)) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).random(shape) < share)


def nearest_mm(array: np.ndarray) -> np.ndarray:
    """Distance to the nearest set voxel centre, one voxel at a time."""
    set_voxels = np.argwhere(array) * SPACING
    every = np.argwhere(np.ones_like(array)) * SPACING
    return np.linalg.norm(every[:, None] - set_voxels, axis=2).min(axis=1).reshape(array.shape)


@given(st.integers(0, 999), st.floats(0.1, 9.0))
@settings(max_examples=25, deadline=None)
def test_growing_reaches_exactly_so_many_millimetres(seed: int, radius_mm: float) -> None:
    array = random_mask(seed)
    array[3, 4, 5] = True
    away = nearest_mm(array)
    clear = np.abs(away - radius_mm) > 1e-3
    expected = away <= radius_mm
    assert np.array_equal(dilate(mask(array), radius_mm).array[clear], expected[clear])
    assert np.array_equal(within_mm(array, SPACING, radius_mm)[clear], expected[clear])


@given(st.integers(0, 999), st.floats(0.1, 6.0))
@settings(max_examples=25, deadline=None)
def test_shrinking_leaves_what_is_farther_from_the_outside(seed: int, radius_mm: float) -> None:
    outside = random_mask(seed)
    outside[2, 2, 2] = True
    away = nearest_mm(outside)
    clear = np.abs(away - radius_mm) > 1e-3
    assert np.array_equal(erode(mask(~outside), radius_mm).array[clear], (away > radius_mm)[clear])


def test_nothing_grows_from_nothing_and_no_radius_changes_nothing() -> None:
    empty = mask(np.zeros((3, 4, 5), dtype=np.bool_))
    assert dilate(empty, 5.0).count == 0
    assert not within_mm(empty.array, SPACING, 5.0).any()
    one = mask(random_mask(1))
    assert np.array_equal(dilate(one, 0.0).array, one.array)
    assert np.array_equal(within_mm(one.array, SPACING, 0.0), one.array)


def test_voxels_grow_over_the_words_that_they_are_packed_in() -> None:
    array = np.zeros((2, 3, 200), dtype=np.bool_)
    array[0, 1, [62, 128]] = array[1, 2, 0] = True
    found = np.flatnonzero(within_mm(array, np.array([2.0, 2.0, 1.0]), 3.0)[0, 1])
    assert np.array_equal(found, [0, 1, *range(59, 66), *range(125, 132)])


def test_a_hole_is_filled_wherever_it_lies_and_a_bay_at_the_edge_is_none() -> None:
    plane = np.zeros((9, 12), dtype=np.bool_)
    plane[0:4, 0:4] = plane[5:9, 6:11] = True
    plane[1:3, 1:3] = plane[7:9, 8] = False
    expected = plane.copy()
    expected[1:3, 1:3] = True
    assert np.array_equal(filled_plane(plane), expected)


def test_the_edge_of_the_scan_is_no_outside() -> None:
    full = mask(np.ones((3, 5, 7), dtype=np.bool_))
    assert erode(full, 4.0).count == full.count


def test_distance_is_in_millimetres_along_each_axis() -> None:
    array = np.ones((5, 7, 9), dtype=np.bool_)
    array[0] = False
    assert distance_mm(array, SPACING)[4, 3, 3] == pytest.approx(12.0)
    array[:] = True
    array[:, 0] = False
    assert distance_mm(array, SPACING)[2, 4, 3] == pytest.approx(4 * 0.98)


def test_opening_takes_off_what_is_thin_and_adds_nothing() -> None:
    array = np.zeros((9, 30, 30), dtype=np.bool_)
    array[1:8, 5:20, 5:20] = True
    array[4, 12, 20:28] = True
    result = opened(mask(array), 2.5)
    assert not result.array[4, 12, 23:].any(), "the stalk"
    assert result.array[4, 12, 12]
    assert not (result.array & ~array).any()


def test_the_largest_part_is_one_part() -> None:
    array = np.zeros((5, 9, 9), dtype=np.bool_)
    array[1:4, 1:5, 1:5] = True
    array[1, 7, 7] = True
    array[4, 5, 5] = True  # touches the block only over a corner
    result = largest_component(mask(array))
    assert result.count == 48
    assert ndimage.label(result.array)[1] == 1
    assert largest_component(mask(np.zeros((2, 2, 2), dtype=np.bool_))).count == 0


@pytest.mark.parametrize(
    ("face", "index"), [(0, (0, 3, 3)), (1, (6, 3, 3)), (2, (3, 0, 3)), (3, (3, 6, 3)), (4, (3, 3, 0)), (5, (3, 3, 6))]
)
def test_only_parts_on_the_chosen_sides_count(face: int, index: tuple[int, int, int]) -> None:
    array = np.zeros((7, 7, 7), dtype=np.bool_)
    array[index] = True
    array[3, 3, 3] = True
    sides = [False] * 6
    sides[face] = True
    found = border_connected(array, tuple(sides))  # type: ignore[arg-type]
    assert found[index]
    assert found.sum() == 1
    assert not border_connected(array, tuple(not side for side in sides)).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(7,), (6, 9), (5, 8, 7)])
def test_neighbours_are_those_over_sides_edges_and_corners(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(4).random(shape) > 0.9
    assert np.array_equal(with_neighbours(array), ndimage.binary_dilation(array, np.ones((3,) * len(shape))))
    single = np.zeros((5, 5), np.bool_)
    single[0, 4] = True
    assert with_neighbours(single).sum() == 4


def test_a_plane_is_filled_where_no_side_leads_out() -> None:
    plane = np.zeros((9, 9), np.bool_)
    plane[2:7, 2:7] = True
    plane[3:6, 3:6] = False
    plane[8, 7] = plane[7, 8] = True  # what they enclose in the corner leads out over the edge of the plane
    found = filled_plane(plane)
    assert found.sum() == 25 + 2
    assert found[4, 4]
    assert np.array_equal(found, ndimage.binary_fill_holes(plane))
    plane[2, 2:7] = False
    assert not filled_plane(plane)[4, 4]
    assert filled_plane(np.ones((3, 4), np.bool_)).all()


def test_set_cells_come_in_order() -> None:
    array = np.random.default_rng(5).random((4, 5, 6)) > 0.7
    assert np.array_equal(set_cells(array), np.argwhere(array))
