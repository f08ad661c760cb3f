"""Carves the face by the same depth everywhere: known to leak, and here so that its leak can be measured beside the rest.

With fill=face the rim, and a wall of air before it, take values of tissue drawn voxel by voxel instead: the published drowning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.ops.fills import TISSUE_HU, material
from fw_gear_hndeface.ops.front import read_front
from fw_gear_hndeface.ops.morphology import distance_mm
from fw_gear_hndeface.ops.near import Near, Single, face_columns, filled, look_at_face, patient_of, proposal


@dataclass(frozen=True)
class Cut:
    """Thickness of what changes, mm at scale 1: tissue under the skin, and air before it where the fill is no air.

    `rim_mm` is the thickness of the published drowning, 17 pixels of a usual scan.
    """

    depth_mm: float = 15.0
    rim_mm: float = 13.0
    wall_mm: float = 20.0
    margin_mm: float = 7.5


#: The skin's own blur, cleared with it, mm; and what of it is no air, HU.
BLUR_MM, NOT_AIR_HU = 2.5, -850.0


def propose(scene: Scene, cut: Cut | None = None) -> Proposal:
    """Everything of the face within the depth of the skin, bone too, turned to the fill; what is kept is taken away later."""
    cut, scale = cut or Cut(), scene.frame.scale
    near = look_at_face(scene.scan, scene.frame, ears=False)
    fill = "air" if scene.fill == "auto" else scene.fill
    carved = fill == "air"
    depth = _along_rays(scene, near) if carved else _per_slice(scene, near)
    deepest = (cut.depth_mm if carved else cut.rim_mm) * scale * scene.strength
    highest = BLUR_MM if carved else cut.wall_mm * scale
    change = face_columns(near, scene.landmarks, cut.margin_mm) & (depth <= deepest) & (depth >= -highest)
    if carved:
        change &= near.scan.array > NOT_AIR_HU
    rng = np.random.default_rng(scene.seed)
    values = _picks(near, rng) if fill == "face" else material(fill, near, patient_of(near, scene.body), rng)
    return proposal(scene.scan, near, filled(near, change, values), METHOD.name)


def _along_rays(scene: Scene, near: Near) -> Single:
    """Depth under the skin as seen from in front, mm: taken off everywhere alike, it leaves the same relief further back."""
    front = read_front(scene.scan, scene.body, scene.frame)
    x, y, z = (near.place(axis).astype(np.float64) for axis in range(3))
    return np.asarray(y - front.rays.lookup(front.skin, x, z), dtype=np.float32)


def _per_slice(scene: Scene, near: Near) -> Single:
    """Depth under the skin within each slice, mm, as published: the outside air grown slice by slice."""
    patient, spacing = patient_of(near, scene.body), near.grid.spacing_mm[1:]
    flat = [distance_mm(part, spacing) - distance_mm(~part, spacing) for part in patient]
    return np.asarray(flat, dtype=np.float32)


def _picks(near: Near, rng: np.random.Generator) -> Single:
    """Every voxel its own draw from the range of soft tissue, as published: no grain, so a variance filter finds it."""
    return rng.integers(int(TISSUE_HU[0]), int(TISSUE_HU[1]), near.grid.shape).astype(np.float32)


METHOD = Method(
    name="carve",
    reference="comparison only: constant depth; with fill=face face_deid_ct as published (Kitamura, after Collins 2020)",
    removes="15 mm under the skin of the whole face as seen from in front, bone too",
    leaks="the old relief one step deeper: the face is recognised as it is; with fill=face after its noise is taken off",
    licence="own code, Apache-2.0; the published code is MIT",
    propose=propose,
    bounds=Bounds(most_removed_ml=700.0),
    rules=GIVEN,
)
