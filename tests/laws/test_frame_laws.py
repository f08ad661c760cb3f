"""Laws of the head frame: it moves with the head, never mirrors it, and one stray landmark does not turn it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Landmark, Landmarks
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

angles = st.tuples(*[st.floats(-1.5, 1.5) for _ in range(3)])
shifts = st.tuples(*[st.floats(-900, 900) for _ in range(3)])
names = tuple(CANONICAL_FACE_MM)


def face(seed: int, noise_mm: float = 2.0) -> dict[str, np.ndarray]:
    """A face that is nearly the canonical one."""
    rng = np.random.default_rng(seed)
    return {name: np.array(point) + rng.normal(0, noise_mm, 3) for name, point in CANONICAL_FACE_MM.items()}


def marks(points: dict[str, np.ndarray], sigma_mm: float = 3.0) -> Landmarks:
    return Landmarks({name: Landmark(point, sigma_mm, "test") for name, point in points.items()})


def fitted(points: dict[str, np.ndarray]) -> HeadFrame:
    frame = fit_frame(marks(points))
    assert frame is not None
    return frame


@given(st.integers(0, 99), angles, shifts)
@settings(max_examples=40, deadline=None)
def test_the_frame_moves_with_the_head(seed: int, turn: tuple, shift: tuple) -> None:  # type: ignore[type-arg]
    rotation, points = Rotation.from_rotvec(turn).as_matrix(), face(seed)
    still = fitted(points)
    moved = fitted({name: rotation @ point + np.array(shift) for name, point in points.items()})
    assert np.allclose(moved.origin, rotation @ still.origin + np.array(shift), atol=1e-6)
    assert np.allclose(moved.axes, still.axes @ rotation.T, atol=1e-6)
    assert moved.scale == pytest.approx(still.scale)
    assert moved.residual_mm == pytest.approx(still.residual_mm)


@given(angles, shifts, st.floats(0.6, 1.4))
@settings(max_examples=40, deadline=None)
def test_an_exact_face_is_found_exactly(turn: tuple, shift: tuple, size: float) -> None:  # type: ignore[type-arg]
    rotation = Rotation.from_rotvec(turn).as_matrix()
    frame = fitted({name: size * rotation @ point + np.array(shift) for name, point in face(0, 0.0).items()})
    assert frame.scale == pytest.approx(size)
    assert frame.residual_mm == pytest.approx(0.0, abs=1e-6)
    for name, point in CANONICAL_FACE_MM.items():
        assert np.allclose(frame.canonical(name), size * rotation @ np.array(point) + np.array(shift), atol=1e-6)


@given(st.integers(0, 99), angles, shifts)
@settings(max_examples=40, deadline=None)
def test_there_and_back_and_never_mirrored(seed: int, turn: tuple, shift: tuple) -> None:  # type: ignore[type-arg]
    rotation = Rotation.from_rotvec(turn).as_matrix()
    frame = fitted({name: rotation @ point + np.array(shift) for name, point in face(seed).items()})
    cloud = np.random.default_rng(seed).uniform(-500, 500, (20, 3))
    assert np.allclose(frame.to_patient(frame.to_frame(cloud)), cloud, atol=1e-6)
    assert np.linalg.det(frame.axes) == pytest.approx(1.0)
    grid = frame.grid(np.array([-20.0, -10.0, 5.0]), np.array([30.0, 40.0, 25.0]), 2.5)
    corners = frame.to_frame(grid.corners())
    assert np.allclose(corners.min(axis=0), [-20, -10, 5])
    assert np.all(corners.max(axis=0) >= np.array([30, 40, 25]) - 1e-6)
    assert np.all(corners.max(axis=0) < np.array([30, 40, 25]) + 2.5 + 1e-6)


@given(st.integers(0, 99), st.sampled_from(names), st.floats(0.0, 6.28))
@settings(max_examples=30, deadline=None)
def test_one_stray_landmark_does_not_turn_the_head(seed: int, stray: str, way: float) -> None:
    points = face(seed, 1.0)
    still = fitted(points)
    lost = fitted({**points, stray: points[stray] + 45.0 * np.array([np.cos(way), 0.0, np.sin(way)])})
    assert np.linalg.norm(lost.origin - still.origin) < 2.0
    turn = np.degrees(np.arccos(np.clip((np.trace(lost.axes @ still.axes.T) - 1) / 2, -1, 1)))
    assert turn < 2.0


def test_landmarks_that_are_surer_weigh_more() -> None:
    points = face(3, 0.0)
    pulled = {name: point + np.array([0.0, 4.0, 0.0]) for name, point in points.items()}
    half = names[::2]
    mixed = Landmarks(
        {name: Landmark(pulled[name] if name in half else points[name], 1.0 if name in half else 6.0, "test") for name in names}
    )
    frame = fit_frame(mixed)
    assert frame is not None
    assert frame.origin[1] > 3.0


def test_four_landmarks_are_no_head_and_strange_names_do_not_count() -> None:
    points = face(1)
    four = {name: points[name] for name in names[:4]}
    assert fit_frame(marks(four)) is None
    assert fit_frame(Landmarks({**marks(four), "bregma": Landmark(np.zeros(3), 1.0, "test")})) is None
    assert fit_frame(marks({name: points[name] for name in names[:5]})) is not None
