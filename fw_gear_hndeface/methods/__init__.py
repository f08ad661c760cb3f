"""Ways to change a face, one per file; adding one is a file and a word here and in `vocabulary.METHOD_NAMES`."""

from __future__ import annotations

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

__all__ = ["REGISTRY", "Bounds", "Method", "Scene"]
