"""Keeps bone: jaw, teeth and skull are not cut, and no sinus behind them is opened."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.ops.morphology import large_parts
from fw_gear_hndeface.protect.contract import Rule, Subject

BONE_HU = 250.0
#: Smaller bright parts are streaks, wires and markers.
LEAST_ML = 1.0


def keep(subject: Subject) -> Mask:
    """Connected bright parts of at least a millilitre inside the body."""
    bright = np.asarray(subject.near.array > BONE_HU)
    return Mask(subject.grid, large_parts(bright, LEAST_ML / subject.grid.voxel_ml), "bone")


RULE = Rule("bone", "methods.md 4.1", keep)
