"""What every rule of protection is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fw_gear_hndeface.model import Grid, LabelMap, Landmarks, Mask, Roi, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.head import HeadScan


@dataclass(frozen=True, eq=False)
class Subject:
    """What a rule may look at: the scan, the head in it, where the face is and what was drawn on it.

    `near` is the part of the scan around the face: rules answer on its grid, everything outside is never changed anyway.
    """

    near: Volume
    head: HeadScan
    landmarks: Landmarks
    frame: HeadFrame
    rois: tuple[Roi, ...]
    target_margin_mm: float = 0.0
    organ_margin_mm: float = 0.0
    labels: tuple[LabelMap, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid that rules answer on."""
        return self.near.grid


@dataclass(frozen=True)
class Rule:
    """One reason not to change a voxel; `keep` answers with the voxels it speaks for, on the subject's grid."""

    name: str
    reference: str
    keep: Callable[[Subject], Mask]
