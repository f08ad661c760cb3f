"""The area of a mask's cells, whatever touches in it: as large as they are, and over each of them and no other."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fw_gear_hndeface.model import Bool, Grid
from fw_gear_hndeface.ops.outlines import _Plane

SHAPE = (9, 11)
ROW_MM, COLUMN_MM = 1.5, 0.75


def plane() -> _Plane:
    """A slice whose rows run along y and whose columns run along x."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, :3] = np.array([[0, 0, COLUMN_MM], [0, ROW_MM, 0], [3.0, 0, 0]])
    affine[:3, 3] = [-20.0, 40.0, 7.0]
    grid = Grid((3, *SHAPE), affine, "")
    return _Plane.of([grid.to_patient(np.array([[1.0, 1, 1], [1, 1, 5], [1, 6, 5]]))], grid)


def centres() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(SHAPE)
    return -20.0 + COLUMN_MM * columns, 40.0 + ROW_MM * rows


def check(mask: Bool) -> None:
    area = plane().cells(mask)
    x, y = centres()
    assert shapely.is_valid(area)
    assert area.area == pytest.approx(np.count_nonzero(mask) * ROW_MM * COLUMN_MM)
    np.testing.assert_array_equal(shapely.intersects_xy(area, x.ravel(), y.ravel()), mask.ravel())


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
@settings(max_examples=150, deadline=None)
def test_cells_of_any_mask(seed: int, share: float) -> None:
    check(np.random.default_rng(seed).random(SHAPE) < share)


def test_no_cell_has_no_area() -> None:
    assert plane().cells(np.zeros(SHAPE, np.bool_)).is_empty


def test_all_cells_are_one_area_to_the_edges() -> None:
    area = plane().cells(np.ones(SHAPE, np.bool_))
    assert len(shapely.get_coordinates(area)) == 5, "no point on a straight side"
    assert area.bounds == pytest.approx(
        (-20.0 - COLUMN_MM / 2, 40.0 - ROW_MM / 2, -20.0 + 10.5 * COLUMN_MM, 40.0 + 8.5 * ROW_MM)
    )


def test_cells_that_touch_at_a_corner_stay_apart_and_an_island_in_a_hole_is_there() -> None:
    mask = np.zeros(SHAPE, np.bool_)
    mask[0, 0] = mask[1, 1] = True
    mask[2:9, 3:10] = True
    mask[3:8, 4:9] = False
    mask[5, 6] = True
    area = plane().cells(mask)
    assert len(shapely.get_parts(area)) == 4
    check(mask)


def test_a_hole_that_touches_another_one_at_a_corner() -> None:
    mask = np.ones(SHAPE, np.bool_)
    mask[3, 3] = mask[4, 4] = mask[5, 3] = False
    check(mask)
