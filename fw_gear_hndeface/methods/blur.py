"""Blurs the skin and the air before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.methods.contract import GIVEN, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.near import filled, look_at_face, proposal, skin_layer


@dataclass(frozen=True)
class Blur:
    """How much is blurred and how widely, mm.

    A mask that stops at the skin leaves the skin where it was; the layer must reach into the air.
    """

    sigma_mm: float = 8.0
    air_mm: float = 15.0
    tissue_mm: float = 15.0
    margin_mm: float = 7.5
    ears: bool = True


def propose(scene: Scene, blur: Blur | None = None) -> Proposal:
    """The scan's own values under a Gaussian in the layer around the skin of face and ears."""
    blur = blur or Blur()
    near = look_at_face(scene.scan, scene.frame, ears=blur.ears)
    zone = skin_layer(
        near,
        scene.body,
        scene.landmarks,
        layer_mm=(blur.air_mm, blur.tissue_mm),
        margin_mm=blur.margin_mm,
        ears=blur.ears,
    )
    sigma = scene.strength * blur.sigma_mm / near.grid.spacing_mm
    values = ndimage.gaussian_filter(near.scan.array.astype(np.float32), sigma, mode="nearest")
    return proposal(scene.scan, near, filled(near, zone, values), METHOD.name)


METHOD = Method(
    name="blur",
    reference="Gaussian of 8 mm as in the RSNA Anonymizer; here with a layer of air, without which the skin does not move",
    removes="the detail of 15 mm of air and 15 mm of tissue around the skin of face and ears",
    leaks="a face of low resolution stays and is found and matched; sharpening brings more of it back",
    licence="own code, Apache-2.0",
    propose=propose,
    rules=GIVEN,
)
