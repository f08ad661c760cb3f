"""Keeps what a person drew: targets, organs, nodes and eyes, each with its margin."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Mask, RoiKind
from fw_gear_hndeface.ops.morphology import dilate
from fw_gear_hndeface.ops.polygons import rasterise, roi_box
from fw_gear_hndeface.ops.scan import KEPT
from fw_gear_hndeface.protect.contract import Rule, Subject


def keep(subject: Subject) -> Mask:
    """Every voxel inside a drawn target, organ, node or eye."""
    kept = np.zeros(subject.grid.shape, dtype=np.bool_)
    for roi in subject.rois:
        if roi.kind in KEPT:
            margin = subject.target_margin_mm if roi.kind is RoiKind.TARGET else subject.organ_margin_mm
            box = roi_box(roi, subject.grid, margin)
            if box is not None:
                kept[box] |= dilate(rasterise(roi, subject.grid.crop(box)), margin).array
    return Mask(subject.grid, kept, "drawn structures")


RULE = Rule("drawn", "structure set of the same frame of reference", keep)
