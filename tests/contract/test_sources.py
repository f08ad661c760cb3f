"""Contract of every source of landmarks: known names, its own signature, millimetres of doubt, and silence where nothing is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.landmarks import SOURCES, Evidence, find_face
from fw_gear_hndeface.model import Landmarks, Roi, RoiKind
from fw_gear_hndeface.ops.head import HeadScan, head_windows
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.vocabulary import LANDMARK_NAMES, LANDMARK_SOURCES
from tests import phantom as make
from tests.chain import SEED, drawn
from tests.labelled import label_map

EVERY = pytest.mark.parametrize("name", SOURCES)


@cache
def window() -> HeadScan:
    return next(head_windows(make.phantom(SEED, plain=True).volume))


@cache
def chest_window() -> HeadScan:
    return next(head_windows(make.chest()))


def eyes() -> tuple[Roi, ...]:
    head = make.phantom(SEED, plain=True)
    return tuple(drawn(head, name, RoiKind.LANDMARK, n + 1) for n, name in enumerate(("Eye_L", "Eye_R")))


def evidence() -> Evidence:
    """Everything that any source asks for."""
    head = make.phantom(SEED, plain=True)
    return Evidence(window(), eyes(), (label_map(head), label_map(head, "totalsegmentator")))


@cache
def answer(name: str) -> Landmarks:
    return SOURCES[name].locate(evidence())


def test_the_registry_the_vocabulary_and_the_setting_name_the_same_sources() -> None:
    assert tuple(SOURCES) == LANDMARK_SOURCES
    assert all(name == source.name for name, source in SOURCES.items())
    for name in SOURCES:
        assert Settings(landmarks=name).landmarks == name


@EVERY
def test_says_where_it_comes_from_and_what_is_missing(name: str) -> None:
    assert len(SOURCES[name].reference) > 8
    lacking = SOURCES[name].missing()
    assert lacking is None or "pip install" in lacking or "download_weights" in lacking


@EVERY
def test_finds_landmarks_with_known_names_in_the_head_with_its_own_signature(name: str) -> None:
    marks = answer(name)
    assert len(marks) >= 2
    assert set(marks) <= set(LANDMARK_NAMES)
    assert {mark.source for mark in marks.values()} == {name}
    assert all(0.5 < mark.sigma_mm < 30.0 for mark in marks.values())
    truth = make.phantom(SEED, plain=True).landmarks
    apart = [np.linalg.norm(mark.point - truth[mark_name].point) for mark_name, mark in marks.items()]
    assert np.median(apart) < 16.0


@EVERY
def test_left_is_the_patient_s_left(name: str) -> None:
    marks = answer(name)
    pairs = [base for base in ("globe", "mouth", "jaw") if f"{base}_left" in marks and f"{base}_right" in marks]
    assert pairs
    for base in pairs:
        assert marks[f"{base}_left"].point[0] > marks[f"{base}_right"].point[0] + 20.0


@EVERY
def test_answers_the_same_again_and_changes_nothing(name: str) -> None:
    before = window().volume.array.tobytes()
    again = SOURCES[name].locate(evidence())
    assert window().volume.array.tobytes() == before
    assert set(again) == set(answer(name))
    for mark_name, mark in again.items():
        assert np.array_equal(mark.point, answer(name)[mark_name].point)
        assert mark.sigma_mm == answer(name)[mark_name].sigma_mm


@EVERY
def test_a_chest_has_no_face(name: str) -> None:
    assert len(SOURCES[name].locate(Evidence(chest_window()))) == 0


@EVERY
def test_one_wanted_source_is_the_only_one_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for other, source in SOURCES.items():

        def locate(evidence: Evidence, other: str = other) -> Landmarks:
            asked.append(other)
            return Landmarks({})

        monkeypatch.setitem(SOURCES, other, type(source)(other, "", locate))
    find_face(Evidence(window()), name)
    assert asked == [name]
    asked.clear()
    find_face(Evidence(window()), "auto")
    assert sorted(asked) == sorted(SOURCES)
