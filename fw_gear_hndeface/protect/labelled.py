"""Keeps what a label map names: eyes, glands, jaw, brain and whatever else is no skin, air or outline."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import LabelMap, Mask, RoiKind
from fw_gear_hndeface.ops.boxes import points_box
from fw_gear_hndeface.ops.labels import kept
from fw_gear_hndeface.ops.morphology import dilate
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.protect.contract import Rule, Subject


def keep(subject: Subject) -> Mask:
    """Every voxel whose nearest label is a target, an organ, a node or an eye, with the margin of its kind."""
    found = np.zeros(subject.grid.shape, dtype=np.bool_)
    for labels in subject.labels:
        near = _near(labels, subject)
        if near is None:
            continue
        kinds = {label.kind for label in kept(near).labels.values()}
        for margin in {_margin(kind, subject) for kind in kinds}:
            numbers = [n for n, label in kept(near).labels.items() if _margin(label.kind, subject) == margin]
            mask = Mask(near.grid, np.isin(near.array, np.array(numbers, np.uint16)), "labelled")
            if mask.array.any():
                found |= dilate(resample_mask(mask, subject.grid), margin).array
    return Mask(subject.grid, found, "labelled structures")


def _margin(kind: RoiKind, subject: Subject) -> float:
    return subject.target_margin_mm if kind is RoiKind.TARGET else subject.organ_margin_mm


def _near(labels: LabelMap, subject: Subject) -> LabelMap | None:
    """The part of a map around the subject's grid."""
    box = points_box([subject.grid.corners()], labels.grid)
    return None if box is None else labels.crop(box)


RULE = Rule("labelled", "label maps given or made by a network", keep)
