"""Scenes for methods: phantoms with their true landmarks, and what a method did to them in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.methods import REGISTRY, Scene
from fw_gear_hndeface.model import Label, LabelMap, Mask, Proposal, RoiKind
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make


def scene_of(head: SyntheticHead, **options: object) -> Scene:
    """The head with its true landmarks; nothing is kept."""
    frame = fit_frame(head.landmarks)
    assert frame is not None
    body = next(head_windows(head.volume)).body
    nothing = Mask.empty(head.volume.grid, "nothing")
    labels = tuple(face_map(head, frame, source) for source in ("given", "nnunet"))
    return Scene(head.volume, body, nothing, head.landmarks, frame, **{"seed": 5, "labels": labels, **options})  # type: ignore[arg-type]


def face_map(head: SyntheticHead, frame: HeadFrame, source: str) -> LabelMap:
    """The face as a network labels it: 14 mm under the skin between brows and chin, before the ears."""
    grid = head.volume.grid
    points = np.stack(np.indices(grid.shape), axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    x, y, z = np.moveaxis((points - frame.origin) @ frame.axes.T / frame.scale, -1, 0)
    body = ndimage.binary_fill_holes(head.structures["BODY"].array)
    depth = ndimage.distance_transform_edt(body, sampling=grid.spacing_mm)
    face = body & (depth <= 14.0) & (np.abs(x) < 60.0) & (y < 25.0) & (z > -118.0) & (z < 25.0)
    return LabelMap(grid, face.astype(np.uint16), {1: Label(1, "face", "face", RoiKind.OTHER)}, source)


@cache
def scene(*, plain: bool = True, at: str | None = None, seed: int = 7) -> Scene:
    """A phantom's scene, cut or not."""
    head = make.phantom(seed, plain=plain)
    return scene_of(make.cut(head, at) if at else head)


def places(scene: Scene) -> np.ndarray:
    """Head-frame mm of every voxel, (K, J, I, 3), straight from the affine."""
    grid = scene.scan.grid
    index = np.stack(np.indices(grid.shape), axis=-1).astype(np.float64)
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return (points - scene.frame.origin) @ scene.frame.axes.T


@dataclass(frozen=True)
class Outcome:
    """A proposal, and the scan before and after it."""

    proposal: Proposal
    before: np.ndarray
    after: np.ndarray
    voxel_ml: float

    @property
    def changed(self) -> np.ndarray:
        """Voxels with other values than before."""
        return self.before != self.after

    def ml(self, voxels: np.ndarray) -> float:
        """Volume of voxels."""
        return float(np.count_nonzero(voxels)) * self.voxel_ml


def outcome(scene: Scene, made: Proposal | str) -> Outcome:
    """What a proposal, or the method of that name, makes of a scene."""
    proposal = REGISTRY[made].propose(scene) if isinstance(made, str) else made
    before = scene.scan.array.astype(np.float32)
    after = before.copy()
    after[proposal.change.array] = proposal.fill_hu
    step = np.abs(np.linalg.det(scene.scan.grid.affine[:3, :3]))
    return Outcome(proposal, before, after, float(step) / 1000.0)
