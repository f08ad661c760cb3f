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
    labels, count = ndimage.label(subject.near.array > BONE_HU)
    large = np.bincount(labels.ravel(), minlength=count + 1) * subject.grid.voxel_ml >= LEAST_ML
    large[0] = False
    return Mask(subject.grid, np.asarray(large[labels]), "bone")


RULE = Rule("bone", "methods.md 4.1", keep)
