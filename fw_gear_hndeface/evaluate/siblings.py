"""Old faces in the objects beside a scan: outlines, dose edges, and other images of the same head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from fw_gear_hndeface.model import Bool, Float, Grid, Landmarks, Mask, Roi, Volume
from fw_gear_hndeface.ops.parts import features
from fw_gear_hndeface.ops.plain_face import plain_face
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.relief import Map, Rays
from fw_gear_hndeface.ops.resample import AIR_HU, lps_grid, resample, resample_mask, sample
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.ops.transform import Affine, Transform
from fw_gear_hndeface.privacy.attacks import Attack, Exposed, Field, Guess
from fw_gear_hndeface.privacy.battery import Exposure, Original, look, measure_guess, tells

#: How far a contour may lie in the air before the skin, mm beyond half a voxel, and how much of it.
OUTSIDE_MM, OUTSIDE_ML = 3.0, 1.0
#: The same where the original tells what was air from the first: carried regions and doses reached at most 0.04 mL.
MATCHED_OUTSIDE_ML = 0.3
#: No skin of a face lies farther behind a plain face than this, mm at scale 1.
INWARDS_MM = 25.0
#: Edges of a dose, shares of its maximum.
DOSE_LEVELS = (0.001, 0.01, 0.05)
#: Percentiles of the foreground at which other images are cut.
IMAGE_PERCENTILES = (2.0, 10.0, 25.0, 50.0)
#: Shares of the brightest (99.9th percentile) at which they are cut as well: skin takes up little of a PET tracer.
IMAGE_SHARES = (0.02, 0.05, 0.1, 0.2)
#: HU at which further CTs are cut.
HU_LEVELS = (SKIN_HU, -500.0, -100.0)
#: HU of a head made from an outline.
TISSUE_HU = 40.0


@dataclass(frozen=True, eq=False)
class Seat:
    """Where a face lies, whatever the image: its rays, its landmarks, and the original where it is known.

    Attributes
    ----------
    frame : the frame of reference of the objects that are looked at
    way : takes points of the rays' space there; None where it is the same
    """

    rays: Rays
    landmarks: Landmarks
    original: Original | None
    frame: str = ""
    way: Transform | None = None

    def judge(self, name: str, guesses: Iterable[Guess]) -> list[Exposure]:
        """What guesses from an object beside the scan show; the recogniser looks at the most telling one."""
        attack = Attack(name, "object beside the scan", lambda _: iter(()))
        measured = [measure_guess(guess, guess.relief(), attack, self.original) for guess in guesses]
        measured.sort(key=tells, reverse=True)
        return [look(one, self.original) if n == 0 else one for n, one in enumerate(measured)]

    def field(self, volume: Volume, outside: float) -> Field:
        """An object's values on the rays' grid."""
        grid, way = self.rays.grid, self.way
        if way is None or isinstance(way, Affine):
            here = volume if way is None else Volume(way.inverse().moved(volume.grid, ""), volume.array, volume.unit)
            return resample(here, grid, outside=outside).array.astype(np.float32)
        rows, columns = np.indices(grid.shape[1:])
        planes = (grid.to_patient(np.stack([np.full_like(rows, k), rows, columns], axis=-1)) for k in range(grid.shape[0]))
        return np.stack([sample(volume, way(points), outside) for points in planes])

    def inside(self, roi: Roi) -> Bool:
        """A drawn region on the rays' grid."""
        corners = self.rays.grid.corners()
        drawn = own_planes(roi, corners if self.way is None else self.way(corners))
        if drawn is None:
            return np.zeros(self.rays.grid.shape, np.bool_)
        if self.way is None:
            return np.asarray(resample_mask(drawn, self.rays.grid).array)
        return self.field(Volume(drawn.grid, drawn.array.astype(np.float32)), 0.0) > 0.5


def own_planes(roi: Roi, corners: Float) -> Mask | None:
    """A drawn region on its own planes, as far as it lies between the corners; None where it does not."""
    points = np.concatenate(roi.contours_mm) if roi.contours_mm else np.empty((0, 3))
    if not len(points):
        return None
    low, high = np.maximum(points.min(axis=0), corners.min(axis=0)) - 3, np.minimum(points.max(axis=0), corners.max(axis=0)) + 3
    if np.any(high <= low):
        return None
    planes = np.unique(np.round([contour[:, 2].mean() for contour in roi.contours_mm], 2))
    step = float(np.median(np.diff(planes))) if len(planes) > 1 else 2.0
    upright = lps_grid(np.array([low, high]), 1.5, "")
    affine = upright.affine.copy()
    affine[2, 0], affine[2, 3] = step, planes[np.searchsorted(planes, low[2]).clip(0, len(planes) - 1)]
    shape = (max(int((high[2] - affine[2, 3]) / step) + 1, 1), *upright.shape[1:])
    return rasterise(roi, Grid((shape[0], shape[1], shape[2]), affine))


def region(roi: Roi, grid: Grid) -> Mask:
    """A drawn region on a turned grid, by way of its own planes: much faster than drawing it obliquely."""
    drawn = own_planes(roi, grid.corners())
    return Mask.empty(grid, roi.name) if drawn is None else resample_mask(drawn, grid)


def solid_guesses(label: str, inside: Bool, rays: Rays) -> Iterator[Guess]:
    """The surface of a region, and what ends it: the air around a head, a mask or a bolus is a mould of the face."""
    behind = np.logical_or.accumulate(inside, axis=1) & ~inside
    for side, array in ((label, inside), (f"behind {label}", behind)):
        yield Guess(side, rays, ndimage.gaussian_filter(array.astype(np.float32), 1.3), 0.5)


def protruding_ml(inside: Bool, exposed: Exposed, landmarks: Landmarks, skin: Map | None = None) -> float:
    """How much of a region lies in the air before eyes, nose and mouth of the released scan, mL.

    What lies far behind a plain face is the inside of a head that its end, or a method, has cut open: airways, not the room.

    Parameters
    ----------
    skin : the original's skin on the same rays, where it is known: what a region has before it was in the air from the first (a
        target drawn beyond the skin), and tells nothing.
    """
    zone = features(exposed.rays, landmarks)
    dense = exposed.cleaned > SKIN_HU
    # rays run along axis 1; what lies behind the first tissue is a cavity, not the room
    before = ~np.logical_or.accumulate(dense, axis=1) & zone[:, None, :]
    depth = exposed.rays.depth(np.arange(inside.shape[1], dtype=np.float64))[None, :, None]
    within = plain_face(exposed.rays) + INWARDS_MM * exposed.rays.frame.scale
    free = inside & before & (depth <= within[:, None, :])
    if skin is not None:
        free &= depth >= skin[:, None, :]
    if not free.any():
        return 0.0
    away = ndimage.distance_transform_edt(~dense, sampling=exposed.rays.pixel_mm)
    allowed = OUTSIDE_MM + 0.5 * float(exposed.scan.grid.spacing_mm.max())
    return float(np.count_nonzero(free & (away > allowed))) * exposed.rays.grid.voxel_ml


def dose_guesses(dose: Volume, seat: Seat) -> Iterator[Guess]:
    """Edges of a dose: most planning systems compute none outside the skin."""
    field, rays = seat.field(dose, 0.0), seat.rays
    if not field.any():
        return
    top = float(dose.array.max())
    for share in DOSE_LEVELS:
        yield Guess(f"dose above {100 * share:g} %", rays, ndimage.gaussian_filter(field, 0.7), share * top)


def hu_guesses(scan: Volume, seat: Seat) -> Iterator[Guess]:
    """The skin of a further CT, by iso-surfaces."""
    field = seat.field(scan, AIR_HU)
    for level in HU_LEVELS:
        yield Guess(f"{level:g} HU", seat.rays, field, level)


def image_guesses(image: Volume, seat: Seat) -> Iterator[Guess]:
    """Surfaces of an image of any unit: cut at Otsu's threshold and at percentiles of its foreground."""
    lowest, rays = float(image.array.min()), seat.rays
    field = seat.field(image, lowest)
    if float(np.ptp(field)) <= 0.0:
        return
    otsu = float(threshold_otsu(field))
    foreground = field[field > otsu]
    levels = {f"{p:g}th percentile": float(np.percentile(foreground, p)) * 0.5 for p in IMAGE_PERCENTILES if foreground.size}
    bright = float(np.percentile(field, 99.9))
    levels |= {f"{100 * share:g} % of the brightest": lowest + share * (bright - lowest) for share in IMAGE_SHARES}
    for label, level in {"Otsu": otsu, **levels}.items():
        yield Guess(label, rays, ndimage.gaussian_filter(field, 1.0), level)


def outline_head(roi: Roi) -> Volume:
    """A head made of an outline alone, on a grid of 2 mm: what an attacker has who is given only a structure set."""
    grid = lps_grid(np.concatenate(roi.contours_mm), 2.0, "", margin_mm=20.0)
    return Volume(grid, np.where(region(roi, grid).array, TISSUE_HU, AIR_HU).astype(np.float32))
