"""What the default method does to a head of known millimetres: the face goes, the medicine stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.casework import Case, deface_case
from fw_gear_hndeface.methods import REGISTRY
from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.settings import Settings
from tests import phantom as make
from tests.chain import SEED, Look, defaced, no_stage, scene_of

SEEDS = (SEED, 6)
DRAWN = ("Eye_L", "Eye_R", "Parotid_L", "PTV70", "LN_Neck_IX_L")


@pytest.fixture(scope="module", params=SEEDS)
def look(request: pytest.FixtureRequest) -> Look:
    head, _, after = defaced(request.param)
    return Look(head, after)


def test_the_nose_tip_is_tissue_before_and_air_after(look: Look) -> None:
    tip = look.head.landmarks["nose_tip"].point
    for behind_mm in (4.0, 8.0):
        point = tip + np.array([0.0, behind_mm, 0.0])
        assert look.at(point, look.before) > -200
        assert look.at(point) < -950


def test_the_lips_are_no_longer_where_they_were(look: Look) -> None:
    moved = look.skin_mm(look.after) - look.skin_mm(look.before)
    for name in ("lip_upper", "lip_lower", "mouth_left", "mouth_right"):
        k, _, i = np.rint(look.before.grid.to_index(look.head.landmarks[name].point)).astype(int)
        assert np.abs(moved[k - 1 : k + 2, i - 1 : i + 2]).max() > 1.5, name


@pytest.mark.parametrize(
    "name",
    [
        "Brain", "BrainStem", "SpinalCord", "Bone_Mandible", "Teeth", "Parotid_L", "Parotid_R", "Glnd_Submand_L",
        "Glnd_Submand_R", "GTVp", "PTV70", "LN_Neck_II_L", "LN_Neck_IX_L", "OpticNrv_L", "OpticNrv_R", "Airway",
        "Cavity_Oral", "Sinus_Maxillary", "Sinus_Frontal",
    ],
)  # fmt: skip
def test_undrawn_anatomy_stays_voxel_for_voxel(look: Look, name: str) -> None:
    structure = look.head.structures[name].array
    assert structure.any()
    assert not (look.changed & structure).any()


def test_the_node_that_stays_lies_as_near_the_skin_as_nodes_do() -> None:
    head = make.phantom(SEED, plain=True)
    body, node = head.structures["BODY"], head.structures["LN_Neck_IX_L"].array
    depth = ndimage.distance_transform_edt(body.array, sampling=body.grid.spacing_mm)
    assert 4.0 < depth[node].min() < 12.0


def test_drawn_regions_are_kept_whole_although_the_eyes_lie_in_the_zone() -> None:
    head, done, after = defaced(SEED, *DRAWN)
    changed = head.volume.array != after.array
    for name in DRAWN:
        assert not (changed & head.structures[name].array).any(), name
    assert [cost.unchanged_percent for cost in done.rois] == [100.0] * len(DRAWN)
    for cost, name in zip(done.rois, DRAWN, strict=True):
        assert cost.volume_ml == pytest.approx(head.structures[name].volume_ml, rel=0.02)


def test_undrawn_eyes_lose_no_more_than_what_lies_under_the_lids(look: Look) -> None:
    for name in ("Eye_L", "Eye_R"):
        eye = look.head.structures[name].array
        behind = eye & (np.cumsum(eye, axis=1) > 3)  # the phantom's lids are 2 mm thick, its landmarks 6-9 mm off
        assert (look.changed & eye).sum() < 0.25 * eye.sum(), name
        assert (look.changed & behind).sum() < 0.05 * behind.sum(), name


def test_nothing_changes_behind_the_ears_above_the_brows_or_in_the_neck(look: Look) -> None:
    marks, points = look.head.landmarks, look.points(look.changed)
    ears = min(marks[f"ear_{side}"].point[1] for side in ("left", "right"))
    assert points[:, 1].max() < ears + 18.0
    occiput = look.before.grid.corners()[:, 1].max() - 60.0
    assert points[:, 1].max() < occiput
    assert points[:, 2].max() < marks["brow_left"].point[2] + 50.0
    assert points[:, 2].min() > marks["chin"].point[2] - 55.0


def test_volumes_are_those_of_a_face(look: Look) -> None:
    before, after = look.before.array > -300, look.after.array > -300
    voxel_ml = float(np.prod(look.before.grid.spacing_mm)) / 1000.0
    assert 2.0 < (before & ~after).sum() * voxel_ml < 60.0
    assert 20.0 < (~before & after).sum() * voxel_ml < 220.0
    assert look.changed.mean() < 0.06


def test_removed_tissue_is_air_and_added_tissue_is_like_the_cheeks(look: Look) -> None:
    front = look.front(look.after)
    k, j, i = np.nonzero(look.changed)
    values = look.after.array[look.changed].astype(float)
    air, tissue = values[j < front[k, i] - 1], values[j > front[k, i] + 1]
    assert air.mean() == pytest.approx(-1000, abs=12)
    assert air.min() >= -1024
    assert np.percentile(air, 98) < -900, "no film of the old skin"
    cheeks = look.before.array[look.head.structures["BODY"].array & (np.abs(look.before.array) < 200)]
    assert -140 < np.median(tissue) < 60
    assert 5.0 < tissue.std() < 1.5 * cheeks.std(), "grain like tissue, not a flat fill and not a wall of noise"
    assert (np.abs(tissue) < 250).mean() > 0.99


def test_the_new_skin_lies_millimetres_from_the_old_one_where_it_matters(look: Look) -> None:
    moved = np.abs(look.skin_mm(look.after) - look.skin_mm(look.before))[look.face_zone()]
    assert np.nanmedian(moved) > 3.0
    assert np.nanpercentile(moved, 90) > 8.0


def test_the_new_relief_does_not_follow_the_old_one(look: Look) -> None:
    zone = look.face_zone()
    old, new = (look.skin_mm(scan) for scan in (look.before, look.after))
    k, i = np.nonzero(zone)
    smooth = np.column_stack([np.ones(len(k)), k, i, k * i, k**2, i**2]).astype(float)
    fine = [relief[zone] - smooth @ np.linalg.lstsq(smooth, relief[zone], rcond=None)[0] for relief in (old, new)]
    assert np.std(fine[1]) < 0.75 * np.std(fine[0]), "the relief is flatter"
    assert abs(np.corrcoef(fine[0], fine[1])[0, 1]) < 0.6


def test_no_ghost_of_the_old_skin_is_left_inside_the_added_tissue(look: Look) -> None:
    old, new = look.front(look.before), look.front(look.after)
    k, i = np.nonzero(look.face_zone() & (old - new >= 4))
    assert len(k) > 100
    after = look.after.array.astype(float)

    def edge(offset: int) -> float:
        row = old[k, i] + offset
        return float(np.mean(np.abs(after[k, row, i] - after[k, row - 1, i])))

    neighbourhood = (edge(-2) + edge(-1)) / 2
    assert max(edge(0), edge(1)) < 1.5 * neighbourhood
    assert neighbourhood < 80, "the added tissue has the grain of tissue"


def test_no_bone_is_cut(look: Look) -> None:
    labels, _ = ndimage.label(look.before.array > 300)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    bone = sizes[labels] * float(np.prod(look.before.grid.spacing_mm)) > 1000.0
    assert bone.sum() > 10_000
    assert not (look.changed & bone).any()


def outer_air(array: np.ndarray) -> np.ndarray:
    """Air that a fly reaches from the front."""
    labels, _ = ndimage.label(array < -500)
    return np.asarray(labels == labels[array.shape[0] // 2, 0, array.shape[2] // 2])


def test_the_nostrils_are_closed() -> None:
    head, _, after = defaced(SEED)
    cavity = head.structures["Cavity_Nasal"].array
    before_open, after_open = ((outer_air(scan.array) & cavity).sum() for scan in (head.volume, after))
    assert before_open > 300, "the phantom's nose is open"
    assert after_open < 0.02 * before_open


def test_nothing_but_tissue_lies_just_behind_the_new_skin(look: Look) -> None:
    front = look.front(look.after)
    k, i = np.nonzero(look.face_zone())
    for step in (1, 2):
        behind = look.after.array[k, np.minimum(front[k, i] + step, look.after.array.shape[1] - 1), i]
        assert (behind < -300).mean() < 0.01 * step, f"{step} voxels behind the skin"


def test_a_mask_shell_is_cleared_and_the_skin_behind_it_leaves_no_edge() -> None:
    bare, shelled = make.phantom(SEED, plain=True), make.with_shell(SEED)
    done = deface_case(Case(shelled.volume, None, (), "CT"), Settings(), 11, no_stage)
    assert done is not None
    after = done.plan.apply(shelled.volume)
    look = Look(bare, after)
    shell = (shelled.volume.array > -700) & (bare.volume.array < -900) & look.face_zone()[:, None, :]
    assert shell.sum() > 1000
    still = shell & (after.array > -700) & (after.array == shelled.volume.array)
    assert still.sum() < 0.02 * shell.sum(), "a shell is a mould of the face"
    old, new = look.front(bare.volume), look.front(after)
    k, i = np.nonzero(look.face_zone() & (old - new >= 4))
    assert len(k) > 100
    assert (after.array[k, old[k, i] - 1, i] < -300).mean() < 0.05, "the gap between skin and shell is closed"


def test_a_kept_lump_on_the_nose_stays_and_everything_around_it_still_changes() -> None:
    head = make.phantom(SEED, plain=True)
    grid = head.volume.grid
    tip = head.landmarks["nose_tip"].point
    away = np.linalg.norm(grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)) - tip, axis=-1)
    kept = Mask(grid, (away < 7.0) & head.structures["BODY"].array, "a drawn target")
    scene = scene_of(head, kept)
    plan = REGISTRY["membrane"].propose(scene).without(kept)
    after = plan.apply(head.volume)
    assert kept.count > 20
    assert np.array_equal(after.array[kept.array], head.volume.array[kept.array])
    free = Look(head, scene_of(head).scan)
    other = REGISTRY["membrane"].propose(scene_of(head)).without(Mask.empty(grid, "nothing")).apply(free.before)
    assert (other.array[kept.array] != head.volume.array[kept.array]).mean() > 0.9, "without keep the nose would go"
    assert plan.change.count > 0.7 * (other.array != head.volume.array).sum()
