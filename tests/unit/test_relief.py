"""Height fields of the face: where rays meet skin, and surfaces spanned from a rim, held against algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.relief import (
    Rays,
    fill_nearest,
    first_crossing,
    first_inside,
    make_rays,
    membrane,
    smooth_inside,
)

FRAME = HeadFrame(np.array([12.0, -140.0, 390.0]), Rotation.from_euler("xyz", [14, -8, 5], degrees=True).as_matrix(), 0.93)
LOW, HIGH = np.array([-21.0, -30.0, -17.0]), np.array([22.0, 33.0, 15.0])


@pytest.fixture(scope="module")
def rays() -> Rays:
    return make_rays(FRAME, LOW, HIGH, 1.5)


def positions(rays: Rays) -> np.ndarray:
    """Frame mm of every voxel of the rays' grid."""
    points = rays.grid.to_patient(np.stack(np.indices(rays.grid.shape), axis=-1))
    return np.asarray((points - FRAME.origin) @ FRAME.axes.T)


def test_rays_run_backwards_through_the_box(rays: Rays) -> None:
    place = positions(rays)
    assert np.allclose(place[0, 0, 0], LOW)
    assert np.allclose(place[0, 1, 0] - place[0, 0, 0], [0, 1.5, 0])
    assert np.allclose(place[1, 0, 0] - place[0, 0, 0], [0, 0, 1.5])
    assert np.allclose(place[0, 0, 1] - place[0, 0, 0], [1.5, 0, 0])
    assert rays.shape == rays.grid.shape[::2]


def test_the_first_crossing_is_found_between_the_voxels(rays: Rays) -> None:
    x, y, z = np.moveaxis(positions(rays), -1, 0)
    skin = 0.31 * x - 0.2 * z + 4.7
    volume = Volume(rays.grid, (-300.0 + 40.0 * (y - skin)).astype(np.float32))
    assert np.allclose(first_crossing(rays, volume, -300.0), skin[:, 0, :], atol=0.01)


def test_the_first_of_two_surfaces_counts_and_no_surface_is_not_a_number(rays: Rays) -> None:
    array = np.full(rays.grid.shape, -1000.0, dtype=np.float32)
    array[:, 10:13] = 50.0
    array[:, 20:] = 50.0
    array[3, :, 4] = -1000.0
    found = first_crossing(rays, Volume(rays.grid, array), -300.0)
    assert np.isnan(found[3, 4])
    assert np.isfinite(found).sum() == found.size - 1
    expected = LOW[1] + 1.5 * (9 + 700 / 1050)
    assert np.allclose(found[np.isfinite(found)], expected, atol=0.01)


def test_a_ray_that_starts_inside_meets_skin_at_once(rays: Rays) -> None:
    array = np.full(rays.grid.shape, 50.0, dtype=np.float32)
    assert np.all(first_crossing(rays, Volume(rays.grid, array), -300.0) <= LOW[1] + 1.5)


def test_the_front_of_a_mask_is_half_a_voxel_before_its_first_centre(rays: Rays) -> None:
    array = np.zeros(rays.grid.shape, dtype=np.bool_)
    array[2, 7:9, 3] = True
    found = first_inside(rays, Mask(rays.grid, array, "m"))
    assert found[2, 3] == pytest.approx(LOW[1] + 1.5 * 6.5)
    assert np.isinf(found).sum() == found.size - 1


def test_a_map_is_looked_up_by_position(rays: Rays) -> None:
    rows, columns = np.indices(rays.shape)
    field = 2.0 * (LOW[0] + 1.5 * columns) - 0.5 * (LOW[2] + 1.5 * rows)
    x, z = np.array([[-3.3, 8.9]]), np.array([[1.7, -10.1]])
    assert np.allclose(rays.lookup(field, x, z), 2.0 * x - 0.5 * z)
    beyond = rays.lookup(field, np.array([900.0]), np.array([900.0]))
    assert beyond == pytest.approx(field[-1, -1])
    one, other = rays.lookup_all((field, -field), x, z)
    assert np.array_equal(one, -other)


def test_unknown_pixels_take_the_nearest_value() -> None:
    field = np.full((5, 6), np.nan)
    field[0, 0], field[4, 5] = 3.0, 9.0
    filled = fill_nearest(field)
    assert filled[1, 1] == 3.0
    assert filled[3, 5] == 9.0
    assert np.isfinite(filled).all()
    known = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(fill_nearest(known), known)


def test_unknown_pixels_do_not_leak_into_a_smooth_map() -> None:
    field, weight = np.full((20, 20), 5.0), np.ones((20, 20))
    field[5:9, 5:9], weight[5:9, 5:9] = 1e6, 0.0
    assert np.allclose(smooth_inside(field, weight, 3.0), 5.0)


@pytest.mark.parametrize("stiff", [False, True])
def test_a_membrane_over_a_plane_is_the_plane_and_the_rim_is_untouched(stiff: bool) -> None:
    rows, columns = np.indices((30, 34))
    plane = 0.7 * rows - 1.3 * columns + 5.0
    inside = np.hypot(rows - 15, columns - 16) < 9
    bumped = np.where(inside, 100.0 * np.random.default_rng(3).random(plane.shape), plane)
    result = membrane(bumped, inside, stiff=stiff)
    assert np.allclose(result, plane, atol=1e-6), "nothing of the old inside is left"
    assert np.array_equal(result[~inside], plane[~inside])


def test_the_stiff_membrane_goes_on_where_the_rim_bends() -> None:
    rows, columns = np.indices((40, 40))
    dome = 0.02 * (rows - 20.0) ** 2 + 0.02 * (columns - 20.0) ** 2
    inside = np.hypot(rows - 20, columns - 20) < 10
    flat, stiff = (membrane(dome, inside, stiff=way) for way in (False, True))
    assert np.abs(stiff - dome).max() < 0.2, "a biharmonic surface keeps the slope at the rim"
    assert np.abs(flat - dome)[inside].max() > 1.0
    assert flat[inside].std() < 0.3, "a soap film over a level rim is level"


def test_a_membrane_over_nothing_changes_nothing() -> None:
    field = np.random.default_rng(1).random((6, 7))
    assert np.array_equal(membrane(field, np.zeros((6, 7), dtype=np.bool_)), field)
