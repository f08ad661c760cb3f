"""Ghosts and folded signal in the air around a head: found, replaced by quiet air, and nothing of the head touched."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Mask, Unit, Volume
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.ops.stray import room_around, stray_signal
from tests import phantom as make

Bool = NDArray[np.bool_]
SHAPE = (60, 150, 110)
STEPS = (3.1, 2.0, 2.0)


@cache
def frame() -> HeadFrame:
    found = fit_frame(make.phantom(plain=True).landmarks)
    assert found is not None
    return found


@cache
def grid() -> Grid:
    """An axial lattice with much room before and behind the head."""
    middle = make.phantom(plain=True).landmarks["nasion"].point + np.array([2.0, 70.0, -30.0])
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(STEPS[::-1]))
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(SHAPE) / 2)
    return Grid(SHAPE, affine, make.FRAME)


@cache
def tissue() -> Bool:
    """The phantom's body on that lattice, looked up voxel by voxel."""
    head = make.phantom(plain=True)
    points = grid().to_patient(np.moveaxis(np.indices(SHAPE), 0, -1))
    index = np.moveaxis(head.volume.grid.to_index(points), -1, 0)
    return ndimage.map_coordinates(head.structures["BODY"].array.astype(np.float32), index, order=0, cval=0.0) > 0.5


def noise(seed: int = 3) -> NDArray[np.float32]:
    """Magnitudes of complex noise: what a magnet shows of air."""
    rng = np.random.default_rng(seed)
    return np.hypot(rng.normal(0, 6, SHAPE), rng.normal(0, 6, SHAPE)).astype(np.float32)


def picture(ghost: NDArray[np.float32] | float = 0.0) -> Volume:
    return Volume(grid(), np.where(tissue(), np.float32(400.0), noise()) + np.float32(ghost), Unit.ARBITRARY)


@cache
def air() -> Mask:
    found = room_around(make.phantom(plain=True).volume, frame())
    assert found is not None
    return found


def folded() -> NDArray[np.float32]:
    """The nose once more, behind the head: what lies before the field of view comes in at its other end."""
    nose = np.zeros(SHAPE, np.float32)
    at = np.rint(grid().to_index(make.phantom(plain=True).landmarks["nose_tip"].point)).astype(int)
    part = tissue()[at[0] - 6 : at[0] + 6, at[1] : at[1] + 12, at[2] - 8 : at[2] + 8]
    nose[at[0] - 6 : at[0] + 6, -16:-4, at[2] - 8 : at[2] + 8] = 120.0 * part
    return nose


def test_the_room_is_air_well_away_from_the_body_and_nothing_beyond_the_scan() -> None:
    points = air().grid.to_patient(np.argwhere(air().array))
    head = make.phantom(plain=True)
    ends = head.volume.grid.corners()
    assert points[:, 2].min() > ends[:, 2].min() - 2.0
    assert points[:, 2].max() < ends[:, 2].max() + 2.0
    away = ndimage.distance_transform_edt(~tissue(), sampling=STEPS)
    index = np.rint(grid().to_index(points)).astype(int)
    seen = np.all((index >= 0) & (index < SHAPE), axis=1)
    assert away[tuple(index[seen].T)].min() > 7.0
    assert np.count_nonzero(seen) > 5000
    assert room_around(head.volume, None) is None


def test_a_nose_folded_behind_the_head_is_found_and_the_head_is_not_touched() -> None:
    found = stray_signal(picture(folded()), air())
    assert found is not None
    stray, quiet = found
    assert stray.array[folded() > 0].all()
    assert not np.any(stray.array & ndimage.binary_dilation(tissue(), iterations=3))
    near = ndimage.binary_dilation(folded() > 0, iterations=6)
    assert np.count_nonzero(stray.array & ~near) < 0.002 * np.count_nonzero(~near)
    assert np.percentile(quiet, 99) < 25.0
    assert abs(np.median(quiet) - np.median(noise())) < 0.5


def test_faint_ghosts_are_found_by_the_mean_over_neighbours() -> None:
    faint = ndimage.gaussian_filter(folded() / 120.0 * 18.0, 1.0)
    found = stray_signal(picture(faint), air())
    assert found is not None
    assert found[0].array[faint > 14.0].mean() > 0.95


def test_quiet_air_is_left_alone() -> None:
    found = stray_signal(picture(), air())
    assert found is None or found[0].count < 0.001 * np.count_nonzero(~tissue())
    assert stray_signal(Volume(grid(), np.where(tissue(), 400.0, 0.0).astype(np.float32), Unit.ARBITRARY), air()) is None


def test_air_that_a_mask_set_to_zero_shows_whatever_is_left() -> None:
    values = np.where(tissue(), 400.0, folded()).astype(np.float32)
    found = stray_signal(Volume(grid(), values, Unit.ARBITRARY), air())
    assert found is not None
    assert found[0].array[folded() > 0].all()
    assert np.all(found[1] == 0.0)


@pytest.mark.parametrize("slack_mm", [0.0, 9.0])
def test_a_place_less_sure_leaves_more_air_alone(slack_mm: float) -> None:
    wide = np.where(ndimage.binary_dilation(tissue(), iterations=9), np.float32(400.0), noise())
    found = stray_signal(Volume(grid(), wide, Unit.ARBITRARY), air(), slack_mm)
    assert found is not None
    away = ndimage.distance_transform_edt(~tissue(), sampling=STEPS)
    assert away[found[0].array].min() >= 5.0 + slack_mm
