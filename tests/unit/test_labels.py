"""Label maps: what names mean, whether a map belongs to a scan, and what the rule keeps of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.label_tables import LABEL_KINDS, LABEL_MEANINGS, LABEL_TABLES, SOLID
from fw_gear_hndeface.model import Grid, Label, LabelMap, Mask, RoiKind
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.ops.labels import boxes_of, kept, label_of, misfit, sides_swapped
from fw_gear_hndeface.protect import RULES, Subject
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.chain import SEED, frame_of
from tests.labelled import STRUCTURES, label_map


def plain() -> SyntheticHead:
    return make.phantom(SEED, plain=True)


@pytest.mark.parametrize(
    ("name", "meaning", "kind"),
    [
        ("eye_left", "globe left", RoiKind.LANDMARK),
        ("OAR_Eye_PR", "globe right", RoiKind.LANDMARK),
        ("Eye balls", "globes", RoiKind.LANDMARK),
        ("eye_lens_right", "lens right", RoiKind.LANDMARK),
        ("OAR_Bone_Mandible", "mandible", RoiKind.ORGAN),
        ("Left-Cerebral-White-Matter", "brain", RoiKind.ORGAN),
        ("left hippocampus", "brain", RoiKind.ORGAN),
        ("parotid_gland_left", "parotid gland left", RoiKind.ORGAN),
        ("OAR_Parotid_L", "parotid gland left", RoiKind.ORGAN),
        ("head", "head", RoiKind.EXTERNAL),
        ("scalp", "scalp", RoiKind.EXTERNAL),
        ("face", "face", RoiKind.OTHER),
        ("nasal_cavity_left", "nasal cavity", RoiKind.OTHER),
        ("OAR_Lips", "lips", RoiKind.OTHER),
        ("masseter_left", "masseter left", RoiKind.ORGAN),
        ("PTV 70", "ptv 70", RoiKind.TARGET),
        ("something else", "something else", RoiKind.ORGAN),
    ],
)
def test_a_name_is_what_its_maker_meant(name: str, meaning: str, kind: RoiKind) -> None:
    label = label_of(4, name)
    assert (label.number, label.name, label.meaning, label.kind) == (4, name, meaning, kind)


def test_numbers_are_those_of_the_tools() -> None:
    assert LABEL_TABLES["totalseg_total"][90] == "brain"
    assert LABEL_TABLES["totalseg_total"][117] == "costal_cartilages"
    assert LABEL_TABLES["totalseg_head_glands_cavities"][9] == "submandibular_gland_right"
    assert LABEL_TABLES["totalseg_craniofacial_structures"][4] == "head"
    assert LABEL_TABLES["totalseg_headneck_bones_vessels"][3] == "hyoid"
    assert LABEL_TABLES["totalseg_head_muscles"][9] == "tongue"
    assert LABEL_TABLES["cads_all"][50] == "brain"
    assert LABEL_TABLES["cads_all"][132] == "OAR_Bone_Mandible"
    assert LABEL_TABLES["cads_all"][167] == "spinal_cord"
    assert LABEL_TABLES["cads_553"][18] == "face"
    assert LABEL_TABLES["synthseg"][41] == "right cerebral white matter"
    assert LABEL_TABLES["synthseg"][60] == "right ventral DC"


def test_the_tables_words_are_folded_and_their_kinds_exist() -> None:
    for word in (*LABEL_MEANINGS, *LABEL_MEANINGS.values(), *LABEL_KINDS, *SOLID):
        assert word == word.lower().replace("_", " ").strip()
    assert {RoiKind(kind) for kind in LABEL_KINDS.values()}
    for table in LABEL_TABLES.values():
        assert min(table) >= 1
        assert all(table.values())


def test_a_map_of_this_head_fits_and_one_beside_it_does_not() -> None:
    head = plain()
    labels = label_map(head)
    assert misfit(labels, head.volume) is None
    away = labels.grid.affine.copy()
    away[0, 3] += 900.0
    reason = misfit(replace(labels, grid=Grid(labels.grid.shape, away, "")), head.volume)
    assert reason is not None
    assert "none of its labels lies in the CT" in reason


def test_a_map_upside_down_is_told_by_its_solid_structures_in_air() -> None:
    head = plain()
    labels = label_map(head)
    turned = labels.grid.affine.copy()
    last = labels.grid.to_patient([0, labels.grid.shape[1] - 1, 0])
    turned[:3, 1], turned[:3, 3] = -turned[:3, 1], last + np.array([0.0, -95.0, 0.0])
    reason = misfit(replace(labels, grid=Grid(labels.grid.shape, turned, "")), head.volume)
    assert reason is not None
    assert "lie in tissue" in reason


def test_an_empty_map_fits_nothing() -> None:
    grid = plain().volume.grid
    assert misfit(LabelMap(grid, np.zeros(grid.shape, np.uint16), {}), plain().volume) == "it holds no label."


def test_swapped_sides_are_a_finding() -> None:
    assert sides_swapped(label_map(plain()), "NIfTI file 1") == ()
    swapped = {"Eye_L": (1, "eye_right"), "Eye_R": (2, "eye_left")}
    (finding,) = sides_swapped(label_map(plain(), structures=swapped), "NIfTI file 1")
    assert finding.code == "label_sides"


def test_numbers_must_be_unsigned_16_bit_on_their_grid() -> None:
    grid = plain().volume.grid
    with pytest.raises(ValueError, match="16 bit"):
        LabelMap(grid, np.zeros(grid.shape, np.int32), {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bit"):
        LabelMap(grid, np.zeros((2, 2, 2), np.uint16), {})


def subject(*maps: LabelMap, **margins: float) -> Subject:
    head = plain()
    scan = HeadScan(head.volume, head.structures["BODY"], head.volume)
    return Subject(head.volume, scan, head.landmarks, frame_of(head), (), labels=maps, **margins)


def rule_keeps(*maps: LabelMap, **margins: float) -> Mask:
    (rule,) = (rule for rule in RULES if rule.name == "labelled")
    return rule.keep(subject(*maps, **margins))


def test_labelled_organs_and_eyes_are_kept_voxel_for_voxel() -> None:
    whole = np.logical_or.reduce([plain().structures[name].array for name in STRUCTURES])
    assert np.array_equal(rule_keeps(label_map(plain())).array, whole)
    assert rule_keeps().count == 0


@pytest.mark.parametrize("kind", [RoiKind.EXTERNAL, RoiKind.SUPPORT, RoiKind.OTHER])
def test_outlines_airways_and_the_face_itself_are_not_kept(kind: RoiKind) -> None:
    labels = label_map(plain())
    loose = {n: Label(n, label.name, label.meaning, kind) for n, label in labels.labels.items()}
    assert rule_keeps(replace(labels, labels=loose)).count == 0
    assert kept(replace(labels, labels=loose)).labels == {}


def test_margins_of_targets_and_organs_apply() -> None:
    one = label_map(plain(), structures={"Parotid_L": (5, "parotid_gland_left")})
    bare = rule_keeps(one).count
    assert rule_keeps(one, organ_margin_mm=6.0).count > 1.5 * bare
    assert rule_keeps(one, target_margin_mm=6.0).count == bare
    target = replace(one, labels={5: Label(5, "GTV", "gtv", RoiKind.TARGET)})
    assert rule_keeps(target, target_margin_mm=6.0).count > 1.5 * bare


def test_a_map_on_another_grid_is_kept_where_it_lies() -> None:
    fine = make.phantom(SEED, plain=True)
    coarse = make.phantom(SEED)
    moved = rule_keeps(label_map(coarse)).array
    truth = np.logical_or.reduce([fine.structures[name].array for name in STRUCTURES])
    assert 2.0 * (moved & truth).sum() / (moved.sum() + truth.sum()) > 0.8


def test_boxes_hold_exactly_the_labels_that_occur() -> None:
    labels = label_map(plain())
    boxes = boxes_of(labels)
    assert set(boxes) == {n for n, _ in STRUCTURES.values()}
    for number, box in boxes.items():
        assert (labels.array[box] == number).sum() == (labels.array == number).sum()
