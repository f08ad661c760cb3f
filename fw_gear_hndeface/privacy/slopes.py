"""The same face by its shape: slopes of a surface against those of the original, among strangers. No picture is made.

An attacker who has another scan of the person compares surfaces, not photographs. Slopes say nothing of depth, so a face carved
one step deeper is the same face; averaged over 10 mm they are there on scans of coarse voxels too, on which recognisers of
pictures see little.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from fw_gear_hndeface.model import Bool, Float
from fw_gear_hndeface.ops.relief import Map, Rays, fill_nearest
from fw_gear_hndeface.privacy.shape import RASTER_X, RASTER_Z, canonical_zones

#: A face of which more than this share is not seen is told by nothing but where the scan ends.
MOST_UNSEEN = 0.4
#: Gaussian under which slopes are taken, mm at scale 1.
SIGMA_MM = 5.0
#: Skin farther behind the eyes than this is no face, mm at scale 1; nor is what recedes like this at the upper end.
DEEPEST_MM, STEEP = 45.0, 0.6
#: Every so many pixels of the canonical raster are compared: neighbours say the same.
STEP = 2
#: A surface shows the original if it is at least so like it, and this likeness stands out of those to strangers by so many
#: standard deviations. Strangers reach that in 2 of 100 pairs of heads on plain or smoothed surfaces, in 0.4 on the plain skin.
SHOWN_LIKENESS, SHOWN_Z = 0.5, 3.0
#: The same over the dozens of guesses of all other attacks: reached by no pair of strangers in 29 000 of theirs.
SHOWN_Z_OF_MANY = 4.2
#: The same of a guess that is a natural face by itself, which is a sign of its own: so far out of strangers, and so far out of
#: defaced strangers, of whom results of the default reach 4. Another head with a natural face reaches both in 12 of 100 pairs.
SHOWN_Z_OF_FACE, BEYOND_OF_FACE = 2.5, 4.5
#: Defaced strangers' likenesses scatter by no less (Fisher's z), for the default's random relief differs from run to run; and
#: what counts as the greatest likeness.
LEAST_SPREAD, MOST_LIKENESS = 0.05, 0.999
#: Name of the shipped slopes of synthetic heads (`scripts/make_gallery`).
GALLERY = "slopes.npz"
#: How `packed` writes a pixel that is not seen.
UNSEEN = -128


@dataclass(frozen=True)
class ShapeMatch:
    """How far a surface is the original's.

    `likeness` is the correlation of their slopes, less what all faces share; `z` by how many standard deviations it stands out
    of its likenesses to strangers; `rank` the original's among them. `beyond` is by how many it stands out of the likenesses
    that defaced strangers have to this original: some people look like the plain face, which tells nothing of them.
    """

    likeness: float
    z: float
    rank: int
    of: int
    beyond: float = np.inf

    def is_match(self, least_z: float = SHOWN_Z, least_beyond: float | None = None) -> bool:
        """Whether nobody but the original is meant by this surface; `least_beyond` is `least_z` where it is not given."""
        far = self.z >= least_z and self.beyond >= (least_z if least_beyond is None else least_beyond)
        return self.rank == 1 and far and self.likeness >= SHOWN_LIKENESS

    def measures(self) -> dict[str, Any]:
        """Plain data for the report."""
        numbers = {"likeness": round(self.likeness, 3), "z": round(self.z, 2), "rank": self.rank, "of": self.of}
        beyond = round(self.beyond, 2) if np.isfinite(self.beyond) else None
        return {**numbers, "beyond": beyond, "matched": self.is_match()}


@cache
def face_pixels() -> Bool:
    """The pixels of the raster that are compared: the hull of eyes, nose and mouth."""
    return np.asarray(convex_hull_image(canonical_zones()["face"])[::STEP, ::STEP])


def slopes(rays: Rays, relief: Map) -> Float | None:
    """Slopes of a relief across and up the face, (2, pixels); NaN where nothing is seen, None where most is not.

    Each is a component of the surface's unit normal, of the relief under a Gaussian of `SIGMA_MM`.
    """
    scale = rays.frame.scale
    x, z = RASTER_X * scale, RASTER_Z * scale
    seen = rays.lookup(np.isfinite(relief).astype(np.float64), x, z) > 0.5
    depth = rays.lookup(fill_nearest(relief), x, z) / scale
    seen &= depth < DEEPEST_MM + 0.5 * np.maximum(np.abs(RASTER_X) - 35.0, 0.0)
    step = float(RASTER_X[0, 1] - RASTER_X[0, 0])
    weight = ndimage.gaussian_filter(seen.astype(np.float64), SIGMA_MM / step)
    smooth = ndimage.gaussian_filter(np.where(seen, depth, 0.0), SIGMA_MM / step) / np.maximum(weight, 1e-6)
    up, across = np.gradient(smooth, step)
    both = np.stack([across, up]) / np.sqrt(1.0 + across**2 + up**2)
    both[:, ~ndimage.binary_erosion(seen) | _over_the_top(both[1], seen)] = np.nan
    found = both[:, ::STEP, ::STEP][:, face_pixels()]
    return None if np.isnan(found[0]).mean() > MOST_UNSEEN else found


def _over_the_top(up: Float, seen: Bool) -> Bool:
    """Pixels from the top of the map down to where a face begins.

    Over the cut end of a scan rays meet the cut, and what lies behind it, which no defacing changes; slopes near it hold
    some of that.
    """
    over = np.logical_and.accumulate((~seen | (up > STEEP))[::-1], axis=0)[::-1]
    reach = int(np.ceil(2.0 * SIGMA_MM / float(RASTER_X[0, 1] - RASTER_X[0, 0])))
    return np.asarray(ndimage.binary_dilation(over, np.ones((2 * reach + 1, 1))))


@cache
def _gallery(name: str) -> Float:
    with resources.as_file(resources.files("fw_gear_hndeface.privacy") / GALLERY) as path, np.load(path) as data:
        found = np.asarray(data[name], dtype=np.float64)
    if found.shape[-1] != np.count_nonzero(face_pixels()):
        raise ValueError("the gallery of shapes was made on another raster: run scripts/make_gallery")
    return found


def strangers() -> Float:
    """Slopes of synthetic heads that are nobody's, (heads, 2, pixels)."""
    return _gallery("slopes")


def defaced_strangers() -> Float:
    """Slopes of what the default method makes of those heads, (heads, 2, pixels)."""
    return _gallery("defaced")


@cache
def common() -> Float:
    """What faces have in common: the mean slopes of the strangers, (2, pixels)."""
    known = np.isfinite(strangers()).sum(axis=0)
    return np.where(known > 0, np.nansum(strangers(), axis=0) / np.maximum(known, 1), np.nan)


def likenesses(one: Float, others: Float) -> Float:
    """Correlation of a face's own slopes with those of each of others, (heads,); what a face does not show counts as average.

    Parameters
    ----------
    one : (2, pixels), or (heads, 2, pixels) for each to be compared with its other
    others : (heads, 2, pixels), or (1, 2, pixels) for the same other of all
    """
    guess, truth = one - common(), others - common()
    known = np.isfinite(truth)
    shown = known & np.isfinite(guess)
    a = _centred(guess, shown)
    b = _centred(truth, known)
    spread = np.sqrt((a**2).sum(axis=(1, 2)) * (b**2).sum(axis=(1, 2)))
    return np.asarray((a * b).sum(axis=(1, 2)) / np.maximum(spread, 1e-9))


def _centred(values: Float, known: Bool) -> Float:
    total = np.where(known, values, 0.0).sum(axis=2, keepdims=True)
    mean = total / np.maximum(known.sum(axis=2, keepdims=True), 1)
    return np.asarray(np.where(known, values - mean, 0.0))


def match_shape(guess: Float, original: Float) -> ShapeMatch:
    """How far a surface is the original's, against how far it is each stranger's; both as `slopes` gives them."""
    away = likenesses(guess, strangers())
    own = float(likenesses(guess, original[None])[0])
    z = (own - float(away.mean())) / max(float(away.std()), 1e-6)
    return ShapeMatch(own, z, 1 + int(np.count_nonzero(away >= own)), 1 + len(away), _beyond_blanks(guess, original, own))


def _beyond_blanks(guess: Float, original: Float, own: float) -> float:
    """By how many standard deviations (of Fisher's z) a likeness stands out of those of defaced strangers that show as much."""
    seen = np.where(np.isfinite(guess), defaced_strangers(), np.nan)
    blank = likenesses(seen, original[None])
    told, blanks = np.arctanh(min(own, MOST_LIKENESS)), np.arctanh(np.minimum(blank, MOST_LIKENESS))
    return (float(told) - float(blanks.mean())) / max(float(blanks.std()), LEAST_SPREAD)


def packed(found: Float) -> str:
    """Slopes as text for a file: to 1/127, in base64."""
    steps = np.where(np.isfinite(found), np.rint(np.clip(found, -1.0, 1.0) * 127.0), UNSEEN)
    return base64.b64encode(steps.astype(np.int8).tobytes()).decode("ascii")


def unpacked(text: str) -> Float:
    """What `packed` wrote, (2, pixels)."""
    steps = np.frombuffer(base64.b64decode(text), dtype=np.int8).reshape(2, -1)
    return np.where(steps == UNSEEN, np.nan, steps / 127.0)


def nearest_likeness(guesses: Sequence[Float], gallery: Mapping[str, Float]) -> dict[str, float]:
    """Name -> the highest likeness of any guess to that head: the best an attacker does who tries all of them."""
    names = list(gallery)
    if not names or not guesses:
        return {}
    truth = np.stack([gallery[name] for name in names])
    best = np.max([likenesses(guess, truth) for guess in guesses], axis=0)
    return dict(zip(names, (float(value) for value in best), strict=True))
