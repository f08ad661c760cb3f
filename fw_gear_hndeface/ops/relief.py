"""The face as a height field in the head frame: per ray from the front, the depth of the first skin, bone or kept voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from fw_gear_hndeface.model import Float, Grid, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame

#: A map over the face: rows go up the frame's z, columns to the patient's left, one value per ray.
Map = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rays:
    """Parallel rays along the frame's y axis through the centres of a frame grid's (k, i) pixels."""

    frame: HeadFrame
    grid: Grid
    low: Float
    pixel_mm: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (up) and columns (left)."""
        return self.grid.shape[0], self.grid.shape[2]

    def pixels(self, x: Float, z: Float) -> tuple[Float, Float]:
        """Row and column of frame positions, mm."""
        return (z - self.low[2]) / self.pixel_mm, (x - self.low[0]) / self.pixel_mm

    def lookup(self, field: Map, x: Float, z: Float) -> Float:
        """A map's values at frame positions by linear interpolation; the rim's value outside."""
        return self.lookup_all((field,), x, z)[0]

    def lookup_all(self, fields: Sequence[Map], x: Float, z: Float) -> list[Float]:
        """The values of several maps at the same frame positions: places and weights are worked out once for all of them."""
        rows, columns = self.shape
        row, column = (np.clip(at, 0.0, n - 1) for at, n in zip(self.pixels(x, z), self.shape, strict=True))
        above, beside = (
            np.minimum(row.astype(np.intp), max(rows - 2, 0)),
            np.minimum(column.astype(np.intp), max(columns - 2, 0)),
        )
        at, down, across = above * columns + beside, columns * (rows > 1), int(columns > 1)
        row, column = row - above, column - beside
        out = []
        for field in fields:
            flat = np.ravel(field)
            upper = flat[at] * (1.0 - column) + flat[at + across] * column
            lower = flat[at + down] * (1.0 - column) + flat[at + down + across] * column
            out.append(np.asarray(upper * (1.0 - row) + lower * row))
        return out

    def depth(self, index: Map) -> Map:
        """Frame y in mm of fractional j indices."""
        return np.asarray(self.low[1] + index * self.pixel_mm)


def make_rays(frame: HeadFrame, low: Float, high: Float, pixel_mm: float = 1.0) -> Rays:
    """Rays over a box in frame mm."""
    return Rays(frame, frame.grid(low, high, pixel_mm), np.asarray(low, dtype=np.float64), pixel_mm)


def positions(rays: Rays) -> tuple[Map, Map]:
    """Frame x and z of every pixel, mm; shapes that broadcast to the map's."""
    x = rays.low[0] + rays.pixel_mm * np.arange(rays.shape[1])
    z = rays.low[2] + rays.pixel_mm * np.arange(rays.shape[0])
    return x[None, :], z[:, None]


def along_rays_mm(grid: Grid, frame: HeadFrame) -> float:
    """How thick a grid's voxels are along the rays from the front, mm."""
    return float(np.linalg.norm(frame.axes[1] @ grid.affine[:3, :3]))


def first_crossing(rays: Rays, volume: Volume, threshold: float) -> Map:
    """Frame y (mm) where each ray first rises above a threshold, sub-voxel; NaN where it never does."""
    rays.grid.require_match(volume.grid)
    above = volume.array > threshold
    hit = above.argmax(axis=1)
    found = above.any(axis=1)
    k, i = np.indices(hit.shape)
    before = np.maximum(hit - 1, 0)
    high, low = volume.array[k, hit, i].astype(np.float64), volume.array[k, before, i].astype(np.float64)
    step = np.where(hit > before, (threshold - low) / np.maximum(high - low, 1e-6), 1.0)
    return np.where(found, rays.depth(before + np.clip(step, 0.0, 1.0)), np.nan)


def first_inside(rays: Rays, mask: Mask) -> Map:
    """Frame y (mm) of the first voxel of a mask on each ray; +inf where there is none."""
    rays.grid.require_match(mask.grid)
    hit = mask.array.argmax(axis=1).astype(np.float64)
    return np.where(mask.array.any(axis=1), rays.depth(hit - 0.5), np.inf)


def entries(rays: Rays, grid: Grid) -> Float:
    """Frame y at which each ray comes between the first and the last plane of voxels along each index axis, (3, R, C), mm."""
    x, z = np.broadcast_arrays(*positions(rays))
    start = np.moveaxis(grid.to_index(rays.frame.to_patient(np.stack([x, np.zeros_like(x), z], axis=-1))), -1, 0)
    slope = np.linalg.inv(grid.affine[:3, :3]) @ rays.frame.axes[1]
    slope = np.where(np.abs(slope) > 1e-6, slope, 1e-6)[:, None, None]
    last = np.array(grid.shape)[:, None, None] - 0.5
    return np.asarray(np.minimum((-0.5 - start) / slope, (last - start) / slope))


def cut_end(rays: Rays, grid: Grid) -> Map:
    """Frame y up to which what a ray meets is the end of a scan, beyond which nothing was seen, and no surface; mm."""
    return np.asarray(entries(rays, grid).max(axis=0) + along_rays_mm(grid, rays.frame) + rays.pixel_mm)


def without_cuts(relief: Map, end: Map) -> Map:
    """The relief without rays that come into the scan in the midst of something, by `cut_end`."""
    return np.where(relief < end, np.nan, relief)


def fill_nearest(field: Map) -> Map:
    """NaN pixels take the value of the nearest known pixel."""
    unknown = np.isnan(field)
    if not unknown.any() or unknown.all():
        return np.nan_to_num(field)
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.asarray(field[tuple(nearest)])


def smooth_inside(field: Map, weight: Map, sigma_px: float) -> Map:
    """Gaussian mean of a map under a weight map (normalised convolution), so that unknown pixels do not leak in."""
    top = ndimage.gaussian_filter(field * weight, sigma_px)
    return np.asarray(top / np.maximum(ndimage.gaussian_filter(weight, sigma_px), 1e-9))


def membrane(field: Map, inside: NDArray[np.bool_], *, stiff: bool = True) -> Map:
    """The map with the inside replaced by the smooth surface spanned from its rim.

    Solves the Laplace (`stiff=False`) or biharmonic equation on the inside with everything else held fixed; the biharmonic
    surface leaves the rim without a crease.
    """
    if not inside.any():
        return field
    rows, columns = field.shape
    number = np.arange(rows * columns).reshape(rows, columns)
    pairs = np.concatenate(
        [
            np.column_stack([number[:-1].ravel(), number[1:].ravel()]),
            np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
        ]
    )
    both = np.concatenate([pairs, pairs[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(number.size, number.size)).tocsr()
    laplacian = adjacency - diags(np.asarray(adjacency.sum(axis=1)).ravel())
    operator = (laplacian @ laplacian).tocsr() if stiff else laplacian.tocsr()
    free, fixed = np.flatnonzero(inside.ravel()), np.flatnonzero(~inside.ravel())
    flat = field.ravel().copy()
    flat[free] = spsolve(operator[free][:, free].tocsc(), -operator[free][:, fixed] @ flat[fixed])
    return flat.reshape(field.shape)
