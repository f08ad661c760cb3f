"""Anchors for the parametric head: known millimetres, tissues, determinism, and the same head on different grids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Landmarks, View
from fw_gear_hndeface.synthetic.field import Capsule, Ellipsoid, Lattice, Waves, blend, carve
from fw_gear_hndeface.synthetic.head import Scene, SyntheticHead, axial_grid, make_head, render_head
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from fw_gear_hndeface.vocabulary import LANDMARK_NAMES
from tests.phantom import phantom, plain_grid, posed, ugly_grid, with_couch, with_shell

SEEDS = (0, 1, 2, 3, 4, 5, 7, 11)


def point(landmarks: Landmarks, name: str) -> np.ndarray:
    return landmarks[name].point


def hu(head: SyntheticHead, name: str) -> np.ndarray:
    return head.volume.array[head.structures[name].array]


def value_at(head: SyntheticHead, lps: np.ndarray) -> float:
    k, j, i = np.rint(head.volume.grid.to_index(lps)).astype(int)
    return float(head.volume.array[k, j, i])


@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_have_human_proportions(seed: int) -> None:
    marks = phantom(seed, plain=True).landmarks
    assert set(marks) == set(LANDMARK_NAMES)
    globes = marks.stack(("globe_left", "globe_right"))
    middle = globes.mean(axis=0)
    assert 56 <= np.linalg.norm(globes[0] - globes[1]) <= 70
    assert globes[0][0] > globes[1][0], "left is the patient's left: +x"
    assert 25 <= middle[1] - point(marks, "nose_tip")[1] <= 47
    assert 92 <= middle[2] - point(marks, "chin")[2] <= 137
    heights = [
        point(marks, n)[2] for n in ("brow_left", "globe_left", "nose_tip", "subnasale", "lip_upper", "lip_lower", "chin")
    ]
    assert all(a > b for a, b in pairwise(heights)), "brow to chin, from above to below"
    for name in ("brow", "canthus_outer", "ala", "mouth", "jaw", "ear"):
        assert point(marks, f"{name}_left")[0] > middle[0] + 8, name
        assert point(marks, f"{name}_right")[0] < middle[0] - 8, name
    assert point(marks, "ear_left")[1] > point(marks, "jaw_left")[1] > point(marks, "mouth_left")[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_surface_landmarks_lie_on_the_skin(seed: int) -> None:
    head = phantom(seed, plain=True)
    for name in ("nose_tip", "nasion", "lip_upper", "lip_lower", "chin", "brow_left", "canthus_outer_right"):
        mark = point(head.landmarks, name)
        front, inside = mark + np.array((0, -6, 0)), mark + np.array((0, 6, 0))
        if name == "chin":
            front, inside = mark + np.array((0, -5, -5)), mark + np.array((0, 5, 5))
        assert value_at(head, front) < -700, f"air in front of {name}"
        assert value_at(head, inside) > -250, f"tissue behind {name}"
    left = point(head.landmarks, "ala_left")
    assert value_at(head, left + np.array((6, 0, 0))) < -600 < value_at(head, left - np.array((3, 0, 0)))


@pytest.mark.parametrize("seed", SEEDS)
def test_nose_tip_is_the_most_anterior_skin_of_the_face(seed: int) -> None:
    head = phantom(seed, plain=True)
    body = np.argwhere(head.structures["BODY"].array)
    points = head.volume.grid.to_patient(body)
    first = points[points[:, 1].argmin()]
    assert np.linalg.norm(first - point(head.landmarks, "nose_tip")) < 7.5, "within three voxels: a nose is blunt"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("BODY", 3500, 6500), ("Brain", 950, 1750), ("BrainStem", 14, 28), ("Eye_L", 6.0, 8.5), ("Eye_R", 6.0, 8.5),
        ("Lens_L", 0.08, 0.4), ("Parotid_L", 8, 32), ("Glnd_Submand_R", 3, 10), ("Bone_Mandible", 30, 75),
        ("Cavity_Oral", 35, 75), ("LN_Neck_IX_L", 0.12, 0.5), ("LN_Neck_II_L", 1.0, 3.5), ("PTV70", 45, 85),
        ("Sinus_Maxillary", 10, 32), ("Airway", 20, 50),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [2, 7, 11])
def test_structures_have_plausible_volumes(seed: int, name: str, low: float, high: float) -> None:
    assert low <= phantom(seed, plain=True).structures[name].volume_ml <= high


def test_tissues_have_ct_values() -> None:
    head = phantom(7, plain=True)
    for name, low, high in [
        ("Brain", 30, 40), ("Eye_L", 5, 20), ("Parotid_R", -35, 10), ("Airway", -1010, -980), ("Sinus_Maxillary", -1010, -950),
        ("LN_Neck_II_L", 40, 75), ("Bone_Mandible", 350, 1200), ("Teeth", 1200, 1800), ("BrainStem", 25, 40),
    ]:  # fmt: skip
        assert low <= np.median(hu(head, name)) <= high, name
    outside = head.volume.array[~head.structures["BODY"].array]
    assert abs(np.median(outside) + 1000) < 5
    brain = hu(head, "Brain")
    assert 4 < np.std(brain[np.abs(brain - 35) < 60]) < 25, "texture, not a constant"
    assert head.volume.array.min() >= -1024


def test_fat_lies_under_the_skin_and_the_cheek_node_in_it() -> None:
    grid = axial_grid((1.9, 1.1, 1.0), origin_lps=Scene().origin_lps).crop((slice(58, 92), slice(0, 120), slice(50, 200)))
    head = render_head(HeadParameters.draw(7), grid, Scene(noise_hu=0), with_dose=False)
    node = np.argwhere(head.structures["LN_Neck_IX_L"].array)
    depths = []
    for k, j, i in node:
        air = np.flatnonzero(~head.structures["BODY"].array[k, :j, i])
        depths.append((j - air.max() - 0.5) * grid.spacing_mm[1])
    assert 4.0 <= min(depths) <= 8.0, "the near side of the node, along a ray from the front"
    ring = head.volume.array[np.ix_(np.unique(node[:, 0]), [node[:, 1].max() + 4], np.unique(node[:, 2]))]
    assert np.median(ring) < -30, "fat behind the node"


def test_every_organ_is_inside_the_body() -> None:
    head = phantom(7, plain=True)
    body = head.structures["BODY"]
    for name, mask in head.structures.items():
        assert (mask - body).count <= 0.02 * mask.count, name


def test_same_seed_same_bytes_other_seed_other_person() -> None:
    grid = ugly_grid()
    first, again, other = (render_head(HeadParameters.draw(s), grid, with_dose=False) for s in (3, 3, 4))
    assert first.volume.array.tobytes() == again.volume.array.tobytes()
    assert np.count_nonzero(first.structures["BODY"].array != other.structures["BODY"].array) * grid.voxel_ml > 100
    assert np.linalg.norm(point(first.landmarks, "nose_tip") - point(other.landmarks, "nose_tip")) > 1


def test_same_head_on_two_grids_agrees_in_patient_space() -> None:
    p, quiet = HeadParameters.draw(5), Scene(noise_hu=0)
    a = render_head(p, plain_grid((3.1, 1.93, 2.07)), quiet, with_dose=False)
    b = render_head(p, ugly_grid((97, 111, 121), (2.7, 2.2, 1.9)), quiet, with_dose=False)
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, a.volume.grid.shape, (20000, 3))
    index = b.volume.grid.to_index(a.volume.grid.to_patient(voxels))
    near = np.rint(index).astype(int)
    fits = np.all((near >= 0) & (near < b.volume.grid.shape), axis=1)
    voxels, near = voxels[fits], near[fits]
    assert len(near) > 12000
    for name in ("BODY", "Brain", "Bone_Mandible"):
        same = a.structures[name].array[tuple(voxels.T)] == b.structures[name].array[tuple(near.T)]
        assert same.mean() > 0.98, name
    assert a.structures["Brain"].volume_ml == pytest.approx(b.structures["Brain"].volume_ml, rel=0.01)
    for name in LANDMARK_NAMES:
        np.testing.assert_array_equal(a.landmarks[name].point, b.landmarks[name].point)


def test_same_voxel_on_two_grids_has_the_same_hu() -> None:
    p, quiet = HeadParameters.draw(5), Scene(noise_hu=0)
    whole = render_head(p, ugly_grid(), quiet, with_dose=False)
    box = (slice(11, 40), slice(3, 30), slice(20, 70))
    part = render_head(p, ugly_grid().crop(box), quiet, with_dose=False)
    off = np.abs(whole.volume.array[box].astype(int) - part.volume.array)
    assert np.percentile(off, 99.5) <= 2


def test_pose_turns_volume_and_landmarks_together() -> None:
    straight, up = phantom(7, plain=True), posed(20, 0, 0)
    globe, chin = point(up.landmarks, "globe_left"), point(up.landmarks, "chin")
    before = point(straight.landmarks, "chin") - point(straight.landmarks, "globe_left")
    turn = np.degrees(np.arctan2(*(chin - globe)[1:]) - np.arctan2(*before[1:]))
    assert turn == pytest.approx(20, abs=0.5), "the chin goes up and forward"
    assert (chin - globe)[1] < before[1]
    tip = point(up.landmarks, "nose_tip")
    assert value_at(up, tip + np.array((0, -5, 1))) < -600 < -250 < value_at(up, tip + np.array((0, 6, 0)))
    to_left = posed(0, 25, 0).landmarks
    assert point(to_left, "nose_tip")[0] > point(straight.landmarks, "nose_tip")[0] + 15
    rolled = posed(0, 0, 10).landmarks
    assert point(rolled, "globe_left")[2] < point(rolled, "globe_right")[2] - 8


def test_dose_covers_the_target_and_stops_at_the_skin() -> None:
    head = phantom(7, plain=True)
    assert head.dose is not None
    grid = head.dose.grid
    assert not grid.matches(head.volume.grid)
    index = np.stack(np.indices(grid.shape), axis=-1)
    near = np.rint(head.volume.grid.to_index(grid.to_patient(index))).astype(int)
    inside = np.all((near >= 0) & (near < head.volume.grid.shape), axis=-1)
    near = np.clip(near, 0, np.array(head.volume.grid.shape) - 1)
    target = head.structures["PTV70"].array[tuple(np.moveaxis(near, -1, 0))] & inside
    body = head.structures["BODY"].array[tuple(np.moveaxis(near, -1, 0))]
    assert np.percentile(head.dose.array[target], 5) > 60
    assert head.dose.array.max() <= 70.01
    assert np.percentile(head.dose.array[inside & ~body], 95) == 0
    brain = head.structures["Brain"].array[tuple(np.moveaxis(near, -1, 0))] & inside
    assert 2 < head.dose.array[brain].mean() < 25


def test_shell_and_couch_add_material_outside_the_body_only() -> None:
    plain, shell, couch = phantom(7, plain=True), with_shell(), with_couch()
    grid = plain.volume.grid
    body = plain.structures["BODY"].array
    for dressed in (shell, couch):
        changed = np.abs(dressed.volume.array.astype(int) - plain.volume.array) > 60
        assert np.count_nonzero(changed) > 2000
        assert np.count_nonzero(changed & body) < 0.02 * np.count_nonzero(changed) + 400
        np.testing.assert_array_equal(dressed.structures["BODY"].array, body)
    _, y, _ = np.moveaxis(grid.to_patient(np.argwhere(np.abs(shell.volume.array - plain.volume.array) > 200)), -1, 0)
    assert np.median(y) < point(plain.landmarks, "ear_left")[1]
    _, y, _ = np.moveaxis(grid.to_patient(np.argwhere(np.abs(couch.volume.array - plain.volume.array) > 200)), -1, 0)
    assert y.min() > point(plain.landmarks, "ear_left")[1]


def test_fields_of_view_and_cut_landmarks() -> None:
    low = make_head(7, spacing_mm=(4.0, 3.0, 3.0), field="brow_neck", with_dose=False)
    assert low.volume.grid.contains(point(low.landmarks, "globe_left"))
    top = low.volume.grid.to_patient((low.volume.grid.shape[0] - 1, 0, 0))[2]
    assert top - point(low.landmarks, "globe_left")[2] < 26
    small = make_head(7, shape=(40, 60, 60), spacing_mm=(2.5, 2.0, 2.0), with_dose=False)
    assert small.volume.array.shape == (40, 60, 60)
    assert {m.view for m in small.landmarks.values()} == {View.IN_VIEW, View.CUT}
    with pytest.raises(ValueError, match="field"):
        make_head(7, field="feet")


def test_grid_that_misses_the_head_is_all_air() -> None:
    affine = axial_grid((4.0, 4.0, 4.0)).affine.copy()
    affine[:3, 3] += 4000.0
    empty = render_head(HeadParameters(), Grid((5, 7, 9), affine), Scene(noise_hu=0), with_dose=False)
    assert set(np.unique(empty.volume.array)) == {-1000}
    assert all(mask.count == 0 for mask in empty.structures.values())


def test_shapes_and_blends() -> None:
    x, y, z = (np.array([v], dtype=np.float32) for v in (3.0, 0.0, 0.0))
    ball = Ellipsoid((0, 0, 0), (5, 5, 5))
    assert ball.distance(x, y, z)[0] == pytest.approx(-2, abs=1e-5)
    rod = Capsule((0, 0, 0), (10, 0, 0), 2, 4)
    assert rod.distance(x + 2, y + 5, z)[0] == pytest.approx(5 - 3, abs=1e-5)
    a, b = np.array([1.0, -1.0], dtype=np.float32), np.array([1.0, 9.0], dtype=np.float32)
    np.testing.assert_allclose(blend(a, b, 4.0), [0.0, -1.0])
    np.testing.assert_allclose(carve(np.array([-5.0]), np.array([-1.0]), 0.0), [1.0])


def test_waves_are_the_same_function_on_every_lattice() -> None:
    waves = Waves.draw(np.random.default_rng(4), 12.0, 2.0)
    affine = np.eye(4)
    affine[:3, :3] = [[0.2, 0.1, 3.0], [0.4, 2.0, 0.1], [4.0, 0.3, 0.2]]
    lattice = Lattice((9, 11, 13), affine)
    got = waves.on(lattice, (slice(2, 9), slice(0, 11), slice(5, 13)))
    place = affine[:3, :3] @ np.array([3, 4, 6])
    expected = waves.amplitude * np.cos(waves.vectors @ place + waves.phases).sum()
    assert got[1, 4, 1] == pytest.approx(expected, abs=1e-3)
    wide = waves.on(Lattice((40, 40, 40), np.diag([9.0, 9.0, 9.0, 1.0])), (slice(0, 40),) * 3)
    assert wide.std() == pytest.approx(2.0, rel=0.25)
