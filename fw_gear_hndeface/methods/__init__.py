"""Ways to change a face, one per file; adding one is a file and a word here and in `vocabulary.METHOD_NAMES`."""

from __future__ import annotations

from fw_gear_hndeface.methods import membrane
from fw_gear_hndeface.methods.contract import Bounds, Method, Scene

REGISTRY: dict[str, Method] = {method.name: method for method in (membrane.METHOD,)}

__all__ = ["REGISTRY", "Bounds", "Method", "Scene"]
