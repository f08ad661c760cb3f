"""What tissue and air near a face look like in a scan, so that what is filled in looks like what is beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Float, Volume
from fw_gear_hndeface.ops.boxes import part_around
from fw_gear_hndeface.ops.relief import Map, Rays, along_rays_mm

Single = NDArray[np.float32]

#: Soft tissue lies between these, fat to muscle, HU.
TISSUE_HU = (-150.0, 120.0)
#: Depth under the skin at which tissue is looked at, mm, and half a voxel more: below what is made anew of the old skin.
DEPTH_MM = (3.5, 45.0)
#: Air is looked at so far before the skin, mm.
BEFORE_MM = (10.0, 30.0)
#: Edge of the blocks that tissue is averaged over, voxels of the rays' grid.
BLOCK = 3
#: Means over these, from wide to narrow, blocks (Gaussian sigma): near tissue counts most, where there is any.
SIGMAS = (12.0, 6.0, 3.0, 1.0)
#: A mean counts in full from this share of tissue on.
ENOUGH = 0.15
#: Fewer voxels than this say nothing.
LEAST_VOXELS = 50
#: Values of plain tissue and air, taken where nothing can be measured, HU.
PLAIN_HU, PLAIN_SD = 0.0, 20.0
#: Grain at most, HU: more lets thresholds through.
MOST_SD, MOST_AIR_SD = 45.0, 30.0
#: Grain is looked at where windows of this many pixels hold soft tissue alone, and on about so many slices.
WINDOW, SLICES = 5, 40
#: Noise of voxels so far apart is not alike: what `grain_slices` makes reaches two.
APART = 3
#: Neighbours' correlation at most: what three taps can make.
MOST_ALIKE = 0.65


@dataclass(frozen=True)
class Grain:
    """Noise of tissue: standard deviation, HU, and correlation of neighbours along slices, rows and columns."""

    sd: float
    alike: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True, eq=False)
class Texture:
    """Local mean of tissue, its grain, and the values of air, HU.

    Parameters
    ----------
    tissue : (K, J, I), mean of the tissue nearby on blocks of `step_mm`, the first of which lies at frame `low`, mm
    """

    tissue: Single
    low: Float
    step_mm: float
    grain: Grain
    air_hu: float
    air_sd: float

    def tissue_hu(self, x: Float, y: Float, z: Float) -> Single:
        """Mean of the tissue around frame positions, HU."""
        index = [(at - low) / self.step_mm for at, low in zip((z, y, x), self.low[::-1], strict=True)]
        found = ndimage.map_coordinates(self.tissue, index, np.float32, order=1, mode="nearest")
        return np.asarray(found)


def measure_texture(scan: Volume, head: Volume, rays: Rays, skin: Map, seen: Bool) -> Texture:
    """Tissue under the skin and air before it.

    Parameters
    ----------
    scan : HU on any grid: its own voxels tell the grain
    head : the scan on the rays' grid
    skin : frame y of the skin, mm; `seen` says where it holds
    """
    under = rays.depth(np.arange(rays.grid.shape[1], dtype=np.float64))[None, :, None] - skin[:, None, :]
    least = DEPTH_MM[0] + 0.5 * along_rays_mm(scan.grid, rays.frame)
    looked = seen[:, None, :] & (under > least) & (under < DEPTH_MM[1]) & soft(head.array)
    air = head.array[seen[:, None, :] & (under < -BEFORE_MM[0]) & (under > -BEFORE_MM[1]) & (head.array < -850.0)]
    air_hu, air_sd = _robust(air, -1000.0, 0.0)
    low = rays.low + rays.pixel_mm * (BLOCK - 1) / 2.0
    mean = local_mean(np.where(looked, head.array, np.float32(0.0)), looked)
    grain = measure_grain(part_around(scan, rays.grid))
    return Texture(mean, low, BLOCK * rays.pixel_mm, grain, float(np.clip(air_hu, -1024.0, -950.0)), min(air_sd, MOST_AIR_SD))


def soft(hu: NDArray[Any]) -> Bool:
    """Voxels with the values of soft tissue."""
    return np.asarray((hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1]))


def local_mean(hu: Single, known: Bool) -> Single:
    """Mean of the known voxels nearby on blocks of `BLOCK` voxels: of the nearest ones where they are, else of wider places.

    `hu` is 0 where nothing is known.
    """
    count, total = _blocks(known.astype(np.float32)), _blocks(hu)
    whole = float(count.sum())
    mean = np.full(count.shape, float(total.sum()) / whole if whole >= LEAST_VOXELS else PLAIN_HU, dtype=np.float32)
    for sigma in SIGMAS if whole >= LEAST_VOXELS else ():
        share, sums = (ndimage.gaussian_filter(field, sigma) for field in (count, total))
        trust = np.clip(share / ENOUGH, 0.0, 1.0)
        mean += trust * (sums / np.maximum(share, 1e-6) - mean)
    return mean


def _blocks(field: Single) -> Single:
    """Means over blocks; what is left over at the upper ends does not count."""
    k, j, i = (n // BLOCK for n in field.shape)
    whole = field[: k * BLOCK, : j * BLOCK, : i * BLOCK].reshape(k, BLOCK, j, BLOCK, i, BLOCK)
    return np.asarray(whole.mean(axis=(1, 3, 5), dtype=np.float32))


def measure_grain(scan: Volume) -> Grain:
    """Noise of a scan's soft tissue, from differences between neighbours and between voxels out of each other's reach."""
    every = max(scan.grid.shape[0] // SLICES, 1)
    slices = [scan.array[k : k + 2].astype(np.float32) for k in range(0, scan.grid.shape[0], every)]
    looked = [(hu, ndimage.minimum_filter(soft(hu), (1, WINDOW, WINDOW))) for hu in slices]
    far = np.concatenate([_differences(hu, known, axis, APART) for hu, known in looked for axis in (1, 2)])
    if far.size < LEAST_VOXELS:
        return Grain(PLAIN_SD)
    spread = max(_spread(far), 1e-3)
    near = [np.concatenate([_differences(hu, known, axis, 1) for hu, known in looked]) for axis in range(3)]
    alike = [1.0 - (_spread(one) / spread) ** 2 if one.size >= LEAST_VOXELS else 0.0 for one in near]
    between, down, across = (float(np.clip(one, -MOST_ALIKE, MOST_ALIKE)) for one in alike)
    return Grain(min(float(spread / np.sqrt(2.0)), MOST_SD), (between, down, across))


def _spread(values: Single) -> float:
    """Standard deviation of differences without outliers, which are edges of anatomy; the median's own step is too coarse."""
    size = np.abs(values)
    inner = values[size <= 4.0 * max(float(np.median(size)), 1.0)]
    return float(np.sqrt(np.mean(inner.astype(np.float64) ** 2)))


def _differences(hu: Single, known: Bool, axis: int, lag: int) -> Single:
    """Differences of known voxels `lag` apart along an axis."""
    ahead = tuple(slice(lag if a == axis else 0, None) for a in range(3))
    behind = tuple(slice(None, -lag if a == axis else None) for a in range(3))
    both = known[ahead] & known[behind]
    return np.asarray(hu[ahead][both] - hu[behind][both])


def _robust(values: NDArray[np.float32], mean: float, sd: float) -> tuple[float, float]:
    if values.size < LEAST_VOXELS:
        return mean, sd
    middle = float(np.median(values))
    return middle, float(1.4826 * np.median(np.abs(values - middle)))


def grain_slices(shape: tuple[int, int, int], grain: Grain, rng: np.random.Generator) -> Iterator[Single]:
    """Slices of noise with a grain's deviation and correlations, HU."""
    between, down, across = (_tap(alike) for alike in grain.alike)

    def plane() -> Single:
        white = rng.standard_normal((shape[1] + 2, shape[2] + 2), dtype=np.float32)
        rows = white[1:-1] + down * (white[:-2] + white[2:])
        return np.asarray(rows[:, 1:-1] + across * (rows[:, :-2] + rows[:, 2:]))

    size = np.float32(grain.sd / np.sqrt(np.prod([1.0 + 2.0 * float(tap) ** 2 for tap in (between, down, across)])))
    below, here = plane(), plane()
    for _ in range(shape[0]):
        above = plane()
        yield np.asarray(size * (here + between * (below + above)), dtype=np.float32)
        below, here = here, above


def _tap(alike: float) -> np.float32:
    """The weight t of both neighbours for which t, 1, t makes white noise so much alike: alike = 2 t / (1 + 2 t^2)."""
    return np.float32(alike / (1.0 + np.sqrt(max(1.0 - 2.0 * alike**2, 0.0))))
