"""Volumes and masks carried from one grid to another, exactly in patient space."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fw_gear_hndeface.model import Float, Grid, Mask, Volume
from fw_gear_hndeface.ops.boxes import points_box

#: HU of air: what lies outside every scan.
AIR_HU = -1000.0
#: Voxels around the target's box that interpolation may look at; a spline's weights have died away by then.
BORDER = 12
#: Two grids whose axes part by less than this over the whole target, in voxels, are parallel.
ALIGNED = 1e-3
#: Most voxels of the source that are copied at once for interpolation.
MOST_COPIED = 1 << 24


def lps_grid(points: Float, spacing_mm: float, frame: str = "", margin_mm: float = 0.0) -> Grid:
    """Isotropic grid along the patient axes that covers the points: k to superior, j to posterior, i to left."""
    low = points.min(axis=0) - margin_mm
    shape = np.maximum(np.ceil((points.max(axis=0) + margin_mm - low) / spacing_mm).astype(int) + 1, 1)[::-1]
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * spacing_mm
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, frame)


def resample(volume: Volume, grid: Grid, *, smooth: bool = False, outside: float = AIR_HU) -> Volume:
    """The volume at the voxel centres of another grid.

    Parameters
    ----------
    smooth : cubic instead of linear interpolation, for coarse scans whose surface would come out faceted.
    outside : value where the volume has no voxel.
    """
    order = sitk.sitkBSpline3 if smooth else sitk.sitkLinear
    array = _resampled(volume.array, volume.grid, grid, order, outside)
    return Volume(grid, array, volume.unit)


def resample_mask(mask: Mask, grid: Grid) -> Mask:
    """The mask at the voxel centres of another grid, by nearest voxel; nothing outside its own grid."""
    array = _resampled(mask.array.view(np.uint8), mask.grid, grid, sitk.sitkNearestNeighbor, 0)
    return Mask(grid, array.astype(np.bool_), mask.name)


def _resampled(array: NDArray[Any], source: Grid, target: Grid, order: int, outside: float) -> NDArray[Any]:
    box = points_box([target.corners()], source, margin=BORDER)
    if box is None:
        return np.full(target.shape, outside, dtype=array.dtype)
    if order != sitk.sitkBSpline3 and target.shape[0] > 1 and np.prod([ends.stop - ends.start for ends in box]) > MOST_COPIED:
        half = target.shape[0] // 2
        parts = [target.crop((part, slice(None), slice(None))) for part in (slice(0, half), slice(half, target.shape[0]))]
        return np.concatenate([_resampled(array, source, part, order, outside) for part in parts])
    index = np.linalg.inv(source.crop(box).affine) @ target.affine
    if order == sitk.sitkNearestNeighbor:
        turned = np.abs(index[:3, :3] - np.diag(np.diag(index[:3, :3]))) @ np.array(target.shape)
        if turned.max() < ALIGNED:
            return _picked(array[box], index, target.shape, outside)
    return _interpolated(array[box], index, target.shape, order, outside)


def _picked(array: NDArray[Any], index: Float, shape: tuple[int, int, int], outside: float) -> NDArray[Any]:
    """Nearest voxels along common axes: one axis after the other."""
    out = array
    for axis, count in enumerate(shape):
        nearest = np.floor(index[axis, 3] + index[axis, axis] * np.arange(count) + 0.5).astype(np.intp)
        last = array.shape[axis] - 1
        out = np.take(out, np.clip(nearest, 0, last), axis=axis)
        np.moveaxis(out, axis, 0)[(nearest < 0) | (nearest > last)] = outside
    return out


def _interpolated(array: NDArray[Any], index: Float, shape: tuple[int, int, int], order: int, outside: float) -> NDArray[Any]:
    # SimpleITK refuses sheared directions, so both images live in index space and the transform holds all geometry
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(index[:3, :3][::-1, ::-1].ravel().tolist())
    transform.SetTranslation(index[:3, 3][::-1].tolist())
    reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(reference)
    resampler.SetSize([int(n) for n in shape[::-1]])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(order)
    resampler.SetDefaultPixelValue(float(outside))
    result: NDArray[Any] = sitk.GetArrayFromImage(resampler.Execute(image))
    return result


def sample(volume: Volume, points: Float, outside: float = AIR_HU) -> NDArray[np.float32]:
    """Linear interpolation of the volume at LPS points, (..., 3) -> (...); `outside` where it has no voxel."""
    index = np.moveaxis(volume.grid.to_index(points), -1, 0)
    values: NDArray[np.float32] = map_coordinates(
        volume.array, index, output=np.float32, order=1, mode="constant", cval=outside
    )
    return values
