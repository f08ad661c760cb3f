"""Gives the head an average face that is nobody's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.average import Average, canonical_positions, spanned
from fw_gear_hndeface.ops.front import Front, inward, random_level, read_front, whole_face
from fw_gear_hndeface.ops.relief import Map, first_inside
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.ops.resurface import SHELL_MM, Surfacing, resurface
from fw_gear_hndeface.ops.texture import measure_texture


@dataclass(frozen=True)
class Face:
    """How the average is laid on, mm at scale 1.

    Parameters
    ----------
    shift_mm : most sideways displacement of the average's features; smooth and random, so that two outputs differ
    swell_mm : most random relief on top
    """

    margin_mm: float = 12.0
    fade_mm: float = 16.0
    shift_mm: float = 3.0
    swell_mm: float = 2.0
    length_mm: float = 30.0
    keep_mm: float = 2.0


@cache
def average() -> Average:
    """The mean face of synthetic heads, made by scripts/make_relief."""
    with (files(__package__) / "relief.npz").open("rb") as stream, np.load(stream) as stored:
        return Average(stored["relief"].astype(np.float64))


def propose(scene: Scene, face: Face | None = None) -> Proposal:
    """The average relief over the surface spanned from the patient's own rim, in front of what is kept.

    Raises
    ------
    LandmarkError
        No skin is seen where the face should be.
    """
    face = face or Face()
    front = read_front(scene.scan, scene.body, scene.frame)
    zone = whole_face(front.rays, scene.landmarks, face.margin_mm * scene.strength)
    if not (zone & front.seen).any():
        raise LandmarkError("reface: no skin is seen where the face should be. Give a scan with more of the head.")
    new = new_face(front, zone, scene, face)
    kept = first_inside(front.rays, resample_mask(scene.keep, front.rays.grid)) - face.keep_mm
    texture = measure_texture(scene.scan, front.head, front.rays, front.skin, zone & front.seen)
    surfacing = Surfacing(front.rays, front.skin, np.minimum(new, kept), zone, front.seen, front.skin + SHELL_MM)
    return resurface(scene.scan, surfacing, texture, seed=scene.seed, method=METHOD.name)


def new_face(front: Front, zone: np.ndarray, scene: Scene, face: Face) -> Map:
    """Frame y of the new skin, mm; the old one outside the zone."""
    rays, scale, rng = front.rays, scene.frame.scale, np.random.default_rng(scene.seed)
    x, z = canonical_positions(rays, scene.landmarks)

    def wander(most_mm: float) -> Map:
        return most_mm * scene.strength * (2.0 * random_level(rays, rng, face.length_mm * scale) - 1.0)

    relief = average().at(x + wander(face.shift_mm), z + wander(face.shift_mm)) + wander(face.swell_mm)
    made = spanned(front, zone) + scale * relief
    share = inward(zone, face.fade_mm * scale / rays.pixel_mm)
    return np.asarray(ndimage.gaussian_filter(made, 1.5 * scale / rays.pixel_mm) * share + front.skin * (1.0 - share))


METHOD = Method(
    name="reface",
    reference="mri_reface (Schwarz et al.); here an average relief of synthetic heads over a membrane, no image template",
    removes="the skin of the whole face where the average lies deeper, bone and teeth included; adds tissue elsewhere",
    leaks="the rim, the ears and the size of the face stay; the average is a face, so a detector still finds one",
    licence="own code and own average, Apache-2.0; the published templates are under their distributor's terms and not used",
    propose=propose,
    bounds=Bounds(most_removed_ml=600.0),
    rules=GIVEN,
)
