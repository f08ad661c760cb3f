"""pixelate makes blocks of the stated millimetres in the stated layer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods.pixelate import Blocks, coarse, propose
from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from tests import phantom as make
from tests.scenes import outcome, places, scene

FRAME = HeadFrame(np.zeros(3), np.eye(3), 1.0)


def volume(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (40, 50, 60)) -> Volume:
    """Every voxel another value."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    return Volume(Grid(shape, affine), np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


@pytest.mark.parametrize(
    ("spacing", "edge"), [((3.0, 0.98, 1.2), (2, 8, 7)), ((5.0, 2.0, 0.5), (2, 4, 17)), ((9.0, 8.5, 8.4), (1, 1, 2))]
)
def test_a_block_is_whole_voxels_of_8_5_mm(spacing: tuple[float, float, float], edge: tuple[int, int, int]) -> None:
    blocks = coarse(volume(spacing), FRAME, Blocks(scatter=False), np.random.default_rng(3))
    for axis, size in enumerate(edge):
        change = np.any(np.diff(blocks, axis=axis) != 0, axis=tuple(a for a in range(3) if a != axis))
        ends = np.flatnonzero(change)
        assert set(np.diff(ends)) == {size}
        assert ends[0] < size


def test_a_published_block_has_the_value_of_its_middle() -> None:
    source = volume((3.0, 0.98, 1.2))
    blocks = coarse(source, FRAME, Blocks(scatter=False), np.random.default_rng(3))
    first = [int(np.flatnonzero(np.diff(line))[0]) + 1 for line in (blocks[:, 9, 9], blocks[9, :, 9], blocks[9, 9])]
    for n in range(3):
        k, j, i = (start + n * size for start, size in zip(first, (2, 8, 7), strict=True))
        assert np.all(blocks[k : k + 2, j : j + 8, i : i + 7] == source.array[k + 1, j + 4, i + 3])


def test_the_grid_starts_anywhere() -> None:
    starts = {
        int(
            np.flatnonzero(
                np.diff(coarse(volume((3.0, 1.0, 1.0)), FRAME, Blocks(scatter=False), np.random.default_rng(n))[0, 0])
            )[0]
        )
        for n in range(12)
    }
    assert len(starts) > 3


def test_scattered_blocks_take_values_of_themselves_or_of_the_block_before_or_behind() -> None:
    source = volume((2.0, 2.0, 2.0))
    blocks = coarse(source, FRAME, Blocks(), np.random.default_rng(3))
    k, j, i = np.unravel_index(blocks.astype(int), source.array.shape)
    at = np.indices(source.array.shape)
    assert np.abs(k - at[0]).max() < 4
    assert np.abs(i - at[2]).max() < 4
    assert 4 < np.abs(j - at[1]).max() < 8, "rows lead to the back here"


def test_the_layer_reaches_15_mm_into_the_air_and_5_under_the_skin() -> None:
    here, body = scene(), make.phantom(plain=True).structures["BODY"]
    done = outcome(here, propose(here, Blocks(ears=False)))
    spacing = np.linalg.norm(body.grid.affine[:3, :3], axis=0)
    inside, outside = (ndimage.distance_transform_edt(array, spacing) for array in (body.array, ~body.array))
    assert inside[done.changed].max() < 5.0 + 3.5
    assert 13.0 < outside[done.changed].max() < 15.0 + 3.5
    place = places(here)
    chin = here.landmarks["chin"].point
    assert place[..., 2][done.changed].min() > (chin - here.frame.origin) @ here.frame.axes[2] - 12.0


def test_the_ears_are_changed_too_unless_left_out() -> None:
    here = scene()
    side = np.abs(places(here)[..., 0]) > 85.0
    assert (outcome(here, propose(here)).changed & side).any()
    assert not (outcome(here, propose(here, Blocks(ears=False))).changed & side).any()
