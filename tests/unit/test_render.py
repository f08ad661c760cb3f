"""Pictures of known bodies: where things appear, how far away they are, and that what is hidden is not seen."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.ops.render import Pose, Surface, extract_surface, render
from tests.phantom import ugly_grid

CENTRE = np.array([30.0, -120.0, 415.0])
RADIUS_MM = 26.0


def grid() -> Grid:
    made = ugly_grid((31, 37, 33), (2.4, 2.0, 2.2))
    affine = made.affine.copy()
    affine[:3, 3] += CENTRE - made.corners().mean(axis=0)
    return Grid(made.shape, affine, "")


def ball(centre: np.ndarray = CENTRE, radius_mm: float = RADIUS_MM, extra: np.ndarray | None = None) -> Volume:
    """HU falling with the distance from a centre; 0 HU inside, -1000 outside, -500 at the radius."""
    points = grid().to_patient(np.stack(np.indices(grid().shape), axis=-1))
    away = np.linalg.norm(points - centre, axis=-1)
    if extra is not None:
        away = np.minimum(away, np.linalg.norm(points - extra, axis=-1) + radius_mm - 5.0)
    return Volume(grid(), np.clip(-500.0 - 100.0 * (away - radius_mm), -1000, 0).astype(np.float32))


@pytest.fixture(scope="module")
def surface() -> Surface:
    return extract_surface(ball(), -500.0)


def test_every_point_lies_on_the_ball_and_every_normal_points_away_from_it(surface: Surface) -> None:
    offset = surface.points - CENTRE
    away = np.linalg.norm(offset, axis=1)
    assert np.abs(away - RADIUS_MM).max() < 0.4
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1.0, atol=1e-4)
    assert ((offset / away[:, None]) * surface.normals).sum(axis=1).min() > 0.9
    assert len(surface.points) > 5000


@pytest.mark.parametrize("level", [-1200.0, 300.0])
def test_a_level_that_nothing_crosses_has_an_empty_surface(level: float) -> None:
    found = extract_surface(ball(), level)
    assert found.is_empty
    assert found.points.shape == found.normals.shape == (0, 3)


def test_the_zero_pose_looks_at_the_patient_from_the_front_with_left_on_the_right() -> None:
    assert np.allclose(Pose().axes, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])


@pytest.mark.parametrize("pose", [Pose(20, 30, 10), Pose(-35, -50, 0), Pose(0, 0, -25)])
def test_pose_axes_are_a_right_handed_rotation(pose: Pose) -> None:
    assert np.allclose(pose.axes @ pose.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose.axes) == pytest.approx(1.0)


def test_pitch_looks_from_above_yaw_from_the_left_and_roll_turns_the_picture() -> None:
    viewer = -Pose(30.0).axes[2]
    assert viewer[2] == pytest.approx(0.5)
    assert viewer[1] < 0
    viewer = -Pose(0.0, 30.0).axes[2]
    assert viewer[0] == pytest.approx(0.5), "the patient's left is +x"
    rolled = Pose(0.0, 0.0, 90.0)
    assert np.allclose(rolled.axes[2], Pose().axes[2])
    assert np.allclose(rolled.axes[0], [0, 0, -1], atol=1e-12)


@pytest.mark.parametrize("pose", [Pose(), Pose(25, -40, 10)])
def test_a_ball_is_a_disc_of_its_size_at_its_depth(surface: Surface, pose: Pose) -> None:
    picture = render(surface, pose, pixel_mm=1.0)
    assert abs(picture.grey.shape[0] - (2 * RADIUS_MM + 1)) <= 2
    assert abs(picture.grey.shape[1] - (2 * RADIUS_MM + 1)) <= 2
    seen = np.isfinite(picture.depth)
    assert seen.sum() == pytest.approx(np.pi * RADIUS_MM**2, rel=0.08)
    assert np.all(picture.grey[~seen] == 0)
    assert np.all(picture.grey[seen] >= 30)
    middle = picture.depth[picture.depth.shape[0] // 2, picture.depth.shape[1] // 2]
    assert middle == pytest.approx(0.0, abs=0.8), "depth starts at the nearest point"


@pytest.mark.parametrize("pose", [Pose(), Pose(25, -40, 10)])
def test_a_picture_position_goes_back_to_the_near_side(surface: Surface, pose: Pose) -> None:
    picture = render(surface, pose, pixel_mm=0.8)
    rows, columns = (np.array([10.0, 24.0, 40.0, 30.0]), np.array([30.0, 12.0, 35.0, 30.0]))
    points = picture.to_patient(columns, rows)
    assert np.abs(np.linalg.norm(points - CENTRE, axis=1) - RADIUS_MM).max() < 1.5
    assert np.all((points - CENTRE) @ pose.axes[2] < 0), "the side that faces the viewer"
    across = (points - points[0]) @ pose.axes[:2].T
    assert np.allclose(across, 0.8 * np.column_stack([columns - columns[0], rows - rows[0]]), atol=0.01)


def test_off_the_surface_there_is_no_point(surface: Surface) -> None:
    assert np.isnan(render(surface, Pose()).to_patient(np.array([0.0]), np.array([0.0]))).all()


def test_a_lump_behind_the_ball_is_not_seen_and_one_in_front_is() -> None:
    for way, seen in ((1.0, False), (-1.0, True)):
        lump = CENTRE + np.array([8.0, way * RADIUS_MM, 6.0])
        picture = render(extract_surface(ball(extra=lump), -500.0), Pose())
        bare = render(extract_surface(ball(), -500.0), Pose())
        row, column = (picture.grey.shape[0] // 2 - 6, picture.grey.shape[1] // 2 + 8)
        nearer = (bare.depth[row, column] - bare.depth[30, 12]) - (picture.depth[row, column] - picture.depth[30, 12])
        assert bool(nearer > 2.0) is seen


def test_light_from_above_shades_the_upper_half_brighter(surface: Surface) -> None:
    above, below = (render(surface, Pose(), light=(angle, 0.0)).grey for angle in (50.0, -50.0))
    size = above.shape[0]
    for grey, bright, dark in (
        (above, slice(8, 20), slice(size - 20, size - 8)),
        (below, slice(size - 20, size - 8), slice(8, 20)),
    ):
        assert grey[bright, size // 2].mean() > grey[dark, size // 2].mean() + 40
    right = render(surface, Pose(), light=(0.0, 50.0)).grey
    assert right[size // 2, size - 16 : size - 8].mean() > right[size // 2, 8:16].mean() + 40


def test_no_holes_in_pictures_finer_than_the_voxels(surface: Surface) -> None:
    picture = render(surface, Pose(10, 20), pixel_mm=1.5)
    radius_px = RADIUS_MM / 1.5
    r, c = np.indices(picture.depth.shape)
    middle = (np.array(picture.depth.shape) - 1) / 2
    inner = np.hypot(r - middle[0], c - middle[1]) < 0.9 * radius_px
    assert np.isfinite(picture.depth[inner]).all()
