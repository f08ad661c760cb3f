"""Landmarks from drawn eyes: the centre of each eye, globe, orbit or lens contour."""

from __future__ import annotations

import re

import numpy as np

from fw_gear_hndeface.landmarks.contract import Evidence, Source, nothing
from fw_gear_hndeface.model import Float, Landmark, Landmarks, Roi, RoiKind

#: Distances between the two centres that eyes can have, mm.
BETWEEN_MM = (38.0, 85.0)
SIGMA_MM = 2.0
#: Lens and cornea lie this far in front of the globe's centre: less sure than the globe itself.
SIGMA_PARTS_MM = 7.0
_PARTS = re.compile(r"lens|linse|cristal|cornea", re.IGNORECASE)


def locate(evidence: Evidence) -> Landmarks:
    """Globe centres when exactly the eyes of one face are drawn; the greater x is the left one."""
    eyes = [roi for roi in evidence.rois if roi.kind is RoiKind.LANDMARK and roi.contours_mm]
    whole = [roi for roi in eyes if not _PARTS.search(roi.name)]
    sigma = SIGMA_MM if whole else SIGMA_PARTS_MM
    pair = _pair([_centre(roi) for roi in whole or eyes])
    if pair is None:
        return nothing()
    names = ("globe_right", "globe_left")
    return Landmarks({name: Landmark(point, sigma, SOURCE.name) for name, point in zip(names, pair, strict=True)})


def _centre(roi: Roi) -> Float:
    return np.asarray(np.concatenate(roi.contours_mm).mean(axis=0))


def _pair(centres: list[Float]) -> tuple[Float, Float] | None:
    """The right and left eye: the two groups of centres on either side of their middle, if an eye's distance apart."""
    if len(centres) < 2:
        return None
    points = np.array(sorted(centres, key=lambda point: float(point[0])))
    split = int(np.diff(points[:, 0]).argmax()) + 1
    right, left = points[:split].mean(axis=0), points[split:].mean(axis=0)
    return (right, left) if BETWEEN_MM[0] <= np.linalg.norm(left - right) <= BETWEEN_MM[1] else None


SOURCE = Source("rtstruct", "eye, globe, orbit and lens contours of the structure set", locate)
