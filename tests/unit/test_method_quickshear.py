"""quickshear lays the plane that the published package lays, finds the brain by itself, and refuses what it cannot know."""

from __future__ import annotations

import warnings
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from quickshear import quickshear as published

from fw_gear_hndeface.errors import LandmarkError, ProtectionError
from fw_gear_hndeface.methods import quickshear
from fw_gear_hndeface.methods.quickshear import Line, find_brain, line_by_landmarks, line_under
from fw_gear_hndeface.model import Landmarks
from tests import phantom as make
from tests.scenes import outcome, places, scene

SIZE = 150


def brains() -> dict[str, np.ndarray]:
    """Brain masks, 1 mm voxels, axes left, posterior, superior; as long as they are high, as the package needs."""
    x, y, z = np.meshgrid(np.arange(60), np.arange(SIZE), np.arange(SIZE), indexing="ij")
    egg = ((x - 30) / 25) ** 2 + ((y - 75) / 62) ** 2 + ((z - 105) / 38) ** 2 < 1
    lobe = ((x - 30) / 20) ** 2 + ((y - 85) / 30) ** 2 + ((z - 75) / 22) ** 2 < 1
    wedge = (z > 95 - 0.5 * (y - 15)) & (y > 15) & (y < 130) & (z < 135) & (x > 5) & (x < 55)
    return {"egg": egg, "egg with lobe": egg | lobe, "wedge": wedge}


@pytest.mark.parametrize("shape", brains())
def test_the_plane_is_the_published_packages(shape: str) -> None:
    brain = brains()[shape]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    whole = nib.Nifti1Image(np.ones(brain.shape, dtype=np.int16), affine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = published(whole, nib.Nifti1Image(brain.astype(np.uint8), affine), 10).get_fdata()[30] == 0
    line = line_under(np.argwhere(brain.any(axis=0)).astype(np.float64), 10.0)
    y, z = np.indices(theirs.shape)
    ours = z < line.slope * y + line.rise_mm
    assert theirs.sum() > 800
    assert np.count_nonzero(ours != theirs) < 0.03 * theirs.sum()
    off = np.abs(line.slope * y + line.rise_mm - z) / np.hypot(line.slope, 1.0)
    assert off[ours != theirs].max(initial=0.0) < 1.0, "less than a voxel apart"
    assert not np.any(ours & brain.any(axis=0))


def test_a_hull_worked_out_by_hand() -> None:
    points = np.array([[0.0, 50.0], [10.0, 20.0], [20.0, 18.0], [5.0, 60.0], [40.0, 30.0]])
    line = line_under(points, 10.0)
    assert line == Line(-3.0, 37.0), "from (-1, 50) to (9, 20), less 10; the silhouette reaches 1 mm beyond its points"


@pytest.mark.parametrize("plain", [False, True])
def test_the_brain_is_found_in_a_whole_head(plain: bool) -> None:
    here, truth = scene(plain=plain), make.phantom(plain=plain).structures["Brain"]
    found = find_brain(here)
    assert found is not None
    index = np.rint(found.grid.to_index(truth.grid.to_patient(np.argwhere(truth.array)))).astype(int)
    assert found.array[tuple(index.T)].mean() > 0.75
    assert 0.75 < found.volume_ml / truth.volume_ml < 1.15


@pytest.mark.parametrize("at", ["brow", "eyes"])
def test_a_cut_cranium_has_no_brain_to_go_by(at: str) -> None:
    assert find_brain(scene(at=at)) is None


def test_face_is_sheared_off_under_the_brain() -> None:
    here, head = scene(), make.phantom(plain=True)
    done = outcome(here, "quickshear")
    shares = {name: done.changed[mask.array].mean() for name, mask in head.structures.items()}
    assert shares["Brain"] < 0.01
    assert shares["Bone_Mandible"] > 0.2
    assert shares["Lens_L"] == 1.0
    assert shares["SpinalCord"] == 0.0
    assert np.all(done.after[done.changed] == -1000)


def test_a_cut_cranium_takes_nasion_and_hyoid() -> None:
    here = scene(at="brow")
    line = line_by_landmarks(here)
    nasion = (here.landmarks["nasion"].point - here.frame.origin) @ here.frame.axes.T
    assert line.slope * (nasion[1] + 10.0) + line.rise_mm == pytest.approx(nasion[2] - 10.0)
    assert line.slope * 42.0 * here.frame.scale + line.rise_mm == pytest.approx(-120.0 * here.frame.scale)
    place, done = places(here), outcome(here, "quickshear")
    below = place[..., 2] < line.slope * place[..., 1] + line.rise_mm
    assert not np.any(done.changed & ~below)


def test_neither_brain_nor_nasion_is_refused() -> None:
    here = scene(at="brow")
    rest = Landmarks({name: mark for name, mark in here.landmarks.items() if name != "nasion"})
    with pytest.raises(LandmarkError, match="cranium is not whole"):
        quickshear.propose(replace(here, landmarks=rest))


def test_a_nasion_that_is_not_sure_is_refused() -> None:
    here = scene(at="brow")
    vague = here.landmarks.updated({"nasion": replace(here.landmarks["nasion"], sigma_mm=9.0)})
    with pytest.raises(LandmarkError, match="another method"):
        quickshear.propose(replace(here, landmarks=vague))


def test_a_plane_through_the_middle_of_the_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickshear, "HYOID_MM", np.array([0.0, 120.0, -60.0]))
    with pytest.raises(ProtectionError, match="% of the body in view"):
        quickshear.propose(scene(at="brow"))
