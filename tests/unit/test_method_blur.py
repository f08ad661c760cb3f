"""blur is a Gaussian of the stated millimetres along every axis, in a layer that reaches into the air."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods.blur import Blur, propose
from tests import phantom as make
from tests.scenes import outcome, scene


def gaussian(array: np.ndarray, sigma_mm: float, spacing: np.ndarray) -> np.ndarray:
    """Convolution with a sampled Gaussian of a width in mm, axis by axis."""
    for axis, step in enumerate(spacing):
        reach = int(4 * sigma_mm / step + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / sigma_mm) ** 2)
        array = ndimage.convolve1d(array, kernel / kernel.sum(), axis=axis, mode="nearest")
    return array


@pytest.mark.parametrize("sigma_mm", [8.0, 4.0])
def test_sigma_is_in_mm_along_every_axis(sigma_mm: float) -> None:
    here = scene()
    done = outcome(here, propose(here, Blur(sigma_mm=sigma_mm, ears=False)))
    truth = gaussian(done.before, sigma_mm, here.scan.grid.spacing_mm)
    inner = ndimage.binary_erosion(done.changed, iterations=2)
    assert np.count_nonzero(inner) > 5000
    assert np.median(np.abs(done.after - truth)[inner]) < 1.0
    assert np.percentile(np.abs(done.after - truth)[inner], 90) < 25.0, "but for the end of the box"


def test_air_and_tissue_around_the_skin_are_blurred() -> None:
    here, body = scene(), make.phantom(plain=True).structures["BODY"]
    done = outcome(here, propose(here, Blur(ears=False)))
    spacing = np.linalg.norm(body.grid.affine[:3, :3], axis=0)
    inside, outside = (ndimage.distance_transform_edt(array, spacing) for array in (body.array, ~body.array))
    assert 12.0 < inside[done.changed].max() < 15.0 + 3.5
    assert 12.0 < outside[done.changed].max() < 15.0 + 3.5
    assert done.ml((done.before > -300) & (done.after <= -300)) > 20.0, "the skin moves: nose and lips melt"
