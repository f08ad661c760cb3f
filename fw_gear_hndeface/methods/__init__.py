"""Ways to change a face, one per file; adding one is a file and a word here and in `vocabulary.METHOD_NAMES`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fw_gear_hndeface.methods import (
    biometric_mask,
    blur,
    carve,
    drown,
    eye_plane,
    membrane,
    nnunet,
    overlay,
    pixelate,
    quickshear,
    reface,
    segmented_face,
)
from fw_gear_hndeface.methods.contract import Bounds, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.ears import REACH_MM as EARS_REACH_MM
from fw_gear_hndeface.ops.ears import flatten_ears

#: By name; the default first, then as `vocabulary.METHOD_NAMES` lists them.
REGISTRY: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (
        membrane,
        overlay,
        reface,
        eye_plane,
        quickshear,
        biometric_mask,
        drown,
        carve,
        pixelate,
        blur,
        segmented_face,
        nnunet,
    )
}


def propose(name: str, scene: Scene) -> tuple[Proposal, float | None]:
    """What a method would change, with the outer ears where the scene asks for them, and mL of those (None: not asked for).

    Raises
    ------
    LandmarkError
        What the method changes lies outside the scan.
    """
    found = REGISTRY[name].propose(scene)
    if not scene.ears:
        return found, None
    ears = flatten_ears(scene.scan, scene.body, scene.frame, np.random.default_rng(scene.seed))
    return found.joined(ears), ears.change.volume_ml


def bounds_of(name: str, *, ears: bool) -> Bounds:
    """What a method may do at most, with the outer ears or without."""
    bounds = REGISTRY[name].bounds
    return replace(bounds, reach_mm=max(bounds.reach_mm, EARS_REACH_MM)) if ears else bounds


__all__ = ["REGISTRY", "Bounds", "Method", "Scene", "bounds_of", "propose"]
