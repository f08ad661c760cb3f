"""Morphology in mm on grids of any spacing, by exact distance transforms (never by counting voxels)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Mask
from fw_gear_hndeface.ops.boxes import mask_box

#: Share of a squared radius by which a voxel that lies just on it may miss it in floating point.
ROUNDING = 1e-6
Words = NDArray[np.uint64]


def distance_mm(array: Bool, spacing_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance of every set voxel to the nearest unset one, mm; the lattice is taken as orthogonal.

    Infinite where no voxel is unset: the transform itself would measure to a corner of the lattice.
    """
    if array.all():
        return np.full(array.shape, np.inf, dtype=np.float32)
    if not array.any():
        return np.asarray(ndimage.distance_transform_edt(array, sampling=spacing_mm), dtype=np.float32)
    # the same numbers as scipy's transform in less than half its time and a third of its memory
    image = sitk.GetImageFromArray((~array).view(np.uint8))
    image.SetSpacing([float(step) for step in spacing_mm[::-1]])
    distance: NDArray[np.float32] = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True))
    return np.maximum(distance, 0.0, out=distance)


def within_mm(array: Bool, spacing_mm: NDArray[np.float64], radius_mm: float) -> Bool:
    """Every voxel at most `radius_mm` from a set one, exactly; for radii of some ten voxels much faster than a distance map.

    The ball is a sheaf of lines along the last axis: the set voxels, 64 to a word, are lengthened to each line and laid beside
    themselves at its place.
    """
    lines = _ball_lines(array.shape, spacing_mm, radius_mm)
    longer = _packed(array)
    out = np.zeros_like(longer)
    for half, places in enumerate(lines):
        longer = _lengthened(longer) if half else longer
        for k, j in places:
            into, taken = zip(*(_beside(n, step) for n, step in zip(array.shape, (k, j), strict=False)), strict=True)
            out[into] |= longer[taken]
    return np.unpackbits(out.view(np.uint8), axis=-1, count=array.shape[-1], bitorder="little").view(np.bool_)


def _ball_lines(shape: tuple[int, ...], spacing_mm: NDArray[np.float64], radius_mm: float) -> list[list[tuple[int, int]]]:
    """For each half length in voxels, the places (k, j) at which a ball's lines are so long."""
    most = [min(int(radius_mm / step), n - 1) for step, n in zip(spacing_mm, shape, strict=True)]
    lines: list[list[tuple[int, int]]] = [[] for _ in range(most[2] + 1)]
    for k in range(-most[0], most[0] + 1):
        for j in range(-most[1], most[1] + 1):
            left = radius_mm**2 * (1 + ROUNDING) - (k * spacing_mm[0]) ** 2 - (j * spacing_mm[1]) ** 2
            if left >= 0:
                lines[min(int(np.sqrt(left) / spacing_mm[2]), most[2])].append((k, j))
    return lines


def _packed(array: Bool) -> Words:
    """A mask as words of 64 voxels along the last axis, filled up with unset ones."""
    bits = np.packbits(array, axis=-1, bitorder="little")
    words: Words = np.pad(bits, [(0, 0)] * (array.ndim - 1) + [(0, -bits.shape[-1] % 8)]).view("<u8")
    return words


def _lengthened(words: Words) -> Words:
    """Packed voxels with both neighbours along the last axis."""
    out: Words = words | words << np.uint64(1) | words >> np.uint64(1)
    out[..., 1:] |= words[..., :-1] >> np.uint64(63)
    out[..., :-1] |= words[..., 1:] << np.uint64(63)
    return out


def _beside(count: int, step: int) -> tuple[slice, slice]:
    """Where cells of an axis go that move by a step, and where they come from."""
    return slice(max(step, 0), count + min(step, 0)), slice(max(-step, 0), count - max(step, 0))


def with_neighbours(array: Bool) -> Bool:
    """Every set cell and all that touch it, corners too, in any number of dimensions; a twentieth of scipy's time."""
    out = array.copy()
    for axis in range(array.ndim):
        before, after = np.moveaxis(out.copy(), axis, 0), np.moveaxis(out, axis, 0)
        after[1:] |= before[:-1]
        after[:-1] |= before[1:]
    return out


def set_cells(array: Bool) -> NDArray[np.intp]:
    """Indices of the set cells, (N, D), as `np.argwhere` has them; much sooner."""
    return np.stack(np.unravel_index(np.flatnonzero(array), array.shape), axis=-1)


def filled_plane(array: Bool) -> Bool:
    """A plane with its holes closed: cells that no path over sides leads out of; (J, I)."""
    rows, columns = (np.flatnonzero(array.any(axis=axis)) for axis in (1, 0))
    out = np.zeros_like(array)
    if rows.size == 0:
        return out
    box = slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)  # all beyond leads out
    labels, count = ndimage.label(~array[box])
    outside = np.zeros(count + 1, dtype=np.bool_)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[side] = True
    outside[0] = False
    out[box] = ~outside[labels]
    return out


def dilate(mask: Mask, radius_mm: float) -> Mask:
    """Every voxel within `radius_mm` of the mask, computed in the mask's box only."""
    if radius_mm <= 0:
        return mask
    spacing = mask.grid.spacing_mm
    margin = np.ceil(radius_mm / spacing).astype(int) + 1
    box = mask_box(mask.array, (int(margin[0]), int(margin[1]), int(margin[2])))
    grown = mask.array.copy()
    if box is not None:
        grown[box] = distance_mm(~mask.array[box], spacing) <= radius_mm
    return Mask(mask.grid, grown, f"{mask.name} + {radius_mm:g} mm")


def erode(mask: Mask, radius_mm: float) -> Mask:
    """Every voxel farther than `radius_mm` from the outside; the edge of the scan is no outside."""
    kept = distance_mm(mask.array, mask.grid.spacing_mm) > radius_mm
    return Mask(mask.grid, kept, f"{mask.name} - {radius_mm:g} mm")


def opened(mask: Mask, radius_mm: float) -> Mask:
    """The mask without what is thinner than twice the radius."""
    return dilate(erode(mask, radius_mm), radius_mm).named(f"{mask.name} opened {radius_mm:g} mm") & mask


def largest_component(mask: Mask) -> Mask:
    """The largest face-connected part of the mask."""
    labels, count = ndimage.label(mask.array)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return Mask(mask.grid, labels == int(sizes.argmax()), f"largest part of {mask.name}")


def large_parts(array: Bool, voxels: float) -> Bool:
    """The parts of at least so many voxels; counted over set voxels only, so that no table as large as the scan is made."""
    out = np.zeros(array.shape, dtype=np.bool_)
    box = mask_box(array)
    if box is None:
        return out
    labels, count = ndimage.label(array[box])
    part = labels[array[box]]
    out[box][array[box]] = (np.bincount(part, minlength=count + 1) >= voxels)[part]
    return out


def border_connected(array: Bool, sides: tuple[bool, bool, bool, bool, bool, bool]) -> Bool:
    """The parts of a mask that touch the chosen faces of the lattice: (k low, k high, j low, j high, i low, i high)."""
    labels, _ = ndimage.label(array)
    faces = [labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
    touching = np.unique(np.concatenate([face.ravel() for face, use in zip(faces, sides, strict=True) if use]))
    hit = np.zeros(int(labels.max()) + 1, dtype=np.bool_)
    hit[touching] = True
    hit[0] = False
    return np.asarray(hit[labels])
