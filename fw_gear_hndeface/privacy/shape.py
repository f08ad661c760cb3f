"""Shapes, not looks: how near a guessed surface is to the true skin, and how much of a face a relief shows, whosever it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from fw_gear_hndeface.model import Bool, Float
from fw_gear_hndeface.ops.parts import PARTS, hull_map
from fw_gear_hndeface.ops.relief import Map, Rays, fill_nearest, membrane
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: A guess that says nothing about more than this share of the zone is no guess of the face.
MOST_MISSING = 0.5
#: Errors beyond this are one and the same: wrong, mm.
FAR_MM = 15.0
#: A guess that recovers at least this share of a face's own relief shows that face: of 380 pairs of real and synthetic heads,
#: 99 in 100 strangers' reliefs laid into the frame recovered less than 0.67 (most: 0.73).
SHOWN_SHARE = 0.68
#: The same for each part of the face, whose rim tells more of it: strangers recovered at most 0.07, 0.86 and 0.48.
SHOWN_PARTS = {"eyes": 0.6, "nose": 0.9, "mouth": 0.75}
#: The canonical raster on which reliefs of different heads are compared, mm at scale 1.
RASTER_X, RASTER_Z = np.meshgrid(np.arange(-50.0, 51.0, 2.0), np.arange(-96.0, 30.0, 2.0))


@dataclass(frozen=True)
class SurfaceError:
    """Distance of a guess from the true skin along rays from the front, mm, after subtraction of the median.

    `recovered` is the share of the face's own relief that the guess holds: 1 for the true surface, 0 for what a flat wall or
    the rim of the zone tells anyway, negative for worse.
    """

    median_mm: float
    p90_mm: float
    within_2mm_percent: float
    within_4mm_percent: float
    recovered: float


@dataclass(frozen=True)
class FaceSign:
    """How far a relief is a face's: correlation with the mean face's own relief, and its height in units of the mean face's.

    "Own relief" is what stands out of, or sinks below, the film spanned over the face or a part of it.
    """

    correlation: float
    height: float


def surface_error(guess: Map, truth: Map, zone: Bool, blind: Map | None = None) -> SurfaceError | None:
    """How far a guess lies from the truth inside a zone; None where it says too little (privacy.md 7).

    Parameters
    ----------
    guess, truth : frame y per ray, mm; NaN where a ray meets nothing. Rays without a guess count as off by `FAR_MM`.
    blind : `blind_guess(truth, zone)` when the caller has it already.
    """
    wanted = zone & np.isfinite(truth)
    known = wanted & np.isfinite(guess)
    if not wanted.any() or known.sum() < (1.0 - MOST_MISSING) * wanted.sum():
        return None
    off = _off(guess, truth, wanted)
    guesses = (blind_guess(truth, zone) if blind is None else blind, np.zeros_like(truth))
    nothing = min(float(np.sum(_off(one, truth, wanted) ** 2)) for one in guesses)
    return SurfaceError(
        float(np.median(off)),
        float(np.quantile(off, 0.9)),
        100.0 * float(np.mean(off < 2.0)),
        100.0 * float(np.mean(off < 4.0)),
        1.0 - float(np.sum(off**2)) / max(nothing, 1e-9),
    )


def _off(guess: Map, truth: Map, wanted: Bool) -> Float:
    off = (guess - truth)[wanted]
    off = np.abs(off - np.nanmedian(off))
    return np.minimum(np.where(np.isfinite(off), off, FAR_MM), FAR_MM)


def blind_guess(truth: Map, zone: Bool) -> Map:
    """What anybody could guess who sees only the rim: the smooth surface spanned over the zone."""
    return membrane(fill_nearest(truth), zone & np.isfinite(truth))


def own_relief(rays: Rays, relief: Map, part: str) -> Map:
    """What a relief adds to the film spanned over a part, on the canonical raster, mm at scale 1; NaN outside.

    Parameters
    ----------
    part : a key of `canonical_zones()`
    """
    scale = rays.frame.scale
    x, z = RASTER_X * scale, RASTER_Z * scale
    seen = rays.lookup(np.isfinite(relief).astype(np.float64), x, z) > 0.5
    depth = rays.lookup(fill_nearest(relief), x, z) / scale
    inside = canonical_zones()[part] & seen
    film = membrane(fill_nearest(np.where(seen, depth, np.nan)), inside, stiff=False)
    return np.where(inside, depth - film, np.nan)


@cache
def canonical_zones() -> dict[str, Bool]:
    """Where the canonical face has the whole identity zone ("face") and each part of it, on the raster."""
    step = RASTER_X[0, 1] - RASTER_X[0, 0]
    zones = {}
    for part, (names, margin) in PARTS.items():
        points = np.array([CANONICAL_FACE_MM[name] for name in names])
        row, column = (points[:, 2] - RASTER_Z[0, 0]) / step, (points[:, 0] - RASTER_X[0, 0]) / step
        zones[part] = hull_map(row, column, RASTER_X.shape, margin / step)
    return {"face": np.asarray(np.logical_or.reduce(list(zones.values()))), **zones}


@cache
def mean_face() -> dict[str, Map]:
    """The mean own relief of synthetic heads (`scripts/make_mean_face`), whole and by part: no one's face."""
    with resources.as_file(resources.files("fw_gear_hndeface.privacy") / "mean_face.npz") as path, np.load(path) as data:
        return {part: np.asarray(data[part], dtype=np.float64) for part in canonical_zones()}


def face_sign(rays: Rays, relief: Map, part: str = "face") -> FaceSign | None:
    """How far a relief, or a part of it, is a face's; None where too little of it is seen."""
    own, face = own_relief(rays, relief, part), mean_face()[part]
    known = np.isfinite(own) & np.isfinite(face)
    if known.sum() < (1.0 - MOST_MISSING) * np.isfinite(face).sum():
        return None
    a, b = own[known], face[known]
    spread = float(np.std(a) * np.std(b))
    correlation = float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 1e-9 else 0.0
    return FaceSign(correlation, float(np.sum(a * b) / np.sum(b * b)))
