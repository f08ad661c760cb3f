"""Signed fields on any grid: voxel positions in the head frame, soft shapes, and smooth random fields.

The head frame is in mm: origin midway between the globe centres, x to the patient's left, y posterior, z superior. Every
function is evaluated at a voxel's own position, so the same head on two grids agrees in patient space. Fields are negative
inside a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Float, Grid

Array = NDArray[np.float32]
Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]

#: "Far outside" in a signed field, mm.
FAR_MM = 60.0


@dataclass(frozen=True, eq=False)
class Lattice:
    """Voxel positions of a grid in the head frame.

    Parameters
    ----------
    shape : (K, J, I)
    affine : (4, 4), (k, j, i, 1) -> head frame, mm
    """

    shape: tuple[int, int, int]
    affine: Float

    @classmethod
    def of(cls, grid: Grid, head_to_patient: Float) -> Lattice:
        """The lattice of a grid, given where the head lies in patient space, (4, 4)."""
        return cls(grid.shape, np.linalg.inv(head_to_patient) @ grid.affine)

    def whole(self) -> Box:
        """The box of all voxels."""
        return (slice(0, self.shape[0]), slice(0, self.shape[1]), slice(0, self.shape[2]))

    def box(self, low: Point | Float, high: Point | Float) -> Box:
        """Index box that covers a head-frame box, clipped to the lattice; empty slices where it misses."""
        ends = np.array([low, high], dtype=np.float64)
        corners = np.array(np.meshgrid(*ends.T, indexing="ij")).reshape(3, -1).T
        index = (corners - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        start = np.clip(np.floor(index.min(axis=0)), 0, self.shape).astype(int)
        stop = np.clip(np.ceil(index.max(axis=0)) + 1, start, self.shape).astype(int)
        return (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))

    def axes(self, box: Box) -> tuple[Array, Array, Array]:
        """Head-frame x, y, z in a box; an axis that does not vary along an index has size one there."""
        steps = [np.arange(s.start, s.stop, dtype=np.float64) for s in box]
        return (self._axis(0, steps), self._axis(1, steps), self._axis(2, steps))

    def _axis(self, row: int, steps: Sequence[NDArray[np.float64]]) -> Array:
        total = np.full((1, 1, 1), self.affine[row, 3])
        for axis, step in enumerate(steps):
            weight = self.affine[row, axis]
            if abs(weight) > 1e-12:
                shape = [1, 1, 1]
                shape[axis] = -1
                total = total + (weight * step).reshape(shape)
        return total.astype(np.float32)


def is_empty(box: Box) -> bool:
    """Whether a box has no voxel."""
    return any(s.stop <= s.start for s in box)


def blend(a: Array, b: Array, width_mm: float) -> Array:
    """Smooth union of two signed fields: their minimum, rounded where they are closer than `width_mm`."""
    if width_mm <= 0:
        return np.minimum(a, b)
    overlap = np.maximum(width_mm - np.abs(a - b), 0.0)
    return np.asarray(np.minimum(a, b) - overlap * overlap * (0.25 / width_mm), dtype=np.float32)


def carve(a: Array, b: Array, width_mm: float) -> Array:
    """Smooth difference: the first shape without the second."""
    return -blend(-a, b, width_mm)


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid; `tilt_deg` turns it about the x axis (top towards the back)."""

    center: Point
    radii: Point
    tilt_deg: float = 0.0

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance (first-order exact at the surface), mm."""
        px, py, pz = x - self.center[0], y - self.center[1], z - self.center[2]
        if self.tilt_deg:
            c, s = np.float32(np.cos(np.radians(self.tilt_deg))), np.float32(np.sin(np.radians(self.tilt_deg)))
            py, pz = c * py - s * pz, s * py + c * pz
        qx, qy, qz = (px / self.radii[0]) ** 2, (py / self.radii[1]) ** 2, (pz / self.radii[2]) ** 2
        k0 = np.sqrt(qx + qy + qz)
        k1 = np.sqrt(qx / self.radii[0] ** 2 + qy / self.radii[1] ** 2 + qz / self.radii[2] ** 2)
        return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6), dtype=np.float32)

    def bounds(self) -> tuple[Float, Float]:
        """Low and high corner of a box that holds the shape."""
        radii = np.array(self.radii)
        if self.tilt_deg:
            radii[1:] = radii[1:].max()
        return np.array(self.center) - radii, np.array(self.center) + radii


@dataclass(frozen=True)
class Capsule:
    """A rod with round ends whose radius changes along its length."""

    start: Point
    end: Point
    start_mm: float
    end_mm: float

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance, mm."""
        a, b = np.array(self.start), np.array(self.end)
        axis = b - a
        px, py, pz = x - self.start[0], y - self.start[1], z - self.start[2]
        share = np.float32(1.0 / float(axis @ axis))
        t = np.clip((px * np.float32(axis[0]) + py * np.float32(axis[1]) + pz * np.float32(axis[2])) * share, 0.0, 1.0)
        gap = (px - t * np.float32(axis[0])) ** 2 + (py - t * np.float32(axis[1])) ** 2 + (pz - t * np.float32(axis[2])) ** 2
        return np.asarray(np.sqrt(gap) - (self.start_mm + t * (self.end_mm - self.start_mm)), dtype=np.float32)

    def bounds(self) -> tuple[Float, Float]:
        """Low and high corner of a box that holds the shape."""
        ends = np.array([self.start, self.end])
        radius = max(self.start_mm, self.end_mm)
        return ends.min(axis=0) - radius, ends.max(axis=0) + radius


Shape = Ellipsoid | Capsule


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field in the head frame: a sum of plane waves, so it is exact on every grid.

    Parameters
    ----------
    vectors : (N, 3), rad/mm
    phases : (N,), rad
    amplitude : height of each wave; the field's standard deviation is `amplitude * sqrt(N / 2)`
    """

    vectors: Float
    phases: Float
    amplitude: float

    @classmethod
    def draw(cls, rng: np.random.Generator, length_mm: float, deviation: float, count: int = 48) -> Waves:
        """A field with correlation length about `length_mm` and standard deviation `deviation`."""
        vectors = rng.normal(size=(count, 3)) / length_mm
        return cls(vectors, rng.uniform(0, 2 * np.pi, count), deviation * float(np.sqrt(2.0 / count)))

    def on(self, lattice: Lattice, box: Box) -> Array:
        """The field in a box, (k, j, i): separable in the indices, hence three short tables and one product."""
        affine = lattice.affine
        tables = []
        for axis, part in enumerate(box):
            steps = np.arange(part.start, part.stop, dtype=np.float64)
            tables.append(np.exp(1j * np.outer(self.vectors @ affine[:3, axis], steps)).astype(np.complex64))
        start = np.exp(1j * (self.vectors @ affine[:3, 3] + self.phases))
        rows = tables[0] * (start * self.amplitude).astype(np.complex64)[:, None]
        out = np.empty((rows.shape[1], tables[1].shape[1], tables[2].shape[1]), dtype=np.float32)
        for k in range(rows.shape[1]):
            left = rows[:, k, None] * tables[1]
            out[k] = left.real.T @ tables[2].real - left.imag.T @ tables[2].imag
        return out


def bump(u: Array, v: Array, width_mm: tuple[float, float], turn_deg: float = 0.0) -> Array:
    """A Gaussian hill of height one over a plane; `turn_deg` turns its axes."""
    if turn_deg:
        c, s = np.float32(np.cos(np.radians(turn_deg))), np.float32(np.sin(np.radians(turn_deg)))
        u, v = c * u + s * v, c * v - s * u
    return np.asarray(np.exp(-0.5 * ((u / width_mm[0]) ** 2 + (v / width_mm[1]) ** 2)), dtype=np.float32)


def ramp(value: Array, low: float, high: float) -> Array:
    """Smooth step from 0 at `low` to 1 at `high` (which may be the smaller one)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
