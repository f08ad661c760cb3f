"""The outer ears taken off: they go, the canal, the head and what is kept stay, whatever the method."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.methods import REGISTRY, Scene, bounds_of, propose
from fw_gear_hndeface.model import Bool, Mask, Proposal, Volume
from fw_gear_hndeface.ops.ears import flatten_ears
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.synthetic.head import SyntheticHead
from fw_gear_hndeface.synthetic.surface import ear_center
from fw_gear_hndeface.verify import verify
from tests import phantom as make
from tests.chain import SEED


def head() -> SyntheticHead:
    return make.phantom(SEED, plain=True)


@cache
def frame() -> HeadFrame:
    found = fit_frame(head().landmarks)
    assert found is not None
    return found


@cache
def body() -> Mask:
    return next(head_windows(head().volume)).body


@cache
def flattened() -> Proposal:
    return flatten_ears(head().volume, body(), frame(), np.random.default_rng(3))


def around(name: str, radius_mm: float) -> Bool:
    """Voxels near the true root of an ear, from its own parameters."""
    p, grid = head().parameters, head().volume.grid
    side = 1.0 if name == "left" else -1.0
    root = head().landmarks[f"ear_{name}"].point + np.array([0.0, 8.0, 3.0])
    assert ear_center(p, side)[0] * side > 50.0
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    return np.asarray(np.linalg.norm(points - root, axis=-1) < radius_mm)


def after() -> Volume:
    return flattened().without(Mask.empty(head().volume.grid, "nothing kept")).apply(head().volume)


@pytest.mark.parametrize("name", ["left", "right"])
def test_the_leaf_of_either_ear_goes(name: str) -> None:
    """At the height of the ear the outermost 8 mm of the head on that side are its leaf."""
    old, new = head().volume.array, after().array
    side = 1.0 if name == "left" else -1.0
    grid = head().volume.grid
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    heights = points[..., 2] - head().landmarks[f"ear_{name}"].point[2]
    near = around(name, 45.0) & (np.abs(heights) < 16.0)
    out = side * points[..., 0]
    tissue = near & (old > -300)
    leaf = tissue & (out > out[tissue].max() - 8.0)
    assert leaf.any()
    assert np.mean(new[leaf] < -700) > 0.85


def test_hollows_are_closed_and_the_middle_of_the_head_stays() -> None:
    old, new = head().volume.array, after().array
    changed = old != new
    closed = changed & (old < -250) & (new > old + 100)
    assert np.count_nonzero(closed) * head().volume.grid.voxel_ml < 10.0, "hollows are closed, no more"
    assert np.all(new[changed & ~closed] <= old[changed & ~closed] + 100), "tissue goes, none is made anew"
    grid = head().volume.grid
    x, y, z = np.moveaxis(frame().to_frame(grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))), -1, 0)
    assert not changed[np.abs(x) < 50.0 * frame().scale].any(), "canals end, and drums lie, farther in"
    assert not changed[y < 30.0 * frame().scale].any(), "the face is the method's"
    assert not changed[z > 60.0 * frame().scale].any()
    removed = changed & (old > -300) & (new < -700)
    assert 4.0 < np.count_nonzero(removed) * grid.voxel_ml < 45.0


def test_a_head_without_ears_in_view_has_none_taken() -> None:
    grid = head().volume.grid
    k = int(grid.to_index(head().landmarks["subnasale"].point - np.array([0.0, 0.0, 60.0]))[0])
    low = make.crop(head(), (slice(0, k), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
    found = flatten_ears(low.volume, next(head_windows(low.volume)).body, frame(), np.random.default_rng(3))
    assert found.change.count == 0


def test_the_same_seed_gives_the_same_ears() -> None:
    again = flatten_ears(head().volume, body(), frame(), np.random.default_rng(3))
    assert np.array_equal(again.fill_hu, flattened().fill_hu)
    assert np.array_equal(again.change.array, flattened().change.array)


@pytest.mark.parametrize("name", ["membrane", "eye_plane"])
def test_any_method_takes_them_along_within_its_bounds_and_what_is_kept_stays(name: str) -> None:
    kept = Mask(head().volume.grid, around("left", 25.0), "kept")
    scene = Scene(head().volume, body(), kept, head().landmarks, frame(), 5)
    (alone, none), (both, ears_ml) = propose(name, scene), propose(name, replace(scene, ears=True))
    assert none is None
    assert ears_ml is not None
    assert ears_ml > 5.0
    assert np.array_equal(alone.change.array, REGISTRY[name].propose(scene).change.array)
    assert both.change.count > alone.change.count + 1000
    assert not (alone.change.array & ~both.change.array).any()
    plan = both.without(kept)
    result = plan.apply(scene.scan)
    assert np.array_equal(result.array[kept.array], scene.scan.array[kept.array])
    verify(scene.scan, result, plan, frame(), bounds_of(name, ears=True))
    assert bounds_of(name, ears=False) == REGISTRY[name].bounds
