"""The head frame: where a canonical face lies in the patient, by a robust similarity fit to landmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.model import Bool, Float, Grid, Landmarks
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: The face region in the head frame, mm at scale 1 (x left, y posterior, z up): what lies outside is not changed.
REGION_MM = (np.array([-105.0, -130.0, -175.0]), np.array([105.0, 100.0, 100.0]))


#: RMS distance from the canonical face beyond which a detection is no face (real faces: 3-9 mm, chance finds: 13 and more).
MOST_RESIDUAL_MM = 10.5
#: Sizes of faces against the canonical adult: infants are little over half as large.
SCALES = (0.55, 1.35)


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Origin midway between the globe centres; x to the patient's left, y posterior, z from the chin to the eyes.

    Parameters
    ----------
    origin : (3,), LPS mm
    axes : (3, 3), rows are the frame's x, y, z as unit vectors in LPS
    scale : inter-globe distance over the canonical 64 mm
    residual_mm : RMS distance of the landmarks from the fitted canonical face
    """

    origin: Float
    axes: Float
    scale: float
    residual_mm: float = 0.0

    @property
    def is_a_face(self) -> bool:
        """Whether the landmarks behind the frame lie as those of a face do, of an infant to a large adult."""
        return self.residual_mm <= MOST_RESIDUAL_MM and SCALES[0] <= self.scale <= SCALES[1]

    def to_frame(self, points: Float) -> Float:
        """Frame mm of LPS points, (..., 3); not divided by the scale."""
        return np.asarray((points - self.origin) @ self.axes.T)

    def to_patient(self, points: Float) -> Float:
        """LPS mm of frame points in mm, (..., 3)."""
        return np.asarray(points @ self.axes + self.origin)

    def corners(self, low: Float, high: Float) -> Float:
        """LPS mm of the eight corners of a box in frame mm, (8, 3)."""
        return self.to_patient(np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T)

    def canonical(self, name: str) -> Float:
        """Where the canonical face has a landmark, LPS mm."""
        return self.to_patient(np.array(CANONICAL_FACE_MM[name]) * self.scale)

    def region(self, reach_mm: float = 0.0) -> tuple[Float, Float]:
        """Lowest and highest corner of the face region grown by a reach, frame mm."""
        return REGION_MM[0] * self.scale - reach_mm, REGION_MM[1] * self.scale + reach_mm

    def in_region(self, x: Float, y: Float, z: Float, reach_mm: float = 0.0) -> Bool:
        """Which frame places, mm, lie in the face region grown by a reach."""
        sides = zip((x, y, z), *self.region(reach_mm), strict=True)
        return np.asarray(np.logical_and.reduce([(at >= low) & (at <= high) for at, low, high in sides]))

    def grid(self, low: Float, high: Float, spacing_mm: float, frame: str = "") -> Grid:
        """Grid along the frame's axes over a box in frame mm: k up, j posterior, i left."""
        shape = np.ceil((high - low) / spacing_mm).astype(int)[::-1] + 1
        affine = np.eye(4)
        affine[:3, :3] = self.axes[::-1].T * spacing_mm
        affine[:3, 3] = self.to_patient(low)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, frame)


def moved_head(head: HeadFrame, transform: Callable[[Float], Float]) -> HeadFrame:
    """The head frame at its new place, turned and stretched as the transform does around it."""
    reach = 50.0
    ends = transform(np.vstack([head.origin, head.origin + reach * head.axes]))
    steps = (ends[1:] - ends[0]) / reach
    u, sizes, vt = np.linalg.svd(steps)
    return HeadFrame(ends[0], u @ vt, head.scale * float(sizes.mean()), head.residual_mm)


def fit_frame(landmarks: Landmarks) -> HeadFrame | None:
    """The canonical face laid over the landmarks; None when fewer than five of them are known.

    Points far off the fit are given less weight in each of a few rounds (Cauchy weights, 5 mm), so that one stray landmark
    does not turn the head.

    Source
    ------
    Umeyama 1991 (least-squares similarity).
    """
    names = [name for name in landmarks if name in CANONICAL_FACE_MM]
    if len(names) < 5:
        return None
    model = np.array([CANONICAL_FACE_MM[name] for name in names])
    points = landmarks.stack(names)
    base = np.array([1.0 / landmarks[name].sigma_mm ** 2 for name in names])
    weights = base
    for _ in range(8):
        scale, axes, origin = _similarity(model, points, weights)
        residual = np.linalg.norm(scale * model @ axes + origin - points, axis=1)
        weights = base / (1.0 + (residual / 5.0) ** 2)
    return HeadFrame(origin, axes, scale, float(np.sqrt(np.mean(residual**2))))


def _similarity(model: Float, points: Float, weights: Float) -> tuple[float, Float, Float]:
    w = weights[:, None] / weights.sum()
    centre, middle = (model * w).sum(axis=0), (points * w).sum(axis=0)
    u, s, vt = np.linalg.svd(((model - centre) * w).T @ (points - middle))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    axes = (u * sign) @ vt
    scale = float((s * sign).sum() / (((model - centre) ** 2) * w).sum())
    return scale, axes, middle - scale * centre @ axes
