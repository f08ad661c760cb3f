"""The interactive view's data: the defaced head at reduced size and the structures in it, as NIfTI."""

from __future__ import annotations

import colorsys
from typing import Any

import nibabel
import numpy as np
from isal import igzip
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.ops.boxes import points_box
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.resample import lps_grid, resample, resample_mask
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.report.exhibit import CLEAR_MM, Scene, Shown

#: Edge of a voxel, mm. A head takes about a megabyte then.
VOXEL_MM = 2.5
#: Softer and harder than this nobody needs to see in a check; fewer values pack better.
RANGE_HU = (-1000.0, 1500.0)
#: Slices that are looked up at once.
SLAB = 24
#: A label is one byte, 0 is none.
MOST_STRUCTURES = 250


def scene_of(shown: Shown) -> Scene:
    """The head after the change and the drawn structures on one coarse grid along the patient axes."""
    grid = lps_grid(np.stack(shown.extent_mm()), VOXEL_MM)
    hu = np.clip(_by_slabs(shown.scan, grid), *RANGE_HU)
    labels, names = _labels(shown, grid, np.asarray(hu > SKIN_HU))
    colours = tuple((name, _colour(n, len(names))) for n, name in enumerate(names))
    return Scene(_nifti(np.rint(hu).astype(np.int16), grid), _nifti(labels, grid), colours)


def _by_slabs(scan: Volume, grid: Grid) -> NDArray[Any]:
    """The scan on a grid, some slices at a time: each needs a part of the scan only, and no copy of the whole is made."""
    slabs = [slice(first, min(first + SLAB, grid.shape[0])) for first in range(0, grid.shape[0], SLAB)]
    whole = slice(None)
    return np.concatenate([resample(scan, grid.crop((slab, whole, whole))).array for slab in slabs])


def _labels(shown: Shown, grid: Grid, tissue: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], list[str]]:
    """Structures by number; the smaller one where two overlap. None reaches near a change or out of the new body."""
    labels = np.zeros(grid.shape, np.uint8)
    masks = []
    for roi in shown.structures:
        if points_box(roi.contours_mm, grid) is not None and (mask := rasterise(roi, grid)).count:
            masks.append(mask)
    masks = sorted(masks, key=lambda mask: -mask.count)[:MOST_STRUCTURES]
    for number, mask in enumerate(masks, 1):
        labels[mask.array] = number
    changed = resample_mask(shown.change, grid).array
    near = ndimage.binary_dilation(changed, iterations=int(np.ceil(CLEAR_MM / VOXEL_MM)) + 1)
    labels[near | ~ndimage.binary_fill_holes(tissue)] = 0
    return labels, [mask.name for mask in masks]


def _colour(number: int, count: int) -> str:
    """Evenly spread hues, light and strong by turns."""
    red, green, blue = colorsys.hsv_to_rgb(number / max(count, 1), 0.85 if number % 2 else 0.55, 1.0)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _nifti(array: NDArray[np.int16] | NDArray[np.uint8], grid: Grid) -> bytes:
    """A gzipped NIfTI file of an array (k, j, i); the same bytes for the same array."""
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    to_ras[:, [0, 2]] = to_ras[:, [2, 0]]  # the file's first index is the column
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), to_ras)  # type: ignore[no-untyped-call]
    return igzip.compress(image.to_bytes(), 3, mtime=0)
