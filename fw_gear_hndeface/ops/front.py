"""The face seen from in front as maps over rays: its skin, which rays meet it, and the zone that a method changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from fw_gear_hndeface.model import Bool, Grid, Landmarks, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.morphology import large_parts
from fw_gear_hndeface.ops.near import FACE_RIM, outside_hull
from fw_gear_hndeface.ops.relief import (
    Map,
    Rays,
    entries,
    fill_nearest,
    first_crossing,
    first_inside,
    make_rays,
    positions,
    smooth_inside,
)
from fw_gear_hndeface.ops.resample import AIR_HU, resample, resample_mask
from fw_gear_hndeface.ops.skin import SKIN_HU

#: What is looked at in the head frame, mm at scale 1: from the ears forward, from below the chin to above the brows.
LOW_MM, HIGH_MM = np.array([-95.0, -80.0, -165.0]), np.array([95.0, 80.0, 85.0])
#: Smaller bright parts are metal streaks and tooth fragments, no skull.
LEAST_BONE_MM3 = 1000.0
#: Skin farther behind the globes than this, and more at the sides, was met past the cut end of a scan.
DEEPEST_MM, SIDE_MM = 50.0, 35.0
#: A ray that comes into the scan this far before the globes has passed no nose; a later one may come in this much behind the
#: skin of its neighbour, mm.
BEFORE_MM, SLACK_MM = -60.0, 3.0


@dataclass(frozen=True, eq=False)
class Front:
    """The old face: `head` is the scan on the rays' grid, `skin` its depth (frame y, mm), `seen` where that was measured."""

    rays: Rays
    head: Volume
    skin: Map
    seen: Bool


def read_front(scan: Volume, body: Mask, frame: HeadFrame, pixel_mm: float = 1.0) -> Front:
    """The skin of a head on rays from in front; pixels without skin take the nearest one's depth."""
    rays = make_rays(frame, LOW_MM * frame.scale, HIGH_MM * frame.scale, pixel_mm)
    head = resample(scan, rays.grid)
    skin = first_crossing(rays, patient_alone(head, [body], max(round(2.0 / pixel_mm), 1)), SKIN_HU)
    x, _ = np.broadcast_arrays(*positions(rays))
    deepest = frame.scale * DEEPEST_MM + np.maximum(np.abs(x) - frame.scale * SIDE_MM, 0.0)
    seen = np.isfinite(skin) & (np.nan_to_num(skin) < deepest)
    seen &= _from_the_front(np.where(seen, skin, np.inf), _entry(scan.grid, rays), rays)
    return Front(rays, head, fill_nearest(np.where(seen, skin, np.nan)), seen)


def near_patient(grid: Grid, patient: Sequence[Mask], grown: int = 2) -> Bool:
    """Voxels of a grid within so many of the union of some masks, which together are the patient."""
    on_grid = [resample_mask(mask, grid).array for mask in patient]
    return np.asarray(ndimage.binary_dilation(np.logical_or.reduce(on_grid), iterations=grown))


def patient_alone(head: Volume, patient: Sequence[Mask], grown: int = 2) -> Volume:
    """The volume with air wherever the patient, grown by some voxels, is not."""
    near = near_patient(head.grid, patient, grown)
    return Volume(head.grid, np.where(near, head.array, AIR_HU).astype(np.float32))


def bone_front(rays: Rays, head: Volume, bone_hu: float) -> Map:
    """Frame y (mm) of the first bone on each ray; +inf where there is none."""
    return first_inside(rays, Mask(rays.grid, large_parts(head.array > bone_hu, LEAST_BONE_MM3), "bone"))


def _entry(grid: Grid, rays: Rays) -> Map:
    """Frame y where each ray comes between the scan's lowest and highest slice, mm; its other sides do not count."""
    axis = int(np.abs(rays.frame.axes[2] @ grid.affine[:3, :3] / grid.spacing_mm).argmax())
    return np.asarray(entries(rays, grid)[axis])


def _from_the_front(skin: Map, entry: Map, rays: Rays) -> Bool:
    """Rays that reach the skin through air in the scan, not through flesh or an airway at its cut end.

    A ray that comes into the scan before every nose is taken. One that comes in later must do so before the skin that the ray
    below it (or above it, at a lower end) met.
    """
    sure = entry < BEFORE_MM * rays.frame.scale
    taken = sure.copy()
    for rows in (range(len(skin)), reversed(range(len(skin)))):
        last = np.full(skin.shape[1], -np.inf)
        for row in rows:
            ok = sure[row] | (entry[row] < last + SLACK_MM)
            last = np.where(ok & np.isfinite(skin[row]), skin[row], last)
            taken[row] |= ok
    return taken


def whole_face(rays: Rays, landmarks: Landmarks, margin_mm: float) -> Bool:
    """Pixels in the hull of the face from brows to chin, grown by a margin at scale 1."""
    return np.asarray(outside_hull(landmarks, rays.frame, FACE_RIM, positions(rays)) <= margin_mm * rays.frame.scale)


def inward(zone: Bool, width_px: float) -> Map:
    """0 outside a zone and on its rim, rising smoothly to 1 at a distance from it."""
    rise = np.clip(ndimage.distance_transform_edt(zone) / width_px, 0.0, 1.0)
    return np.asarray(rise * rise * (3.0 - 2.0 * rise))


def around(front: Front, zone: Bool, sigma_px: float) -> Map:
    """The skin around a zone without its detail; what lies in the zone does not contribute.

    Beyond the cut end of a scan the last skin goes on, or the spanned surface would drop to the sides of the head.
    """
    weight = np.where(zone & front.seen, 1e-4, 1.0)
    return smooth_inside(front.skin, weight, sigma_px)


def random_level(rays: Rays, rng: np.random.Generator, length_mm: float) -> Map:
    """A smooth random map with every value between 0 and 1 equally likely; `length_mm` is its correlation length."""
    noise = ndimage.gaussian_filter(rng.standard_normal(rays.shape), length_mm / rays.pixel_mm / 2.0, mode="reflect")
    return np.asarray(ndtr((noise - noise.mean()) / noise.std()))
