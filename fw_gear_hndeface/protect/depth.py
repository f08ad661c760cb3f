"""Keeps what lies deep: undrawn muscle, glands, nodes and fat farther under the skin than a face needs to change."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.ops.morphology import within_mm
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.protect.contract import Rule, Subject

#: Nose, lips and lids end within this depth of the skin; facial nodes, glands and muscles of mastication begin about here.
DEPTH_MM = 12.0
#: Air behind the new skin may still be closed: a cavity is no tissue.
TISSUE_HU = -250.0


def keep(subject: Subject) -> Mask:
    """Tissue deeper than `DEPTH_MM` under the skin; depth is taken on the 2 mm head window."""
    body = subject.head.body
    deep = ~within_mm(~body.array, body.grid.spacing_mm, DEPTH_MM * subject.frame.scale)
    moved = resample_mask(Mask(body.grid, deep, "deep"), subject.grid).array
    return Mask(subject.grid, np.asarray(moved & (subject.near.array > TISSUE_HU)), "deep tissue")


RULE = Rule("depth", "methods.md 5: facial nodes lie 5-15 mm deep", keep)
