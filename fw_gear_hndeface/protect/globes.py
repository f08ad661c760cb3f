"""Keeps the globes where nobody drew them: a sphere around each globe centre."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.model import Bool, Float, Grid, Mask
from fw_gear_hndeface.ops.boxes import points_box
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
            _add_ball(kept, subject.grid, subject.landmarks[name].point, float(radius))
    return Mask(subject.grid, kept, "globes")


def _add_ball(kept: Bool, grid: Grid, centre: Float, radius_mm: float) -> None:
    """Set the voxels of a ball, in its own index box."""
    ends = np.array(np.meshgrid(*[(-radius_mm, radius_mm)] * 3)).reshape(3, -1).T
    box = points_box([centre + ends], grid)
    if box is None:
        return
    part = grid.crop(box)
    k, j, i = np.indices(part.shape, sparse=True)
    a, t = part.affine[:3, :3], part.affine[:3, 3] - centre
    square = sum((a[axis, 0] * k + a[axis, 1] * j + a[axis, 2] * i + t[axis]) ** 2 for axis in range(3))
    kept[box] |= np.asarray(square <= radius_mm**2)


RULE = Rule("globes", "mean adult globe, methods.md 2", keep)
