"""Keeps the globes where nobody drew them: a sphere around each globe centre."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.protect.contract import Rule, Subject

#: Radius of an adult globe (axial length 24 mm) plus its wall; scaled with the head.
GLOBE_MM = 12.5
#: A globe that is placed worse than this is protected by depth and bone alone: a sphere elsewhere protects nothing.
SURE_MM = 8.0


def keep(subject: Subject) -> Mask:
    """Spheres around the globe centres that are known well enough."""
    kept = np.zeros(subject.grid.shape, dtype=np.bool_)
    radius = GLOBE_MM * np.clip(subject.frame.scale, 0.7, 1.1)
    for name in ("globe_left", "globe_right"):
        if name in subject.landmarks and subject.landmarks[name].sigma_mm <= SURE_MM:
            kept |= _ball(subject, subject.landmarks[name].point, float(radius))
    return Mask(subject.grid, kept, "globes")


def _ball(subject: Subject, centre: np.ndarray, radius_mm: float) -> np.ndarray:
    k, j, i = np.indices(subject.grid.shape, sparse=True)
    a, t = subject.grid.affine[:3, :3], subject.grid.affine[:3, 3] - centre
    square = sum((a[axis, 0] * k + a[axis, 1] * j + a[axis, 2] * i + t[axis]) ** 2 for axis in range(3))
    return np.asarray(square <= radius_mm**2)


RULE = Rule("globes", "mean adult globe, methods.md 2", keep)
