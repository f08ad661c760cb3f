"""From one patient space to another: matrices, displacement fields, and chains of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import map_coordinates

from fw_gear_hndeface.model import Float, Grid

#: The search for the point that a field moves to a given place ends when it moves less than this, mm, or after so many steps.
INVERSE_MM, INVERSE_STEPS = 0.01, 50


class Transform(Protocol):
    """A map of points."""

    def __call__(self, points: Float) -> Float:
        """Where LPS points lie in the other space, (..., 3) -> (..., 3), mm."""
        ...

    def inverse(self) -> Transform:
        """The way back."""
        ...


@dataclass(frozen=True, eq=False)
class Affine:
    """A 4 x 4 matrix on (x, y, z, 1), LPS mm."""

    matrix: Float

    def __call__(self, points: Float) -> Float:
        """Where LPS points lie in the other space, (..., 3) -> (..., 3), mm."""
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def inverse(self) -> Affine:
        """The way back."""
        return Affine(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))

    def moved(self, grid: Grid, frame: str) -> Grid:
        """The lattice in the other space: its voxels are the same, their places are new."""
        return Grid(grid.shape, self.matrix @ grid.affine, frame)


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement at every point of a lattice, none outside it.

    Parameters
    ----------
    grid : where the displacements are given
    offsets : (K, J, I, 3), LPS mm
    """

    grid: Grid
    offsets: Float

    def __call__(self, points: Float) -> Float:
        """The points and their displacements, (..., 3), mm."""
        index = self.grid.to_index(points).reshape(-1, 3).T
        moves = [map_coordinates(self.offsets[..., axis], index, order=1, mode="constant", cval=0.0) for axis in range(3)]
        return np.asarray(points + np.stack(moves, axis=-1).reshape(points.shape))

    def inverse(self) -> Transform:
        """The way back, by fixed-point steps."""
        return _Inverse(self)


@dataclass(frozen=True, eq=False)
class _Inverse:
    field: Field

    def __call__(self, points: Float) -> Float:
        found = np.array(points, dtype=np.float64)
        for _ in range(INVERSE_STEPS):
            miss = points - self.field(found)
            found = found + miss
            if miss.size == 0 or np.abs(miss).max() < INVERSE_MM:
                break
        return found

    def inverse(self) -> Transform:
        return self.field


@dataclass(frozen=True, eq=False)
class Chain:
    """One transform after the other."""

    steps: tuple[Transform, ...]

    def __call__(self, points: Float) -> Float:
        """Where LPS points lie in the other space, (..., 3) -> (..., 3), mm."""
        for step in self.steps:
            points = step(points)
        return points

    def inverse(self) -> Transform:
        """The way back."""
        return chained([step.inverse() for step in reversed(self.steps)])


def chained(steps: Sequence[Transform]) -> Transform:
    """One transform after the other; matrices are multiplied."""
    out: list[Transform] = []
    single = [part for step in steps for part in (step.steps if isinstance(step, Chain) else (step,))]
    for step in single:
        last = out[-1] if out else None
        if isinstance(step, Affine) and isinstance(last, Affine):
            out[-1] = Affine(step.matrix @ last.matrix)
        else:
            out.append(step)
    if not out:
        return Affine(np.eye(4))
    return out[0] if len(out) == 1 else Chain(tuple(out))
