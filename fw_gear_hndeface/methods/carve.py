"""Carves the face by the same depth everywhere: known to leak, and here so that its leak can be measured beside the rest.

With fill=face the rim, and a wall of air before it, take values of tissue drawn voxel by voxel instead: the published drowning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.fills import TISSUE_HU, material
from fw_gear_hndeface.ops.near import Near, Single, depth_of, face_columns, filled, look_at_face, patient_of, proposal

BONE_HU = 250.0


@dataclass(frozen=True)
class Cut:
    """Thickness of what changes, mm at scale 1: tissue under the skin, and air before it where the fill is no air."""

    depth_mm: float = 13.0
    wall_mm: float = 20.0
    margin_mm: float = 7.5


def propose(scene: Scene, cut: Cut | None = None) -> Proposal:
    """Everything of the face within the depth of the skin, but bone and what is kept, turned to the fill."""
    cut, scale = cut or Cut(), scene.frame.scale
    near = look_at_face(scene.scan, scene.frame, ears=False)
    patient = patient_of(near, scene.body)
    depth = depth_of(near, patient)
    fill = "air" if scene.fill == "auto" else scene.fill
    highest = 0.0 if fill == "air" else cut.wall_mm * scale
    change = face_columns(near, scene.landmarks, cut.margin_mm)
    change &= (depth <= cut.depth_mm * scale * scene.strength) & (depth >= -highest)
    change &= ~(patient & (near.scan.array >= BONE_HU))
    rng = np.random.default_rng(scene.seed)
    values = _picks(near, rng) if fill == "face" else material(fill, near, patient, rng)
    return proposal(scene.scan, near, filled(near, change, values), METHOD.name)


def _picks(near: Near, rng: np.random.Generator) -> Single:
    """Every voxel its own draw from the range of soft tissue, as published: no grain, so a variance filter finds it."""
    return rng.integers(int(TISSUE_HU[0]), int(TISSUE_HU[1]), near.grid.shape).astype(np.float32)


METHOD = Method(
    name="carve",
    reference="comparison only: constant depth; with fill=face face_deid_ct as published (Kitamura, after Collins 2020)",
    removes="13 mm under the skin of the whole face, stopped at bone",
    leaks="the old relief one step deeper: the face is recognised as it is; with fill=face after its noise is taken off",
    licence="own code, Apache-2.0; the published code is MIT",
    propose=propose,
    bounds=Bounds(most_removed_ml=700.0),
    rules=GIVEN,
)
