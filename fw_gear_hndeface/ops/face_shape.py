"""A statistical shape of faces, and how it is laid on a skin by least squares.

The shape is learnt from synthetic heads (`scripts/make_face_shape`); it is no one's face.

Source
------
Cootes et al. 1995 (active shape models); Levenberg 1944, Marquardt 1963.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.model import Bool, Float
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.ops.morphology import distance_mm

#: Distances of points from the skin are measured in what faces differ by, but never finer than the window's voxels allow, mm.
LEAST_SPREAD_MM = 1.5
#: What a point counts that lies out of the scan, in those units: as one that is off by so much.
MISSING = 1.8
#: So many points of a face are independent of each other.
INDEPENDENT = 50.0
#: Points nearer than this to the end of the scan are taken as out of it, mm.
END_MM = 3.0
#: Mean and spread of pitch (chins are raised in planning masks), spread of roll and yaw, degrees; of the logarithm of the size.
USUAL_PITCH_DEG, PITCH_DEG, TURN_DEG, LOG_SIZE = -15.0, 25.0, 12.0, 0.12
#: Values that place a shape: three of its origin, three of its turn (rotation vector), the logarithm of its size.
PLACING = 7
#: Own relief is what smooth surfaces do not explain: polynomials up to this order of x and z over this length, even in x but
#: for a slope.
SMOOTH_ORDER, SMOOTH_MM = 4, 50.0
#: The skin is looked for so far before and behind the shape, along normals that face the front by so much; no relief is read
#: from fewer points.
FARTHEST_MM, FACING, LEAST_POINTS = 12.0, 0.3, 80


@dataclass(frozen=True, eq=False)
class FaceShape:
    """Skin of faces on canonical positions, and how it varies.

    Parameters
    ----------
    points : (N, 3) mean skin, canonical mm
    modes : (M, N) what one standard deviation of each mode adds to y, mm
    spread : (N,) standard deviation of the distance that the modes leave, mm
    marks, mark_modes : (L, 3), (M, L, 3) the same of the canonical landmarks, in the order of the vocabulary
    """

    points: Float
    modes: Float
    spread: Float
    marks: Float
    mark_modes: Float

    @cached_property
    def weights(self) -> Float:
        """(N,) what a millimetre counts, 1/mm."""
        return np.asarray(1.0 / np.hypot(self.spread, LEAST_SPREAD_MM))

    def drawn(self, modes: Float) -> Float:
        """(N, 3) canonical skin of one face."""
        points = self.points.copy()
        points[:, 1] += modes @ self.modes
        return points

    def landmarks(self, modes: Float) -> Float:
        """(L, 3) canonical landmarks of one face."""
        return np.asarray(self.marks + np.tensordot(modes, self.mark_modes, axes=1))


@cache
def face_shape() -> FaceShape:
    """The shape of synthetic faces."""
    with resources.as_file(resources.files("fw_gear_hndeface.ops") / "face_shape.npz") as path, np.load(path) as data:
        names = ("points", "modes", "spread", "marks", "mark_modes")
        return FaceShape(*(np.asarray(data[name], dtype=np.float64) for name in names))


class Placed:
    """What the values of a fit say: (7 + M,) origin (LPS mm), turn, logarithm of the size, and the modes."""

    def __init__(self, values: Float) -> None:
        self.origin, self.modes = values[:3], values[PLACING:]
        self.turn = Rotation.from_rotvec(values[3:6]).as_matrix()
        self.size = float(np.exp(values[6]))

    def arms(self, points: Float) -> Float:
        """Canonical points (..., 3) as seen from the origin, mm along the patient axes."""
        return np.asarray(self.size * points @ self.turn.T)

    def places(self, points: Float) -> Float:
        """LPS mm of canonical points, (..., 3)."""
        return self.arms(points) + self.origin


class Skin:
    """The skin of a window as a field of signed distances (mm, negative inside), and what the scan shows."""

    def __init__(self, head: HeadScan) -> None:
        body, self.grid, self.scan = head.body.array, head.body.grid, head.scan.grid
        spacing = self.grid.spacing_mm
        self.field = distance_mm(~body, spacing) - distance_mm(body, spacing)
        self.slopes = np.gradient(self.field, *spacing)
        self.axes = self.grid.affine[:3, :3] / spacing

    def distance(self, points: Float) -> Float:
        """Distances (N,) at points (N, 3)."""
        return np.asarray(self._read([self.field], points)[0])

    def gradient(self, points: Float) -> Float:
        """Gradients (N, 3) of the distance in LPS at points (N, 3)."""
        return self._read(self.slopes, points).T @ self.axes.T

    def _read(self, fields: Sequence[NDArray[np.float32]], points: Float) -> Float:
        """Values of some fields at points, (fields, N)."""
        at = self.grid.to_index(points).T
        return np.stack([ndimage.map_coordinates(field, at, np.float64, order=1, mode="nearest") for field in fields])

    def shows(self, points: Float) -> Bool:
        """Which points the window shows, and the scan, its end not counted."""
        seen = np.ones(len(points), dtype=np.bool_)
        for grid in (self.scan, self.grid):
            at, margin = grid.to_index(points), END_MM / grid.spacing_mm
            seen &= np.all((at >= margin - 0.5) & (at <= np.array(grid.shape) - 0.5 - margin), axis=1)
        return seen


class Problem:
    """Least squares of the face shape on a skin: residuals and their derivatives by the values that `Placed` reads.

    Points count by a pseudo-Huber loss, so that a tube, a bolus or a missing tooth does not pull at the whole face.
    """

    def __init__(self, skin: Skin) -> None:
        self.skin, self.shape = skin, face_shape()
        modes = len(self.shape.modes)
        self.middle = np.zeros(PLACING + modes)
        self.middle[3] = np.radians(USUAL_PITCH_DEG)
        spread = np.array([*np.radians([PITCH_DEG, TURN_DEG, TURN_DEG]), LOG_SIZE, *np.ones(modes)])
        self.prior = np.concatenate([np.zeros(3), np.sqrt(0.5) / spread])

    def __call__(self, values: Float) -> tuple[Float, Float]:
        """Residuals (N + P,), whose squares add up to the loss, and derivatives (N + P, P)."""
        off, slope = self._off_and_slope(Placed(values))
        reach = np.sqrt(1.0 + off**2)
        root = np.sqrt(2.0 * (reach - 1.0))
        share = np.sqrt(INDEPENDENT / len(off))
        steep = np.where(root > 1e-9, np.abs(off) / np.maximum(reach * root, 1e-12), 1.0)
        residuals = np.concatenate([share * np.sign(off) * root, self.prior * (values - self.middle)])
        return residuals, np.concatenate([share * steep[:, None] * slope, np.diag(self.prior)])

    def _off(self, placed: Placed, arms: Float) -> tuple[Float, Bool]:
        """Distances of the shape's points from the skin in units of what faces differ by (N,), and which points are hidden."""
        points = arms + placed.origin
        hidden = ~self.skin.shows(points)
        return np.where(hidden, MISSING, self.shape.weights / placed.size * self.skin.distance(points)), hidden

    def _off_and_slope(self, placed: Placed) -> tuple[Float, Float]:
        """The distances of `_off` (N,) and their derivatives (N, P)."""
        shape = self.shape
        arms = placed.arms(shape.drawn(placed.modes))
        off, hidden = self._off(placed, arms)
        unit = (shape.weights / placed.size)[:, None]
        gradient = unit * self.skin.gradient(arms + placed.origin)
        slope = np.empty((len(arms), len(self.middle)))
        slope[:, :3], slope[:, 3:6] = gradient, np.cross(arms, gradient)
        slope[:, 6] = np.sum(gradient * arms, axis=1) - off
        slope[:, PLACING:] = placed.size * (gradient @ placed.turn[:, 1])[:, None] * shape.modes.T
        slope[hidden] = 0.0
        return off, slope

    def loss(self, values: Float) -> float:
        """How badly the shape lies, and how unusual it is: the sum of the squared residuals."""
        placed = Placed(values)
        off, _ = self._off(placed, placed.arms(self.shape.drawn(placed.modes)))
        misfit = 2.0 * INDEPENDENT * float(np.mean(np.sqrt(1.0 + off**2) - 1.0))
        return misfit + float(np.sum((self.prior * (values - self.middle)) ** 2))

    @property
    def nothing(self) -> float:
        """The loss of a usual shape of which nothing is seen."""
        return INDEPENDENT * 2.0 * (float(np.hypot(1.0, MISSING)) - 1.0)

    def relief(self, values: Float) -> float:
        """How much of the mean face's own relief the skin has where the shape lies: correlation times height, 0 to 1."""
        shape, placed = self.shape, Placed(values)
        points = shape.drawn(placed.modes)
        places = placed.places(points)
        seen = self.skin.shows(places)
        if np.count_nonzero(seen) < LEAST_POINTS:
            return 0.0
        facing = np.maximum(-self.skin.gradient(places) @ placed.turn[:, 1], FACING)
        depth = self.skin.distance(places) / facing / placed.size
        skin = points[:, 1] + np.clip(depth, -FARTHEST_MM, FARTHEST_MM)
        weights = shape.weights[seen]
        smooth = np.linalg.qr(_smooth_terms(points[seen]) * weights[:, None]).Q
        found, mean = (weights * y[seen] for y in (skin, shape.points[:, 1]))
        found, mean = found - smooth @ (smooth.T @ found), mean - smooth @ (smooth.T @ mean)
        correlation = float(np.corrcoef(found, mean)[0, 1])
        return max(correlation, 0.0) * float(np.clip(found @ mean / (mean @ mean), 0.0, 1.0))


def _smooth_terms(points: Float) -> Float:
    """(N, T) terms of a smooth surface, alike on both sides but for a slope."""
    x, z = points[:, 0] / SMOOTH_MM, points[:, 2] / SMOOTH_MM
    even = [x**a * z**b for a in range(0, SMOOTH_ORDER + 1, 2) for b in range(SMOOTH_ORDER + 1 - a)]
    return np.stack([*even, x], axis=-1)


def refined(problem: Problem, values: Float, free: int, rounds: int) -> Float:
    """The values at a local optimum over the first `free` of them."""
    residuals, slope = problem(values)
    loss, damping = float(residuals @ residuals), 1e-3
    for _ in range(rounds):
        part = slope[:, :free]
        normal = part.T @ part
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -part.T @ residuals)
        trial = values.copy()
        trial[:free] += step
        trial[3:6] = (Rotation.from_rotvec(step[3:6]) * Rotation.from_rotvec(values[3:6])).as_rotvec()
        tried, steeper = problem(trial)
        reached = float(tried @ tried)
        if reached < loss:
            done = loss - reached < 1e-3 * loss
            values, residuals, slope, loss, damping = trial, tried, steeper, reached, max(damping / 5.0, 1e-6)
            if done:
                break
        elif damping > 1e3:
            break
        else:
            damping *= 8.0
    return values
