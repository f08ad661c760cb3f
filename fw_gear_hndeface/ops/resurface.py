"""A new skin surface carried into the voxels of the scan: air in front of it, tissue behind it, no trace of the old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Float, Grid, Mask, Proposal, Volume
from fw_gear_hndeface.ops.boxes import Box, points_box
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.relief import Map, Rays, along_rays_mm
from fw_gear_hndeface.ops.texture import Texture, grain_slices

#: Air in front of both surfaces is made anew over this depth: the old skin's blur reaches that far.
CLEAR_MM = 8.0
#: Old skin is made anew to this depth at least, so that no ghost edge of it is left.
SHELL_MM = 2.5
#: The new surface is a skin of at least this thickness and value: denser than fat, as skin is, so that every threshold up to
#: there meets the new surface and not the border of fat and muscle under it, which follows the old face.
SKIN_LAYER_MM, SKIN_LAYER_HU = 2.5, 70.0
#: Under a cut only what is less dense than this becomes skin: fat, not muscle, which is no way through for a threshold up to 0.
FAT_HU = 20.0
#: Grain of the new skin at most, HU; more would let a threshold below it through.
MOST_SKIN_SD = 12.0
#: A surface seen at a slant is crossed over a longer way, up to this many times.
MOST_SLANT = 3.0
#: Denser than this is bone or metal, and stays.
BONE_HU = 250.0
#: Air that the new surface would open (nostrils, nasal cavity, mouth) is closed by this much tissue.
CAP_MM = 5.0
#: Anything denser than this in front of the new surface is not air: mask shell, strap, bolus.
NOT_AIR_HU = -850.0
#: Below this a voxel behind the new surface is a cavity, not tissue.
CAVITY_HU = -250.0
#: What is planned up to the face region's edge must not lie beyond it, however its place is worked out, mm.
ROUNDING_MM = 0.01
#: Candidates are found by blocks of this many pixels a side.
BLOCK = 4


@dataclass(frozen=True, eq=False)
class Surfacing:
    """Old and new surface over the face, frame y in mm.

    Parameters
    ----------
    zone : where the new surface holds
    seen : rays that meet the patient; on the others nothing is added, but what hangs in front of the face (the sliver of a
        nose in the last slice, a mask shell) is cleared
    floor : up to here tissue behind the new surface is made anew: `SHELL_MM` under the old skin at least
    """

    rays: Rays
    old: Map
    new: Map
    zone: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    floor: Map

    @property
    def skin_mm(self) -> Map:
        """How long rays run through the new skin, mm."""
        down, across = np.gradient(self.new, self.rays.pixel_mm)
        return np.asarray(SKIN_LAYER_MM * np.minimum(np.sqrt(1.0 + down**2 + across**2), MOST_SLANT))


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
    whole = np.zeros(scan.grid.shape, dtype=np.bool_)
    values = np.zeros(0, dtype=np.float32)
    if box is not None:
        values = _fill(scan.crop(box), surfacing, texture, np.random.default_rng(seed), whole[box])
    return Proposal(Mask(scan.grid, whole, f"{method} zone"), values, method)


def _box(grid: Grid, surfacing: Surfacing) -> Box | None:
    """The index box of the scan that holds the zone from well in front of the face to just behind its deepest surface.

    None where the zone is empty or lies beside the scan.
    """
    rays, zone = surfacing.rays, surfacing.zone
    rows, columns = np.nonzero(zone)
    if rows.size == 0:
        return None
    deepest = float(np.maximum.reduce([surfacing.old, surfacing.new, surfacing.floor])[zone].max()) + CAP_MM + SKIN_LAYER_MM
    low = rays.low + rays.pixel_mm * np.array([columns.min() - 1, 0, rows.min() - 1])
    high = rays.low + rays.pixel_mm * np.array([columns.max() + 1, 0, rows.max() + 1])
    high[1] = deepest
    return points_box([rays.frame.corners(low, high)], grid)


def _fill(
    near: Volume, surfacing: Surfacing, texture: Texture, rng: np.random.Generator, change: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """New HU in C order; sets `change` where they go. Slice by slice, and only where a value may be planned.

    Not beyond the face region: before it nothing hangs in front of a face, and off the map its rim's value is no zone.
    """
    reach, place = _Reach.of(near.grid, surfacing), _Place.of(near.grid, surfacing.rays.frame)
    values = [np.zeros(0, dtype=np.float32)]
    maps = (
        surfacing.zone.astype(np.float64),
        surfacing.seen.astype(np.float64),
        surfacing.new,
        surfacing.old,
        surfacing.floor,
        surfacing.skin_mm,
    )
    for k, fine in enumerate(grain_slices(near.grid.shape, texture.grain, rng)):
        hu = near.array[k]
        at = np.flatnonzero(reach.candidates(place, k, hu))
        here = hu.ravel()[at].astype(np.float32)
        j, i = np.divmod(at, hu.shape[1])
        x, y, z = place.at(k, j, i)
        fill = _materials(texture, texture.tissue_hu(x, y, z), fine.ravel()[at], rng)
        value = _values(here, y, surfacing.rays.lookup_all(maps, x, z), reach.thickness, fill)
        new = surfacing.rays.frame.in_region(x, y, z, -ROUNDING_MM) & np.isfinite(value)
        new[new] = np.abs(value[new] - here[new]) > 0.5
        change[k, j[new], i[new]] = True
        values.append(value[new])
    return np.concatenate(values)


def _materials(
    texture: Texture, tissue: NDArray[np.float32], grain: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Tissue, skin and air for voxels where the mean of the tissue nearby and the noise are given, HU."""
    air = texture.air_hu + texture.air_sd * rng.standard_normal(grain.size, dtype=np.float32)
    calmer = np.float32(min(1.0, MOST_SKIN_SD / max(texture.grain.sd, 1e-6)))
    return tissue + grain, np.maximum(SKIN_LAYER_HU, tissue) + calmer * grain, np.maximum(air, -1024.0)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the voxels of a grid lie in the head frame, mm: `start` (3,) and `step` (3, 3), one column per index axis."""

    start: Float
    step: Float

    @classmethod
    def of(cls, grid: Grid, frame: HeadFrame) -> _Place:
        return cls(frame.to_frame(grid.affine[:3, 3]), frame.axes @ grid.affine[:3, :3])

    def at(self, k: Any, j: Any, i: Any) -> tuple[Float, Float, Float]:
        """Frame x, y and z of voxels, mm; the indices are broadcast."""
        x, y, z = (o + a * k + b * j + c * i for o, (a, b, c) in zip(self.start, self.step, strict=True))
        return x, y, z


@dataclass(frozen=True, eq=False)
class _Reach:
    """Bounds, generous by a block of voxels, of where values can be planned at all: two thirds of the box are neither.

    Parameters
    ----------
    front, deepest : frame y in mm; behind `front` every voxel may change, before it only what is no air
    thickness : of a voxel along the rays, mm
    """

    rays: Rays
    front: Map
    deepest: Map
    thickness: float

    @classmethod
    def of(cls, grid: Grid, surfacing: Surfacing) -> _Reach:
        rays, zone, new, old = surfacing.rays, surfacing.zone, surfacing.new, surfacing.old
        step = np.abs(rays.frame.axes @ grid.affine[:3, :3])
        thickness = along_rays_mm(grid, rays.frame)
        slack = step[:, 1:].sum(axis=1) * BLOCK / 2.0
        size = 2 * int(np.ceil(slack[[0, 2]].max() / rays.pixel_mm)) + 3
        under = [np.maximum(new, old) + _cap(thickness), surfacing.floor + 0.5 * thickness]
        deepest = np.maximum.reduce([*under, new + SKIN_LAYER_MM + 0.5 * thickness])
        front = np.where(zone, np.minimum(new, old) - CLEAR_MM, np.inf)
        return cls(
            rays,
            ndimage.minimum_filter(front, size) - slack[1],
            ndimage.maximum_filter(np.where(zone, deepest, -np.inf), size) + slack[1],
            thickness,
        )

    def candidates(self, place: _Place, k: int, hu: NDArray[Any]) -> NDArray[np.bool_]:
        """Pixels of a slice that a value may be planned for; decided by blocks."""
        j, i = (np.arange(0, n, BLOCK) + (BLOCK - 1) / 2 for n in hu.shape)
        x, y, z = place.at(k, j[:, None], i)
        row, column = (
            np.clip(np.rint(at), 0, n - 1).astype(np.intp)
            for at, n in zip(self.rays.pixels(x, z), self.rays.shape, strict=True)
        )
        reached = y < self.deepest[row, column]
        inner = reached & (y > self.front[row, column])
        wide, core = (a.repeat(BLOCK, 0).repeat(BLOCK, 1)[: hu.shape[0], : hu.shape[1]] for a in (reached, inner))
        return np.asarray(core | (wide & (hu > NOT_AIR_HU)))


def _cap(thickness: float) -> float:
    """How thick closing tissue must be: a cap of one coarse voxel is a hole once the scan is smoothed."""
    return max(CAP_MM, 1.5 * thickness + 2.0)


def _values(
    hu: NDArray[np.float32],
    y: Float,
    maps: Sequence[Float],
    thickness: float,
    fill: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """New values, NaN where nothing is planned.

    Parameters
    ----------
    y : frame y of the voxels, mm
    maps : at the voxels' rays: zone, seen, new and old surface, what is made anew behind it and the way through the new skin
    thickness : of a voxel along the rays, mm
    fill : tissue, skin and air for each voxel, HU
    """
    inside, met, new, old, floor, skin_mm = maps
    zone, seen = inside >= 0.5, met >= 0.5
    tissue, skin, air = fill
    remade = (y < floor + 0.5 * thickness) & (hu < BONE_HU)
    behind = np.where(remade | (hu <= CAVITY_HU), tissue, hu)
    # thicker where it costs nothing, for a skin of one coarse voxel is a net; bone and muscle under a cut stay as they are
    skin_ends = new + np.where(remade, skin_mm + 2.0 * thickness, SKIN_LAYER_MM + 0.5 * thickness)
    outer = (y < skin_ends) & (behind < np.where(remade, skin, FAT_HU))
    behind = np.where(outer, skin, behind)
    share = np.where(seen, np.clip((y - new) / thickness + 0.5, 0.0, 1.0), 0.0)
    hangs = (hu > NOT_AIR_HU) & (y < np.where(seen, np.maximum(new, old) + CAP_MM, new))
    front = ((y > np.minimum(new, old) - CLEAR_MM) & seen) | hangs
    cavity = (hu <= CAVITY_HU) & (y < new + _cap(thickness))
    planned = zone & np.where(share <= 0.0, front, (share < 1.0) | remade | outer | cavity)
    value = air * (1.0 - share) + behind * share
    return np.where(planned, value, np.nan).astype(np.float32)
