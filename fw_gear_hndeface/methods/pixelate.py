"""Replaces the skin and the air before it by blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.methods.contract import GIVEN, Method, Scene
from fw_gear_hndeface.model import Proposal, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.near import Single, filled, look_at_face, proposal, skin_layer


@dataclass(frozen=True)
class Blocks:
    """Size of the blocks and of the layer they fill, mm.

    Parameters
    ----------
    block_mm : edge of a block; whole voxels, at least two unless one voxel is as large
    air_mm, tissue_mm : the layer before and under the skin
    scatter : a block takes the value of a random voxel of itself or of the block before or behind it, so that blurring the
        blocks does not give the surface back; without it, of its middle, as published
    """

    block_mm: float = 8.5
    air_mm: float = 15.0
    tissue_mm: float = 5.0
    margin_mm: float = 7.5
    scatter: bool = True
    ears: bool = True


def propose(scene: Scene, blocks: Blocks | None = None) -> Proposal:
    """Blocks in the layer around the skin of face and ears."""
    blocks = blocks or Blocks()
    near = look_at_face(scene.scan, scene.frame, ears=blocks.ears)
    zone = skin_layer(
        near,
        scene.body,
        scene.landmarks,
        layer_mm=(blocks.air_mm, blocks.tissue_mm * scene.strength),
        margin_mm=blocks.margin_mm,
        ears=blocks.ears,
    )
    values = coarse(near.scan, near.frame, blocks, np.random.default_rng(scene.seed))
    return proposal(scene.scan, near, filled(near, zone, values), METHOD.name)


def coarse(volume: Volume, frame: HeadFrame, blocks: Blocks, rng: np.random.Generator) -> Single:
    """The volume in blocks of a random phase, one value each, (K, J, I), HU."""
    shape, spacing = volume.grid.shape, volume.grid.spacing_mm
    size = [1 if step >= blocks.block_mm else max(2, int(blocks.block_mm // step)) for step in spacing]
    phase = [int(rng.integers(edge)) for edge in size]
    number = [(np.arange(n) + start) // edge for n, start, edge in zip(shape, phase, size, strict=True)]
    count = tuple(int(ids[-1]) + 1 for ids in number)
    front = int(np.argmax(np.abs(frame.axes[1] @ (volume.grid.affine[:3, :3] / spacing))))
    source = []
    for axis in range(3):
        first = (np.arange(count[axis]) * size[axis] - phase[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        inner = rng.integers(size[axis], size=count) if blocks.scatter else np.full(count, size[axis] // 2)
        moved = rng.integers(-1, 2, size=count) * size[axis] if blocks.scatter and axis == front else 0
        source.append(np.clip(first + inner + moved, 0, shape[axis] - 1))
    values = volume.array[tuple(source)].astype(np.float32)
    return np.asarray(values[np.ix_(*number)])


METHOD = Method(
    name="pixelate",
    reference="LuwakX (ZentaLabs) with the MOOSE face and ear net; here landmarks give the face and lengths are mm",
    removes="15 mm of air before and 5 mm of tissue under the skin of face and ears, replaced by blocks of 8.5 mm",
    leaks="a Gaussian over the blocks brings the surface back; the relief of the whole face stays",
    licence="own code, Apache-2.0; the published code is Apache-2.0, its net CC BY 4.0 and not used",
    propose=propose,
    rules=GIVEN,
)
