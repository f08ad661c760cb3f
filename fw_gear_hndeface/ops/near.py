"""The part of a scan around the face, each voxel with its place in the head frame; for methods that think in voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.model import Bool, Float, Grid, Landmarks, Mask, Proposal, Volume
from fw_gear_hndeface.ops.boxes import Box, points_box
from fw_gear_hndeface.ops.frame import REGION_MM, HeadFrame
from fw_gear_hndeface.ops.morphology import border_connected, dilate, distance_mm
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.ops.skin import SKIN_HU

Single = NDArray[np.float32]

#: The landmarks that span the whole face from brows to chin.
FACE_RIM = ("brow_left", "brow_right", "canthus_outer_left", "canthus_outer_right", "jaw_left", "jaw_right", "chin")
#: The face region less the rounding of single precision: what is planned up to its edge must not lie beyond it.
INSIDE_MM = (REGION_MM[0] + 0.01, REGION_MM[1] - 0.01)
#: Changes smaller than this are none, HU.
SAME_HU = 0.5
#: The body mask comes on a 2 mm grid; skin of the scan lies within this of it.
BODY_SLACK_MM = 2.5
#: Radius of a ball that does not pass nostrils, parted lips and ear canals.
SEAL_MM = 5.0
#: The face with the air before it, and what the ears need on top, head frame mm at scale 1.
FACE_MM = (np.array([-90.0, -90.0, -145.0]), np.array([90.0, 60.0, 55.0]))
EARS_MM = (np.array([-105.0, -90.0, -145.0]), np.array([105.0, 100.0, 55.0]))


@dataclass(frozen=True, eq=False)
class Near:
    """An index box of a scan; `box` says where it lies in it."""

    box: Box
    scan: Volume
    frame: HeadFrame

    @property
    def grid(self) -> Grid:
        """The grid of the box."""
        return self.scan.grid

    def place(self, axis: int) -> Single:
        """Frame x, y or z of every voxel centre, (K, J, I), mm."""
        step = self.frame.axes[axis] @ self.grid.affine[:3, :3]
        start = float(self.frame.axes[axis] @ (self.grid.affine[:3, 3] - self.frame.origin))
        k, j, i = np.ogrid[tuple(slice(0, n) for n in self.grid.shape)]
        return np.asarray(start + step[0] * k + step[1] * j + step[2] * i, dtype=np.float32)

    def within(self, low: Float | Sequence[float], high: Float | Sequence[float]) -> Bool:
        """Voxels inside a box of the head frame, mm at scale 1; infinite sides are open."""
        inside = np.ones(self.grid.shape, dtype=np.bool_)
        for axis in range(3):
            ends = [float(side[axis]) * self.frame.scale for side in (low, high)]
            if np.isfinite(ends).any():
                place = self.place(axis)
                inside &= (place >= ends[0]) & (place <= ends[1])
        return inside

    def mask(self, array: Bool, name: str) -> Mask:
        """Voxels of the box as a mask on the box's grid."""
        return Mask(self.grid, array, name)


def look(scan: Volume, frame: HeadFrame, low: Float | Sequence[float], high: Float | Sequence[float]) -> Near:
    """The scan around a box of the head frame, mm at scale 1.

    Raises
    ------
    LandmarkError
        The box lies outside the scan.
    """
    box = points_box([frame.corners(np.array(low) * frame.scale, np.array(high) * frame.scale)], scan.grid)
    if box is None:
        raise LandmarkError("The part of the face that this method changes lies outside the scan. Take another method.")
    return Near(box, scan.crop(box), frame)


def look_at_region(scan: Volume, frame: HeadFrame, reach_mm: float = 0.0) -> tuple[Near, Bool]:
    """The scan around the face region, and which of its voxels the region holds."""
    low, high = INSIDE_MM[0] - reach_mm / frame.scale, INSIDE_MM[1] + reach_mm / frame.scale
    near = look(scan, frame, low, high)
    return near, near.within(low, high)


def look_at_face(scan: Volume, frame: HeadFrame, *, ears: bool) -> Near:
    """The scan around the face, from 40 mm before the nose back to the ears."""
    return look(scan, frame, *(EARS_MM if ears else FACE_MM))


def patient_of(near: Near, body: Mask) -> Bool:
    """The patient at the scan's own resolution: all but the air reached from front, sides and top, and the equipment in it.

    Nostrils, lips and ear canals are no way in: the walls of nose and throat are not skin.
    """
    dense = (near.scan.array > SKIN_HU) & around_body(near.grid, body)
    shut = dilate(resample_mask(airways(body), near.grid), BODY_SLACK_MM).array
    return np.asarray(dense | ~border_connected(~(dense | shut), _open_sides(near)))


def airways(body: Mask) -> Mask:
    """Air beside the body that a ball from outside does not reach: nose, mouth and ear canals; on the body's grid."""
    air, spacing = ~body.array, body.grid.spacing_mm
    room = border_connected(air & (distance_mm(air, spacing) > SEAL_MM), (False, True, True, True, True, True))
    if not room.any():
        return Mask(body.grid, air, "airways")
    return Mask(body.grid, np.asarray(air & (distance_mm(~room, spacing) > SEAL_MM)), "airways")


def around_body(grid: Grid, body: Mask) -> Bool:
    """The body on another grid with all of its skin: grown by a little, and by a voxel where voxels are coarse."""
    return dilate(resample_mask(body, grid), max(BODY_SLACK_MM, float(grid.spacing_mm.max()))).array


def _open_sides(near: Near) -> tuple[bool, bool, bool, bool, bool, bool]:
    """Sides of the box through which room air enters; from below and behind it would come through airways and cells of bone."""
    sides = []
    for axis in range(3):
        step = near.frame.axes @ near.grid.affine[:3, axis]
        step = step / np.linalg.norm(step)
        for way in (-step, step):
            sides.append(bool(-way[2] < 0.7 and way[1] < 0.7))
    return sides[0], sides[1], sides[2], sides[3], sides[4], sides[5]


def outside_hull(landmarks: Landmarks, frame: HeadFrame, names: Sequence[str], place: tuple[Any, Any]) -> Single:
    """How far frame (x, z) positions lie outside the convex hull of landmarks, mm; negative inside.

    Landmarks that are not known are taken from the canonical face. The distance is to the farthest side's line: exact beside a
    side, a little short at corners.
    """
    points = np.array([landmarks[n].point if n in landmarks else frame.canonical(n) for n in names])
    x, z = place
    away = np.full(np.broadcast_shapes(x.shape, z.shape), -np.inf, dtype=np.float32)
    for a, b, c in ConvexHull(frame.to_frame(points)[:, [0, 2]]).equations.astype(np.float32):
        np.maximum(away, a * x + b * z + c, out=away)
    return away


def face_columns(near: Near, landmarks: Landmarks, margin_mm: float, behind_mm: float = 60.0) -> Bool:
    """Voxels in front of or behind the face as seen from in front: the hull of the whole face grown by a margin.

    `behind_mm` (at scale 1) ends it in front of the ears, so that the back of the head does not belong to it.
    """
    x, z = near.place(0), near.place(2)
    away = outside_hull(landmarks, near.frame, FACE_RIM, (x, z))
    low, high = INSIDE_MM[0], np.array([INSIDE_MM[1][0], behind_mm, INSIDE_MM[1][2]])
    return np.asarray((away <= margin_mm * near.frame.scale) & near.within(low, high))


def ear_columns(near: Near, landmarks: Landmarks) -> Bool:
    """Voxels at and beside the outer ears: 20 mm to the front and back, 35 mm up and down, from 8 mm inside outwards."""
    found = np.zeros(near.grid.shape, dtype=np.bool_)
    for name, side in (("ear_left", 1.0), ("ear_right", -1.0)):
        point = landmarks[name].point if name in landmarks else near.frame.canonical(name)
        x, y, z = near.frame.to_frame(point) / near.frame.scale
        low, high = sorted((side * (abs(x) - 8.0), side * INSIDE_MM[1][0]))
        found |= near.within((low, y - 20.0, z - 35.0), (high, y + 20.0, z + 35.0))
    return np.asarray(found & near.within(*INSIDE_MM))


def depth_of(near: Near, patient: Bool) -> Single:
    """Depth under the patient's surface, mm; negative in the air before it."""
    inside = distance_mm(patient, near.grid.spacing_mm)
    return np.asarray(np.where(patient, inside, -distance_mm(~patient, near.grid.spacing_mm)))


def skin_layer(
    near: Near, body: Mask, landmarks: Landmarks, *, layer_mm: tuple[float, float], margin_mm: float, ears: bool
) -> Bool:
    """The layer around the skin of the face, and of the ears: so far into the air and so deep into tissue, mm."""
    depth = depth_of(near, patient_of(near, body))
    zone = face_columns(near, landmarks, margin_mm)
    if ears:
        zone |= ear_columns(near, landmarks)
    return np.asarray(zone & (depth >= -layer_mm[0]) & (depth <= layer_mm[1]))


def proposal(scan: Volume, near: Near, value: Single, method: str) -> Proposal:
    """The proposal of new HU in a box, NaN where nothing is planned; values that are there already are left out."""
    planned = np.isfinite(value)
    planned[planned] = np.abs(value[planned] - near.scan.array[planned].astype(np.float32)) > SAME_HU
    whole = np.zeros(scan.grid.shape, dtype=np.bool_)
    whole[near.box] = planned
    return Proposal(Mask(scan.grid, whole, f"{method} zone"), value[planned], method)


def filled(near: Near, change: Bool, material: Single) -> Single:
    """New HU of a box: the material where it changes, NaN elsewhere."""
    return np.where(change, material, np.float32(np.nan)).astype(np.float32)
