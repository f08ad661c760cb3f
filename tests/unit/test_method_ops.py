"""What the methods share: distances, fills with the grain of tissue, the patient at full resolution, and the hull of a face."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.model import Grid, Landmarks, Mask
from fw_gear_hndeface.ops.fills import level, material, noise
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.front import read_front
from fw_gear_hndeface.ops.morphology import distance_mm
from fw_gear_hndeface.ops.near import airways, look, look_at_face, outside_hull, patient_of
from tests import phantom as make
from tests.scenes import places, scene, scene_of

SPACING = np.array([3.0, 0.98, 1.2])


def grid(shape: tuple[int, int, int] = (40, 90, 70)) -> Grid:
    return Grid(shape, np.diag([*SPACING, 1.0]))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_distances_are_exact(share: float) -> None:
    array = np.random.default_rng(4).random((20, 31, 17)) < share
    assert np.allclose(distance_mm(array, SPACING), ndimage.distance_transform_edt(array, SPACING), atol=1e-3)


def test_distances_without_an_edge() -> None:
    assert not distance_mm(np.zeros((5, 6, 7), dtype=np.bool_), SPACING).any()
    assert (distance_mm(np.ones((5, 6, 7), dtype=np.bool_), SPACING) > 100).all()


def test_noise_is_as_smooth_in_mm_along_every_axis() -> None:
    field = noise(grid(), np.random.default_rng(1), 4.0)
    assert (field.mean(), field.std()) == (pytest.approx(0.0, abs=0.2), pytest.approx(1.0, abs=0.01))
    for axis, step in enumerate(SPACING):
        lag = round(6.0 / step)
        ahead = np.take(field, range(lag, field.shape[axis]), axis)
        likeness = np.mean(ahead * np.take(field, range(field.shape[axis] - lag), axis))
        assert likeness == pytest.approx(np.exp(-((lag * step) ** 2) / (4 * 4.0**2)), abs=0.12)


def test_a_level_is_even_between_0_and_1() -> None:
    field = level(grid((60, 200, 170)), np.random.default_rng(1), 8.0)
    assert field.shape == (60, 200, 170)
    shares = np.histogram(field, bins=5, range=(0.0, 1.0))[0] / field.size
    assert np.all(np.abs(shares - 0.2) < 0.08)
    assert np.abs(np.diff(field, axis=1)).max() < 0.2


def test_tissue_has_the_values_of_its_neighbours() -> None:
    here = scene()
    near = look_at_face(here.scan, here.frame, ears=False)
    ring = (near.scan.array > 20) & (near.scan.array < 50)
    made = material("face", near, ring, np.random.default_rng(1))
    assert made.shape == near.grid.shape
    assert 20 <= made.min() < made.max() <= 50
    assert abs(np.median(made) - np.median(near.scan.array[ring])) < 1.0
    nothing = material("face", near, np.zeros_like(ring), np.random.default_rng(1))
    assert abs(nothing.mean()) < 2.0


def test_the_patient_is_the_true_body_without_shell_and_without_air() -> None:
    for head in (make.phantom(plain=True), make.with_shell()):
        here = scene_of(head)
        near = look_at_face(here.scan, here.frame, ears=False)
        truth = head.structures["BODY"].array[near.box]
        found = patient_of(near, here.body)
        assert 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum()) > 0.985
        deep = ndimage.distance_transform_edt(truth, near.grid.spacing_mm) > 12.0
        assert found[deep].all(), "nose and throat belong to the patient"


def test_nostrils_are_airways_and_the_room_is_not() -> None:
    array = np.zeros((40, 60, 50), dtype=np.bool_)
    array[:30, 20:, 5:45] = True
    array[10:13, 20:50, 20:23] = False
    body = Mask(Grid(array.shape, np.diag([2.0, 2.0, 2.0, 1.0])), array, "block")
    found = airways(body).array
    assert found[11, 26:49, 21].all()
    assert not found[:, :17].any()
    assert not found[35:].any()


def test_the_hull_is_measured_in_mm() -> None:
    frame = HeadFrame(np.zeros(3), np.eye(3), 1.0)
    names = ("brow_left", "brow_right", "chin")
    x, z = np.array([0.0, 0.0, 0.0]), np.array([0.0, 16.3 + 9.0, 16.3])
    away = outside_hull(Landmarks(), frame, names, (x, z))
    assert away[0] < -5.0
    assert away[1:] == pytest.approx([9.0, 0.0], abs=1e-3)


def test_a_box_outside_the_scan_is_refused() -> None:
    here = scene(plain=False)
    with pytest.raises(LandmarkError, match="outside the scan"):
        look(here.scan, here.frame, (0.0, 0.0, 900.0), (10.0, 10.0, 950.0))


def test_places_are_head_frame_mm() -> None:
    here = scene(plain=False)
    near = look(here.scan, here.frame, (-20.0, -20.0, -20.0), (20.0, 20.0, 20.0))
    truth = places(here)[near.box]
    for axis in range(3):
        assert np.allclose(near.place(axis), truth[..., axis], atol=1e-3)


@pytest.mark.parametrize("at", ["brow", "below_eyes"])
def test_a_cut_end_is_no_face(at: str) -> None:
    here = scene(at=at)
    front = read_front(here.scan, here.body, here.frame)
    whole = scene()
    truth = read_front(whole.scan, whole.body, whole.frame)
    both = front.seen & truth.seen
    both[:, :25] = both[:, 166:] = False
    assert np.count_nonzero(both) > 10_000
    assert np.abs(front.skin - truth.skin)[both].max() < 6.0
    top = np.nonzero(front.seen.any(axis=1))[0].max()
    assert np.all(np.abs(front.skin[top + 1 : top + 6, 95] - front.skin[top, 95]) < 12.0)
