"""One face out of several answers: who leads, what is in view, and where doubt is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.landmarks.consensus import Face, agree, is_sure
from fw_gear_hndeface.model import Landmark, Landmarks, Level, Mask, View, Volume
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.ops.resample import lps_grid
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM, LANDMARK_NAMES

EYES = ("globe_left", "globe_right")


@cache
def head(top_mm: float = 120.0) -> HeadScan:
    """A block of a head around the canonical face, cut off at a height above the eyes."""
    grid = lps_grid(np.array([[-95.0, -70.0, -180.0], [95.0, 130.0, top_mm]]), 5.0)
    body = np.ones(grid.shape, dtype=np.bool_)
    volume = Volume(grid, np.full(grid.shape, 40.0, dtype=np.float32))
    return HeadScan(volume, Mask(grid, body, "body"), volume)


def marks(
    source: str, sigma_mm: float = 3.0, noise_mm: float = 1.5, shift: tuple[float, float, float] = (0, 0, 0)
) -> Landmarks:
    rng = np.random.default_rng(4)
    return Landmarks(
        {
            name: Landmark(np.array(point) + np.array(shift) + rng.normal(0, noise_mm, 3), sigma_mm, source)
            for name, point in CANONICAL_FACE_MM.items()
        }
    )


def face_of(top_mm: float = 120.0, **answers: Landmarks) -> Face:
    face = agree(answers, head(top_mm))
    assert face is not None
    return face


def test_nobody_who_sees_a_face_is_no_face() -> None:
    assert agree({}, head()) is None
    assert agree({"rendered_face": Landmarks({}), "geometry": Landmarks({})}, head()) is None
    few = Landmarks({name: marks("rendered_face")[name] for name in ("nose_tip", "chin", *EYES)})
    assert agree({"rendered_face": few}, head()) is None


def test_points_strewn_about_are_no_face() -> None:
    assert agree({"rendered_face": marks("rendered_face", noise_mm=25.0)}, head()) is None


def test_every_landmark_is_told_with_its_source() -> None:
    seen = marks("rendered_face")
    known = Landmarks({name: seen[name] for name in seen if not name.startswith("ear")})
    face = face_of(rendered_face=known)
    assert set(face.landmarks) == set(LANDMARK_NAMES)
    assert face.landmarks["nose_tip"].source == "rendered_face"
    assert np.array_equal(face.landmarks["nose_tip"].point, seen["nose_tip"].point)
    assert face.landmarks["ear_left"].source == "canonical"
    assert face.landmarks["ear_left"].sigma_mm >= 6.0 > face.landmarks["nose_tip"].sigma_mm
    assert face.is_whole
    assert face.is_in_view


@pytest.mark.parametrize(
    ("axis", "degrees", "told"), [(2, 20.0, False), (2, 90.0, True), (2, 180.0, True), (1, 180.0, True), (0, -45.0, False)]
)
def test_a_face_that_does_not_look_to_the_front_is_told(axis: int, degrees: float, told: bool) -> None:
    turn = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
    centre = np.array([0.0, 30.0, -40.0])
    turned = Landmarks({n: replace(m, point=turn @ (m.point - centre) + centre) for n, m in marks("rendered_face").items()})
    face = face_of(rendered_face=turned)
    assert [finding.code for finding in face.findings] == ["face_turned"] * told
    assert np.allclose(face.frame.axes, turn.T, atol=0.1)
    assert face.is_whole, "what lies behind a point is looked for where its own head is"


def test_drawn_eyes_outrank_seen_ones() -> None:
    drawn = Landmarks(
        {name: Landmark(np.array(CANONICAL_FACE_MM[name]) + np.array([0, 4, 0]), 2.0, "rtstruct") for name in EYES}
    )
    face = face_of(rendered_face=marks("rendered_face"), rtstruct=drawn)
    for name in EYES:
        assert face.landmarks[name].source == "rtstruct"
        assert np.array_equal(face.landmarks[name].point, drawn[name].point)
    assert face.landmarks["chin"].source == "rendered_face"


def test_a_landmark_far_from_the_face_is_replaced_less_surely() -> None:
    seen = marks("rendered_face")
    stray = seen.updated({"chin": Landmark(seen["chin"].point + np.array([35.0, 0.0, 0.0]), 3.0, "rendered_face")})
    chin = face_of(rendered_face=stray).landmarks["chin"]
    assert chin.source == "canonical"
    assert np.linalg.norm(chin.point - CANONICAL_FACE_MM["chin"]) < 8.0
    assert chin.sigma_mm >= 6.0


def test_a_landmark_a_little_off_is_kept_less_surely() -> None:
    seen = marks("rendered_face", noise_mm=0.2)
    off = seen.updated({"chin": Landmark(seen["chin"].point + np.array([0.0, 10.0, 0.0]), 3.0, "rendered_face")})
    chin = face_of(rendered_face=off).landmarks["chin"]
    assert chin.source == "rendered_face"
    assert chin.sigma_mm > seen["chin"].sigma_mm + 0.5


def test_a_cut_above_the_eyes_hides_the_brows_only() -> None:
    face = face_of(15.0, rendered_face=marks("rendered_face", noise_mm=0.2))
    assert face.landmarks["brow_left"].view is View.CUT
    for name in ("globe_left", "nose_tip", "chin"):
        assert face.landmarks[name].view is View.IN_VIEW
    assert not face.is_whole
    assert face.is_in_view


def test_points_pressed_against_the_cut_are_not_believed() -> None:
    seen = marks("rendered_face", noise_mm=0.2)
    height = float(head(15.0).body.grid.corners()[:, 2].max())
    pressed = {
        name: replace(seen[name], point=np.array([*seen[name].point[:2], height - 2.0])) for name in ("brow_left", "brow_right")
    }
    face = face_of(15.0, rendered_face=seen.updated(pressed))
    for name in pressed:
        assert face.landmarks[name].source == "canonical"
        assert face.landmarks[name].view is View.CUT


def test_the_profile_takes_over_where_no_face_is_seen() -> None:
    face = face_of(-20.0, geometry=marks("geometry", 7.0, 0.0))
    assert face.landmarks["chin"].source == "geometry"
    assert face.landmarks["globe_left"].view is View.CUT
    assert 6.0 < face.sigma_mm < 9.0


def test_a_cut_face_that_only_the_profile_claims_is_not_believed_where_the_vault_is_in_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claimed = {"geometry": marks("geometry", 7.0, 0.0)}
    assert agree(claimed, head(-20.0)) is not None
    monkeypatch.setattr(HeadScan, "shows_vault", True)
    assert agree(claimed, head(-20.0)) is None, "a skull's base is no jaw"
    assert agree({"fitted_shape": marks("fitted_shape", 10.0, 0.0)}, head(-20.0)) is None
    assert agree({"fitted_shape": marks("fitted_shape", 8.0, 0.0)}, head(-20.0)) is not None, "a sure fit is a face"


def test_a_whole_face_that_only_the_profile_claims_is_too_unsure_to_change() -> None:
    face = face_of(geometry=marks("geometry", 7.0, 0.0))
    assert face.is_whole
    assert face.sigma_mm > 12.0, "the default limit of uncertainty"


@pytest.mark.parametrize(("sigma_mm", "shift", "told"), [(6.0, 80.0, True), (6.0, 10.0, False), (3.0, 80.0, False)])
def test_witnesses_that_disagree_are_told_and_doubted_unless_the_first_is_sure(
    sigma_mm: float, shift: float, told: bool
) -> None:
    face = face_of(rendered_face=marks("rendered_face", sigma_mm), geometry=marks("geometry", 7.0, 0.0, (0, 0, -shift)))
    assert [finding.code for finding in face.findings] == (["landmarks_disagree"] if told else [])
    assert face.landmarks["nose_tip"].source == "rendered_face"
    assert face.sigma_mm == pytest.approx(sigma_mm * (2.0 if told else 1.0), rel=0.25)
    if told:
        assert face.findings[0].level is Level.WARNING
        assert "80 mm" in face.findings[0].message


@pytest.mark.parametrize(
    ("yaw_deg", "sigma_mm", "taken"), [(40.0, 5.0, "geometry"), (12.0, 5.0, "rendered_face"), (40.0, 3.0, "rendered_face")]
)
def test_an_unsure_detection_askew_beside_the_profile_is_a_chance_find(yaw_deg: float, sigma_mm: float, taken: str) -> None:
    turn = np.radians(yaw_deg)
    spin = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    askew = {n: replace(m, point=spin @ m.point + [30.0, 10.0, -40.0]) for n, m in marks("rendered_face", sigma_mm).items()}
    face = face_of(top_mm=-8.0, rendered_face=Landmarks(askew), geometry=marks("geometry", 7.0))
    assert face.landmarks["mouth_left"].source == taken
    assert [finding.code for finding in face.findings] == (["landmarks_disagree"] if sigma_mm > 4 else [])
    if taken == "geometry":
        assert "the jaw profile was taken" in face.findings[0].message
        assert face.sigma_mm == pytest.approx(7.0, abs=0.5)


def test_the_profile_is_taken_where_the_fitted_shape_agrees() -> None:
    """Its chin is bone: 3 to 9 mm from drawn mandibles, where the shape's is 1 to 33 mm."""
    face = face_of(
        top_mm=-8.0, geometry=marks("geometry", 7.0, 0.0), fitted_shape=marks("fitted_shape", 8.0, 0.0, (0, 0, 12.0))
    )
    assert np.linalg.norm(face.landmarks["chin"].point - CANONICAL_FACE_MM["chin"]) < 1.0
    assert face.landmarks["chin"].source == "geometry"
    assert face.findings == ()


@pytest.mark.parametrize(("sigma_mm", "believed"), [(8.0, True), (10.0, False)])
def test_a_sure_fitted_shape_overrules_the_profile_and_tells(sigma_mm: float, believed: bool) -> None:
    """Skulls of some heads have no jaw where the profile looks for one: it was off by 67 mm."""
    fitted = marks("fitted_shape", sigma_mm, 0.0)
    face = face_of(top_mm=-8.0, geometry=marks("geometry", 7.0, 0.0, (0, 0, 67.0)), fitted_shape=fitted)
    assert np.linalg.norm(face.landmarks["chin"].point - fitted["chin"].point) < 1.0
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]
    assert "the fitted shape was taken" in face.findings[0].message
    assert (face.sigma_mm < 12.0) is believed


@pytest.mark.parametrize(
    ("shift", "taken"),
    [((-5.0, 28.0, -18.0), True), ((0.0, 5.0, -20.0), False), ((0.0, -17.0, 56.0), False), ((0.0, -40.0, -12.0), False),
     ((25.0, 10.0, -25.0), False), ((0.0, 10.0, -60.0), False)],
    ids=["a long jaw", "near", "upper jaw", "bite block", "beside", "hyoid"],
)  # fmt: skip
def test_a_jaw_that_ends_below_a_squeezed_chin_is_the_chin(shift: tuple[float, float, float], taken: bool) -> None:
    seen = marks("rendered_face", 3.0, 0.0)
    face = face_of(rendered_face=seen, geometry=marks("geometry", 10.0, 0.0, shift))
    assert (face.landmarks["chin"].source == "geometry") is taken
    assert [finding.code for finding in face.findings] == (["landmarks_disagree"] if taken else [])
    assert face.landmarks["nose_tip"].source == "rendered_face"
    drawn = Landmarks({"chin": replace(seen["chin"], source="rtstruct", sigma_mm=2.0)})
    told = face_of(rendered_face=seen, rtstruct=drawn, geometry=marks("geometry", 10.0, 0.0, shift))
    assert told.landmarks["chin"].source != "geometry", "what is drawn outranks it"


def test_only_an_unsure_detection_or_none_asks_for_a_witness() -> None:
    assert is_sure({"rendered_face": marks("rendered_face", 3.0)}, head())
    assert not is_sure({"rendered_face": marks("rendered_face", 5.0)}, head())
    assert not is_sure({"rendered_face": Landmarks({}), "geometry": marks("geometry", 3.0)}, head())


def test_a_face_beside_the_scan_is_not_in_view() -> None:
    face = face_of(rendered_face=marks("rendered_face", noise_mm=0.2, shift=(0.0, 0.0, 0.0)))
    assert face.is_in_view
    away = agree({"geometry": marks("geometry", 7.0, 0.0, (0, 0, 400.0))}, head())
    assert away is None or not away.is_in_view


def eyes_at(shift: tuple[float, float, float], source: str = "rtstruct") -> Landmarks:
    """Outlined eyes beside where the canonical face has them."""
    return Landmarks({name: Landmark(np.array(CANONICAL_FACE_MM[name]) + np.array(shift), 2.0, source) for name in EYES})


def test_eyes_outlined_far_from_a_sure_detection_are_not_used_and_told() -> None:
    face = face_of(rendered_face=marks("rendered_face", 3.0), rtstruct=eyes_at((0.0, 0.0, -60.0)))
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]
    assert face.landmarks["globe_left"].source == "rendered_face"
    assert face.sigma_mm > 1.8 * face_of(rendered_face=marks("rendered_face", 3.0)).sigma_mm


def test_an_unsure_detection_gives_way_to_what_was_outlined() -> None:
    outlined = marks("segmentation", 4.0, shift=(0.0, 0.0, -60.0))
    face = face_of(rendered_face=marks("rendered_face", 6.0), segmentation=outlined)
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]
    assert {mark.source for mark in face.landmarks.values()} == {"segmentation"}
    alone = agree({"rendered_face": marks("rendered_face", 6.0), "rtstruct": eyes_at((0.0, 0.0, -60.0))}, head())
    assert alone is None, "two eyes elsewhere are no face, and the chance find is not taken for one"


def test_a_detection_that_squeezes_the_face_gives_way_to_an_outlined_one_with_the_same_eyes() -> None:
    true = marks("segmentation", 4.0, noise_mm=0.5)
    outlined = Landmarks({name: true[name] for name in (*EYES, "nasion", "nose_tip", "chin")})
    raised = {
        name: replace(mark, point=mark.point * np.array([1.0, 1.0, 0.66])) for name, mark in marks("rendered_face").items()
    }
    face = face_of(rendered_face=Landmarks(raised), segmentation=outlined)
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]
    assert face.landmarks["chin"].source == "segmentation"
    assert np.linalg.norm(face.landmarks["mouth_left"].point - CANONICAL_FACE_MM["mouth_left"]) < 5.0
    assert face.sigma_mm < 8.0


def test_a_detection_that_is_no_face_does_not_spoil_an_outlined_one() -> None:
    face = face_of(rendered_face=marks("rendered_face", noise_mm=25.0), segmentation=marks("segmentation", 4.0))
    assert {mark.source for mark in face.landmarks.values()} == {"segmentation"}
    assert face.findings == ()


def test_the_surest_outline_counts_and_only_eyes_outrank_what_is_surer() -> None:
    rough = Landmarks({name: replace(mark, sigma_mm=5.0) for name, mark in marks("segmentation", noise_mm=3.0).items()})
    face = face_of(rendered_face=marks("rendered_face", 3.0), segmentation=rough, rtstruct=eyes_at((0.0, 3.0, 0.0)))
    assert face.landmarks["globe_left"].source == "rtstruct"
    assert face.landmarks["chin"].source == "rendered_face"
    assert face.findings == ()


@pytest.mark.parametrize(("shift", "sure"), [((0.0, 6.0, 4.0), True), ((0.0, 0.0, -60.0), False)])
def test_outlined_eyes_that_agree_with_the_profile_make_it_sure(shift: tuple[float, float, float], sure: bool) -> None:
    face = agree({"geometry": marks("geometry", 7.0, 0.0), "rtstruct": eyes_at(shift)}, head())
    assert face is not None
    assert face.is_whole
    assert (face.sigma_mm < 12.0) is sure


@pytest.mark.parametrize(("shift", "sure"), [((0.0, 3.0, 2.0), True), ((0.0, 0.0, -60.0), False)])
def test_outlined_eyes_elsewhere_make_the_profile_of_a_cut_face_unsure(shift: tuple[float, float, float], sure: bool) -> None:
    face = agree({"geometry": marks("geometry", 7.0, 0.0), "rtstruct": eyes_at(shift)}, head(top_mm=8.0))
    assert face is not None
    assert not face.is_whole
    assert (face.sigma_mm < 12.0) is sure
    assert ("landmarks_disagree" in [finding.code for finding in face.findings]) is not sure


def chin_at(shift: tuple[float, float, float]) -> Landmarks:
    point = np.array(CANONICAL_FACE_MM["chin"]) + np.array(shift)
    return Landmarks({"chin": Landmark(point, 6.0, "rtstruct")})


def test_a_squeezed_detection_is_stretched_to_the_outlined_chin() -> None:
    squeezed = Landmarks(
        {
            name: mark if mark.point[2] > -15.0 else replace(mark, point=mark.point * np.array([1.0, 1.0, 0.7]))
            for name, mark in marks("rendered_face", noise_mm=0.5).items()
        }
    )
    drawn = chin_at((0.0, 0.0, -12.0))
    face = face_of(rendered_face=squeezed, rtstruct=drawn)
    assert np.linalg.norm(face.landmarks["chin"].point - drawn["chin"].point) < 12.0
    assert face.landmarks["mouth_left"].point[2] < squeezed["mouth_left"].point[2] - 10.0
    assert np.linalg.norm(face.landmarks["globe_left"].point - CANONICAL_FACE_MM["globe_left"]) < 4.0
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]


def test_an_outlined_chin_near_the_found_one_changes_nothing() -> None:
    alone = face_of(rendered_face=marks("rendered_face"))
    both = face_of(rendered_face=marks("rendered_face"), rtstruct=chin_at((4.0, -6.0, -9.0)))
    assert np.array_equal(both.landmarks["chin"].point, alone.landmarks["chin"].point)
    assert both.findings == ()


def test_an_outlined_chin_that_fits_no_face_moves_nothing() -> None:
    face = face_of(rendered_face=marks("rendered_face"), rtstruct=chin_at((0.0, 90.0, -120.0)))
    assert face.landmarks["mouth_left"].source == "rendered_face"
    assert [finding.code for finding in face.findings] == ["landmarks_disagree"]
