"""Surfaces and shaded orthographic pictures of them: what a viewer of the scan would see of the face.

A surface is a dense cloud of oriented points, so one marching-cubes pass serves any number of poses: each view is a rotation
and a z-buffer, a hundred times cheaper than casting rays through the volume again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from fw_gear_hndeface.model import Float, Volume

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Surface:
    """Oriented points on an iso-surface: `points` (N, 3) LPS mm, `normals` (N, 3) unit vectors towards the air."""

    points: Float32
    normals: Float32

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the volume crosses the threshold."""
        return len(self.points) == 0


@dataclass(frozen=True)
class Pose:
    """Viewing direction in degrees: pitch > 0 looks from above, yaw > 0 from the patient's left, roll turns the head.

    The zero pose looks at a supine patient from the front along the patient axes.
    """

    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0

    @property
    def axes(self) -> Float:
        """Rows: picture right, picture down, away from the viewer; unit vectors in LPS."""
        pitch, yaw, roll = np.radians([self.pitch_deg, self.yaw_deg, self.roll_deg])
        away = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        down = np.cross(away, right)
        return np.array([np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, away])


@dataclass(frozen=True, eq=False)
class Picture:
    """A shaded view: `grey` (R, C) uint8, `depth` (R, C) mm along the viewing direction (NaN: no surface)."""

    grey: NDArray[np.uint8]
    depth: Float32
    axes: Float
    origin: Float
    pixel_mm: float

    def to_patient(self, column: Float, row: Float) -> Float:
        """LPS mm of picture positions, on the nearest surface pixel; (N,), (N,) -> (N, 3), NaN where there is none."""
        c = np.clip(np.rint(column).astype(int), 0, self.depth.shape[1] - 1)
        r = np.clip(np.rint(row).astype(int), 0, self.depth.shape[0] - 1)
        away = np.column_stack([column * self.pixel_mm, row * self.pixel_mm, self.depth[r, c]]) + self.origin
        return np.asarray(away @ self.axes)


def extract_surface(volume: Volume, threshold: float = -300.0, step: int = 1) -> Surface:
    """Points and normals of the iso-surface at sub-voxel accuracy; denser than the voxels, so that pictures have no holes."""
    array = np.array(volume.array, dtype=np.float32)  # marching cubes wants a writable array
    if array.min() >= threshold or array.max() <= threshold or min(array.shape) < 2:
        empty = np.zeros((0, 3), dtype=np.float32)
        return Surface(empty, empty)
    vertices, faces, normals, _ = marching_cubes(array, threshold, step_size=step, allow_degenerate=False)
    # face centres as well as corners: no gap wider than half a voxel is left between the splats
    points = np.concatenate([vertices, vertices[faces].mean(axis=1)])
    linear = volume.grid.affine[:3, :3]
    directions = np.concatenate([normals, normals[faces].mean(axis=1)]) @ np.linalg.inv(linear)
    lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)
    return Surface(volume.grid.to_patient(points).astype(np.float32), (directions / lengths).astype(np.float32))


def render(surface: Surface, pose: Pose, *, pixel_mm: float = 1.0, light: tuple[float, float] = (25.0, 0.0)) -> Picture:
    """Shaded orthographic picture of a surface.

    Parameters
    ----------
    light : elevation and azimuth of the light against the viewing direction, degrees; positive from above and from the
        picture's right.
    """
    axes = pose.axes
    seen = np.ascontiguousarray((surface.points @ axes.T.astype(np.float32)).T)  # numpy is quick along rows, not along columns
    low = seen.min(axis=1)
    size = np.ceil((seen.max(axis=1) - low) / pixel_mm).astype(int) + 1
    columns, rows = (
        ((across - start) / pixel_mm + 0.5).astype(np.int32) for across, start in zip(seen[:2], low[:2], strict=True)
    )
    depth, shade = _splat(rows * size[0] + columns, seen[2] - low[2], surface.normals @ _light(axes, light), size)
    return Picture(_shaded(depth, shade), depth, axes, low.astype(np.float64), pixel_mm)


def _light(axes: Float, light: tuple[float, float]) -> Float32:
    elevation, azimuth = np.radians(light)
    towards = -axes[2] * np.cos(elevation) * np.cos(azimuth) - axes[1] * np.sin(elevation) + axes[0] * np.sin(azimuth)
    return np.asarray(towards / np.linalg.norm(towards), dtype=np.float32)


def _splat(pixel: NDArray[np.int64], depth: Float32, lambert: Float32, size: NDArray[np.int64]) -> tuple[Float32, Float32]:
    """Nearest depth per pixel and the mean shade of what lies within 2 mm behind it, holes closed."""
    count = int(size[0] * size[1])
    nearest = np.full(count, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixel, depth)
    front = ndimage.minimum_filter(nearest.reshape(size[1], size[0]), size=3).ravel()
    visible = depth <= front[pixel] + 3.0
    number = np.bincount(pixel[visible], minlength=count)
    near_sum = np.bincount(pixel[visible], depth[visible], minlength=count)
    shade_sum = np.bincount(pixel[visible], lambert[visible], minlength=count)
    with np.errstate(invalid="ignore"):
        fields = (near_sum / number).reshape(size[1], size[0]), (shade_sum / number).reshape(size[1], size[0])
    closed = [_close_holes(field) for field in fields]
    return closed[0], closed[1]


def _close_holes(field: Float) -> Float32:
    """Empty pixels between filled ones take the mean of their neighbours; the silhouette does not grow."""
    out = field
    for _ in range(3):
        empty = np.isnan(out)
        share = ndimage.uniform_filter((~empty).astype(np.float64), 3)
        mean = ndimage.uniform_filter(np.where(empty, 0.0, out), 3) / np.maximum(share, 1e-6)
        out = np.where(empty & (share > 0.4), mean, out)
    return out.astype(np.float32)


def _shaded(depth: Float32, shade: Float32) -> NDArray[np.uint8]:
    grey = 30.0 + 215.0 * np.clip(shade, 0.0, 1.0)
    return np.where(np.isnan(depth), 0.0, grey).astype(np.uint8)
