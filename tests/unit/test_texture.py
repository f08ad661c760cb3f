"""What tissue near a face looks like: local mean, grain and the values of air, on scans whose every number is known."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.relief import Rays, make_rays
from fw_gear_hndeface.ops.texture import MOST_SD, Grain, Texture, grain_slices, measure_grain, measure_texture

FRAME = HeadFrame(np.array([4.0, -100.0, 50.0]), np.eye(3), 1.0)


def rays() -> Rays:
    return make_rays(FRAME, np.array([-30.0, -40.0, -30.0]), np.array([30.0, 40.0, 30.0]))


def measured(hu: np.ndarray, *, seen: bool = True) -> Texture:
    r = rays()
    scan = Volume(r.grid, hu.astype(np.float32))
    return measure_texture(scan, scan, r, np.zeros(r.shape), np.full(r.shape, seen))


def depth() -> np.ndarray:
    r = rays()
    return np.broadcast_to(r.depth(np.arange(r.grid.shape[1], dtype=float))[None, :, None], r.grid.shape)


def test_texture_is_read_off_the_neighbourhood() -> None:
    rng = np.random.default_rng(5)
    y = depth()
    hu = np.where(y > 0, rng.normal(55.0, 18.0, y.shape), rng.normal(-990.0, 6.0, y.shape))
    hu[:, :, :4] = 900.0
    texture = measured(hu)
    at = np.array([0.0]), np.array([-5.0]), np.array([0.0])
    assert texture.tissue_hu(*at)[0] == pytest.approx(55, abs=3.0)
    assert texture.grain.sd == pytest.approx(18, rel=0.05)
    assert texture.air_hu == pytest.approx(-990, abs=1.5)
    assert texture.air_sd == pytest.approx(6, rel=0.1)


def test_texture_of_nothing_is_plain_tissue_and_plain_air() -> None:
    texture = measured(np.full(rays().grid.shape, -1000.0), seen=False)
    at = np.array([3.0]), np.array([-5.0]), np.array([0.0])
    assert (texture.tissue_hu(*at)[0], texture.grain.sd, texture.air_hu, texture.air_sd) == (0.0, 20.0, -1000.0, 0.0)


def test_the_mean_is_that_of_the_nearest_tissue_and_goes_on_before_it() -> None:
    y = depth()
    x = np.broadcast_to(np.arange(-30.0, 31.0), y.shape)
    hu = np.where(y < 0.0, -1000.0, np.where(x > 0.0, 50.0, -100.0))
    hu[(y > 10.0) & (y < 14.0)] = 900.0
    texture = measured(hu)
    for before in (-15.0, 0.0, 6.0, 20.0):
        left, right = texture.tissue_hu(np.array([22.0, -22.0]), np.full(2, before), np.zeros(2))
        assert left == pytest.approx(50.0, abs=40.0 if before < -5.0 else 8.0)
        assert right == pytest.approx(-100.0, abs=40.0 if before < -5.0 else 8.0)


def test_neither_the_skin_s_blur_nor_air_nor_bone_is_tissue() -> None:
    y = depth()
    hu = np.where(y < 0.0, -1000.0, np.where(y < 3.0, -140.0, np.where(y < 9.0, 40.0, 700.0)))
    assert measured(hu).tissue_hu(np.zeros(1), np.full(1, 2.0), np.zeros(1))[0] == pytest.approx(40.0, abs=1.0)


@pytest.mark.parametrize("alike", [(0.2, 0.55, 0.4), (-0.2, -0.1, 0.0), (0.0, 0.0, 0.0)])
def test_grain_is_made_as_it_was_measured(alike: tuple[float, float, float]) -> None:
    made = np.stack(list(grain_slices((40, 90, 110), Grain(14.0, alike), np.random.default_rng(4))))
    found = [np.corrcoef(np.moveaxis(made, n, 0)[1:].ravel(), np.moveaxis(made, n, 0)[:-1].ravel())[0, 1] for n in range(3)]
    assert made.std() == pytest.approx(14.0, rel=0.03)
    assert found == pytest.approx(alike, abs=0.03)
    hu = np.rint(made + 30.0).astype(np.int16)
    hu[:, 40:50] = 900  # a bone in it
    hu[:, :, :30] -= 100  # and fat beside muscle
    measured_grain = measure_grain(Volume(Grid(hu.shape, np.diag([0.8, 0.8, 2.0, 1.0])), hu))
    assert measured_grain.sd == pytest.approx(14.0, rel=0.06)
    assert measured_grain.alike == pytest.approx(alike, abs=0.06)


def test_grain_of_a_very_noisy_scan_is_bounded_and_of_none_is_none() -> None:
    rng = np.random.default_rng(2)
    shape = (9, 60, 70)
    noisy = Volume(Grid(shape, np.eye(4)), rng.normal(0.0, 40.0, shape).astype(np.float32))
    assert measure_grain(noisy).sd == pytest.approx(40.0, rel=0.1)
    assert measure_grain(Volume(noisy.grid, 1.2 * noisy.array)).sd <= MOST_SD
    assert measure_grain(Volume(noisy.grid, np.full(shape, 40.0, dtype=np.float32))).sd < 0.1
