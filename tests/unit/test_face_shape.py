"""The statistical shape of faces: its derivatives, what it makes of a face it drew itself, and of what is none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Float, Mask, Volume
from fw_gear_hndeface.ops.face_shape import MISSING, PLACING, Placed, Problem, Skin, face_shape, refined
from fw_gear_hndeface.ops.head import HeadScan, head_windows
from fw_gear_hndeface.ops.resample import lps_grid
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM
from tests import phantom as make
from tests.chain import SEED

MODES = len(face_shape().modes)


@cache
def problem() -> Problem:
    return Problem(Skin(next(head_windows(make.phantom(SEED, plain=True).volume))))


def truth(shift_mm: float = 0.0, size: float = 1.0) -> Float:
    """Values near the phantom's face: between its eyes, level."""
    marks = make.phantom(SEED, plain=True).landmarks
    origin = (marks["globe_left"].point + marks["globe_right"].point) / 2 + shift_mm
    return np.array([*origin, -0.1, 0.03, -0.02, np.log(size), *np.linspace(-0.5, 0.5, MODES)])


def ball(radius_mm: float = 85.0) -> HeadScan:
    """A sphere in the middle of the scan."""
    grid = lps_grid(np.array([[-110.0, -110.0, -140.0], [110.0, 110.0, 140.0]]), 3.0)
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3).astype(float))
    inside = (np.linalg.norm(points, axis=1) < radius_mm).reshape(grid.shape)
    volume = Volume(grid, np.where(inside, 40.0, -1000.0).astype(np.float32))
    return HeadScan(volume, Mask(grid, inside, "ball"), volume)


def test_the_shape_is_a_face_with_two_sides_alike() -> None:
    shape = face_shape()
    assert shape.points.shape[1] == 3
    assert len(shape.points) > 500
    names = list(CANONICAL_FACE_MM)
    assert len(shape.marks) == len(names)
    canonical = np.array(list(CANONICAL_FACE_MM.values()))
    assert np.median(np.linalg.norm(shape.marks - canonical, axis=1)) < 3.0
    left, right = shape.marks[names.index("mouth_left")], shape.marks[names.index("mouth_right")]
    assert np.allclose(left * [-1, 1, 1], right, atol=0.2)
    low = shape.points[shape.points[:, 2] < 0.0]
    tip = low[np.argmin(low[:, 1])]
    assert abs(tip[0]) < 6.0, "the nose is in the middle"
    assert -50.0 < tip[2] < -25.0, "and below the eyes"


def agree(change: Float, slope: Float) -> bool:
    """Whether differences follow derivatives: the field is known at voxels, so single points are off, not their sum."""
    ratio = float(change @ slope / (slope @ slope))
    return bool(np.corrcoef(change, slope)[0, 1] > 0.9 and abs(ratio - 1.0) < 0.15)


@pytest.mark.parametrize("n", [n for n in range(PLACING + MODES) if not 3 <= n < 6])
def test_derivatives_are_those_of_the_residuals(n: int) -> None:
    at = truth(2.0)
    residuals, slope = problem()(at)
    assert slope.shape == (len(residuals), PLACING + MODES)
    step = np.zeros_like(at)
    step[n] = 0.02 if n == 6 else 1.0
    change = (problem()(at + step)[0] - problem()(at - step)[0]) / (2 * step[n])
    assert agree(change[: -len(at)], slope[: -len(at), n])
    assert np.allclose(change[-len(at) :], slope[-len(at) :, n])


@pytest.mark.parametrize("axis", range(3))
def test_turns_are_taken_about_the_patient_axes(axis: int) -> None:
    at = truth(2.0)
    tried = []
    for angle in (0.01, -0.01):
        tilted, turn = at.copy(), np.zeros(3)
        turn[axis] = angle
        tilted[3:6] = (Rotation.from_rotvec(turn) * Rotation.from_rotvec(at[3:6])).as_rotvec()
        tried.append(problem()(tilted)[0])
    assert agree(((tried[0] - tried[1]) / 0.02)[: -len(at)], problem()(at)[1][: -len(at), 3 + axis])


def test_a_shape_that_lies_off_is_brought_to_the_face() -> None:
    start = truth(9.0, 0.9)
    found = refined(problem(), start, PLACING, 40)
    assert problem().loss(found) < 0.6 * problem().loss(start)
    placed, marks = Placed(found), make.phantom(SEED, plain=True).landmarks
    places = dict(zip(CANONICAL_FACE_MM, placed.places(face_shape().landmarks(placed.modes)), strict=True))
    off = [np.linalg.norm(places[n] - marks[n].point) for n in ("globe_left", "globe_right", "nose_tip", "mouth_left")]
    assert np.median(off) < 9.0
    assert problem().relief(found) > 0.3


def test_a_shape_of_which_nothing_is_seen_says_nothing() -> None:
    away = truth()
    away[:3] += [0.0, 0.0, 900.0]
    away[3:] = problem().middle[3:]
    assert problem().loss(away) == pytest.approx(problem().nothing, rel=1e-6)
    assert problem().relief(away) == 0.0
    residuals, slope = problem()(away)
    assert np.all(slope[: -len(away)] == 0.0)
    assert np.all(residuals[: -len(away)] > 0.0)
    assert MISSING > 1.0


def test_a_ball_has_no_relief_of_a_face() -> None:
    made = Problem(Skin(ball()))
    start = np.array([0.0, -45.0, 30.0, -0.2, 0.0, 0.0, 0.0, *np.zeros(MODES)])
    assert made.relief(refined(made, start, PLACING + MODES, 40)) < 0.04


def test_points_beyond_the_end_of_the_scan_are_not_held_against_a_face() -> None:
    head = make.cut(make.phantom(SEED, plain=True), "below_eyes")
    skin = Skin(next(head_windows(head.volume)))
    shown = skin.shows(Placed(truth()).places(face_shape().points))
    heights = Placed(truth()).places(face_shape().points)[:, 2]
    top = head.volume.grid.corners()[:, 2].max()
    assert not shown[heights > top].any()
    assert shown[heights < top - 10.0].mean() > 0.9
