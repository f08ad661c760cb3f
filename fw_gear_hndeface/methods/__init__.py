"""Ways to change a face, one per file; adding one is a file and a word here and in `vocabulary.METHOD_NAMES`."""

from __future__ import annotations

from fw_gear_hndeface.methods import (
    biometric_mask,
    blur,
    drown,
    eye_plane,
    membrane,
    overlay,
    pixelate,
    quickshear,
    reface,
)
from fw_gear_hndeface.methods.contract import Bounds, Method, Scene

#: By name; the default first, then as `vocabulary.METHOD_NAMES` lists them.
REGISTRY: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (membrane, overlay, reface, eye_plane, quickshear, biometric_mask, drown, pixelate, blur)
}

__all__ = ["REGISTRY", "Bounds", "Method", "Scene"]
