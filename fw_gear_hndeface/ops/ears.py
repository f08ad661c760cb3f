"""The outer ears taken off: what stands out of the sides of the head as seen from there, hollows closed. Canals stay behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.model import Bool, Mask, Proposal, Volume
from fw_gear_hndeface.ops.fills import tissue
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.front import bone_front, patient_alone
from fw_gear_hndeface.ops.near import Near, Single, around_body, look, proposal
from fw_gear_hndeface.ops.relief import (
    Map,
    Rays,
    along_rays_mm,
    fill_nearest,
    first_crossing,
    make_rays,
    membrane,
)
from fw_gear_hndeface.ops.resample import AIR_HU, resample
from fw_gear_hndeface.ops.skin import SKIN_HU

#: Where outer ears may lie on the left, head frame mm at scale 1; mirrored on the right.
LOW_MM, HIGH_MM = np.array([50.0, 45.0, -90.0]), np.array([125.0, 135.0, 45.0])
#: How far that reaches beyond the face region, mm at scale 1.
REACH_MM = 36.0
#: Half an ear's height and width, mm at scale 1; the ring around it that is smoother, and what is made smooth, in ears' sizes.
HALF_MM, AROUND, GROWN, SIZES = (33.0, 20.0), 1.45, 1.45, (1.0, 1.2)
#: Relief is smoothed over this before its steps are read, mm; steeper ones count as so steep; those of an ear lie so far above
#: those around it.
SMOOTH_MM, STEEPEST, LEAST_STEEP = 1.0, 1.5, 0.12
#: How far from the middle of the place it is looked for in an ear is believed to lie, less and less, mm at scale 1.
WANDER_MM = 36.0
#: Nothing more than this deep under the skin is taken, mm at scale 1.
DEEPEST_MM = 30.0
#: Hollows of an ear under the new skin are closed by so much tissue, mm at scale 1; what is less dense than this is hollow.
CAP_MM, HOLLOW_HU = 4.0, -250.0
#: The new skin lies so far before bone, mm; denser than this is bone.
BONE_MARGIN_MM, BONE_HU = 2.5, 250.0
#: Denser than this is no air.
EDGE_HU = -950.0


def flatten_ears(scan: Volume, body: Mask, frame: HeadFrame, rng: np.random.Generator) -> Proposal:
    """Air in place of both outer ears; nothing where none is in the scan.

    Parameters
    ----------
    body : the patient without equipment, on any grid
    rng : of the noise of air
    """
    nothing = Mask(scan.grid, np.zeros(scan.grid.shape, dtype=np.bool_), "ears")
    found = Proposal(nothing, np.zeros(0, dtype=np.float32), "ears")
    for side in (1.0, -1.0):
        low, high = np.sort(np.array([LOW_MM, HIGH_MM]) * [side, 1.0, 1.0], axis=0)
        try:
            near = look(scan, frame, low, high)
        except LandmarkError:  # this side of the head is out of the scan
            continue
        value = _without_ear(near, body, side, rng)
        value[~near.within(low, high)] = np.nan  # the box of voxels is larger than that of the frame
        found = found.joined(proposal(scan, near, value, "ears"))
    return found


def _from_the_side(frame: HeadFrame, side: float) -> HeadFrame:
    """The head seen from its left (1) or right (-1): y runs inwards from there."""
    inwards = -side * frame.axes[0]
    return HeadFrame(frame.origin, np.array([np.cross(inwards, frame.axes[2]), inwards, frame.axes[2]]), frame.scale)


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of the head as seen from there: the ear's ellipse and the new skin over it, frame y in mm."""

    rays: Rays
    zone: Bool
    new: Map


def _read(near: Near, body: Mask, side: float) -> _Side:
    """The ear, and the skin without it: spanned from around it, before bone and not deep under what is there."""
    scale = near.frame.scale
    front, back = sorted((side * LOW_MM[1], side * HIGH_MM[1]))
    ends = np.array([[front, -HIGH_MM[0], LOW_MM[2]], [back, -LOW_MM[0], HIGH_MM[2]]]) * scale
    rays = make_rays(_from_the_side(near.frame, side), ends[0], ends[1])
    head = patient_alone(resample(near.scan, rays.grid), [body])
    met = first_crossing(rays, head, SKIN_HU)
    zone, skin = _ellipse_around_ear(met, scale), fill_nearest(met)
    deepest = np.minimum(skin + DEEPEST_MM * scale, bone_front(rays, head, BONE_HU) - BONE_MARGIN_MM)
    return _Side(rays, zone, np.where(zone, np.minimum(membrane(skin, zone), deepest), skin))


def _without_ear(near: Near, body: Mask, side: float, rng: np.random.Generator) -> Single:
    """New HU of the box, NaN where nothing changes."""
    seen = _read(near, body, side)
    value = np.full(near.grid.shape, np.nan, dtype=np.float32)
    if not seen.zone.any():
        return value
    turned, hu = Near(near.box, near.scan, seen.rays.frame), near.scan.array.astype(np.float32)
    x, y, z = (turned.place(axis).astype(np.float64) for axis in range(3))
    inside, new = seen.rays.lookup_all((seen.zone.astype(np.float64), seen.new), x, z)
    zone, thick = inside >= 0.5, along_rays_mm(near.grid, turned.frame)
    share = np.clip((y - new) / thick + 0.5, 0.0, 1.0)
    patient = (hu > EDGE_HU) & around_body(near.grid, body)
    taken = zone & (share < 1.0) & patient
    tips = _loose(patient & ~(taken & (share < 0.5)), taken)
    cap = max(CAP_MM * near.frame.scale, 1.5 * thick)
    hollow = zone & (share > 0.0) & (hu <= HOLLOW_HU) & (y < new + cap)
    air, flesh = _air(hu, rng), tissue(near, patient & ~hollow, rng)
    filled = air * (1.0 - share) + np.where(hollow, flesh, hu) * share
    change = taken | hollow | tips
    value[change] = np.where(tips, air, filled)[change]
    return value


def _loose(left: Bool, taken: Bool) -> Bool:
    """Pieces of what is left that hang on nothing but what was taken: tips that reach out of the ellipse."""
    labels, count = ndimage.label(left)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    hung = np.zeros(count + 1, dtype=np.bool_)
    hung[np.unique(labels[ndimage.binary_dilation(taken)])] = True
    hung[[0, int(sizes.argmax())]] = False
    return np.asarray(hung[labels])


def _ellipse_around_ear(skin: Map, scale: float) -> Bool:
    """The ellipse around an ear as seen from the side, where the skin is full of steep steps and smooth around; or none."""
    relief = ndimage.gaussian_filter(fill_nearest(skin), SMOOTH_MM)
    steep = np.minimum(np.hypot(*np.gradient(relief)), STEEPEST) * np.isfinite(skin)
    middle = np.array(skin.shape) // 2
    usual = 1.0 - (np.hypot(*(np.indices(skin.shape) - middle[:, None, None])) / (WANDER_MM * scale)) ** 2
    gains = np.stack([np.where(usual > 0.0, usual * size * _gain(steep, size * scale), -np.inf) for size in SIZES])
    best, row, column = np.unravel_index(int(gains.argmax()), gains.shape)
    found = _ellipse(skin.shape, SIZES[best] * GROWN * scale, (int(row), int(column)))
    return np.asarray(found & bool(gains[best, row, column] >= LEAST_STEEP))


def _gain(steep: Map, size: float) -> Map:
    """How much steeper it is inside an ellipse around each place than in the ring around it."""
    inner, outer = (_ellipse(steep.shape, size * grown) for grown in (1.0, AROUND))
    return _mean_under(steep, inner) - _mean_under(steep, outer & ~inner)


def _ellipse(shape: tuple[int, int], grown: float, at: tuple[int, int] | None = None) -> Bool:
    """An ellipse of an ear's size on a map of 1 mm pixels, in its middle or around a pixel."""
    middle = at if at is not None else (shape[0] // 2, shape[1] // 2)
    z, x = ((np.arange(n) - m) / (half * grown) for n, m, half in zip(shape, middle, HALF_MM, strict=True))
    return np.asarray(x[None, :] ** 2 + z[:, None] ** 2 <= 1.0)


def _mean_under(field: Map, part: Bool) -> Map:
    """Mean of a map under a part that is moved over it."""
    from scipy.signal import fftconvolve  # a third of a second to import, and only `ears=flatten` needs it

    return np.asarray(fftconvolve(field, part[::-1, ::-1], mode="same") / np.count_nonzero(part))


def _air(hu: Single, rng: np.random.Generator) -> Single:
    """Air as the scan has it beside the head, HU."""
    shown = hu[hu < -900.0]
    middle, spread = (float(np.median(shown)), float(np.std(shown))) if shown.size else (AIR_HU, 0.0)
    return np.asarray(np.maximum(middle + min(spread, 30.0) * rng.standard_normal(hu.shape, dtype=np.float32), -1024.0))
