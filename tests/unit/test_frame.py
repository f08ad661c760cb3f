"""The head frame against the truth of the phantoms (its laws are in tests/laws)."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Landmark, Landmarks
from fw_gear_hndeface.ops.frame import REGION_MM, HeadFrame, fit_frame
from fw_gear_hndeface.synthetic.head import Scene
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM, LANDMARK_NAMES
from tests import phantom as make
from tests.chain import SEED


def test_the_canonical_face_names_every_landmark_and_is_symmetric() -> None:
    assert set(CANONICAL_FACE_MM) == set(LANDMARK_NAMES)
    for name, (x, y, z) in CANONICAL_FACE_MM.items():
        if name.endswith("_left"):
            assert x > 0
            assert CANONICAL_FACE_MM[name.replace("_left", "_right")] == (-x, y, z)
        elif not name.endswith("_right"):
            assert x == 0
    middle = (np.array(CANONICAL_FACE_MM["globe_left"]) + CANONICAL_FACE_MM["globe_right"]) / 2
    assert np.allclose(middle, 0), "the origin lies midway between the globes"
    points = np.array(list(CANONICAL_FACE_MM.values()))
    assert np.all((points > REGION_MM[0] + 20) & (points < REGION_MM[1] - 10)), "the region holds the face with room"


@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0), (20.0, -15.0, 10.0)])
def test_the_axes_are_the_patient_s_left_back_and_up(pose: tuple[float, float, float]) -> None:
    marks = make.phantom(SEED, scene=Scene(pose_deg=pose)).landmarks
    inner = {name: mark for name, mark in marks.items() if not name.startswith(("ear", "jaw"))}
    frame = fit_frame(Landmarks(inner))
    assert frame is not None
    left = marks["globe_left"].point - marks["globe_right"].point
    assert frame.axes[0] @ left / np.linalg.norm(left) > 0.98
    up = marks["nasion"].point - marks["chin"].point
    assert frame.axes[2] @ up / np.linalg.norm(up) > 0.9
    forward = marks["nose_tip"].point - (marks["globe_left"].point + marks["globe_right"].point) / 2
    assert frame.axes[1] @ forward < -15.0
    assert 0.8 < frame.scale < 1.2
    assert np.linalg.norm(frame.origin - (marks["globe_left"].point + marks["globe_right"].point) / 2) < 15.0


def test_a_face_is_a_face_by_shape_and_size() -> None:
    def fitted(scale: float, noise_mm: float) -> HeadFrame:
        rng = np.random.default_rng(2)
        marks = {n: Landmark(scale * np.array(p) + rng.normal(0, noise_mm, 3), 3.0, "t") for n, p in CANONICAL_FACE_MM.items()}
        frame = fit_frame(Landmarks(marks))
        assert frame is not None
        return frame

    assert fitted(1.0, 2.0).is_a_face
    assert fitted(0.6, 1.0).is_a_face, "an infant"
    assert not fitted(0.4, 1.0).is_a_face
    assert not fitted(1.6, 1.0).is_a_face
    assert not fitted(1.0, 14.0).is_a_face, "points strewn about"
    assert fitted(1.0, 14.0).residual_mm > fitted(1.0, 2.0).residual_mm > 1.0
