"""Landmarks from label maps: true millimetres on turned and cut heads, sides by position, silence where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.landmarks import SOURCES, Evidence, find_face
from fw_gear_hndeface.model import Label, LabelMap, Landmarks, View
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.labelled import STRUCTURES, label_map

EYES = {name: STRUCTURES[name] for name in ("Eye_L", "Eye_R")}


def seen(head: SyntheticHead, *maps: LabelMap) -> Landmarks:
    window = next(head_windows(head.volume))
    return SOURCES["segmentation"].locate(Evidence(window, (), maps or (label_map(head),)))


def plain() -> SyntheticHead:
    return make.phantom(7, plain=True)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(lambda: make.phantom(7), id="ugly"),
        pytest.param(plain, id="plain"),
        pytest.param(lambda: make.posed(30.0, 0.0, 0.0), id="chin raised"),
        pytest.param(lambda: make.posed(-20.0, 0.0, 0.0), id="chin lowered"),
        pytest.param(lambda: make.posed(0.0, 20.0, 15.0), id="turned and tilted"),
        pytest.param(make.with_shell, id="under a mask"),
    ],
)
def test_eyes_chin_and_nose_are_where_they_are(head: object) -> None:
    here = head()  # type: ignore[operator]
    found = seen(here)
    most = {"globe_left": 1.0, "globe_right": 1.0, "chin": 6.5, "nose_tip": 8.5, "nasion": 6.5}
    assert set(found) == set(most)
    for name, limit in most.items():
        assert np.linalg.norm(found[name].point - here.landmarks[name].point) < limit, name
        assert found[name].view is View.IN_VIEW


def test_left_is_taken_from_position_not_from_names() -> None:
    swapped = {"Eye_L": (1, "eye_right"), "Eye_R": (2, "eye_left")}
    found = seen(plain(), label_map(plain(), structures=swapped))
    for side in ("left", "right"):
        assert np.linalg.norm(found[f"globe_{side}"].point - plain().landmarks[f"globe_{side}"].point) < 1.0


def test_one_label_for_both_eyes_is_two_eyes() -> None:
    both = label_map(plain(), structures=EYES)
    array = both.array.copy()
    array[array == 2] = 1
    merged = replace(both, array=array, labels={1: Label(1, "eye balls", "globes", both.labels[1].kind)})
    assert set(seen(plain(), merged)) == {"globe_left", "globe_right"}


@pytest.mark.parametrize("lost", ["Eye_L", "Eye_R"])
def test_one_eye_alone_says_nothing(lost: str) -> None:
    one = {name: value for name, value in EYES.items() if name != lost}
    assert len(seen(plain(), label_map(plain(), structures=one))) == 0


def test_specks_of_a_network_do_not_move_the_jaw() -> None:
    clean = label_map(plain())
    array = clean.array.copy()
    array[2:5, 5:8, 50:53] = 3
    moved = seen(plain(), replace(clean, array=array))["chin"].point
    assert np.linalg.norm(moved - seen(plain())["chin"].point) < 1e-9


def test_a_splinter_of_a_jaw_has_no_chin() -> None:
    clean = label_map(plain())
    array = np.where(clean.array == 3, 0, clean.array).astype(np.uint16)
    where = np.argwhere(clean.array == 3)[:30]
    array[tuple(where.T)] = 3
    assert "chin" not in seen(plain(), replace(clean, array=array))


def test_eyes_at_the_cut_are_less_sure() -> None:
    whole, cut = seen(plain())["globe_left"], seen(make.cut(plain(), "eyes"))["globe_left"]
    assert cut.sigma_mm > 2.0 * whole.sigma_mm
    assert np.linalg.norm(cut.point - plain().landmarks["globe_left"].point) < 2.0 * cut.sigma_mm


def test_maps_of_a_network_are_another_source_s() -> None:
    assert len(seen(plain(), label_map(plain(), "totalsegmentator"))) == 0


def test_labels_alone_place_the_face_and_outrank_what_is_rendered() -> None:
    head = plain()
    evidence = Evidence(next(head_windows(head.volume)), (), (label_map(head),))
    alone, together = find_face(evidence, "segmentation"), find_face(evidence)
    assert alone is not None
    assert together is not None
    assert alone.is_whole
    assert together.landmarks["globe_left"].source == "segmentation"
    assert together.landmarks["lip_upper"].source == "rendered_face"
    assert together.findings == ()


def test_labels_of_another_head_are_a_finding_and_widen_the_zone() -> None:
    head = plain()
    evidence = Evidence(next(head_windows(head.volume)), (), (label_map(head),))
    here = find_face(evidence)
    shifted = label_map(head)
    grid = replace(
        shifted.grid, affine=shifted.grid.affine + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, -45.0], [0, 0, 0, 0]])
    )
    there = find_face(replace(evidence, labels=(replace(shifted, grid=grid),)))
    assert here is not None
    assert there is not None
    assert [finding.code for finding in there.findings] == ["landmarks_disagree"]
    assert there.landmarks["globe_left"].source != "segmentation"
    assert there.sigma_mm > 1.4 * here.sigma_mm
