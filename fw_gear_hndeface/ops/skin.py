"""Where the patient ends and the room begins: the body without couch, headrest and thermoplastic mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.morphology import border_connected, largest_component, within_mm
from fw_gear_hndeface.ops.resample import AIR_HU, lps_grid, resample

#: HU between air and skin: half way between air (-1000) and fat (-100) with room for partial volume.
SKIN_HU = -300.0
#: Half the thickness below which a sheet is equipment, not patient: thermoplastic shells are 2-4 mm thick.
SHEET_MM = 3.2
#: How far from the solid body thin parts (ears, nose wings, lips) still belong to it.
REACH_MM = 9.0


def analysis_volume(volume: Volume, spacing_mm: float = 2.0, grid: Grid | None = None) -> Volume:
    """The scan on an isotropic grid along the patient axes, smoothed as far as its own voxels are coarse."""
    target = grid if grid is not None else lps_grid(volume.grid.corners(), spacing_mm, volume.grid.frame)
    coarse = float(volume.grid.spacing_mm.max())
    moved = resample(volume, target)
    sigma_mm = np.sqrt(max((0.42 * coarse) ** 2 - (0.3 * spacing_mm) ** 2, 0.0))
    if sigma_mm < 0.3 * spacing_mm:
        return moved
    smooth = ndimage.gaussian_filter(moved.array.astype(np.float32), sigma_mm / spacing_mm, mode="nearest")
    return Volume(target, smooth, volume.unit)


def find_body(volume: Volume) -> Mask:
    """The patient: everything denser than air, closed inside, without couch, headrest, straps and mask shell.

    Works on any orthogonal grid; made for the 2 mm analysis volume. The body is the largest solid part after sheets thinner
    than twice `SHEET_MM` fell away; ears and nose wings are won back within `REACH_MM` of it.
    """
    dense = np.asarray(volume.array > SKIN_HU)
    dense |= ~_reached_air(dense)
    solid = Mask(volume.grid, ~within_mm(~dense, volume.grid.spacing_mm, SHEET_MM), "solid")
    core = largest_component(solid)
    near = within_mm(core.array, volume.grid.spacing_mm, SHEET_MM + REACH_MM)
    back = core.array | _connected_to(dense & near & ~_sheets(dense, core, volume), core.array)
    return Mask(volume.grid, ndimage.binary_fill_holes(back), "body")


def _reached_air(dense: np.ndarray) -> np.ndarray:
    """Air reached from the sides of the scan; top and bottom do not count: a cut airway is inside the patient."""
    return border_connected(~dense, (False, False, True, True, True, True))


def _sheets(dense: np.ndarray, core: Mask, volume: Volume) -> np.ndarray:
    """Dense voxels beyond an air gap as seen from the solid body: what a mask shell or a headrest is."""
    spacing = volume.grid.spacing_mm
    body_near = within_mm(core.array, spacing, SHEET_MM + 1.5 * float(spacing.max()))
    loose, count = ndimage.label(dense & ~body_near)
    if count == 0:
        return np.zeros_like(dense)
    attached = ndimage.binary_dilation(body_near & dense)
    touches = np.bincount(loose.ravel(), attached.ravel(), minlength=count + 1)
    sizes = np.bincount(loose.ravel(), minlength=count + 1)
    free = touches < 0.04 * sizes
    free[0] = False
    return np.asarray(free[loose])


def _connected_to(array: np.ndarray, seed: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(array | seed)
    hit = np.zeros(count + 1, dtype=np.bool_)
    hit[np.unique(labels[seed])] = True
    hit[0] = False
    return np.asarray(hit[labels])


def cleaned(volume: Volume, body: Mask) -> Volume:
    """The volume with everything outside the body set to air, one voxel of partial volume kept so the skin stays smooth."""
    near = ndimage.binary_dilation(body.array, iterations=1)
    return Volume(volume.grid, np.where(near, volume.array, AIR_HU).astype(np.float32), volume.unit)
