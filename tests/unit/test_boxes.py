"""Index boxes hold what they must, grown in voxels, never beyond the lattice."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.ops.boxes import mask_box, points_box
from tests.phantom import ugly_grid

GRID = ugly_grid((21, 17, 23), (4.0, 2.0, 3.0))


def test_a_mask_s_box_is_the_smallest_that_holds_it() -> None:
    array = np.zeros((9, 8, 7), dtype=np.bool_)
    array[2, 3, 4] = array[5, 3, 1] = True
    assert mask_box(array) == (slice(2, 6), slice(3, 4), slice(1, 5))
    assert mask_box(array, (1, 9, 0)) == (slice(1, 7), slice(0, 8), slice(1, 5))
    assert mask_box(np.zeros((2, 2, 2), dtype=np.bool_)) is None


def test_a_box_around_points_holds_their_voxels_and_the_margin() -> None:
    index = np.array([[7.2, 5.1, 9.9], [10.4, 8.6, 12.1]])
    box = points_box([GRID.to_patient(index[:1]), GRID.to_patient(index[1:])], GRID, margin=1)
    assert box == (slice(6, 13), slice(4, 11), slice(8, 15))


def test_a_box_ends_at_the_lattice() -> None:
    far = GRID.to_patient(np.array([[-50.0, 3.0, 3.0], [500.0, 4.0, 4.0]]))
    box = points_box([far], GRID, margin=0)
    assert box is not None
    assert box[0] == slice(0, 21)


def test_points_beside_the_lattice_have_no_box() -> None:
    assert points_box([GRID.to_patient(np.array([[400.0, 5.0, 5.0]]))], GRID) is None
    assert points_box([GRID.to_patient(np.array([[5.0, -90.0, 5.0]]))], GRID) is None
    assert points_box([], GRID) is None
