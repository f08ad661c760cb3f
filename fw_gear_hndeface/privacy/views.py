"""Pictures of a head for a recogniser: the same poses before and after, in the head's own frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.model import Float, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.front import patient_alone
from fw_gear_hndeface.ops.relief import cut_end, first_crossing, make_rays, without_cuts
from fw_gear_hndeface.ops.render import Picture, Pose, Surface, extract_surface, render
from fw_gear_hndeface.ops.skin import analysis_volume
from fw_gear_hndeface.privacy.slopes import slopes

#: What of the head is drawn, frame mm at scale 1: the face, the ears' front, no shoulders.
LOW_MM, HIGH_MM = np.array([-95.0, -85.0, -165.0]), np.array([95.0, 85.0, 90.0])
SPACING_MM = 1.5


@dataclass(frozen=True, eq=False)
class Skin:
    """A head's skin as seen by those who match it: its surface in frame mm, and its slopes (`privacy.slopes`) or None."""

    surface: Surface
    slopes: Float | None


def face_skin(scan: Volume, patient: Sequence[Mask], frame: HeadFrame, threshold: float) -> Skin:
    """The iso-surface of the head in frame mm (x left, y posterior, z up), and its slopes.

    Parameters
    ----------
    patient : masks whose union, a little grown, is the patient; everything else is drawn as air (couch, mask shell).
    """
    scale = frame.scale
    rays = make_rays(frame, LOW_MM * scale, HIGH_MM * scale, SPACING_MM)
    cleaned = patient_alone(analysis_volume(scan, SPACING_MM, rays.grid), patient)
    found = extract_surface(cleaned, threshold)
    points = frame.to_frame(found.points.astype(np.float64)).astype(np.float32)
    surface = Surface(points, found.normals @ frame.axes.T.astype(np.float32))
    return Skin(surface, slopes(rays, without_cuts(first_crossing(rays, cleaned, threshold), cut_end(rays, scan.grid))))


def face_surface(scan: Volume, patient: Sequence[Mask], frame: HeadFrame, threshold: float) -> Surface:
    """The surface of `face_skin` alone."""
    return face_skin(scan, patient, frame, threshold).surface


def pictures(surface: Surface, poses: Sequence[Pose], light: tuple[float, float] = (25.0, 0.0)) -> list[Picture]:
    """One shaded picture per pose at 1 mm per pixel; nothing for an empty surface."""
    return [] if surface.is_empty else [render(surface, pose, light=light) for pose in poses]
