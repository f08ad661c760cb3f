"""Rules of what must not change, one per file; adding one is a file and a word here."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.protect import bone, depth, drawn, globes, labelled
from fw_gear_hndeface.protect.contract import Rule, Subject

RULES: tuple[Rule, ...] = (drawn.RULE, labelled.RULE, globes.RULE, bone.RULE, depth.RULE)


def keep(subject: Subject, names: tuple[str, ...] | None = None) -> Mask:
    """The union of the named rules (None: of all), on the subject's grid."""
    rules = [rule for rule in RULES if names is None or rule.name in names]
    kept = np.zeros(subject.grid.shape, dtype=np.bool_)
    for rule in rules:
        kept |= rule.keep(subject).array
    return Mask(subject.grid, kept, ", ".join(rule.name for rule in rules))


__all__ = ["RULES", "Rule", "Subject", "keep"]
