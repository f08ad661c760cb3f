"""Which voxels a drawn region covers, against polygons small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fw_gear_hndeface.model import Grid, Roi, RoiKind
from fw_gear_hndeface.ops.polygons import polygon_pixels, rasterise

SHAPE = (9, 23, 17)


def grid(tilt_deg: float = 12.0, spacing_mm: tuple[float, float, float] = (3.0, 0.98, 1.2)) -> Grid:
    t = np.radians(tilt_deg)
    affine = np.eye(4)
    affine[:3, 0] = [0, 0, spacing_mm[0]]
    affine[:3, 1] = np.array([0, np.cos(t), np.sin(t)]) * spacing_mm[1]
    affine[:3, 2] = [spacing_mm[2], 0, 0]
    affine[:3, 3] = [-40, 17, 800]
    return Grid(SHAPE, affine)


def roi(*index_contours: object, on: Grid | None = None) -> Roi:
    """A region from contours in (k, j, i) index coordinates."""
    where = on or grid()
    return Roi("R", 1, RoiKind.ORGAN, tuple(where.to_patient(np.asarray(c, float)) for c in index_contours))


def square(k: float, low: float, high: float) -> list[tuple[float, float, float]]:
    return [(k, low, low), (k, low, high), (k, high, high), (k, high, low)]


def filled(*blocks: tuple[int, int, int]) -> np.ndarray:
    """Squares (k, low, high), ends included."""
    out = np.zeros(SHAPE, bool)
    for k, low, high in blocks:
        out[k, low : high + 1, low : high + 1] = True
    return out


class TestInThePlane:
    """Borders count, holes do not."""

    def test_centres_on_the_border_are_inside(self) -> None:
        assert np.array_equal(rasterise(roi(square(4, 3, 8)), grid()).array, filled((4, 3, 8)))

    def test_centres_outside_by_a_hair_are_outside(self) -> None:
        assert np.array_equal(rasterise(roi(square(4, 3.01, 7.99)), grid()).array, filled((4, 4, 7)))

    def test_a_polygon_beyond_the_image_is_cut(self) -> None:
        out = rasterise(roi(square(4, -50, 90)), grid()).array
        assert out[4].all()
        assert out.sum() == 23 * 17

    def test_a_polygon_inside_another_is_a_hole_whose_border_stays(self) -> None:
        expected = filled((4, 2, 14))
        expected[4, 6:10, 6:10] = False
        assert np.array_equal(rasterise(roi(square(4, 2, 14), square(4, 5, 10)), grid()).array, expected)

    def test_an_island_in_a_hole_is_back(self) -> None:
        out = rasterise(roi(square(4, 7, 8), square(4, 2, 14), square(4, 5, 10)), grid()).array
        expected = filled((4, 2, 14))
        expected[4, 6:10, 6:10] = False
        expected[4, 7:9, 7:9] = True
        assert np.array_equal(out, expected)

    def test_a_keyhole_is_a_hole_and_its_channel_has_no_width(self) -> None:
        outer = [(4, 2, 2), (4, 2, 14), (4, 14, 14), (4, 14, 2)]
        inner = [(4, 5, 5), (4, 10, 5), (4, 10, 10), (4, 5, 10)]
        keyhole = [outer[0], *outer[1:], outer[0], *inner, inner[0]]
        expected = filled((4, 2, 14))
        expected[4, 6:10, 6:10] = False
        assert np.array_equal(rasterise(roi(keyhole), grid()).array, expected)

    def test_polygons_that_overlap_in_part_are_joined(self) -> None:
        out = rasterise(roi(square(4, 2, 8), square(4, 6, 12)), grid()).array
        assert np.array_equal(out, filled((4, 2, 8), (4, 6, 12)))

    @pytest.mark.parametrize("nudge", [0.0, 1e-4, 0.02])
    def test_a_polygon_drawn_twice_is_no_hole(self, nudge: float) -> None:
        again = [(k, j + nudge, i) for k, j, i in square(4, 2, 14)]
        assert np.array_equal(rasterise(roi(square(4, 2, 14), again), grid()).array, filled((4, 2, 14)))

    def test_a_polygon_between_the_centres_covers_where_its_points_lie(self) -> None:
        out = rasterise(roi([(4, 5.2, 5.2), (4, 5.2, 5.4), (4, 5.4, 5.4)]), grid()).array
        assert np.argwhere(out).tolist() == [[4, 5, 5]]

    def test_no_contour_no_voxel(self) -> None:
        assert rasterise(Roi("R", 1, RoiKind.ORGAN, ()), grid()).count == 0
        assert rasterise(roi([(4, 1, 1), (4, 5, 5)]), grid()).count == 0

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=60, deadline=None)
    def test_a_star_is_inside_where_the_winding_says_so(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 20)))
        if np.diff([*angles, angles[0] + 2 * np.pi]).max() > 3:
            return
        radius = rng.uniform(2, 9, len(angles))
        points = np.stack([11 + radius * np.sin(angles), 8 + radius * np.cos(angles)], axis=1)
        out = polygon_pixels(points, SHAPE[1:])
        rows, columns = np.indices(SHAPE[1:])
        turn = np.zeros(SHAPE[1:])
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
            u = (a[0] - rows) + 1j * (a[1] - columns)
            v = (b[0] - rows) + 1j * (b[1] - columns)
            turn += np.angle(v / u)
        assert np.array_equal(out, np.abs(turn) > np.pi)

    def test_whole_numbered_corners_in_any_direction_give_the_same_pixels(self) -> None:
        points = np.array([[2, 3], [2, 11], [7, 11], [7, 7], [15, 7], [15, 3]], float)
        expected = np.zeros(SHAPE[1:], bool)
        expected[2:8, 3:12] = expected[7:16, 3:8] = True
        for turned in (points, points[::-1], np.roll(points, 2, axis=0)):
            assert np.array_equal(polygon_pixels(turned, SHAPE[1:]), expected)
        inner = np.zeros(SHAPE[1:], bool)
        inner[3:7, 4:11] = inner[6:15, 4:7] = True
        assert np.array_equal(polygon_pixels(points, SHAPE[1:], border=False), inner)


class TestAlongTheStack:
    """Each voxel follows the nearest contour plane."""

    def test_contours_on_every_slice_fill_those_slices_alone(self) -> None:
        out = rasterise(roi(*(square(k, 3, 8) for k in (3, 4, 5))), grid()).array
        assert np.array_equal(out, filled((3, 3, 8), (4, 3, 8), (5, 3, 8)))

    def test_a_plane_half_way_between_slices_fills_both(self) -> None:
        assert np.array_equal(rasterise(roi(square(4.5, 3, 8)), grid()).array, filled((4, 3, 8), (5, 3, 8)))

    def test_a_plane_off_the_slice_fills_the_nearest(self) -> None:
        assert np.array_equal(rasterise(roi(square(4.3, 3, 8)), grid()).array, filled((4, 3, 8)))

    def test_contours_on_every_other_slice_fill_what_lies_between_by_both(self) -> None:
        out = rasterise(roi(square(2, 3, 8), square(4, 5, 10), square(6, 3, 8)), grid()).array
        expected = filled((2, 3, 8), (4, 5, 10), (6, 3, 8), (3, 3, 8), (3, 5, 10), (5, 3, 8), (5, 5, 10))
        assert np.array_equal(out, expected)

    def test_contours_finer_than_the_slices_are_all_heard(self) -> None:
        out = rasterise(roi(*(square(4 + step, 3, 8) for step in (0.4, 0.6))), grid()).array
        assert np.array_equal(out, filled((4, 3, 8), (5, 3, 8)))

    def test_a_gap_in_the_drawing_is_bridged_and_a_wide_one_is_not(self) -> None:
        near = rasterise(roi(*(square(k, 3, 8) for k in (0, 1, 2, 4, 5))), grid()).array
        far = rasterise(roi(*(square(k, 3, 8) for k in (0, 1, 2, 7, 8))), grid()).array
        assert near[3].any()
        assert np.array_equal(np.flatnonzero(far.any(axis=(1, 2))), [0, 1, 2, 7, 8])

    def test_planes_beyond_the_image_do_not_matter(self) -> None:
        assert rasterise(roi(square(-4, 3, 8), square(20, 3, 8)), grid()).count == 0


class TestOblique:
    """Regions drawn on other planes than the grid's."""

    def test_an_axial_drawing_on_a_tilted_grid_is_true_to_half_a_voxel(self) -> None:
        tilted, z0 = grid(20.0), 806.0
        levels = np.arange(z0, z0 + 15, 1.5)
        box = np.array([(-35, 22), (-25, 22), (-25, 32), (-35, 32)], float)
        contours = tuple(np.column_stack([box, np.full(4, z)]) for z in levels)
        out = rasterise(Roi("R", 1, RoiKind.ORGAN, contours), tilted).array
        points = tilted.to_patient(np.stack(np.indices(SHAPE), axis=-1))
        low, high = np.array([-35, 22, z0 - 0.75]), np.array([-25, 32, levels[-1] + 0.75])
        rim = np.array([0.6, 0.6, 0.8])
        surely_in = np.all((points > low + rim) & (points < high - rim), axis=-1)
        surely_out = np.any((points < low - rim) | (points > high + rim), axis=-1)
        assert surely_in.sum() > 100
        assert out[surely_in].all()
        assert not out[surely_out].any()

    def test_a_coronal_drawing_on_an_axial_grid(self) -> None:
        axial = grid(0.0)
        levels = np.arange(20.0, 30.0, 0.98)
        box = np.array([(-35, 806), (-27, 806), (-27, 818), (-35, 818)], float)
        contours = tuple(np.column_stack([box[:, 0], np.full(4, y), box[:, 1]]) for y in levels)
        mask = rasterise(Roi("R", 1, RoiKind.ORGAN, contours), axial)
        # each voxel stands for its whole cell, so a border on voxel centres adds about half a cell on each side
        assert mask.volume_ml == pytest.approx(8 * 12 * 9.8 / 1000, rel=0.25)
        assert mask.name == "R"
