"""Lays a layer of tissue over the face and removes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.contract import GIVEN, Method, Scene
from fw_gear_hndeface.model import Mask, Proposal
from fw_gear_hndeface.ops.front import Front, around, inward, random_level, read_front, whole_face
from fw_gear_hndeface.ops.relief import Map, membrane
from fw_gear_hndeface.ops.resurface import SHELL_MM, Surfacing, resurface
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.ops.texture import measure_texture


@dataclass(frozen=True)
class Layer:
    """The layer, mm at scale 1.

    Parameters
    ----------
    gap_mm : least and most distance of the new skin before the old one; it varies smoothly in between
    bridge_mm : hollows narrower than this are bridged
    most_mm : most tissue laid anywhere
    fade_mm : width of the rim over which the layer runs out
    """

    gap_mm: tuple[float, float] = (3.0, 8.0)
    length_mm: float = 20.0
    bridge_mm: float = 24.0
    most_mm: float = 20.0
    fade_mm: float = 10.0
    margin_mm: float = 7.5
    blur_mm: float = 10.0


def propose(scene: Scene, layer: Layer | None = None) -> Proposal:
    """Tissue between the old skin and a new one before it; hollows of the face are bridged, openings closed.

    Raises
    ------
    LandmarkError
        No skin is seen where the face should be.
    """
    layer = layer or Layer()
    front = read_front(scene.scan, scene.body, scene.frame)
    zone = whole_face(front.rays, scene.landmarks, layer.margin_mm * scene.strength) & front.seen
    if not zone.any():
        raise LandmarkError("overlay: no skin is seen where the face should be. Give a scan with more of the head.")
    new = raised(front, zone, layer, np.random.default_rng(scene.seed))
    texture = measure_texture(scene.scan, front.head, front.rays, front.skin, zone)
    surfacing = Surfacing(front.rays, front.skin, new, zone, front.seen, front.skin + SHELL_MM)
    return _only_added(scene, resurface(scene.scan, surfacing, texture, seed=scene.seed, method=METHOD.name))


def raised(front: Front, zone: np.ndarray, layer: Layer, rng: np.random.Generator) -> Map:
    """Frame y of the new skin, mm: before the old skin by at least the gap, and before the surface spanned from the rim."""
    scale = front.rays.frame.scale
    low, high = (end * scale for end in layer.gap_mm)
    gap = low + (high - low) * random_level(front.rays, rng, layer.length_mm * scale)
    spanned = membrane(around(front, zone, layer.blur_mm * scale), zone, stiff=False)
    width = layer.bridge_mm * scale
    bridged = ndimage.gaussian_filter(ndimage.minimum_filter(front.skin, int(width) | 1), width / 4.0)
    wanted = np.clip(front.skin - np.minimum(spanned, bridged), gap, layer.most_mm * scale)
    return np.asarray(front.skin - wanted * inward(zone, layer.fade_mm * scale))


def _only_added(scene: Scene, made: Proposal) -> Proposal:
    """The proposal without anything dense that would become air: slivers in a last slice, and with them a mask shell."""
    change = made.change.array
    stays = (scene.scan.array[change] > SKIN_HU) & (made.fill_hu <= SKIN_HU)
    kept = change.copy()
    kept[change] = ~stays
    return Proposal(Mask(made.change.grid, kept, made.change.name), made.fill_hu[~stays], made.method)


METHOD = Method(
    name="overlay",
    reference="Carina DeIdentifier / CuratAI (closed; published behaviour only): tissue laid before the face",
    removes="nothing; adds 3-20 mm of tissue before the skin of the whole face, and gives 2.5 mm of the old skin new values",
    leaks="the face lies under the layer for whoever finds its edge; a mask shell before the layer stays",
    licence="own code, Apache-2.0",
    propose=propose,
    rules=GIVEN,
)
