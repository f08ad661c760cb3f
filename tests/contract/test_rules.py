"""Contract of every rule of protection: a mask on the subject's grid, the same every time, and the medicine inside it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods import REGISTRY
from fw_gear_hndeface.model import Landmark, Landmarks, Roi, RoiKind, View
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.protect import RULES, Rule, Subject, keep
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.chain import SEED, drawn, frame_of

EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@cache
def subject(plain: bool = True) -> Subject:
    """A head with nothing drawn on it."""
    return subject_of(make.phantom(SEED, plain=plain))


def subject_of(head: SyntheticHead, *rois: Roi) -> Subject:
    scan = HeadScan(head.volume, head.structures["BODY"], head.volume)
    return Subject(head.volume, scan, head.landmarks, frame_of(head), rois)


def head() -> SyntheticHead:
    return make.phantom(SEED, plain=True)


def named(name: str) -> Rule:
    (rule,) = (rule for rule in RULES if rule.name == name)
    return rule


def test_names_are_unique_and_methods_name_rules_that_exist() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert {"drawn", "labelled", "globes", "bone", "depth"} <= set(names)
    for method in REGISTRY.values():
        assert method.rules is None or set(method.rules) <= set(names), method.name
        given = {"drawn", "labelled"}
        assert method.rules is None or given <= set(method.rules), f"{method.name} must keep what was drawn or labelled"


@EVERY
@pytest.mark.parametrize("plain", [True, False])
def test_answers_on_the_subject_s_grid_the_same_every_time(rule: Rule, plain: bool) -> None:
    asked = subject(plain)
    before = asked.near.array.tobytes()
    one, two = rule.keep(asked), rule.keep(asked)
    asked.grid.require_match(one.grid)
    assert one.array.dtype == np.bool_
    assert one.name
    assert np.array_equal(one.array, two.array)
    assert asked.near.array.tobytes() == before
    assert rule.reference


@EVERY
def test_answers_in_a_part_of_the_scan_as_in_the_whole(rule: Rule) -> None:
    whole = subject()
    box = (slice(20, 90), slice(0, 100), slice(15, 110))
    part = rule.keep(replace(whole, near=whole.near.crop(box)))
    expected = rule.keep(whole).array[box]
    # bone may lose small parts that are cut off from the skull by the box
    assert (part.array != expected).mean() < 0.002


def test_all_rules_together_are_their_union_and_some_are_some() -> None:
    asked = subject_of(head(), drawn(head(), "PTV70"))
    union = np.logical_or.reduce([rule.keep(asked).array for rule in RULES])
    assert np.array_equal(keep(asked).array, union)
    assert np.array_equal(keep(asked, ("drawn",)).array, named("drawn").keep(asked).array)
    assert keep(asked, ()).count == 0
    for rule in RULES:
        assert rule.name in keep(asked).name


@pytest.mark.parametrize("kind", [RoiKind.TARGET, RoiKind.ORGAN, RoiKind.NODE, RoiKind.LANDMARK])
def test_drawn_medicine_is_kept_voxel_for_voxel(kind: RoiKind) -> None:
    roi = drawn(head(), "LN_Neck_IX_L", kind)
    assert np.array_equal(named("drawn").keep(subject_of(head(), roi)).array, head().structures["LN_Neck_IX_L"].array)


@pytest.mark.parametrize("kind", [RoiKind.EXTERNAL, RoiKind.SUPPORT, RoiKind.OTHER])
def test_outlines_and_helpers_protect_nothing(kind: RoiKind) -> None:
    assert named("drawn").keep(subject_of(head(), drawn(head(), "BODY", kind))).count == 0


def test_margins_grow_targets_and_organs_apart() -> None:
    grid = head().volume.grid
    node = head().structures["LN_Neck_IX_L"].array
    away = ndimage.distance_transform_edt(~node, sampling=grid.spacing_mm)
    for kind, target_mm, organ_mm in ((RoiKind.TARGET, 7.0, 0.0), (RoiKind.ORGAN, 0.0, 7.0), (RoiKind.NODE, 0.0, 7.0)):
        asked = subject_of(head(), drawn(head(), "LN_Neck_IX_L", kind))
        grown = named("drawn").keep(replace(asked, target_margin_mm=target_mm, organ_margin_mm=organ_mm))
        assert np.array_equal(grown.array, away <= 7.0), kind
        other = named("drawn").keep(replace(asked, target_margin_mm=organ_mm, organ_margin_mm=target_mm))
        assert np.array_equal(other.array, node), kind


def test_globes_are_kept_whole_where_their_centres_are_known() -> None:
    kept = named("globes").keep(subject()).array
    for name in ("Eye_L", "Eye_R"):
        eye = head().structures[name].array
        assert (kept & eye).sum() > 0.98 * eye.sum(), name
    assert kept.sum() * head().volume.grid.voxel_ml < 2 * 9.0, "two globes, not two orbits"


@pytest.mark.parametrize(("sigma_mm", "left"), [(3.0, True), (20.0, False)])
def test_a_globe_that_is_placed_badly_protects_nothing(sigma_mm: float, left: bool) -> None:
    marks = Landmarks({n: Landmark(m.point, sigma_mm, "t", View.IN_VIEW) for n, m in head().landmarks.items()})
    assert bool(named("globes").keep(replace(subject(), landmarks=marks)).count) is left


def test_no_landmarks_and_no_rois_are_no_error() -> None:
    bare = replace(subject(), landmarks=Landmarks({}))
    assert named("globes").keep(bare).count == 0
    assert named("drawn").keep(bare).count == 0


def test_jaw_and_teeth_are_bone_and_a_wire_is_not() -> None:
    array = head().volume.array.copy()
    array[60, 5, 20:40] = 3000
    wired = replace(subject(), near=type(head().volume)(head().volume.grid, array))
    kept = named("bone").keep(wired).array
    assert not kept[60, 5].any()
    bright = head().volume.array > 400
    for name in ("Bone_Mandible", "Teeth"):
        hard = head().structures[name].array & bright
        assert hard.any()
        assert kept[hard].mean() > 0.97, name
    assert head().volume.array[kept].min() > 200


def test_deep_tissue_is_kept_and_skin_is_not() -> None:
    kept = named("depth").keep(subject()).array
    grid = head().volume.grid
    body = ndimage.binary_fill_holes(head().structures["BODY"].array)
    depth = ndimage.distance_transform_edt(body, sampling=grid.spacing_mm)
    tissue = head().volume.array > -150
    assert kept[(depth > 16.0) & tissue].mean() > 0.98
    assert kept[(depth < 9.0)].mean() < 0.01
    assert not kept[head().volume.array < -400].any(), "air may be closed"
