"""Eyes, nose and mouth as maps over the rays from the front."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from fw_gear_hndeface.model import Bool, Float, Landmarks, View
from fw_gear_hndeface.ops.relief import Rays

#: The parts of a face that tell people apart, by the landmarks they span; grown by a margin in mm at scale 1.
PARTS: dict[str, tuple[tuple[str, ...], float]] = {
    "eyes": (("brow_left", "brow_right", "canthus_outer_left", "canthus_outer_right", "nasion"), 6.0),
    "nose": (("nasion", "nose_tip", "ala_left", "ala_right", "subnasale"), 8.0),
    "mouth": (("mouth_left", "mouth_right", "lip_upper", "lip_lower", "subnasale"), 6.0),
}


def part_zones(rays: Rays, landmarks: Landmarks) -> dict[str, Bool]:
    """The rays that meet each part of the face, as maps; no ray for a part that the scan cuts off."""
    zones = {}
    for part, (names, margin) in PARTS.items():
        if all(name in landmarks and landmarks[name].view is View.CUT for name in names):
            zones[part] = np.zeros(rays.shape, dtype=np.bool_)
            continue
        points = [landmarks[n].point if n in landmarks else rays.frame.canonical(n) for n in names]
        flat = rays.frame.to_frame(np.array(points))
        row, column = rays.pixels(flat[:, 0], flat[:, 2])
        zones[part] = hull_map(row, column, rays.shape, margin * rays.frame.scale / rays.pixel_mm)
    return zones


def features(rays: Rays, landmarks: Landmarks) -> Bool:
    """The rays that meet eyes, nose or mouth, as a map."""
    return np.asarray(np.logical_or.reduce(list(part_zones(rays, landmarks).values())))


def hull_map(row: Float, column: Float, shape: tuple[int, ...], margin_px: float) -> Bool:
    """Convex hull of pixel positions grown by a margin; positions off the map are left out."""
    seeds = np.zeros(shape, dtype=np.bool_)
    inside = (row >= 0) & (column >= 0) & (row <= shape[0] - 1) & (column <= shape[1] - 1)
    seeds[np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int)] = True
    if not seeds.any():
        return seeds
    hull = convex_hull_image(seeds) if seeds.sum() > 2 else seeds
    return np.asarray(ndimage.distance_transform_edt(~hull) <= margin_px)
