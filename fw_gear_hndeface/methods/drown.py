"""Drowns the skin: a rim of tissue and a wall of air before it take values of the tissue around, so that no edge is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Bool, Proposal
from fw_gear_hndeface.ops.fills import level, material
from fw_gear_hndeface.ops.near import (
    Near,
    Single,
    depth_of,
    ear_columns,
    face_columns,
    filled,
    look_at_face,
    patient_of,
    proposal,
)

BONE_HU = 250.0
#: Voxels at the scan's own edge that are left alone: what is cut there is not skin.
EDGE_VOXELS = 2


@dataclass(frozen=True)
class Rim:
    """How deep and how high the flood stands, mm at scale 1.

    The published rim is as thick everywhere (17 pixels, 7-22 mm), which gives the skin back to whoever adds it again;
    here it varies smoothly.

    Parameters
    ----------
    depth_mm : least and most tissue taken under the skin
    wall_mm : least and most air taken before it
    smooth_mm : sigma of the random thickness
    margin_mm : around the hull of the face
    ears : whether the ears drown too
    """

    depth_mm: tuple[float, float] = (4.0, 14.0)
    wall_mm: tuple[float, float] = (15.0, 25.0)
    smooth_mm: float = 10.0
    margin_mm: float = 7.5
    ears: bool = True


def propose(scene: Scene, rim: Rim | None = None) -> Proposal:
    """Tissue-like values in rim and wall; with fill=air the rim turns to air instead, with a number both take it."""
    rim = rim or Rim()
    near = look_at_face(scene.scan, scene.frame, ears=rim.ears)
    patient = patient_of(near, scene.body)
    depth = depth_of(near, patient)
    zone = face_columns(near, scene.landmarks, rim.margin_mm)
    if rim.ears:
        zone |= ear_columns(near, scene.landmarks)
    rng = np.random.default_rng(scene.seed)
    deepest, highest = (_thickness(near, rng, rim, ends) for ends in (rim.depth_mm, rim.wall_mm))
    change = zone & (depth <= deepest * scene.strength) & (depth >= -highest) & ~_edge(near, scene)
    change &= _reached(change, patient, near.scan.array >= BONE_HU, scene.keep.array[near.box])
    fill = "face" if scene.fill == "auto" else scene.fill
    values = material(fill, near, patient & (depth > 0.0) & (depth <= rim.depth_mm[1]), rng)
    return proposal(scene.scan, near, filled(near, change, values), METHOD.name)


def _thickness(near: Near, rng: np.random.Generator, rim: Rim, ends: tuple[float, float]) -> Single:
    low, high = (end * near.frame.scale for end in ends)
    return np.asarray(low + (high - low) * level(near.grid, rng, rim.smooth_mm * near.frame.scale), dtype=np.float32)


def _reached(change: Bool, patient: Bool, bone: Bool, keep: Bool) -> Bool:
    """The part of the change that the flood reaches from the air: bone and what is kept stop it."""
    open_ = change & ~(patient & bone) & ~keep
    labels, count = ndimage.label(open_)
    wet = np.zeros(count + 1, dtype=np.bool_)
    wet[np.unique(labels[open_ & ~patient])] = True
    wet[0] = False
    return np.asarray(wet[labels])


def _edge(near: Near, scene: Scene) -> Bool:
    """Voxels at the outermost rows and columns of the scan, and at its first and last slice."""
    edge = np.zeros(near.grid.shape, dtype=np.bool_)
    for axis, (part, size) in enumerate(zip(near.box, scene.scan.grid.shape, strict=True)):
        index = np.arange(part.start, part.stop)
        shape = [1, 1, 1]
        shape[axis] = len(index)
        edge |= ((index < EDGE_VOXELS) | (index >= size - EDGE_VOXELS)).reshape(shape)
    return edge


METHOD = Method(
    name="drown",
    reference="face_deid_ct (Kitamura, after Collins 2020); rim of random thickness in mm, stopped at bone and kept structures",
    removes="a rim of 4-14 mm under the skin of face and ears and a wall of 15-25 mm before it, both filled with tissue",
    leaks="local variance tells fill from tissue: the rim's inner face is found again; fill=air leaves a shrunken face",
    licence="own code, Apache-2.0; the published code is MIT",
    propose=propose,
    bounds=Bounds(most_removed_ml=700.0),
    rules=GIVEN,
)
