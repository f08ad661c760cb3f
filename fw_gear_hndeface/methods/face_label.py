"""The change that a face label asks for: its voxels take a fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.contract import Scene
from fw_gear_hndeface.model import LabelMap, Mask, Proposal
from fw_gear_hndeface.ops.fills import material
from fw_gear_hndeface.ops.morphology import dilate
from fw_gear_hndeface.ops.near import filled, look_at_region, patient_of, proposal
from fw_gear_hndeface.ops.resample import resample_mask

#: What a label map calls the part that makes a face.
MEANINGS = ("face", "ears")
#: A second try takes this much more all around for every step of strength by one, mm.
GROWTH_MM = 12.0


def propose_label(scene: Scene, maps: Sequence[LabelMap], method: str) -> Proposal:
    """The labelled face filled: with air unless the scene asks for tissue or a number.

    Raises
    ------
    LandmarkError
        No label of a face in the face region.
    """
    near, region = look_at_region(scene.scan, scene.frame)
    face = np.zeros(near.grid.shape, dtype=np.bool_)
    for labels in maps:
        face |= resample_mask(labels.mask(*MEANINGS), near.grid).array
    if not (face & region).any():
        raise LandmarkError(
            f"{method}: no label map names a face where the face is. Give one with a label called face, or take another method."
        )
    grown = dilate(Mask(near.grid, face, "face"), max(scene.strength - 1.0, 0.0) * GROWTH_MM * scene.frame.scale).array & region
    rim = ndimage.binary_dilation(grown, iterations=3) & ~grown & patient_of(near, scene.body)
    fill = "air" if scene.fill == "auto" else scene.fill
    values = material(fill, near, rim, np.random.default_rng(scene.seed))
    return proposal(scene.scan, near, filled(near, grown, values), method)
