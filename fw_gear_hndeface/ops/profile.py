"""The mid-sagittal profile of a head: the front of its skin and of its bone from above downwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.model import Float, Volume
from fw_gear_hndeface.ops.skin import SKIN_HU

BONE_HU = 220.0


@dataclass(frozen=True, eq=False)
class Profile:
    """The mid-sagittal plane from above downwards: heights z, front of skin and of bone (y), LPS mm, NaN: none."""

    middle: float
    z: Float
    skin: Float
    bone: Float


def read_profile(volume: Volume) -> Profile | None:
    """The profile of a head window on a grid along the patient axes; None where there is no body."""
    array, grid = volume.array, volume.grid
    dense = array > SKIN_HU
    y = grid.to_patient(np.column_stack([np.zeros(grid.shape[1]), np.arange(grid.shape[1]), np.zeros(grid.shape[1])]))[:, 1]
    x = grid.to_patient(np.column_stack([np.zeros((grid.shape[2], 2)), np.arange(grid.shape[2])]))[:, 0]
    z = grid.to_patient(np.column_stack([np.arange(grid.shape[0]), np.zeros((grid.shape[0], 2))]))[:, 2]
    front = np.where(dense.any(axis=1), y[dense.argmax(axis=1)], np.nan)
    filled = np.flatnonzero(np.isfinite(front).any(axis=1))
    if filled.size < 20:
        return None
    rows = filled[::-1]
    middle = _middle(front[rows[2 : int(70 / grid.spacing_mm[0])]], x)
    near, wide = np.abs(x - middle) <= 6.0, np.abs(x - middle) <= 12.0
    hard = array[:, :, wide] > BONE_HU
    bone = np.where(hard.any(axis=(1, 2)), y[hard.any(axis=2).argmax(axis=1)], np.nan)
    with np.errstate(all="ignore"):
        skin = np.nanmin(np.where(np.isfinite(front[:, near]), front[:, near], np.inf), axis=1)
    skin = np.where(np.isfinite(skin), skin, np.nan)
    return Profile(middle, z[rows], skin[rows], bone[rows])


def _middle(front: Float, x: Float) -> float:
    """The x of the face's midline: centre of what stands within 18 mm of the foremost skin, median over slices."""
    centres = []
    for row in front:
        if np.isfinite(row).any():
            lead = row <= np.nanmin(row) + 18.0
            centres.append(float((x[lead].min() + x[lead].max()) / 2.0))
    return float(np.median(centres)) if centres else 0.0
