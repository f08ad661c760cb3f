"""Without the 68-point model: it is never loaded, outlines place the face, and the check still tells heads apart."""

from __future__ import annotations

from functools import cache

import dlib
import numpy as np
import pytest

from fw_gear_hndeface.casework import Case, deface_case
from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.landmarks import Evidence, detector, find_face
from fw_gear_hndeface.model import RoiKind
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.ops.render import Picture, Pose
from fw_gear_hndeface.privacy import recognise
from fw_gear_hndeface.privacy.check import gallery, strangers
from fw_gear_hndeface.privacy.recognise import aligned_by, alignment, box_shape
from fw_gear_hndeface.privacy.recognise import find_face as look
from fw_gear_hndeface.privacy.views import face_surface, pictures
from fw_gear_hndeface.settings import Settings
from tests import phantom as make
from tests.chain import SEED, drawn, frame_of, no_stage
from tests.labelled import label_map


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the 68-point model is an error."""

    def refuse() -> None:
        raise AssertionError("the 68-point model was loaded")

    monkeypatch.setattr(detector, "predictor", refuse)
    monkeypatch.setattr(recognise, "predictor", refuse)
    monkeypatch.setattr(dlib, "shape_predictor", refuse)


@cache
def picture(seed: int, pitch_deg: float) -> Picture:
    head = make.phantom(seed, plain=True)
    surface = face_surface(head.volume, [head.structures["BODY"]], frame_of(head), -300.0)
    return pictures(surface, [Pose(pitch_deg)])[0]


def embedding(seed: int, pitch_deg: float) -> np.ndarray:
    with aligned_by("none"):
        face = look(picture(seed, pitch_deg).grey)
    assert face is not None
    return face.embedding


@pytest.mark.usefixtures("no_model")
def test_a_whole_run_never_loads_it_and_says_so() -> None:
    head = make.phantom(SEED, plain=True)
    case = Case(head.volume, None, (), "CT series 1", (label_map(head),))
    done = deface_case(case, Settings(landmark_model="none"), 11, no_stage)
    assert done is not None
    assert done.assessment.views >= 3
    assert done.assessment.passed
    assert {mark.source for mark in done.face.landmarks.values()} <= {"segmentation", "canonical", "geometry"}
    assert "aligned_by_box" in {finding.code for finding in done.findings}


def test_the_model_is_what_a_run_loads_by_default(no_model: None) -> None:
    head = make.phantom(SEED, plain=True)
    with pytest.raises(AssertionError, match="68-point model was loaded"):
        deface_case(Case(head.volume, None, (), "CT series 1"), Settings(), 11, no_stage)


@pytest.mark.usefixtures("no_model")
def test_drawn_eyes_and_the_profile_place_a_whole_face_without_it() -> None:
    head = make.phantom(SEED, plain=True)
    window = next(head_windows(head.volume))
    eyes = tuple(drawn(head, name, RoiKind.LANDMARK, n) for n, name in enumerate(("Eye_L", "Eye_R"), 1))
    bare, backed = (find_face(Evidence(window, rois), model="none") for rois in ((), eyes))
    assert backed is not None
    assert backed.is_whole
    assert backed.sigma_mm < Settings().max_uncertainty_mm
    assert bare is None or bare.sigma_mm > Settings().max_uncertainty_mm, "a profile alone is no whole face"
    for name in ("nose_tip", "chin"):
        assert np.linalg.norm(backed.landmarks[name].point - head.landmarks[name].point) < 20.0


def test_the_rendered_face_cannot_be_asked_for_without_its_model() -> None:
    with pytest.raises(SettingsError, match="needs a landmark_model"):
        Settings(landmarks="rendered_face", landmark_model="none")


@pytest.mark.usefixtures("no_model")
def test_one_head_in_two_views_is_nearer_than_another_head() -> None:
    same = np.linalg.norm(embedding(SEED, -10.0) - embedding(SEED, 0.0))
    assert same < np.linalg.norm(embedding(SEED, -10.0) - embedding(6, -10.0))


def test_strangers_are_those_that_were_aligned_alike() -> None:
    views = (0, 1, 2, 3)
    with aligned_by("none"):
        assert alignment() == "none"
        boxed, boxed_pairs = gallery(), strangers(views)
    assert alignment() == "dlib68"
    assert boxed.shape == gallery().shape
    assert not np.array_equal(boxed, gallery())
    assert not np.array_equal(boxed_pairs[:20], strangers(views)[:20])
    assert len(boxed_pairs) > 1000


def test_the_alignment_is_put_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), aligned_by("none"):
        raise RuntimeError
    assert alignment() == "dlib68"


def test_five_points_lie_in_the_box_as_eyes_and_nose_do() -> None:
    points = [(part.x, part.y) for part in box_shape((100, 50, 250, 200)).parts()]
    left_outer, left_inner, right_outer, right_inner, nose = points
    assert right_outer[0] < right_inner[0] < nose[0] < left_inner[0] < left_outer[0]
    assert max(point[1] for point in points[:4]) < nose[1] < 200
    assert all(100 < x < 250 and 50 < y < 200 for x, y in points)
