"""Rigid registration of a CT with another image of the same head, and how its residual is told."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Unit, Volume
from fw_gear_hndeface.ops.frame import fit_frame, moved_head
from fw_gear_hndeface.ops.register import REACH_MM, face_skin, register, skin_apart
from fw_gear_hndeface.ops.transform import Affine
from tests import phantom as make
from tests.dicom import family as family_of

HEAD = make.phantom(9, plain=True)
NASION = HEAD.landmarks["nasion"].point


def image(kind: str, moved: np.ndarray) -> Volume:
    """The phantom under another light, on a lattice of its own around the moved head."""
    shape, step = ((84, 96, 96), 2.5) if kind == "MR" else ((70, 64, 64), 4.0)
    middle = (moved @ np.append(NASION + np.array([3.0, 55.0, -40.0]), 1))[:3]
    affine = family_of.lattice(shape, step, np.fliplr(np.eye(3)), middle)
    field = family_of.contrast(HEAD) if kind == "MR" else family_of.activity(HEAD)
    points = family_of.places(shape, np.linalg.inv(moved) @ affine)
    values = family_of.looked_up(field, HEAD.volume.grid.affine, points, 0.0)
    noise = np.abs(np.random.default_rng(1).normal(0, 6 if kind == "MR" else 60, shape))
    return Volume(Grid(shape, affine), (values + noise).astype(np.float32), Unit.ARBITRARY)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "allowed_mm"), [("MR", 1.5), ("PET", 4.0)])
def test_the_motion_is_found_and_its_residual_is_honest(kind: str, allowed_mm: float) -> None:
    moved = family_of.rigid(-11.0, (40.0, -15.0, 130.0), NASION)
    found = register(HEAD.volume, image(kind, moved), fit_frame(HEAD.landmarks))
    marks = HEAD.landmarks.stack(list(HEAD.landmarks))
    truth = marks @ moved[:3, :3].T + moved[:3, 3]
    assert np.linalg.norm(found.transform(marks) - truth, axis=1).max() < allowed_mm
    assert found.skin_mm <= 4.0
    again = register(HEAD.volume, image(kind, moved), fit_frame(HEAD.landmarks))
    assert np.array_equal(found.transform.matrix, again.transform.matrix), "the same input gives the same motion"


@pytest.mark.slow
def test_another_head_elsewhere_is_not_called_good() -> None:
    rng = np.random.default_rng(3)
    affine = family_of.lattice((40, 50, 50), 5.0, np.fliplr(np.eye(3)), np.zeros(3))
    noise = Volume(Grid((40, 50, 50), affine), rng.normal(100, 30, (40, 50, 50)).astype(np.float32), Unit.ARBITRARY)
    assert not register(HEAD.volume, noise, fit_frame(HEAD.landmarks)).is_good


def test_without_a_face_no_registration_is_good() -> None:
    assert not len(face_skin(HEAD.volume, None))


@pytest.mark.parametrize("kind", ["MR", "PET"])
@pytest.mark.parametrize(
    ("turn_deg", "shift", "low", "high"),
    [
        (0.0, (0, 0, 0), 0.0, 3.0),
        (0.0, (0, 15, 0), 8.0, 20.0),
        (0.0, (20, 0, 0), 8.0, REACH_MM),
        (0.0, (0, 0, 25), 6.0, REACH_MM),
        (25.0, (0, 0, 0), 8.0, REACH_MM),
    ],
)
def test_skins_lie_apart_by_what_a_head_was_moved(
    kind: str, turn_deg: float, shift: tuple[float, ...], low: float, high: float
) -> None:
    frame = fit_frame(HEAD.landmarks)
    assert frame is not None
    move = Affine(family_of.rigid(turn_deg, shift, NASION + np.array([0.0, 90.0, 0.0])))
    skin = move(face_skin(HEAD.volume, frame))
    apart = skin_apart(skin, moved_head(frame, move), image(kind, np.eye(4)), 75.0)
    assert apart is not None
    assert low <= apart <= high


def test_an_image_without_the_face_says_nothing() -> None:
    frame = fit_frame(HEAD.landmarks)
    assert frame is not None
    away = image("MR", family_of.rigid(0.0, (0, 0, 400), NASION))
    assert skin_apart(face_skin(HEAD.volume, frame), frame, away, 75.0) is None
