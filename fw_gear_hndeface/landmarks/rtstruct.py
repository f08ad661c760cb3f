"""Landmarks from drawn structures: the centre of each eye, globe, orbit or lens contour, and the chin below a drawn jaw."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fw_gear_hndeface.landmarks.contract import Evidence, Source
from fw_gear_hndeface.landmarks.from_labels import chin_of
from fw_gear_hndeface.model import Float, Landmark, Landmarks, Roi, RoiKind

#: Distances between the two centres that eyes can have, mm.
BETWEEN_MM = (38.0, 85.0)
SIGMA_MM = 2.0
#: Lens and cornea lie this far in front of the globe's centre: less sure than the globe itself.
SIGMA_PARTS_MM = 7.0
_PARTS = re.compile(r"lens|linse|cristal|cornea", re.IGNORECASE)
_JAW = re.compile(r"mandib|unterkiefer|jaw ?bone", re.IGNORECASE)
#: A drawn jaw ends where somebody stopped drawing: it tells a chin that was found elsewhere, and moves none that was not.
SIGMA_CHIN_MM = 6.0
#: A jaw spans at least this much from its joints to the chin, mm; less is a part of one.
LEAST_JAW_MM = 45.0


def locate(evidence: Evidence) -> Landmarks:
    """Globe centres when exactly the eyes of one face are drawn, the greater x being the left one; the chin of a drawn jaw."""
    eyes = [roi for roi in evidence.rois if roi.kind is RoiKind.LANDMARK and roi.contours_mm]
    whole = [roi for roi in eyes if not _PARTS.search(roi.name)]
    sigma = SIGMA_MM if whole else SIGMA_PARTS_MM
    pair = _pair([_centre(roi) for roi in whole or eyes])
    found: dict[str, Landmark] = {}
    if pair is not None:
        names = ("globe_right", "globe_left")
        found |= {name: Landmark(point, sigma, SOURCE.name) for name, point in zip(names, pair, strict=True)}
    chin = _chin(evidence.rois, pair)
    if chin is not None:
        found["chin"] = Landmark(chin, SIGMA_CHIN_MM, SOURCE.name)
    return Landmarks(found)


def _chin(rois: Sequence[Roi], eyes: tuple[Float, Float] | None) -> Float | None:
    """The chin under the first jaw that is drawn whole."""
    for roi in rois:
        if roi.kind is RoiKind.ORGAN and roi.contours_mm and _JAW.search(roi.name):
            points = np.concatenate(roi.contours_mm)
            if float(np.ptp(points, axis=0).max()) >= LEAST_JAW_MM:
                return chin_of(points, eyes)
    return None


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


SOURCE = Source("rtstruct", "eye, globe, orbit, lens and mandible contours of the structure set", locate)
