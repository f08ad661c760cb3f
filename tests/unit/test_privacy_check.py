"""Nearer to the original than strangers are? An untouched head must fail, a stranger and a defaced head must pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.model import Mask, Volume
from fw_gear_hndeface.ops.render import Surface
from fw_gear_hndeface.privacy import check
from fw_gear_hndeface.privacy.check import POSES, Assessment, View, assess, gallery, likenesses, shape_match, strangers
from fw_gear_hndeface.privacy.slopes import ShapeMatch
from fw_gear_hndeface.privacy.views import Skin, face_skin, face_surface
from tests import phantom as make
from tests.chain import SEED, defaced, frame_of


def surface_of(seed: int = SEED, scan: Volume | None = None) -> Surface:
    head = make.phantom(seed, plain=True)
    return face_surface(scan or head.volume, [head.structures["BODY"]], frame_of(head), -300.0)


@cache
def original() -> tuple[View, ...]:
    return tuple(likenesses(surface_of()))


def test_the_gallery_holds_fifty_strangers_in_the_views_that_are_asked_for() -> None:
    heads, views, size = gallery().shape
    assert heads >= 50
    assert views == len(POSES) >= 5
    assert size == 128
    seen = np.isfinite(gallery()).all(axis=2)
    assert seen.mean() > 0.5
    assert seen.any(axis=1).all(), "every head shows a face somewhere"
    flat = gallery()[seen]
    assert len(np.unique(np.round(flat, 5), axis=0)) == len(flat), "no head twice"


def test_the_views_of_the_original_show_faces() -> None:
    assert len(original()) == len(POSES)
    assert sum(face is not None for _, face in original()) >= 3


def test_an_untouched_head_fails() -> None:
    result = assess(original(), surface_of())
    assert result.views >= 3
    assert result.own_distance == 0.0
    assert result.stranger_share == 0.0
    assert not result.passed
    assert not result.is_clear
    assert result.score_after == result.score_before


def test_a_noisy_copy_fails() -> None:
    noisy = make.with_noise(make.phantom(SEED, plain=True), 25.0).volume
    result = assess(original(), surface_of(scan=noisy))
    assert not result.passed
    assert result.own_distance < 0.4


def test_a_stranger_passes() -> None:
    result = assess(original(), surface_of(6))
    assert result.passed
    assert result.stranger_share > 0.1
    assert result.nearest_distance <= result.own_distance


def test_a_defaced_head_passes() -> None:
    head, done, after = defaced()
    surface = face_surface(after, [head.structures["BODY"], done.plan.change], frame_of(head), -300.0)
    result = assess(original(), surface)
    assert result.passed
    assert result.own_distance > 0.45


def test_every_view_of_the_result_is_told_with_its_picture_and_score() -> None:
    stranger = surface_of(6)
    result = assess(original(), stranger)
    expected = likenesses(stranger)
    assert [sight.pose for sight in result.sights] == list(POSES)
    assert sum(sight.face_seen for sight in result.sights) >= result.seen_after
    for sight, (picture, face), (_, before) in zip(result.sights, expected, original(), strict=True):
        assert np.array_equal(sight.grey, picture.grey), "the defaced head is pictured, not the original"
        assert sight.face_seen == (face is not None)
        assert np.isnan(sight.distance) == (before is None)
    distances = [sight.distance for sight in result.sights if not np.isnan(sight.distance)]
    assert np.mean(distances) == pytest.approx(result.own_distance)
    told = result.measures()["sights"][0]
    assert (told["pitch_deg"], told["yaw_deg"]) == (-20.0, -22.0)
    assert told["face_seen"] is result.sights[0].face_seen


def test_where_no_face_was_there_is_nothing_to_match() -> None:
    blind = [(picture, None) for picture, _ in original()]
    result = assess(blind, surface_of())
    assert (result.views, result.seen_after) == (0, 0)
    assert result.passed
    assert result.is_clear
    assert np.isnan(result.own_distance)
    assert np.isnan(result.stranger_share)


def test_where_no_face_is_found_any_more_the_old_place_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    known = original()
    monkeypatch.setattr(check, "find_face", lambda grey: None)
    result = assess(known, surface_of())
    assert result.seen_after == 0
    assert np.isnan(result.score_after)
    assert result.own_distance < 0.05, "an undetected but untouched face is still the patient's"
    assert not result.passed


def fake_gallery(points: Sequence[Sequence[float]]) -> np.ndarray:
    """Heads on a line, one number per view."""
    heads = np.zeros((len(points), len(POSES), 128), dtype=np.float32)
    heads[:, :, 0] = np.array(points)
    return heads


def test_strangers_are_all_pairs_over_the_views_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    line = np.array([0.0, 1.0, 3.0])[:, None] * np.ones(len(POSES))
    line[1, 2] = np.nan
    monkeypatch.setattr(check, "gallery", lambda: fake_gallery(line))
    assert strangers([0, 1]).tolist() == [1.0, 2.0, 3.0]
    assert strangers([2]).tolist() == [3.0], "pairs without a common view say nothing"
    assert strangers([0, 1, 2]).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("share", "views", "passed", "clear"), [
    (0.0, 6, False, False), (0.049, 6, False, False), (0.05, 6, True, False), (0.24, 1, True, False), (0.25, 6, True, True),
    (np.nan, 0, True, True), (np.nan, 3, False, False),
])  # fmt: skip
def test_the_share_of_strangers_decides(share: float, views: int, passed: bool, clear: bool) -> None:
    result = Assessment(views, 0, 0.5, 0.5, share, 1.0, np.nan)
    assert (result.passed, result.is_clear) == (passed, clear)


def test_measures_are_plain_json_without_infinities() -> None:
    told = Assessment(0, 0, np.nan, np.nan, np.nan, np.nan, np.nan).measures()
    assert json.loads(json.dumps(told, allow_nan=False))["own_distance"] is None
    told = Assessment(6, 2, np.float64(0.61234567), 0.5, 0.5, 1.0, -0.1).measures()  # type: ignore[arg-type]
    assert told["own_distance"] == 0.6123
    assert told["gallery"] >= 50
    assert (told["views"], told["views_with_a_face_after"], told["passed"]) == (6, 2, True)
    assert told["required_share"] == 0.05


def test_a_gallery_made_for_other_views_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    check._gallery.cache_clear()
    monkeypatch.setattr(check, "POSES", POSES[::-1])
    with pytest.raises(ValueError, match="other views"):
        gallery()
    check._gallery.cache_clear()


def test_the_original_has_its_own_shape_and_a_flat_face_has_not() -> None:
    head = make.phantom(plain=True)
    frame = frame_of(head)
    before = face_skin(head.volume, [head.structures["BODY"]], frame, -300.0)
    told = shape_match(before, before)
    assert told is not None
    assert told.is_match()
    points = head.volume.grid.to_patient(np.stack(np.indices(head.volume.grid.shape), axis=-1))
    ahead = points[..., 1] - head.landmarks["globe_left"].point[1]
    wall = np.where(ahead < -45, -1000, np.where(ahead < 30, 40, head.volume.array)).astype(np.int16)
    flat = face_skin(Volume(head.volume.grid, wall), [Mask(head.volume.grid, wall > -300, "wall")], frame, -300.0)
    found = shape_match(before, flat)
    assert found is not None
    assert not found.is_match()
    assert shape_match(before, Skin(flat.surface, None)) is None


def test_a_matched_shape_fails_whatever_the_recogniser_says() -> None:
    shape = ShapeMatch(0.8, 4.0, 1, 61)
    result = replace(Assessment(6, 0, 0.9, 0.9, 0.9, 1.0, np.nan), shape=shape)
    assert not result.passed
    assert not result.is_clear
    assert result.measures()["shape"] == {"likeness": 0.8, "z": 4.0, "rank": 1, "of": 61, "beyond": None, "matched": True}
    blind = replace(Assessment(0, 0, np.nan, np.nan, np.nan, np.nan, np.nan), shape=shape)
    assert not blind.passed
    assert result.merit < replace(result, shape=None, stranger_share=0.1).merit
