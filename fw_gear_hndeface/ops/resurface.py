"""A new skin surface carried into the voxels of the scan: air in front of it, tissue behind it, no trace of the old one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Float, Grid, Mask, Proposal, Volume
from fw_gear_hndeface.ops.boxes import Box, points_box
from fw_gear_hndeface.ops.relief import Map, Rays

#: Air in front of both surfaces is made anew over this depth: the old skin's blur reaches that far.
CLEAR_MM = 8.0
#: Old skin is made anew to this depth under both surfaces, so that no ghost edge of it is left.
SHELL_MM = 2.5
#: Air that the new surface would open (nostrils, nasal cavity, mouth) is closed by this much tissue.
CAP_MM = 5.0
#: Anything denser than this in front of the new surface is not air: mask shell, strap, bolus.
NOT_AIR_HU = -850.0
EMPTY: Box = (slice(0, 0), slice(0, 0), slice(0, 0))
#: Below this a voxel behind the new surface is a cavity, not tissue.
CAVITY_HU = -250.0


@dataclass(frozen=True, eq=False)
class Surfacing:
    """Old and new surface over the face, frame y in mm.

    Parameters
    ----------
    zone : where the new surface holds
    seen : rays that meet the patient; on the others nothing is added, but what hangs in front of the face (the sliver of a
        nose in the last slice, a mask shell) is cleared
    """

    rays: Rays
    old: Map
    new: Map
    zone: NDArray[np.bool_]
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class Texture:
    """Mean and standard deviation of tissue and of air, HU."""

    tissue_hu: float
    tissue_sd: float
    air_hu: float
    air_sd: float


def measure_texture(head: Volume, rays: Rays, old: Map, ring: NDArray[np.bool_]) -> Texture:
    """Tissue 3-9 mm under the skin and air 10-30 mm in front of it, on the rays of a ring; robust means and deviations."""
    y = rays.depth(np.arange(rays.grid.shape[1], dtype=np.float64))[None, :, None]
    under = y - old[:, None, :]
    tissue = head.array[(under > 3.0) & (under < 9.0) & ring[:, None, :]]
    air = head.array[(under < -10.0) & (under > -30.0) & ring[:, None, :]]
    tissue_hu, tissue_sd = _robust(tissue[(tissue > -200) & (tissue < 200)], 0.0, 20.0)
    air_hu, air_sd = _robust(air[air < -850], -1000.0, 0.0)
    return Texture(tissue_hu, min(tissue_sd, 45.0), float(np.clip(air_hu, -1024, -950)), min(air_sd, 30.0))


def _robust(values: NDArray[np.float32], mean: float, sd: float) -> tuple[float, float]:
    if values.size < 50:
        return mean, sd
    middle = float(np.median(values))
    return middle, float(1.4826 * np.median(np.abs(values - middle)))


def resurface(scan: Volume, surfacing: Surfacing, texture: Texture, *, seed: int, method: str) -> Proposal:
    """What changes in the scan when the old surface gives way to the new one inside the zone.

    Parameters
    ----------
    scan : HU on any grid; read only near the face.
    seed : of the texture's noise.

    Returns
    -------
    Proposal on the scan's grid; voxels whose value would not change by half a HU are left out.
    """
    box = _box(scan.grid, surfacing)
    near = scan.crop(box)
    value = _values(near, surfacing, texture, np.random.default_rng(seed))
    change = np.isfinite(value) & (np.abs(np.nan_to_num(value) - near.array) > 0.5)
    whole = np.zeros(scan.grid.shape, dtype=np.bool_)
    whole[box] = change
    return Proposal(Mask(scan.grid, whole, f"{method} zone"), value[change], method)


def _box(grid: Grid, surfacing: Surfacing) -> Box:
    """The index box of the scan that holds the zone from well in front of the face to just behind its deepest surface."""
    rays, zone = surfacing.rays, surfacing.zone
    rows, columns = np.nonzero(zone)
    if rows.size == 0:
        return EMPTY
    deepest = float(np.maximum(surfacing.old, surfacing.new)[zone].max()) + SHELL_MM + CAP_MM
    low = rays.low + rays.pixel_mm * np.array([columns.min() - 1, 0, rows.min() - 1])
    high = rays.low + rays.pixel_mm * np.array([columns.max() + 1, 0, rows.max() + 1])
    high[1] = deepest
    ends = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    return points_box([rays.frame.to_patient(ends)], grid) or EMPTY


def _values(near: Volume, surfacing: Surfacing, texture: Texture, rng: np.random.Generator) -> NDArray[np.float32]:
    """New HU per voxel of the box, NaN where nothing is planned; slice by slice to bound the memory."""
    tissue, air = _noise(near.grid, texture, rng)
    out = np.full(near.grid.shape, np.nan, dtype=np.float32)
    plane = np.indices(near.grid.shape[1:]).reshape(2, -1).T
    thickness = float(np.linalg.norm(surfacing.rays.frame.axes[1] @ near.grid.affine[:3, :3]))
    for k in range(near.grid.shape[0]):
        points = near.grid.to_patient(np.column_stack([np.full(len(plane), k), plane]))
        position = surfacing.rays.frame.to_frame(points).reshape(*near.grid.shape[1:], 3)
        out[k] = _slice(near.array[k].astype(np.float32), position, surfacing, thickness, (tissue[k], air[k]))
    return out


def _noise(grid: Grid, texture: Texture, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tissue and air, each with the deviation of its neighbourhood; reconstruction kernels correlate neighbouring voxels."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    fine = ndimage.gaussian_filter(white, 0.7)
    fine /= max(float(fine.std()), 1e-6)
    air = texture.air_hu + texture.air_sd * rng.standard_normal(grid.shape, dtype=np.float32)
    return texture.tissue_hu + texture.tissue_sd * fine, np.maximum(air, -1024.0)


def _slice(
    hu: NDArray[np.float32], position: Float, surfacing: Surfacing, thickness: float, fill: tuple[Map, Map]
) -> NDArray[np.float32]:
    """One slice of new values. `position` (J, I, 3) frame mm, `thickness` of a voxel along the rays in mm."""
    rays, (x, y, z) = surfacing.rays, np.moveaxis(position, -1, 0)
    zone = rays.lookup(surfacing.zone.astype(np.float64), x, z) >= 0.5
    new, old = rays.lookup(surfacing.new, x, z), rays.lookup(surfacing.old, x, z)
    tissue, air = fill
    solid = np.where(hu > CAVITY_HU, hu, tissue)
    remade = y < old + SHELL_MM + 0.5 * thickness
    cap = max(CAP_MM, 1.5 * thickness + 2.0)  # a cap of one coarse voxel is a hole once the scan is smoothed
    behind = np.where(remade, tissue, solid)
    seen = rays.lookup(surfacing.seen.astype(np.float64), x, z) >= 0.5
    share = np.where(seen, np.clip((y - new) / thickness + 0.5, 0.0, 1.0), 0.0)
    front = ((y > np.minimum(new, old) - CLEAR_MM) & seen) | ((hu > NOT_AIR_HU) & (y < np.maximum(new, old) + CAP_MM))
    cavity = (hu <= CAVITY_HU) & (y < new + cap)
    planned = zone & np.where(share <= 0.0, front, (share < 1.0) | remade | cavity)
    value = air * (1.0 - share) + behind * share
    return np.where(planned, value, np.nan).astype(np.float32)
