"""From the places of slices to one lattice: tilt stays a shear, gaps stay gaps, nothing is averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.dicom.headers import Plane
from fw_gear_hndeface.errors import GeometryError
from fw_gear_hndeface.model import Float

SAME_PLACE_MM = 0.01
LINE_TOLERANCE_MM = 0.2
STEP_TOLERANCE_MM = 0.1
MAX_GAP_MM = 25.0


@dataclass(frozen=True, eq=False)
class Lattice:
    """A uniform lattice that carries a stack of slices.

    Attributes
    ----------
    affine : (4, 4), index (k, j, i) -> LPS mm
    count : number of lattice planes
    at : (S,), lattice plane of each slice in ascending order; a fraction where a slice lies between two planes
    """

    affine: Float
    count: int
    at: Float

    @property
    def is_full(self) -> bool:
        """Whether every lattice plane is a slice and the other way round."""
        return self.count == len(self.at) and bool(np.all(self.at == np.rint(self.at)))


def depths_mm(planes: Sequence[Plane]) -> Float:
    """Distance of each slice along the common normal (row x column), (S,), mm."""
    row, column = _axes(planes[0])
    return np.array([plane.position for plane in planes]) @ np.cross(row, column)


def lattice(planes: Sequence[Plane], where: str) -> Lattice:
    """The lattice of slices that are sorted by depth and lie at different places.

    Slices that miss only whole steps, or none, keep whole plane numbers. Uneven slices get a finer lattice and fractions.

    Raises
    ------
    GeometryError
        Axes that are not at right angles, slices that do not lie on one line, or a gap too wide to look across.
    """
    row, column = _axes(planes[0])
    if abs(row @ column) > 1e-3:
        raise GeometryError(f"{where}: the two directions of ImageOrientationPatient are not at right angles.")
    depth = depths_mm(planes)
    direction = _line(planes, depth, where)
    at, count = _steps(depth, where)
    step = (depth[-1] - depth[0]) / (count - 1)
    affine = np.eye(4)
    affine[:3, 0] = direction * step
    affine[:3, 1] = column * planes[0].spacing_mm[0]
    affine[:3, 2] = row * planes[0].spacing_mm[1]
    affine[:3, 3] = planes[0].position
    return Lattice(affine, count, at)


def _axes(plane: Plane) -> tuple[Float, Float]:
    row, column = np.array(plane.row), np.array(plane.column)
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _line(planes: Sequence[Plane], depth: Float, where: str) -> Float:
    """How far the first pixel moves per mm of depth, (3,); not the normal where the gantry is tilted."""
    positions = np.array([plane.position for plane in planes])
    direction: Float = (positions[-1] - positions[0]) / (depth[-1] - depth[0])
    off_line = positions - positions[0] - np.outer(depth - depth[0], direction)
    worst = float(np.linalg.norm(off_line, axis=1).max())
    if worst > LINE_TOLERANCE_MM:
        raise GeometryError(
            f"{where}: a slice lies {worst:.1f} mm off the line through the others, expected {LINE_TOLERANCE_MM} mm or less. "
            "Send the parts as series of their own."
        )
    return direction


def _steps(depth: Float, where: str) -> tuple[Float, int]:
    """Lattice plane of each slice, and the number of planes."""
    gaps = np.diff(depth)
    length = float(depth[-1] - depth[0])
    median = float(np.median(gaps))
    if gaps.max() > max(MAX_GAP_MM, 3 * median):
        raise GeometryError(
            f"{where}: {gaps.max():.1f} mm between two slices where {median:.1f} mm is usual, expected {MAX_GAP_MM:.0f} mm or "
            "less. Slices are missing: send the whole series."
        )
    whole = np.rint(gaps / gaps.min())
    for multiples in (np.ones_like(gaps), whole):
        at = np.concatenate([[0.0], np.cumsum(multiples)])
        step = length / at[-1]
        if np.abs(depth - depth[0] - at * step).max() <= min(STEP_TOLERANCE_MM, 0.1 * step):
            return at, int(at[-1]) + 1
    step = max(float(gaps.min()), median / 4, length / (4 * len(depth)))
    count = int(np.ceil(length / step - 1e-6)) + 1
    return np.round((depth - depth[0]) * (count - 1) / length, 6), count
