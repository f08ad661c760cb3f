"""Laws of lattices: whatever the shear, the turn and the spacing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Grid, Mask, Proposal, Volume

reals = st.floats(-400, 400, allow_nan=False)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Turned, gantry-tilted, anisotropic and flipped lattices."""
    spacing = [draw(st.floats(0.3, 7)) for _ in range(3)]
    tilt = np.radians(draw(st.floats(-30, 30)))
    turn = Rotation.from_rotvec([draw(st.floats(-3, 3)) for _ in range(3)]).as_matrix()
    shear = np.eye(3)
    shear[1, 0] = np.tan(tilt)
    flip = np.diag([draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = turn @ shear @ flip @ np.diag(spacing)
    affine[:3, 3] = [draw(reals) for _ in range(3)]
    shape = tuple(draw(st.integers(2, 9)) for _ in range(3))
    return Grid((shape[0], shape[1], shape[2]), affine, "1.2")


@given(grids(), st.lists(st.tuples(reals, reals, reals), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_point_goes_to_its_index_and_back(grid: Grid, points: list[tuple[float, float, float]]) -> None:
    assert np.allclose(grid.to_patient(grid.to_index(points)), points, atol=1e-6)


@given(grids())
@settings(max_examples=60, deadline=None)
def test_neighbours_lie_one_spacing_apart(grid: Grid) -> None:
    origin = grid.to_patient([0, 0, 0])
    steps = [np.linalg.norm(grid.to_patient(unit) - origin) for unit in np.eye(3)]
    assert np.allclose(steps, grid.spacing_mm)


@given(grids())
@settings(max_examples=60, deadline=None)
def test_every_voxel_centre_is_contained_and_the_next_one_is_not(grid: Grid) -> None:
    last = np.array(grid.shape) - 1
    assert grid.contains(grid.corners()).all()
    for axis in range(3):
        assert not grid.contains(grid.to_patient(last + np.eye(3)[axis]))
        assert not grid.contains(grid.to_patient(-np.eye(3)[axis]))


@given(grids(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_array_on_a_flipped_grid_changes_the_same_patient_voxels(grid: Grid, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2))
    seed = data.draw(st.integers(0, 1000))
    change = np.random.default_rng(seed).random(grid.shape) > 0.6
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_patient(np.eye(3)[axis] * (grid.shape[axis] - 1))
    affine[:3, axis] *= -1
    flipped = Grid(grid.shape, affine, grid.frame)
    there = Mask(flipped, np.ascontiguousarray(np.flip(change, axis)), "m")
    points = flipped.to_patient(np.argwhere(there.array))
    index = np.rint(grid.to_index(points)).astype(int).reshape(-1, 3)
    assert np.allclose(grid.to_index(points), index, atol=1e-6)
    assert set(map(tuple, index)) == set(map(tuple, np.argwhere(change)))


@given(grids(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_plan_changes_what_it_says_and_twice_is_once(grid: Grid, seed: int) -> None:
    rng = np.random.default_rng(seed)
    change, keep = rng.random(grid.shape) > 0.5, rng.random(grid.shape) > 0.7
    fill = rng.integers(-1000, 100, change.sum()).astype(np.float32)
    before = Volume(grid, rng.integers(200, 900, grid.shape).astype(np.int16))
    plan = Proposal(Mask(grid, change, "c"), fill, "m").without(Mask(grid, keep, "k"))
    after = plan.apply(before)
    assert np.array_equal(after.array != before.array, change & ~keep)
    assert np.array_equal(after.array[change & ~keep], fill[~keep[change]])
    assert np.array_equal(plan.apply(after).array, after.array)
