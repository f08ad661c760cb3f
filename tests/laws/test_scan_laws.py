"""Laws of scans: how the array is stored, and how the head lies, does not decide which part of the patient changes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.casework import Case, locate
from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.methods import REGISTRY
from fw_gear_hndeface.model import Grid, Mask, Plan, Volume
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead, render_head
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from tests import phantom as make
from tests.chain import SEED, Bool, Float, scene_of

WAYS = [*make.TURNS, "sagittal"]
#: A pixel more or less in a picture moves a detected point by millimetres.
STEADY_MM = 6.0
MEMBRANE = REGISTRY["membrane"]


@cache
def plan_of(head: SyntheticHead, seed: int = 3) -> Plan:
    scene = scene_of(head, seed=seed)
    return MEMBRANE.propose(scene).without(scene.keep)


def same_places(head: SyntheticHead, array: Bool, points: Float) -> Bool:
    """Values of an array at patient positions, nearest voxel."""
    index = np.rint(head.volume.grid.to_index(points)).astype(int)
    inside = np.all((index >= 0) & (index < head.volume.grid.shape), axis=1)
    out = np.zeros(len(points), dtype=array.dtype)
    out[inside] = array[tuple(index[inside].T)]
    return out


@pytest.mark.parametrize("how", WAYS)
def test_an_array_stored_another_way_round_changes_the_same_patient_voxels(how: str) -> None:
    head = make.phantom(SEED)
    turned = make.turned(head, how)
    grid = head.volume.grid
    points = grid.to_patient(np.argwhere(np.ones(grid.shape, dtype=bool)))
    one, other = plan_of(head), plan_of(turned)
    changed, changed_too = (same_places(h, p.change.array, points) for h, p in ((head, one), (turned, other)))
    assert changed.sum() > 3000
    # the grain of the fill is drawn voxel by voxel: a few values happen to equal what was there
    assert (changed != changed_too).sum() < 0.04 * changed.sum()
    skin, skin_too = (
        same_places(h, p.apply(h.volume).array > -500, points)[changed] for h, p in ((head, one), (turned, other))
    )
    assert (skin != skin_too).mean() < 0.01


def test_a_tilted_gantry_changes_the_same_part_of_the_patient() -> None:
    straight = make.phantom(SEED, plain=True)
    tilted = render_head(HeadParameters.draw(SEED), make.ugly_grid((88, 101, 110), make.PLAIN_SPACING_MM))
    grid = straight.volume.grid
    was = straight.volume.array > -500
    now = plan_of(straight).apply(straight.volume).array > -500
    tissue = plan_of(tilted).apply(tilted.volume).array > -500
    for region, stays in ((was & ~now, False), (~was & now, True)):
        inner = ndimage.distance_transform_edt(region, sampling=grid.spacing_mm) > 2.5
        points = grid.to_patient(np.argwhere(inner))
        points = points[tilted.volume.grid.contains(points, -3.0)]
        assert len(points) > 100
        assert (same_places(tilted, tissue, points) == stays).mean() > 0.93, "the same tissue comes and goes"
    quiet = ndimage.binary_dilation(plan_of(straight).change.array, iterations=3)
    points = grid.to_patient(np.argwhere(~quiet))
    assert same_places(tilted, plan_of(tilted).change.array, points).mean() < 1e-3


def test_nothing_outside_the_plan_changes_and_the_plan_ends_in_front_of_the_ears() -> None:
    head = make.phantom(SEED)
    plan = plan_of(head)
    after = plan.apply(head.volume)
    assert np.array_equal(after.array != head.volume.array, plan.change.array & (after.array != head.volume.array))
    ear = max(head.landmarks[f"ear_{side}"].point[1] for side in ("left", "right"))
    points = head.volume.grid.to_patient(np.argwhere(plan.change.array))
    assert points[:, 1].max() < ear + 25.0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_surface() -> None:
    head = make.phantom(SEED)
    scans = []
    for seed in (3, 3, 4):
        scene = scene_of(head, seed=seed)
        scans.append(MEMBRANE.propose(scene).without(scene.keep).apply(head.volume).array)
    assert scans[0].tobytes() == scans[1].tobytes()
    voxel_ml = head.volume.grid.voxel_ml
    moved = ((scans[0] > -500) != (scans[2] > -500)).sum() * voxel_ml
    assert moved > 5.0, "another seed is another surface, not another grain"


@given(st.tuples(*[st.floats(-60, 60) for _ in range(3)]), st.floats(4, 14), st.integers(0, 9))
@settings(max_examples=6, deadline=None)
def test_whatever_is_kept_near_the_face_stays(offset: tuple[float, float, float], radius_mm: float, seed: int) -> None:
    head = make.phantom(SEED)
    grid = head.volume.grid
    centre = head.landmarks["subnasale"].point + np.array(offset)
    points = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1))
    keep = Mask(grid, np.linalg.norm(points - centre, axis=-1) < radius_mm, "ball")
    scene = scene_of(head, keep, seed=seed)
    plan = MEMBRANE.propose(scene).without(keep)
    after = plan.apply(head.volume)
    assert np.array_equal(after.array[keep.array], head.volume.array[keep.array])
    assert np.array_equal(after.array[~plan.change.array], head.volume.array[~plan.change.array])
    assert plan.change.count > 1000


def found(volume: Volume) -> Face:
    face = locate(Case(volume, None, (), "CT"), Settings())
    assert face is not None
    return face[1]


@cache
def still() -> Face:
    return found(make.phantom(SEED, plain=True).volume)


def moved(volume: Volume, rotation: Float, shift: Float) -> Volume:
    """The same voxels, somewhere else: only the affine moves."""
    affine = volume.grid.affine.copy()
    middle = volume.grid.corners().mean(axis=0)
    affine[:3, :3] = rotation @ affine[:3, :3]
    affine[:3, 3] = rotation @ (affine[:3, 3] - middle) + middle + shift
    return Volume(Grid(volume.grid.shape, affine, volume.grid.frame), volume.array)


def test_landmarks_go_where_the_head_goes() -> None:
    volume = make.phantom(SEED, plain=True).volume
    shift = np.array([131.7, -402.3, 88.9])
    face = found(moved(volume, np.eye(3), shift))
    apart = [np.linalg.norm(face.landmarks[name].point - mark.point - shift) for name, mark in still().landmarks.items()]
    assert max(apart) < STEADY_MM
    assert np.median(apart) < 2.0
    assert all(face.landmarks[name].view == mark.view for name, mark in still().landmarks.items())


@pytest.mark.parametrize("turn_deg", [(9.0, 0.0, 0.0), (0.0, -8.0, 0.0), (5.0, 0.0, -10.0)])
def test_landmarks_turn_with_the_head(turn_deg: tuple[float, float, float]) -> None:
    volume = make.phantom(SEED, plain=True).volume
    rotation = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    face = found(moved(volume, rotation, np.zeros(3)))
    middle = volume.grid.corners().mean(axis=0)
    apart = [
        np.linalg.norm(face.landmarks[name].point - (rotation @ (mark.point - middle) + middle))
        for name, mark in still().landmarks.items()
        if mark.source != "canonical"
    ]
    assert np.median(apart) < 5.0
    assert max(apart) < 16.0


@pytest.mark.parametrize("how", WAYS)
def test_left_stays_left_however_the_array_is_stored(how: str) -> None:
    face = found(make.turned(make.phantom(SEED, plain=True), how).volume)
    for name, mark in still().landmarks.items():
        assert np.linalg.norm(face.landmarks[name].point - mark.point) < STEADY_MM, name
    assert face.landmarks["globe_left"].point[0] > face.landmarks["globe_right"].point[0] + 40.0
