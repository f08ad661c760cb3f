"""The battery finds what was planted: the face, a carved, blurred or walled-in one, a mask's mould; nothing in a flat head."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.model import Landmarks, Mask, View, Volume
from fw_gear_hndeface.ops import parts
from fw_gear_hndeface.ops.frame import fit_frame
from fw_gear_hndeface.ops.render import Picture
from fw_gear_hndeface.privacy import shape
from fw_gear_hndeface.privacy.attacks import ATTACKS, Exposed, Guess, expose, skin_guess
from fw_gear_hndeface.privacy.battery import Exposure, Original, remember, run_battery
from fw_gear_hndeface.privacy.match import Looks, Match, distances, moved_box, rank_of
from fw_gear_hndeface.privacy.shape import FaceSign, SurfaceError, surface_error
from fw_gear_hndeface.privacy.slopes import ShapeMatch
from tests import phantom as make

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice")


@cache
def body() -> np.ndarray:
    """The head's voxels: everything but the air around it."""
    return ndimage.binary_fill_holes(make.phantom(plain=True).volume.array > -300)


@cache
def solid() -> np.ndarray:
    """The head with its airways closed, so that a test of the skin does not open the nose."""
    grown = ndimage.distance_transform_edt(~body(), sampling=make.PLAIN_SPACING_MM) <= 8
    return body() | (ndimage.distance_transform_edt(grown, sampling=make.PLAIN_SPACING_MM) > 8)


def released(change) -> Exposed:  # type: ignore[no-untyped-def]
    """The phantom's head after a change of its array, as an attacker has it."""
    head = make.phantom(plain=True)
    grid = head.volume.grid
    array = change(head.volume.array.astype(np.float32))
    near = ndimage.binary_dilation(body() | (array > -300), iterations=2)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    return expose(Volume(grid, np.rint(array).astype(np.int16)), [Mask(grid, near, "near")], frame)


@cache
def exposed() -> Exposed:
    return released(lambda hu: hu)


@cache
def original() -> Original:
    return remember(exposed(), make.phantom(plain=True).landmarks)


def distance_mm(inside: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(inside, sampling=make.PLAIN_SPACING_MM)


def recovered(attack: str, head: Exposed) -> float:
    """The best that the guesses of one attack tell of the face."""
    errors = [surface_error(guess.relief(), original().relief, original().zone) for guess in ATTACKS[attack].guesses(head)]
    return max((error.recovered for error in errors if error is not None), default=-np.inf)


def flattened(hu: np.ndarray) -> np.ndarray:
    """The head cut off well behind the face and filled up to a flat wall: nothing of a face in front."""
    head = make.phantom(plain=True)
    points = head.volume.grid.to_patient(np.stack(np.indices(hu.shape), axis=-1))
    forward = points[..., 1] - head.landmarks["globe_left"].point[1]
    level = np.abs(points[..., 2] - head.landmarks["nose_tip"].point[2]) < 90
    wide = np.abs(points[..., 0] - head.landmarks["nose_tip"].point[0]) < 65
    hu = np.where(level & wide & (forward > -35) & (forward < 30), 20.0, hu)
    return np.where(forward <= -35, -1000.0, hu)


def test_the_untouched_head_shows_surface_identity_and_face() -> None:
    found = run_battery(exposed(), original(), [ATTACKS["skin"]])
    assert found[0].shows == ("surface", "eyes", "nose", "mouth", "identity", "shape", "face")
    assert found[0].match is not None
    assert found[0].match.rank == 1
    assert found[0].match.distance < 0.05
    assert found[0].error is not None
    assert found[0].error.within_2mm_percent == 100.0


def test_without_the_original_the_untouched_head_still_is_a_face() -> None:
    found = run_battery(exposed(), None, [ATTACKS["skin"]])
    assert found[0].shows == ("face",)
    assert found[0].error is None
    assert found[0].match is None


def test_a_flat_head_shows_nothing() -> None:
    found = run_battery(released(flattened), original(), [ATTACKS["skin"], ATTACKS["smoothing"], ATTACKS["regrowing"]])
    assert {one.shows for one in found} == {()}
    assert found[0].error is not None
    assert found[0].error.recovered < 0.5


def test_a_wall_around_the_head_is_taken_off_again() -> None:
    away = distance_mm(~body())
    rng = np.random.default_rng(3)
    walled = released(lambda hu: np.where((away > 0) & (away < 12), rng.uniform(-125, 50, hu.shape), hu))
    assert recovered("skin", walled) < 0.6
    assert recovered("shrinking", walled) > 0.75


def test_a_shell_taken_off_is_grown_again() -> None:
    depth = distance_mm(solid())
    carved = released(lambda hu: np.where(solid() & (depth < 8), -1000.0, np.where(solid(), 40.0, hu)))
    assert recovered("regrowing", carved) > 0.8
    assert recovered("regrowing", carved) > recovered("skin", carved) + 0.1


def test_random_tissue_is_told_from_tissue() -> None:
    depth, away = distance_mm(solid()), distance_mm(~solid())
    rng = np.random.default_rng(4)

    def noise(hu: np.ndarray) -> np.ndarray:
        calm = np.where(solid(), 40.0 + rng.normal(0, 5, hu.shape), hu)
        return np.where((depth < 5) & (away < 40), rng.uniform(-125, 50, hu.shape), calm)

    head = released(noise)
    assert recovered("fill_texture", head) > 0.75
    assert recovered("fill_texture", head) > recovered("skin", head) + 0.1


def test_block_averages_are_smoothed() -> None:
    def blocks(hu: np.ndarray) -> np.ndarray:
        factors = (3, 4, 4)
        part = tuple(slice(0, n // f * f) for n, f in zip(hu.shape, factors, strict=True))
        k, j, i = (n // f for n, f in zip(hu.shape, factors, strict=True))
        mean = hu[part].reshape(k, 3, j, 4, i, 4).mean(axis=(1, 3, 5))
        hu = hu.copy()
        hu[part] = np.kron(mean, np.ones(factors))
        return hu

    smoothed = [guess for guess in ATTACKS["smoothing"].guesses(released(blocks)) if "2.4/3" in guess.label]
    error = surface_error(smoothed[0].relief(), original().relief, original().zone)
    assert error is not None
    assert error.recovered > 0.75
    assert error.median_mm < 1.5


def test_the_inside_of_a_mask_is_a_mould_of_the_face() -> None:
    depth, away = distance_mm(solid()), distance_mm(~solid())
    head = make.phantom(plain=True)
    carved = np.where(solid() & (depth >= 8), 40.0, -1000.0)
    array = np.where((away > 4) & (away < 8), 0.0, carved)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    grid = head.volume.grid
    seen = expose(Volume(grid, array.astype(np.int16)), [Mask(grid, solid() & (depth >= 8), "near")], frame)
    assert recovered("mask_shell", seen) > 0.7
    assert [*ATTACKS["mask_shell"].guesses(exposed())] == [], "where there is no mask there is no mould"


def test_bone_and_muscle_are_left_by_design_and_give_nothing_away() -> None:
    assert {name for name, attack in ATTACKS.items() if attack.inner} == {"muscle", "bone"}
    telling = SurfaceError(0.0, 0.0, 100.0, 100.0, 1.0)
    inner = Exposure("bone", "200 HU", True, {"face": FaceSign(1.0, 1.0)}, telling)
    assert inner.shows == ()
    assert Exposure("skin", "0 HU", False, {"face": FaceSign(1.0, 1.0)}, telling).shows == ("surface", "face")


@pytest.mark.parametrize(
    ("attack", "surface", "share", "rank", "shows"),
    [
        ("skin", "-300 HU", 0.04, 1, ("identity",)),
        ("skin", "-300 HU", 0.06, 1, ()),
        ("skin", "-300 HU", 0.04, 2, ()),
        ("skin", "0 HU", 0.04, 1, ()),
        ("skin", "0 HU", 0.004, 1, ("identity",)),
        ("smoothing", "-300 HU", 0.04, 1, ()),
        ("smoothing", "-300 HU", 0.004, 1, ("identity",)),
    ],
)
def test_identity_is_shown_where_the_own_original_is_first_and_nearer_than_strangers(
    attack: str, surface: str, share: float, rank: int, shows: tuple[str, ...]
) -> None:
    matched = Match(6, 6, 1.0, 0.4, 0.3, share, rank, 61)
    assert Exposure(attack, surface, False, {}, None, match=matched).shows == shows


@pytest.mark.parametrize(
    ("sign", "score", "face"),
    [
        (FaceSign(0.73, 0.66), np.nan, True),
        (FaceSign(0.71, 0.66), np.nan, False),
        (FaceSign(0.73, 0.64), np.nan, False),
        (FaceSign(0.61, 0.46), 0.2, True),
        (FaceSign(0.61, 0.46), 0.05, False),
        (FaceSign(0.59, 0.46), 2.0, False),
        (FaceSign(0.9, 0.3), 2.0, False),
    ],
)
def test_a_face_is_a_natural_relief_or_a_face_that_a_detector_sees_on_one_that_is_not_flat(
    sign: FaceSign, score: float, face: bool
) -> None:
    looks = Looks(np.zeros((6, 128)), 6, score)
    assert Exposure("skin", "-300 HU", False, {"face": sign}, looks=looks).is_face is face


@pytest.mark.parametrize(("moved_mm", "face"), [(0.0, True), (10.0, True), (12.5, False)])
def test_a_guess_that_was_moved_far_must_be_more_of_a_face(moved_mm: float, face: bool) -> None:
    guess = Guess("not air + x mm", exposed().rays, np.zeros((2, 2, 2), np.float32), 0.0, moved_mm)
    told = Exposure("regrowing", guess.label, False, {"face": FaceSign(0.79, 0.70)}, guess=guess)
    assert told.is_face is face
    seen = replace(told, signs={"face": FaceSign(0.65, 0.5)}, looks=Looks(np.zeros((6, 128)), 1, 0.2))
    assert seen.is_face is face, "nor does a detector's first guess count there"
    assert replace(seen, looks=Looks(np.zeros((6, 128)), 6, 0.6)).is_face


def test_attacks_tell_how_far_they_moved_their_guesses() -> None:
    moved = {
        guess.label: guess.moved_mm for name in ("regrowing", "shrinking", "skin") for guess in ATTACKS[name].guesses(exposed())
    }
    assert moved["not air + 12.5 mm"] == 12.5
    assert moved["not air - 20 mm"] == 20.0
    assert moved["-300 HU"] == 0.0


@pytest.mark.parametrize(("score", "face"), [(0.1, True), (-0.1, False), (np.nan, False)])
def test_a_rough_surface_is_a_face_only_where_the_detector_says_so_too(score: float, face: bool) -> None:
    looks = Looks(np.zeros((6, 128)), 6, score)
    rough = Exposure("fill_texture", "calm tissue", False, {"face": FaceSign(0.9, 0.9)}, looks=looks)
    assert rough.is_face is face


@pytest.mark.parametrize(
    ("sign", "z", "beyond", "shown"),
    [
        (FaceSign(0.8, 0.8), 2.6, 4.6, ("shape", "face")),
        (FaceSign(0.8, 0.8), 2.4, 9.0, ("face",)),
        (FaceSign(0.8, 0.8), 4.0, 4.4, ("face",)),
        (FaceSign(0.5, 0.8), 4.0, 9.0, ()),
    ],
)
def test_a_natural_face_needs_to_stand_out_less_to_be_the_originals(
    sign: FaceSign, z: float, beyond: float, shown: tuple[str, ...]
) -> None:
    told = Exposure("smoothing", "2 mm", False, {"face": sign}, shape=ShapeMatch(0.6, z, 1, 61, beyond))
    assert told.shows == shown


@pytest.mark.parametrize(("part", "share", "shown"), [("eyes", 0.61, True), ("eyes", 0.59, False), ("nose", 0.89, False)])
def test_a_part_left_as_it_was_is_shown(part: str, share: float, shown: bool) -> None:
    error = SurfaceError(5.0, 15.0, 40.0, 50.0, -1.0)
    assert Exposure("skin", "-300 HU", False, {}, error, {part: share}).shows == ((part,) if shown else ())


def test_a_mouth_left_as_it_was_is_found() -> None:
    head = make.phantom(plain=True)
    points = head.volume.grid.to_patient(np.stack(np.indices(head.volume.array.shape), axis=-1))
    above = points[..., 2] > head.landmarks["subnasale"].point[2] + 7
    left = released(lambda hu: np.where(above, flattened(hu), hu))
    found = run_battery(left, original(), [ATTACKS["skin"]])
    assert "mouth" in found[0].shows
    assert not {"eyes", "nose", "surface"} & set(found[0].shows)


def test_surface_error_by_hand() -> None:
    truth = np.zeros((40, 40))
    truth[15:25, 15:25] = -10.0
    zone = np.zeros((40, 40), dtype=bool)
    zone[10:30, 10:30] = True
    same = surface_error(truth + 7.0, truth, zone)
    assert same == SurfaceError(0.0, 0.0, 100.0, 100.0, 1.0), "the median is taken off"
    off = truth.copy()
    off[15:25, 15:25] += 3.0
    error = surface_error(off, truth, zone)
    assert error is not None
    assert (error.median_mm, error.p90_mm) == (0.0, 3.0)
    assert (error.within_2mm_percent, error.within_4mm_percent) == (75.0, 100.0)
    assert error.recovered == pytest.approx(1.0 - 9.0 / 100.0, abs=0.02)
    flat = surface_error(np.zeros((40, 40)), truth, zone)
    assert flat is not None
    assert flat.recovered == pytest.approx(0.0, abs=0.02), "the rim alone tells nothing of what stands out"


def test_a_guess_of_less_than_half_the_zone_is_none_and_missing_rays_are_wrong() -> None:
    truth, zone = np.zeros((20, 20)), np.ones((20, 20), dtype=bool)
    guess = np.zeros((20, 20))
    guess[:9] = np.nan
    error = surface_error(guess, truth, zone, blind=np.zeros((20, 20)))
    assert error is not None
    assert error.within_4mm_percent == pytest.approx(55.0)
    assert error.p90_mm == shape.FAR_MM
    guess[:11] = np.nan
    assert surface_error(guess, truth, zone) is None


def test_the_own_relief_of_a_head_is_the_mean_faces() -> None:
    rays = exposed().rays
    sign = shape.face_sign(rays, skin_guess(exposed()).relief())
    assert sign is not None
    assert sign.correlation > 0.8
    assert 0.6 < sign.height < 1.5
    flat = shape.face_sign(rays, np.zeros(rays.shape))
    assert flat is not None
    assert (flat.correlation, flat.height) == (0.0, 0.0)


def test_ranks_count_ties_against_us() -> None:
    assert rank_of("own", {"own": 0.4, "a": 0.4, "b": 0.5}) == 1
    assert rank_of("own", {"own": 0.4, "a": 0.39, "b": 0.2}) == 3
    assert rank_of("own", {"a": 0.39}) is None


def test_distances_use_common_views_only() -> None:
    rows = np.zeros((4, 128))
    rows[3] = np.nan
    other, few = np.ones((4, 128)), np.full((4, 128), np.nan)
    other[0] = np.nan
    few[0] = 0.0
    found = distances(Looks(rows, 3, 1.0), {"other": other, "few": few})
    assert found == {"other": pytest.approx(np.sqrt(128))}


def test_a_box_follows_the_pictures_origin() -> None:
    def picture(origin: tuple[float, float]) -> Picture:
        return Picture(
            np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32), np.eye(3), np.array([*origin, 0.0]), pixel_mm=1.0
        )

    assert moved_box((10, 20, 30, 40), picture((-80.0, -90.0)), picture((-85.0, -100.0))) == (15, 30, 35, 50)


def test_guesses_of_one_surface_are_looked_at_once() -> None:
    found = run_battery(exposed(), original(), [ATTACKS["skin"], ATTACKS["skin"]])
    assert len(found) == len(run_battery(exposed(), original(), [ATTACKS["skin"]]))


def test_every_attack_says_where_its_guesses_lie() -> None:
    for attack in ATTACKS.values():
        for guess in attack.guesses(exposed()):
            assert isinstance(guess, Guess)
            assert guess.field.shape == exposed().rays.grid.shape
            assert guess.field.dtype == np.float32


def test_a_part_that_the_scan_cuts_off_is_nothing_to_be_shown() -> None:
    head = make.phantom(plain=True)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    exposed = expose(head.volume, [head.structures["BODY"]], frame)
    names = {name for part in ("eyes",) for name in parts.PARTS[part][0]}
    cut = Landmarks({n: replace(m, view=View.CUT if n in names else View.IN_VIEW) for n, m in head.landmarks.items()})
    whole, partial = parts.part_zones(exposed.rays, head.landmarks), parts.part_zones(exposed.rays, cut)
    assert whole["eyes"].any()
    assert not partial["eyes"].any()
    assert np.array_equal(whole["mouth"], partial["mouth"])
    found = run_battery(exposed, remember(exposed, cut), [ATTACKS["skin"]])
    assert found
    assert all("eyes" not in one.recovered for one in found)
    assert any("mouth" in one.shows for one in found)
