"""The phantoms' own truth: ugly grids are ugly, cuts cut, turned heads stay in place, and a chest has no head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.model import View
from tests import phantom as make


def same_place(grid, array, points) -> np.ndarray:  # type: ignore[no-untyped-def]
    index = np.rint(grid.to_index(points)).astype(int)
    return array[tuple(index.T)]


def test_default_grid_is_ugly_and_holds_the_face() -> None:
    head = make.phantom()
    grid = head.volume.grid
    assert grid.shape == (61, 47, 83)
    assert len(set(np.round(grid.spacing_mm, 2))) == 3
    slices, rows, columns = (grid.affine[:3, n] / grid.spacing_mm[n] for n in range(3))
    assert np.degrees(np.arcsin(abs(slices @ rows))) == pytest.approx(12, abs=0.1)
    assert abs(rows @ columns) < 1e-9
    assert all(np.abs(axis).max() < 1 for axis in (rows, columns)), "no in-plane axis is a patient axis"
    assert {m.view for m in head.landmarks.values()} == {View.IN_VIEW}
    assert grid.contains(head.landmarks["nose_tip"].point - np.array([0, 8, 0]))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("at", "gone", "left"),
    [
        ("brow", "none", "globe_left"), ("eyes", "brow_left", "nose_tip"), ("below_eyes", "globe_right", "chin"),
        ("below_nose", "nose_tip", "chin"),
    ],
)  # fmt: skip
def test_cut_removes_what_lies_above(plain: bool, at: str, gone: str, left: str) -> None:
    whole = make.phantom(plain=plain)
    head = make.cut(whole, at)
    assert head.volume.grid.shape[0] < whole.volume.grid.shape[0]
    assert head.landmarks[left].view == View.IN_VIEW
    if gone != "none":
        assert head.landmarks[gone].view == View.CUT
    assert head.structures["Bone_Mandible"].count > 0.8 * whole.structures["Bone_Mandible"].count
    assert all(m.grid is head.volume.grid for m in head.structures.values())


def test_cut_works_when_slices_descend() -> None:
    head = make.cut(make.turned(make.phantom(plain=True), "descending"), "eyes")
    same = make.cut(make.phantom(plain=True), "eyes")
    assert abs(head.volume.grid.shape[0] - same.volume.grid.shape[0]) <= 1
    assert head.landmarks["brow_left"].view == View.CUT
    assert head.landmarks["chin"].view == View.IN_VIEW


@pytest.mark.parametrize("how", [*make.TURNS, "sagittal"])
def test_turned_heads_keep_every_patient_position(how: str) -> None:
    head = make.phantom()
    turned = make.turned(head, how)
    assert not turned.volume.grid.matches(head.volume.grid)
    rng = np.random.default_rng(1)
    points = head.volume.grid.to_patient(rng.integers(0, head.volume.grid.shape, (500, 3)))
    np.testing.assert_array_equal(
        same_place(head.volume.grid, head.volume.array, points), same_place(turned.volume.grid, turned.volume.array, points)
    )
    np.testing.assert_array_equal(
        same_place(head.volume.grid, head.structures["Brain"].array, points),
        same_place(turned.volume.grid, turned.structures["Brain"].array, points),
    )
    assert turned.volume.array.flags.c_contiguous


def test_noise_and_streaks_change_values_where_they_should() -> None:
    head = make.phantom(plain=True)
    noisy = make.with_noise(head, 40.0)
    off = noisy.volume.array.astype(float) - head.volume.array
    brain = head.structures["Brain"].array
    assert off[brain].std() == pytest.approx(40, rel=0.05)
    streaky = make.with_streaks(head)
    off = np.abs(streaky.volume.array.astype(float) - head.volume.array)
    mouth = int(head.volume.grid.to_index(head.landmarks["mouth_left"].point)[0])
    eyes = int(head.volume.grid.to_index(head.landmarks["globe_left"].point)[0])
    assert off[mouth].max() > 300 > 5 > off[eyes].max()
    air = ~head.structures["BODY"].array[mouth]
    assert (off[mouth][air] > 60).sum() > 50, "rays leave the body"


def test_chest_has_lungs_and_arms_and_no_head() -> None:
    chest = make.chest()
    tissue = chest.array > -400
    parts, count = ndimage.label(tissue)
    sizes = np.bincount(parts.ravel())[1:] * chest.grid.voxel_ml
    assert sorted(sizes)[-3:][0] > 200, "a torso and two arms"
    assert count >= 3
    lung = (chest.array > -950) & (chest.array < -750)
    assert 1500 < np.count_nonzero(lung) * chest.grid.voxel_ml < 6000
    assert tissue.any(axis=(1, 2)).all(), "no slice is free of body: no vertex in view"


def test_phantoms_are_cached_and_read_only() -> None:
    assert make.phantom() is make.phantom()
    with pytest.raises(ValueError, match="read-only"):
        make.phantom().volume.array[0, 0, 0] = 0
