"""What takes the place of a face: air, a number of HU, or tissue with the values and the grain of its neighbours."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from fw_gear_hndeface.model import Bool, Grid
from fw_gear_hndeface.ops.near import Near, Single
from fw_gear_hndeface.ops.resample import AIR_HU

#: Soft tissue of the face lies between these, HU (fat to muscle).
TISSUE_HU = (-125.0, 50.0)
#: Width of the grain that reconstruction leaves in tissue, mm (Gaussian sigma).
GRAIN_MM = 0.8
#: Different values that a fill is drawn from.
SHADES = 1024
#: Fewer neighbours than this say nothing about tissue.
LEAST_NEIGHBOURS = 50


def material(fill: str, near: Near, neighbours: Bool, rng: np.random.Generator) -> Single:
    """New HU for every voxel of a box (or one that holds for all).

    Parameters
    ----------
    fill : air, face (tissue like the neighbours') or a number of HU
    neighbours : voxels whose tissue is imitated
    """
    if fill == "air":
        return np.full(1, AIR_HU, dtype=np.float32)
    if fill == "face":
        return tissue(near, neighbours, rng)
    return np.full(1, float(fill), dtype=np.float32)


def tissue(near: Near, neighbours: Bool, rng: np.random.Generator) -> Single:
    """Values drawn from the soft tissue among the neighbours, correlated like tissue, (K, J, I), HU."""
    values = near.scan.array[neighbours].astype(np.float32)
    values = np.sort(values[(values > TISSUE_HU[0]) & (values < TISSUE_HU[1])])
    grain = noise(near.grid, rng, GRAIN_MM)
    if values.size < LEAST_NEIGHBOURS:
        return 20.0 * grain
    palette = np.quantile(values, np.linspace(0.0, 1.0, SHADES)).astype(np.float32)
    return np.asarray(palette[(ndtr(grain) * (SHADES - 1)).astype(np.int16)])


def noise(grid: Grid, rng: np.random.Generator, sigma_mm: float) -> Single:
    """Gaussian noise of zero mean and unit deviation, smooth over `sigma_mm` along every axis."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, sigma_mm / grid.spacing_mm, mode="wrap")
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)


def level(grid: Grid, rng: np.random.Generator, sigma_mm: float) -> Single:
    """A smooth random field with every value between 0 and 1 equally likely, (K, J, I); drawn coarsely and interpolated."""
    extent = np.array(grid.shape) * grid.spacing_mm
    count = np.maximum(np.ceil(2.0 * extent / sigma_mm).astype(int), 2)
    affine = np.diag([*(extent / count), 1.0])
    coarse = noise(Grid((int(count[0]), int(count[1]), int(count[2])), affine), rng, sigma_mm)
    fine = ndimage.zoom(coarse, np.array(grid.shape) / count, order=1, grid_mode=True, mode="nearest")
    return np.asarray(ndtr(fine / max(float(fine.std()), 1e-6)), dtype=np.float32)
