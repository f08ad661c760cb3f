"""The patient without equipment, held against the phantoms' own outline."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.model import Mask, Volume
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.ops.resample import lps_grid, resample_mask
from fw_gear_hndeface.ops.skin import analysis_volume, cleaned, find_body
from fw_gear_hndeface.synthetic.head import Scene, SyntheticHead
from tests import phantom as make
from tests.chain import SEED

SCENES = {"plain": Scene(), "couch": Scene(couch=True), "shell": Scene(shell=True)}


@cache
def seen(name: str) -> tuple[SyntheticHead, Volume, Mask]:
    """A phantom, its scan on an orthogonal grid, and the body found in it."""
    head = make.phantom(SEED, plain=True, scene=SCENES[name])
    return head, head.volume, find_body(head.volume)


@pytest.mark.parametrize("name", SCENES)
def test_the_body_is_the_patient_and_nothing_else(name: str) -> None:
    head, _, body = seen(name)
    expected = head.structures["BODY"].array
    assert 2 * (body.array & expected).sum() / (body.count + expected.sum()) > 0.97


@pytest.mark.parametrize(("name", "most"), [("couch", 0.02), ("shell", 0.5)])
def test_equipment_is_dense_and_yet_no_body(name: str, most: float) -> None:
    _, volume, body = seen(name)
    bare = seen("plain")[1]
    equipment = (volume.array > -300) & (bare.array < -700)
    assert equipment.sum() > 300
    assert (body.array & equipment).sum() < most * equipment.sum(), "a shell 1 to 4 mm off the skin melts into voxels of 3 mm"
    near = ndimage.binary_dilation(body.array, iterations=1)
    assert not ((cleaned(volume, body).array > -300) & equipment & ~near).any()


@pytest.mark.parametrize("name", ["plain", "shell"])
def test_nose_ears_and_lips_belong_to_the_body(name: str) -> None:
    head, _, body = seen(name)
    for mark, inwards in (
        ("nose_tip", (0, 4, 0)),
        ("lip_upper", (0, 4, 0)),
        ("ear_left", (-4, 0, 0)),
        ("ear_right", (4, 0, 0)),
    ):
        k, j, i = np.rint(body.grid.to_index(head.landmarks[mark].point + np.array(inwards))).astype(int)
        assert body.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].any(), mark


def test_an_airway_cut_at_both_ends_is_inside_the_body() -> None:
    head = make.cut(make.phantom(SEED, plain=True), "below_nose")
    body = find_body(analysis_volume(head.volume))
    airway = resample_mask(head.structures["Airway"], body.grid).array
    assert airway.sum() > 100
    assert body.array[airway].mean() > 0.9


def test_nothing_is_no_body() -> None:
    grid = lps_grid(np.array([[0.0, 0.0, 0.0], [60.0, 60.0, 60.0]]), 3.0)
    assert find_body(Volume(grid, np.full(grid.shape, -1000.0, dtype=np.float32))).count == 0


def test_cleaned_air_is_air_and_skin_keeps_its_partial_volume() -> None:
    _, volume, body = seen("couch")
    clean, near = cleaned(volume, body), ndimage.binary_dilation(body.array, iterations=1)
    assert np.array_equal(clean.array[body.array], volume.array[body.array])
    assert np.all(clean.array[~near] == -1000.0)
    rim = near & ~body.array
    assert np.array_equal(clean.array[rim], volume.array[rim])


def test_coarse_scans_are_smoothed_and_fine_ones_are_not() -> None:
    rng = np.random.default_rng(3)
    for step, quiet in ((1.0, False), (6.0, True)):
        grid = lps_grid(np.array([[0.0, 0.0, 0.0], [40.0, 40.0, 40.0]]), step)
        noise = Volume(grid, rng.normal(0, 100, grid.shape).astype(np.float32))
        target = lps_grid(np.array([[10.0, 10.0, 10.0], [30.0, 30.0, 30.0]]), 2.0)
        moved = analysis_volume(noise, 2.0, target)
        steps = np.abs(np.diff(moved.array, axis=0)).mean()
        assert bool(steps < 25.0) is quiet


def test_windows_go_down_from_the_top_of_the_patient() -> None:
    head = make.with_couch(SEED)
    first = next(head_windows(head.volume))
    high = first.body.grid.to_patient(np.argwhere(first.body.array))[:, 2].max()
    assert high == pytest.approx(head.volume.grid.to_patient(np.argwhere(head.structures["BODY"].array))[:, 2].max(), abs=4.0)
    assert first.top_mm == pytest.approx(head.volume.grid.corners()[:, 2].max())
    width = np.ptp(first.volume.grid.corners()[:, 0])
    assert width < 260.0, "as wide as the head, not as the couch"
    chest = make.chest()
    tops = [window.volume.grid.corners()[:, 2].max() for window in head_windows(chest)]
    assert tops == sorted(tops, reverse=True)


def test_an_empty_scan_has_no_window() -> None:
    grid = make.ugly_grid()
    assert list(head_windows(Volume(grid, np.full(grid.shape, -1000, dtype=np.int16)))) == []
