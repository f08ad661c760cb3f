"""One volume from landmarks to a plan: tries, refusals and what is told, with the recogniser's word stood in for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface import casework
from fw_gear_hndeface.casework import Case, Defaced, deface_case, deface_located, locate
from fw_gear_hndeface.errors import LandmarkError, PrivacyError, ProtectionError, VerificationError
from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.methods import REGISTRY, Bounds, Scene
from fw_gear_hndeface.model import Finding, LabelMap, Landmark, Landmarks, Level, Mask, Proposal, Roi, RoiKind, View
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.ops.render import Surface
from fw_gear_hndeface.privacy.attempts import Attempt
from fw_gear_hndeface.privacy.check import Assessment
from fw_gear_hndeface.privacy.match import Match
from fw_gear_hndeface.privacy.slopes import ShapeMatch
from fw_gear_hndeface.privacy.views import Skin, face_skin
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.chain import SEED, drawn, frame_of, no_stage
from tests.labelled import label_map, names

NO_SURFACE = Surface(np.zeros((0, 3), dtype=np.float32), np.zeros((0, 3), dtype=np.float32))
SEEN = Finding(Level.WARNING, "landmarks_disagree", "They do.", "landmarks")


def head() -> SyntheticHead:
    return make.phantom(SEED)


def case(*rois: Roi, padding: Mask | None = None) -> Case:
    return Case(head().volume, padding, rois, "CT series 3")


def found() -> tuple[HeadScan, Face]:
    """The head and its true landmarks, as `locate` would answer."""
    scan = HeadScan(head().volume, head().structures["BODY"], head().volume)
    return scan, Face(head().landmarks, frame_of(head()), (SEEN,))


def said(share: float, views: int = 6) -> Assessment:
    return Assessment(views, 1, 0.6, 0.5, share, 1.0, -0.1)


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the recogniser will say of the first, second and third try; strangers are as near as can be by default."""
    answers = [0.9, 0.9, 0.9]

    def next_answer() -> Iterator[Assessment]:
        yield from (said(share) for share in answers)

    stream: list[Iterator[Assessment]] = []

    def assess(known: object, surface: object) -> Assessment:
        if not stream:
            stream.append(next_answer())
        return next(stream[0])

    monkeypatch.setattr(casework, "assess", assess)
    monkeypatch.setattr(casework, "likenesses", lambda surface: [])
    monkeypatch.setattr(casework, "face_skin", lambda *args: Skin(NO_SURFACE, None))
    monkeypatch.setattr(casework, "try_attacks", lambda *args: ())
    return answers


def settled(*rois: Roi, seed: int = 5, padding: Mask | None = None, **options: object) -> Defaced:
    return deface_located(case(*rois, padding=padding), found(), Settings(**options), seed, no_stage)  # type: ignore[arg-type]


def codes(done: Defaced) -> list[str]:
    return [finding.code for finding in done.findings]


def scenes(monkeypatch: pytest.MonkeyPatch) -> list[Scene]:
    """The scenes that the method was given."""
    given: list[Scene] = []
    method = REGISTRY["membrane"]

    def propose(scene: Scene) -> Proposal:
        given.append(scene)
        return method.propose(scene)

    monkeypatch.setitem(REGISTRY, "membrane", replace(method, propose=propose))
    return given


def test_a_clear_first_try_is_the_only_one(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    given = scenes(monkeypatch)
    done = settled()
    assert [scene.strength for scene in given] == [1.0]
    assert given[0].seed == 5
    assert done.strength == 1.0
    assert codes(done) == ["landmarks_disagree"]
    assert done.plan.change.count > 1000
    assert np.array_equal(done.plan.keep.array, given[0].keep.array)


@pytest.mark.parametrize(
    ("answers", "tries", "taken"),
    [((0.02, 0.6, 0.9), 2, 1.2), ((0.02, 0.03, 0.6), 3, 1.5), ((0.1, 0.2, 0.15), 3, 1.2), ((0.2, 0.1, 0.06), 3, 1.0)],
)
def test_stronger_tries_follow_until_one_is_clear_and_the_best_is_taken(
    shares: list[float], answers: tuple[float, ...], tries: int, taken: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares[:] = answers
    given = scenes(monkeypatch)
    done = settled()
    assert [scene.strength for scene in given] == [1.0, 1.2, 1.5][:tries]
    assert len({scene.seed for scene in given}) == tries, "each try has a surface of its own"
    assert done.strength == taken
    assert done.assessment.stranger_share == max(answers[:tries])
    assert ("stronger_try" in codes(done)) is (taken != 1.0)


@pytest.mark.parametrize(("ears_ml", "told"), [(None, False), (12.0, False), (0.0, True)])
def test_ears_that_were_asked_for_and_not_found_are_told(
    shares: list[float], ears_ml: float | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = casework.propose
    monkeypatch.setattr(casework, "propose", lambda name, scene: (plain(name, scene)[0], ears_ml))
    assert ("no_ears" in codes(settled())) is told


def test_a_method_that_does_the_same_every_time_is_tried_once(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    shares[:] = (0.01, 0.9, 0.9)
    given = scenes(monkeypatch)
    monkeypatch.setitem(REGISTRY, "membrane", replace(REGISTRY["membrane"], varies=False))
    with pytest.raises(PrivacyError, match=r"0\.010"):
        settled()
    assert len(given) == 1


def test_a_result_that_is_matched_after_the_last_try_is_never_written(shares: list[float]) -> None:
    shares[:] = (0.01, 0.04, 0.02)
    with pytest.raises(PrivacyError, match=r"CT series 3.*0\.040.*0\.05"):
        settled()


def test_with_privacy_report_the_best_of_them_is_handed_on_as_failed(shares: list[float]) -> None:
    shares[:] = (0.01, 0.04, 0.02)
    done = settled(privacy="report")
    assert not done.assessment.passed
    assert done.strength == 1.2


def shaped(monkeypatch: pytest.MonkeyPatch, *likenesses: float) -> None:
    """How like the original's the shapes of the first, second and third try are; 0.9 is a match, 0.2 is not."""
    told = iter([ShapeMatch(likeness, 6.0 * likeness, 1, 61) for likeness in likenesses])
    monkeypatch.setattr(casework, "shape_match", lambda before, after: next(told))


def test_a_shape_that_is_matched_is_tried_again(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    shares[:] = (0.9, 0.5, 0.9)
    shaped(monkeypatch, 0.9, 0.2)
    done = settled()
    assert done.strength == 1.2, "the second try looks more like the original, but has not its shape"
    assert done.passed


def test_a_shape_that_is_matched_after_the_last_try_is_never_written(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    shaped(monkeypatch, 0.9, 0.8, 0.9)
    with pytest.raises(PrivacyError, match=r"CT series 3: the result has the original's shape.*0\.90.*No image was written"):
        settled()


def test_with_privacy_report_a_matched_shape_is_handed_on_as_failed(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    shaped(monkeypatch, 0.9, 0.8, 0.9)
    assert not settled(privacy="report").passed


def attacked(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """One attack finds a surface that is as near to the original as this share of strangers."""
    found = Match(6, 6, 1.0, 0.2, 0.2, share, 1, 61)
    one = Attempt("shrinking", "not air - 5 mm", False, np.zeros((9, 7), np.uint8), 1.0, found)
    monkeypatch.setattr(casework, "try_attacks", lambda *given: (one,))


def test_a_result_that_an_attack_matches_is_never_written(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    attacked(monkeypatch, 0.0)
    with pytest.raises(PrivacyError, match=r"CT series 3.*attack shrinking.*No image was written"):
        settled()


def test_with_privacy_report_a_result_that_an_attack_matches_is_handed_on_as_failed(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked(monkeypatch, 0.0)
    done = settled(privacy="report")
    assert done.assessment.passed
    assert not done.passed
    attacked(monkeypatch, 0.5)
    assert settled().passed


def test_attacks_are_in_the_record_and_among_the_pictures(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    attacked(monkeypatch, 0.5)
    done = settled()
    assert [one["attack"] for one in done.measures()["privacy"]["attacks"]] == ["shrinking"]
    assert [picture.name for picture in done.exhibit.group("attacks")] == ["attack-shrinking"]


def test_a_face_nobody_detects_needs_no_second_try(monkeypatch: pytest.MonkeyPatch, shares: list[float]) -> None:
    monkeypatch.setattr(casework, "assess", lambda known, surface: said(np.nan, 0))
    given = scenes(monkeypatch)
    assert settled().assessment.passed
    assert len(given) == 1


def test_a_target_in_the_zone_is_kept_and_told_or_refused(shares: list[float]) -> None:
    nose = ball("nose_tip", 12.0, RoiKind.TARGET)
    done = settled(nose)
    assert "target_exposed" in codes(done)
    (told,) = (finding for finding in done.findings if finding.code == "target_exposed")
    assert "ROI 7" in told.message
    assert "PTV of somebody" not in told.message, "a region's name may be a person's"
    assert [cost.unchanged_percent for cost in done.rois] == [100.0]
    with pytest.raises(ProtectionError, match=r"CT series 3: ROI 7 .*mL"):
        settled(nose, targets="refuse")


def test_a_target_far_from_the_face_is_no_reason_to_refuse(shares: list[float]) -> None:
    done = settled(drawn(head(), "PTV70", RoiKind.TARGET), targets="refuse")
    assert "target_exposed" not in codes(done)
    assert done.rois[0].unchanged_percent == 100.0


def ball(mark: str, radius_mm: float, kind: RoiKind) -> Roi:
    """A ball around a landmark, contoured on every slice plane of the grid."""
    grid = head().volume.grid
    index = grid.to_index(head().landmarks[mark].point)
    contours = []
    for k in range(grid.shape[0]):
        reach = radius_mm**2 - ((k - index[0]) * grid.spacing_mm[0]) ** 2
        if reach > 4.0:
            angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            j, i = (
                np.sqrt(reach) * way(angles) / step for way, step in zip((np.sin, np.cos), grid.spacing_mm[1:], strict=True)
            )
            contours.append(grid.to_patient(np.column_stack([np.full(40, float(k)), index[1] + j, index[2] + i])))
    return Roi("PTV of somebody", 7, kind, tuple(contours))


@pytest.mark.parametrize(("margin_mm", "kind"), [(0.0, RoiKind.TARGET), (8.0, RoiKind.TARGET), (8.0, RoiKind.ORGAN)])
def test_margins_from_the_settings_are_kept(shares: list[float], margin_mm: float, kind: RoiKind) -> None:
    option = "target_margin_mm" if kind is RoiKind.TARGET else "organ_margin_mm"
    done = settled(ball("mouth_left", 9.0, kind), **{option: margin_mm})
    grid = head().volume.grid
    points = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1))
    inside = np.linalg.norm(points - head().landmarks["mouth_left"].point, axis=-1) < 9.0 + margin_mm - 4.0
    assert inside.any()
    assert done.plan.keep.array[inside].mean() > 0.93
    assert not (done.plan.change.array & done.plan.keep.array).any()


def test_padding_is_kept(shares: list[float]) -> None:
    bare = settled()
    padding = np.zeros(head().volume.grid.shape, dtype=np.bool_)
    padding[tuple(np.argwhere(bare.plan.change.array)[::5].T)] = True
    done = settled(padding=Mask(head().volume.grid, padding, "padding"))
    assert done.plan.keep.array[padding].all()
    assert not done.plan.change.array[padding].any()
    assert done.plan.change.count > 500


@pytest.mark.parametrize("kind", [RoiKind.ORGAN, RoiKind.NODE])
def test_an_outline_under_an_organ_s_name_protects_nothing_and_is_told(shares: list[float], kind: RoiKind) -> None:
    done = settled(replace(drawn(head(), "BODY", kind), name="Kontur 1"))
    assert "outline_by_shape" in codes(done)
    assert done.plan.change.count > 1000
    assert done.rois[0].roi.kind is RoiKind.EXTERNAL


def test_a_large_organ_and_a_target_are_no_outlines(shares: list[float]) -> None:
    done = settled(drawn(head(), "Brain"))
    assert "outline_by_shape" not in codes(done)
    assert done.rois[0].roi.kind is RoiKind.ORGAN
    wrapped = settled(drawn(head(), "BODY", RoiKind.TARGET))
    assert "outline_by_shape" not in codes(wrapped)
    assert not (wrapped.plan.change.array & head().structures["BODY"].array).any(), "a target is kept, however large"


def test_a_method_that_goes_astray_is_stopped(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(scene: Scene) -> Proposal:
        body = head().structures["BODY"].array & ~scene.keep.array
        return Proposal(Mask(scene.scan.grid, body, "all"), np.full(int(body.sum()), -1000, np.float32), "membrane")

    wild = replace(REGISTRY["membrane"], propose=everything)
    monkeypatch.setitem(REGISTRY, "membrane", wild)
    with pytest.raises(VerificationError, match=r"beyond the face|would be removed"):
        settled()
    monkeypatch.setitem(REGISTRY, "membrane", replace(wild, bounds=Bounds(reach_mm=900.0)))
    with pytest.raises(VerificationError, match="would be removed"):
        settled()


def test_a_method_is_held_by_its_own_rules_only(shares: list[float]) -> None:
    strict, loose = settled(), settled(method="eye_plane")
    assert loose.plan.keep.count == 0
    assert strict.plan.keep.count > 1000
    with_roi = settled(drawn(head(), "Bone_Mandible"), method="eye_plane")
    assert np.array_equal(with_roi.plan.keep.array, head().structures["Bone_Mandible"].array)


def test_measures_are_json_with_the_keys_promised(shares: list[float]) -> None:
    done = settled(drawn(head(), "PTV70", RoiKind.TARGET))
    measures = json.loads(json.dumps(done.measures(), allow_nan=False))
    same = float(np.mean(done.plan.apply(head().volume).array == head().volume.array))
    assert 90.0 < measures["scan_unchanged_percent"] == pytest.approx(100.0 * same, abs=0.2)
    nose = measures["landmarks"]["nose_tip"]
    assert np.allclose(nose["lps_mm"], head().landmarks["nose_tip"].point, atol=0.01)
    assert set(nose) == {"lps_mm", "sigma_mm", "source", "view"}
    assert {"globe_left", "globe_right", "mouth_left", "mouth_right", "chin"} <= set(measures["landmarks"])
    (roi,) = measures["rois"]
    assert (roi["name"], roi["kind"], roi["unchanged_percent"]) == ("PTV70", "target", 100.0)
    assert roi["volume_ml"] == pytest.approx(head().structures["PTV70"].volume_ml, rel=0.02)
    assert roi["mean_change_hu"] == 0.0
    assert measures["privacy"]["passed"] is True
    assert measures["strength"] == 1.0


def test_pictures_show_the_defaced_head_from_both_sides(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casework, "face_skin", face_skin)
    shown = settled().exhibit.group("turntable")
    assert len(shown) == 7
    assert [shown[0].caption, shown[3].caption, shown[6].caption] == ["90° right", "front", "90° left"]
    assert all(one.image.dtype == np.uint8 and one.image.size > 5000 and one.image.max() > 60 for one in shown)


def located_as(face: Face | None, monkeypatch: pytest.MonkeyPatch, *, brain: bool = False) -> None:
    monkeypatch.setattr(HeadScan, "brain_mm", np.arange(40.0) if brain else np.zeros(0))
    monkeypatch.setattr(casework, "head_windows", lambda scan: iter([found()[0]]))
    monkeypatch.setattr(casework, "find_face", lambda evidence, wanted, model: face)


def doubtful(sigma_mm: float, view: View = View.IN_VIEW) -> Face:
    marks = {name: Landmark(mark.point, sigma_mm, "t", view) for name, mark in head().landmarks.items()}
    return Face(Landmarks(marks), frame_of(head()), ())


def test_a_face_that_cannot_be_placed_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    located_as(doubtful(9.0), monkeypatch)
    with pytest.raises(LandmarkError, match=r"CT series 3: .*9 mm \(allowed 8\)"):
        locate(case(), Settings(max_uncertainty_mm=8.0))
    assert locate(case(), Settings(max_uncertainty_mm=10.0)) is not None


@pytest.mark.parametrize("seen", [None, doubtful(3.0, View.CUT)], ids=["none", "all cut"])
def test_no_face_in_view_is_no_case(seen: Face | None, monkeypatch: pytest.MonkeyPatch) -> None:
    located_as(seen, monkeypatch)
    assert locate(case(), Settings()) is None
    assert deface_case(case(), Settings(), 1, no_stage) is None


@pytest.mark.parametrize("seen", [None, doubtful(3.0, View.CUT)], ids=["none", "all cut"])
def test_a_head_without_a_face_that_can_be_placed_is_refused(seen: Face | None, monkeypatch: pytest.MonkeyPatch) -> None:
    located_as(seen, monkeypatch, brain=True)
    with pytest.raises(LandmarkError, match="CT series 3: a head is in view but no face could be placed"):
        deface_case(case(), Settings(), 1, no_stage)


@pytest.mark.parametrize(
    ("name", "beside_mm", "refused"),
    [
        ("Mandible", 0.0, True),
        ("Lens_L", 0.0, True),
        ("oral-cavity", 0.0, True),
        ("Œil droit", 0.0, True),
        ("oog_li", 0.0, True),
        ("Lèvres", 0.0, True),
        ("Bulbus penis", 0.0, False),
        ("Lung_L", 0.0, False),
        ("Mandible", 900.0, False),
    ],
)
def test_a_scan_in_which_a_piece_of_a_face_is_drawn_is_no_scan_without_a_face(
    name: str, beside_mm: float, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    located_as(None, monkeypatch)
    centre = case().scan.grid.corners().mean(axis=0) + np.array([0.0, 0.0, beside_mm])
    square = centre + np.array([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [9.0, 9.0, 0.0], [-9.0, 9.0, 0.0]])
    drawn = replace(case(), rois=(Roi(name, 1, RoiKind.ORGAN, (square,)),))
    if refused:
        with pytest.raises(LandmarkError, match="no face could be placed"):
            locate(drawn, Settings())
    else:
        assert locate(drawn, Settings()) is None


def test_a_label_map_of_a_jaw_speaks_against_no_face_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    located_as(None, monkeypatch)
    with pytest.raises(LandmarkError, match="no face could be placed"):
        locate(replace(case(), labels=(label_map(head()),)), Settings())


def test_the_first_window_with_a_face_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [found()[0] for _ in range(3)]
    monkeypatch.setattr(casework, "head_windows", lambda scan: iter(windows))
    faces = iter([None, doubtful(3.0), doubtful(3.0)])
    monkeypatch.setattr(casework, "find_face", lambda evidence, wanted, model: next(faces))
    result = locate(case(), Settings())
    assert result is not None
    assert result[0] is windows[1]
    assert next(faces) is not None, "the third window was not looked at"


def test_every_stage_is_told(shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def stage(name: str, share: float):  # type: ignore[no-untyped-def]
        told.append(name)
        return no_stage(name, share)

    located_as(found()[1], monkeypatch)
    deface_case(case(), Settings(), 1, stage)
    assert set(told) == {"segment", "locate", "protect", "change", "verify", "privacy", "attacks", "pictures"}
    assert told[:3] == ["segment", "locate", "protect"]


def test_what_networks_make_goes_into_the_case_and_what_they_say_into_the_findings(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, made = label_map(head()), label_map(head(), "totalsegmentator")
    slow = Finding(Level.WARNING, "network_on_cpu", "slow")
    seen: list[tuple[LabelMap, ...]] = []
    monkeypatch.setattr(casework, "network_labels", lambda scan, settings: ((made,), (slow,)))

    def stand_in(case: Case, settings: Settings) -> object:
        seen.append(case.labels)
        return found()

    monkeypatch.setattr(casework, "locate", stand_in)
    done = deface_case(replace(case(), labels=(given,)), Settings(), 1, no_stage)
    assert seen == [(given, made)]
    assert done is not None
    assert done.findings[0] is slow
    assert [(one["source"], one["name"]) for one in done.measures()["labelled"]] == [
        (source, name) for source in ("given", "totalsegmentator") for name in names().values()
    ]
    assert all(one["unchanged_percent"] is not None for one in done.measures()["labelled"])


def test_what_networks_say_is_not_lost_when_the_study_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Finding(Level.WARNING, "network_on_cpu", "slow")
    monkeypatch.setattr(casework, "network_labels", lambda scan, settings: ((), (slow,)))

    def lost(case: Case, settings: Settings) -> None:
        raise LandmarkError("no face could be placed")

    monkeypatch.setattr(casework, "locate", lost)
    with pytest.raises(LandmarkError) as caught:
        deface_case(case(), Settings(), 1, no_stage)
    assert caught.value.findings == (slow,)
