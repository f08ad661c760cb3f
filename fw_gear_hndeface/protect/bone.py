"""Keeps bone: jaw, teeth and skull are not cut, and no sinus behind them is opened."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.protect.contract import Rule, Subject

BONE_HU = 250.0
#: Smaller bright parts are streaks, wires and markers.
LEAST_ML = 1.0


def keep(subject: Subject) -> Mask:
    """Connected bright parts of at least a millilitre inside the body."""
    bright = subject.near.array > BONE_HU
    labels, count = ndimage.label(bright)
    part = labels[bright]  # few voxels are bright: counting all of them would take several times the scan's memory
    large = np.bincount(part, minlength=count + 1) * subject.grid.voxel_ml >= LEAST_ML
    bright[bright] = large[part]
    return Mask(subject.grid, bright, "bone")


RULE = Rule("bone", "methods.md 4.1", keep)
