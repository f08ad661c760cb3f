"""Cuts off everything in front of the eyes' middle, from the orbital floor upwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.contract import GIVEN, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.fills import material
from fw_gear_hndeface.ops.near import filled, look_at_region, proposal

#: A globe placed worse than this would put the plane beside the eyes.
SURE_MM = 8.0


@dataclass(frozen=True)
class Plane:
    """Where the plane lies, mm at scale 1 (O'Sullivan-Steben et al. 2025; orbit height 26 mm).

    Parameters
    ----------
    behind_mm : from the globes' centres to the plane; negative lies in front of them. -15 spares the eyes: 3 mm before the lens
    floor_mm : from the globes' centres down to where the cut ends
    """

    behind_mm: float = 0.0
    floor_mm: float = 13.0


def propose(scene: Scene, plane: Plane | None = None) -> Proposal:
    """Air in the half-space before the plane, above the orbital floor, within the face region.

    Raises
    ------
    LandmarkError
        An eye is not in view or not placed surely.
    """
    plane = plane or Plane()
    globes = scene.frame.to_frame(_globes(scene))
    near, region = look_at_region(scene.scan, scene.frame)
    front = near.place(1) < globes[:, 1].mean() + plane.behind_mm * scene.frame.scale
    above = near.place(2) >= globes[:, 2].mean() - plane.floor_mm * scene.frame.scale
    fill = "air" if scene.fill == "auto" else scene.fill
    values = material(fill, near, region & ~front, np.random.default_rng(scene.seed))
    return proposal(scene.scan, near, filled(near, region & front & above, values), METHOD.name)


def _globes(scene: Scene) -> np.ndarray:
    for name in ("globe_left", "globe_right"):
        mark = scene.landmarks.get(name)
        if mark is None or mark.sigma_mm > SURE_MM or not scene.scan.grid.contains(mark.point):
            raise LandmarkError(
                "eye_plane: the eyes are not in the scan, or their place is not sure enough. Add a structure set with both "
                "eyes, or take another method."
            )
    return scene.landmarks.stack(("globe_left", "globe_right"))


METHOD = Method(
    name="eye_plane",
    reference="O'Sullivan-Steben, Galarneau, Kildea 2025, arXiv 2508.13914 (the plane follows the head's pitch and roll here)",
    removes="everything in front of the globes' middle, from the orbital floor upwards: lids, lenses, forehead, nose root",
    leaks="nose, mouth, chin and ears stay as they were; a face is still found and matched on the head",
    licence="own code, Apache-2.0; the published code is MIT",
    propose=propose,
    varies=False,
    rules=GIVEN,
)
