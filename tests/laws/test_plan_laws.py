"""Laws of plans: what is kept stays, what is not planned stays, and no plan can be made that says otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fw_gear_hndeface.errors import GeometryError
from fw_gear_hndeface.model import Grid, Mask, Plan, Proposal, Volume

SHAPE = (4, 3, 5)
masks = npst.arrays(np.bool_, SHAPE)
scans = npst.arrays(np.int16, SHAPE, elements=st.integers(-1024, 3071))


def grid(start_mm: float = -20.0) -> Grid:
    """Sheared by a gantry tilt of 12 degrees, spacings that are no round numbers."""
    affine = np.eye(4)
    affine[:3, :3] = [[0.0, 0.0, 0.98], [0.0, 1.2 * np.cos(0.21), 0.0], [3.0, 1.2 * np.sin(0.21), 0.0]]
    affine[:3, 3] = start_mm
    return Grid(SHAPE, affine, "2.25.1")


def proposal(change: np.ndarray, seed: int) -> Proposal:
    fill = np.random.default_rng(seed).uniform(-1000, 300, int(change.sum())).astype(np.float32)
    return Proposal(Mask(grid(), change, "zone"), fill, "test")


@given(scans, masks, masks, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_kept_voxels_and_voxels_outside_the_plan_never_change(scan, change, kept, seed) -> None:  # type: ignore[no-untyped-def]
    volume = Volume(grid(), scan)
    after = proposal(change, seed).without(Mask(grid(), kept, "kept")).apply(volume)
    assert np.array_equal(after.array[kept], scan[kept])
    assert np.array_equal(after.array[~change], scan[~change])
    assert after.array.dtype == scan.dtype


@given(scans, masks, masks, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_other_planned_voxel_gets_its_own_fill(scan, change, kept, seed) -> None:  # type: ignore[no-untyped-def]
    asked = proposal(change, seed)
    wanted = np.zeros(SHAPE)
    wanted[change] = asked.fill_hu
    after = asked.without(Mask(grid(), kept, "kept")).apply(Volume(grid(), scan))
    free = change & ~kept
    assert np.array_equal(after.array[free], np.round(wanted[free]))


@given(scans, masks, masks, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_twice_is_once(scan, change, kept, seed) -> None:  # type: ignore[no-untyped-def]
    plan = proposal(change, seed).without(Mask(grid(), kept, "kept"))
    once = plan.apply(Volume(grid(), scan))
    assert np.array_equal(plan.apply(once).array, once.array)


@given(masks, masks)
@settings(max_examples=40, deadline=None)
def test_a_plan_on_a_kept_voxel_cannot_be_built(change, kept) -> None:  # type: ignore[no-untyped-def]
    assume((change & kept).any())
    fill = np.zeros(int(change.sum()), dtype=np.float32)
    with pytest.raises(ValueError, match="kept"):
        Plan(Mask(grid(), change, "zone"), Mask(grid(), kept, "kept"), fill, "test")


@given(masks)
@settings(max_examples=20, deadline=None)
def test_everything_kept_leaves_an_empty_plan_and_nothing_kept_the_whole_proposal(change) -> None:  # type: ignore[no-untyped-def]
    asked = proposal(change, 1)
    assert asked.without(Mask(grid(), np.ones(SHAPE, dtype=np.bool_), "all")).change.count == 0
    assert np.array_equal(asked.without(Mask.empty(grid(), "nothing")).change.array, change)


@given(scans, masks, st.integers(0, 99), st.sampled_from([0, 1, 2]))
@settings(max_examples=40, deadline=None)
def test_a_scan_on_another_grid_is_refused(scan, change, seed, axis) -> None:  # type: ignore[no-untyped-def]
    plan = proposal(change, seed).without(Mask.empty(grid(), "nothing"))
    flipped = grid().affine.copy()
    flipped[:3, 3] += flipped[:3, axis] * (SHAPE[axis] - 1)
    flipped[:3, axis] *= -1
    with pytest.raises(GeometryError):
        plan.apply(Volume(Grid(SHAPE, flipped, "2.25.1"), scan))
    with pytest.raises(GeometryError):
        proposal(change, seed).without(Mask.empty(grid(-19.0), "elsewhere"))


def test_a_plan_s_arrays_cannot_be_written_to() -> None:
    plan = proposal(np.ones(SHAPE, dtype=np.bool_), 1).without(Mask.empty(grid(), "nothing"))
    for array in (plan.change.array, plan.keep.array, plan.fill_hu):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
