"""eye_plane removes exactly its half-space, follows the head, and refuses where no eye is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.eye_plane import Plane, propose
from fw_gear_hndeface.model import Landmarks
from tests import phantom as make
from tests.scenes import outcome, places, scene, scene_of


def half_space(here, behind_mm: float = 0.0) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Before the globes' middle and above the orbital floor, 13 mm under them; to the ends of the face region."""
    place, scale = places(here), here.frame.scale
    eyes = np.array([here.landmarks[f"globe_{side}"].point for side in ("left", "right")])
    y, z = ((eyes - here.frame.origin) @ here.frame.axes.T).mean(axis=0)[1:]
    low, high = np.array([-105, -130, -175]) + 0.01, np.array([105, 100, 100]) - 0.01
    inside = np.all((place >= low * scale) & (place <= high * scale), axis=-1)
    return inside & (place[..., 1] < y + behind_mm * scale) & (place[..., 2] >= z - 13.0 * scale)


@pytest.mark.parametrize("pose", [(0, 0, 0), (15, 0, 0), (0, 8, -6)])
def test_everything_in_the_half_space_is_air_and_nothing_else_changes(pose: tuple[float, float, float]) -> None:
    here = scene_of(make.posed(*pose)) if any(pose) else scene(plain=False)
    done, cut = outcome(here, "eye_plane"), half_space(here)
    assert np.all(done.after[cut] == -1000)
    assert np.array_equal(done.after[~cut], done.before[~cut])
    assert done.ml(cut & (done.before > -300)) > 100


def test_the_orbits_empty_and_mouth_and_chin_stay() -> None:
    head, here = make.phantom(plain=True), scene()
    changed = outcome(here, "eye_plane").changed
    lenses = head.structures["Lens_L"].array | head.structures["Lens_R"].array
    eyes = head.structures["Eye_L"].array | head.structures["Eye_R"].array
    assert changed[lenses].mean() == 1.0
    assert 0.3 < changed[eyes].mean() < 0.8
    for whole in ("Bone_Mandible", "Parotid_L", "Glnd_Submand_R", "Teeth", "Cavity_Oral"):
        assert not changed[head.structures[whole].array].any(), whole


def test_the_plane_can_lie_before_the_lenses() -> None:
    here = scene()
    done = outcome(here, propose(here, Plane(behind_mm=-15.0)))
    assert np.array_equal(done.after == -1000, half_space(here, -15.0) | (done.before == -1000))


@pytest.mark.parametrize("hu", ["-500", "40"])
def test_a_number_fills_the_half_space(hu: str) -> None:
    here = replace(scene(plain=False), fill=hu)
    assert np.all(outcome(here, "eye_plane").after[half_space(here)] == float(hu))


def test_an_eye_that_is_cut_off_is_refused() -> None:
    with pytest.raises(LandmarkError, match="eyes are not in the scan"):
        propose(scene(at="below_eyes"))


def test_an_eye_that_is_not_known_is_refused() -> None:
    here = scene(plain=False)
    rest = Landmarks({name: mark for name, mark in here.landmarks.items() if name != "globe_left"})
    with pytest.raises(LandmarkError, match="structure set with both eyes"):
        propose(replace(here, landmarks=rest))


def test_an_eye_that_is_not_sure_is_refused() -> None:
    here = scene(plain=False)
    vague = here.landmarks.updated({"globe_right": replace(here.landmarks["globe_right"], sigma_mm=9.0)})
    with pytest.raises(LandmarkError, match="not sure enough"):
        propose(replace(here, landmarks=vague))
