"""A run's own tries at undoing the change: what they see on an untouched and on a defaced head, and what that leads to."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.model import Mask, Volume
from fw_gear_hndeface.ops.render import Pose, Surface, render
from fw_gear_hndeface.privacy import attempts
from fw_gear_hndeface.privacy.attacks import ATTACKS, Attack
from fw_gear_hndeface.privacy.attempts import TRIED, Attempt, try_attacks
from fw_gear_hndeface.privacy.check import POSES, View, likenesses
from fw_gear_hndeface.privacy.match import Looks, Match
from fw_gear_hndeface.privacy.views import face_surface
from tests import phantom as make
from tests.chain import SEED, defaced, frame_of

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice")

Found = dict[str, Attempt]


@cache
def original() -> tuple[View, ...]:
    head = make.phantom(SEED, plain=True)
    return tuple(likenesses(face_surface(head.volume, [head.structures["BODY"]], frame_of(head), -300.0)))


@cache
def on(scan: str) -> Found:
    """What is found in the head as it was, as it is released, and as it is released when no face was ever seen in it."""
    head = make.phantom(SEED, plain=True)
    _, done, after = defaced()
    known = () if scan == "unseen" else original()
    volume, masks = (head.volume, []) if scan == "untouched" else (after, [done.plan.change])
    tried = try_attacks(volume, [head.structures["BODY"], *masks], frame_of(head), known)
    return {one.attack: one for one in tried}


def best(share: float, rank: int = 1) -> Match:
    return Match(1, 1, 0.5, 0.3, 0.3, share, rank, 61)


def guess(match: Match | None) -> Attempt:
    return Attempt("smoothing", "Gaussian", False, np.zeros((4, 3), np.uint8), 0.5, match)


@pytest.mark.slow
def test_every_attack_but_the_plain_skin_has_one_picture_and_one_that_finds_nothing_has_none() -> None:
    assert {attack.name for attack in TRIED} == set(ATTACKS) - {"skin"}
    found = on("defaced")
    assert set(found) == {attack.name for attack in TRIED} - {"mask_shell"}, "this head wears no mask"
    for one in found.values():
        rows, columns = one.grey.shape
        assert 150 < rows < 330, "a head at 1 mm per pixel"
        assert 100 < columns < 260
        assert one.grey.std() > 20, "something is to be seen"


def test_an_untouched_head_is_matched_through_attacks_that_leave_the_skin_where_it_was() -> None:
    found = on("untouched")
    assert found["smoothing"].is_matched
    assert found["smoothing"].score > 0
    assert found["smoothing"].match is not None
    assert found["smoothing"].match.views == len([face for _, face in original() if face is not None]), "seen in all views"


def test_a_defaced_head_is_not_matched() -> None:
    assert [one.attack for one in on("defaced").values() if one.is_matched] == []
    assert all(one.match is not None for one in on("defaced").values() if not one.inner)


def test_what_stays_by_design_is_shown_and_not_compared() -> None:
    inner = {name: one for name, one in on("untouched").items() if one.inner}
    assert set(inner) == {"muscle", "bone"}
    for one in inner.values():
        assert one.match is None
        assert not one.is_matched


def test_without_a_face_in_the_original_there_is_nothing_to_match() -> None:
    assert all(one.match is None and not one.is_matched for one in on("unseen").values())
    assert {name: one.score for name, one in on("unseen").items() if one.score > 0} == {
        name: one.score for name, one in on("defaced").items() if one.score > 0
    }


@pytest.mark.parametrize(
    ("match", "matched"),
    [(None, False), (best(0.009), True), (best(0.011), False), (best(0.0, rank=2), False), (best(math.nan), False)],
)
def test_a_match_is_nearest_of_all_and_nearer_than_many_tries_come_by_chance(match: Match | None, matched: bool) -> None:
    assert guess(match).is_matched is matched


def test_what_seems_matched_in_one_view_is_looked_at_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def elsewhere(surface: Surface, guide: object) -> Looks:
        asked.append(len(surface.points))
        return Looks(np.full((len(POSES), 128), 9.0), 0, math.nan)

    monkeypatch.setattr(attempts, "look_at", elsewhere)
    head = make.phantom(SEED, plain=True)
    smoothing = [ATTACKS["smoothing"]]
    (one,) = try_attacks(head.volume, [head.structures["BODY"]], frame_of(head), original(), smoothing)
    assert len(asked) == 1
    assert not one.is_matched, "the other views had the last word"
    _, done, after = defaced()
    try_attacks(after, [head.structures["BODY"], done.plan.change], frame_of(head), original(), smoothing)
    assert len(asked) == 1, "what is far in one view is not looked at again"


def test_an_attacker_who_sees_no_face_looks_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "find_face", lambda picture: None)
    head = make.phantom(SEED, plain=True)
    (one,) = try_attacks(head.volume, [head.structures["BODY"]], frame_of(head), original(), [ATTACKS["smoothing"]])
    assert math.isnan(one.score)
    assert one.match is not None
    assert one.match.distance < 0.35, "it is still the same head"


def test_an_attack_that_answers_with_nothing_solid_has_no_picture() -> None:
    def air(exposed):  # type: ignore[no-untyped-def]
        yield attempts_guess(exposed)

    def attempts_guess(exposed):  # type: ignore[no-untyped-def]
        skin = next(ATTACKS["smoothing"].guesses(exposed))
        return replace(skin, field=np.full_like(skin.field, -1000.0))

    head = make.phantom(SEED, plain=True)
    nothing = Attack("nothing", "none", lambda exposed: iter(()))
    empty = Attack("empty", "none", air)
    assert try_attacks(head.volume, [head.structures["BODY"]], frame_of(head), original(), [nothing, empty]) == ()


def test_the_picture_is_seen_from_the_front_and_shows_the_attacks_own_surface() -> None:
    found = on("defaced")
    width = {name: int(np.ptp(np.flatnonzero((one.grey > 0).any(axis=0)))) for name, one in found.items()}
    assert width["bone"] < width["muscle"] <= width["smoothing"] < width["regrowing"]
    everything = Mask(defaced()[2].grid, np.ones(defaced()[2].grid.shape, np.bool_), "all")
    front = render(face_surface(defaced()[2], [everything], frame_of(defaced()[0]), -300.0), Pose(POSES[1].pitch_deg))
    assert abs(front.grey.shape[1] - found["smoothing"].grey.shape[1]) < 25


def test_measures_are_plain_and_tell_what_was_not_compared() -> None:
    told = guess(best(0.25)).measures()
    assert told == {
        "attack": "smoothing", "surface": "Gaussian", "inner": False, "matched": False,
        "detector_score": 0.5, "distance": 0.3, "stranger_share": 0.25,
    }  # fmt: skip
    unseen = replace(guess(None), score=math.nan).measures()
    assert (unseen["detector_score"], unseen["distance"], unseen["stranger_share"]) == (None, None, None)


def test_slices_are_left_out_and_pixels_are_not() -> None:
    head = make.phantom(SEED, plain=True)
    grid = head.volume.grid
    thin = attempts._thinned(head.volume, grid)
    every = round(float(thin.grid.spacing_mm[0] / grid.spacing_mm[0]))
    assert every == max(int(attempts.THIN_MM / grid.spacing_mm[0]), 1)
    assert thin.array.shape[1:] == head.volume.array.shape[1:]
    np.testing.assert_array_equal(thin.array, head.volume.array[::every])
    last = np.array([thin.array.shape[0] - 1, 3, 5])
    np.testing.assert_allclose(thin.grid.to_patient(last), grid.to_patient(last * np.array([every, 1, 1])))
    assert isinstance(thin, Volume)
