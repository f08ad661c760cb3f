"""Faces in pictures: found at plausible sizes, the same numbers every time, near for one head and far for two."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.landmarks.detector import Detection
from fw_gear_hndeface.ops.render import Picture, Pose
from fw_gear_hndeface.privacy import recognise
from fw_gear_hndeface.privacy.recognise import embed, find_face
from fw_gear_hndeface.privacy.views import face_surface, pictures
from tests import phantom as make
from tests.chain import SEED, frame_of


@cache
def picture(seed: int = SEED, pitch_deg: float = -10.0) -> Picture:
    head = make.phantom(seed, plain=True)
    surface = face_surface(head.volume, [head.structures["BODY"]], frame_of(head), -300.0)
    return pictures(surface, [Pose(pitch_deg)])[0]


def test_a_face_is_found_with_its_score_and_128_numbers() -> None:
    face = find_face(picture().grey)
    assert face is not None
    assert face.embedding.shape == (128,)
    assert 0.5 < np.linalg.norm(face.embedding) < 3.0
    assert face.score > -0.5
    left, top, right, bottom = face.box
    assert 65 <= right - left <= 240
    assert 65 <= bottom - top <= 260


def test_the_same_picture_gives_the_same_numbers() -> None:
    one, two = find_face(picture().grey), find_face(picture().grey)
    assert one is not None
    assert two is not None
    assert np.array_equal(one.embedding, two.embedding)
    assert np.array_equal(embed(picture().grey, one.box), one.embedding)


def test_another_head_is_farther_than_the_same_head_in_another_view() -> None:
    own, turned, other = (find_face(picture(*which).grey) for which in ((SEED, -10.0), (SEED, 0.0), (6, -10.0)))
    assert own is not None
    assert turned is not None
    assert other is not None
    same = np.linalg.norm(own.embedding - turned.embedding)
    different = np.linalg.norm(own.embedding - other.embedding)
    assert same < different
    assert different > 0.3


def test_no_face_in_nothing() -> None:
    assert find_face(np.zeros((150, 130), dtype=np.uint8)) is None


@pytest.mark.parametrize("width", [40, 400])
def test_faces_of_impossible_size_do_not_count(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "detect", lambda grey: [Detection(2.0, (0, 0, width, width))])
    assert find_face(picture().grey) is None


def test_a_box_without_a_face_can_be_embedded_too() -> None:
    blank = np.full((200, 200), 90, dtype=np.uint8)
    assert np.isfinite(embed(blank, (40, 40, 150, 150))).all()
