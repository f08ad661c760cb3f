"""The midline profile: chin and nose of drawn curves, and of cut phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.landmarks import geometry
from fw_gear_hndeface.landmarks.contract import Evidence
from fw_gear_hndeface.landmarks.geometry import SOURCE, find_chin, find_nose
from fw_gear_hndeface.model import Landmarks, Volume
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.ops.profile import Profile, read_profile
from fw_gear_hndeface.ops.resample import lps_grid
from tests import phantom as make
from tests.chain import SEED

#: Rows of a profile from above downwards, 2 mm apart; the chin's lower edge lies at z = 0.
Z = np.arange(70.0, -60.0, -2.0)


def profile(bone: np.ndarray | None = None, nose_mm: float = 14.0, top_mm: float = 70.0) -> Profile:
    """A straight face: skin at y = 0, the nose's tip 60 mm above the chin, jaw bone 11 mm deep, hyoid and spine behind."""
    skin = -nose_mm * np.clip(1 - np.abs(Z - 60.0) / 12.0, 0, 1)
    skin = np.where(Z < 0, np.minimum(-Z, 45.0), skin)
    jaw = np.where(Z >= 0, 11.0, np.where(Z > -45, 60.0, 70.0))
    keep = top_mm >= Z
    return Profile(3.0, Z[keep], skin[keep], (jaw if bone is None else bone)[keep])


def row_of(p: Profile, z: float) -> int:
    return int(np.abs(p.z - z).argmin())


def test_the_chin_is_where_the_jaw_bone_ends() -> None:
    p = profile()
    assert find_chin(p) == row_of(p, 0.0)


def test_the_jaw_is_followed_over_the_gap_of_the_mouth() -> None:
    bone = profile().bone.copy()
    bone[(Z < 34) & (Z > 14)] = np.nan
    p = profile(bone)
    assert find_chin(p) == row_of(p, 0.0)


def test_bone_deep_behind_the_skin_is_no_jaw() -> None:
    assert find_chin(profile(np.full(len(Z), 70.0))) is None
    assert find_chin(profile(np.full(len(Z), np.nan))) is None


def test_a_hyoid_near_the_skin_is_not_taken_for_the_chin() -> None:
    bone = profile().bone.copy()
    at = (Z < -20) & (Z > -30)
    bone[at] = profile().skin[at] + 18.0  # as near the skin as a jaw, but far behind it
    p = profile(bone)
    assert find_chin(p) == row_of(p, 0.0)


def test_the_nose_stands_before_the_lip() -> None:
    p = profile()
    assert find_nose(p, row_of(p, 0.0)) == row_of(p, 60.0)


@pytest.mark.parametrize("flat", [profile(nose_mm=3.0), profile(top_mm=38.0)], ids=["no relief", "cut below"])
def test_without_a_nose_in_view_there_is_none(flat: Profile) -> None:
    assert find_nose(flat, row_of(flat, 0.0)) is None


def test_a_lip_under_the_cut_end_is_no_nose_that_makes_the_face_too_small_for_anybody() -> None:
    """A chin that recedes far under full lips: they stand out 45 mm above it, and a nose there would be half an infant's."""
    p = profile(nose_mm=0.0, top_mm=62.0)
    lips = 12.0 * np.clip(1 - np.abs(p.z - 46.0) / 10.0, 0, 1)
    lipped = replace(p, skin=p.skin - lips)
    chin = row_of(p, 0.0)
    assert find_nose(lipped, chin) is not None
    assert geometry._laid(lipped, chin, "nose_tip", row_of(p, 46.0))[0].scale < geometry.SIZES[0]
    frame, sigma = geometry._frame(lipped, chin)
    assert frame.scale == 1.0
    assert sigma == geometry.SIGMA_NO_NOSE_MM
    assert np.linalg.norm(frame.canonical("chin") - [p.middle, p.skin[chin], p.z[chin]]) < 1e-6


def test_an_empty_window_has_no_profile() -> None:
    grid = lps_grid(np.array([[0.0, 0.0, 0.0], [60.0, 60.0, 80.0]]), 2.0)
    assert read_profile(Volume(grid, np.full(grid.shape, -1000.0, dtype=np.float32))) is None


def answer(at: str) -> tuple[Landmarks, Landmarks]:
    """The source's answer for a cut phantom, and the truth."""
    head = make.cut(make.phantom(SEED, plain=True), at)
    return SOURCE.locate(Evidence(next(head_windows(head.volume)))), head.landmarks


@pytest.mark.parametrize(("at", "most_mm"), [("below_eyes", 10.0), ("below_nose", 12.0)])
def test_a_cut_face_is_placed_by_chin_and_what_is_left(at: str, most_mm: float) -> None:
    found, truth = answer(at)
    for name in ("chin", "mouth_left", "mouth_right", "subnasale"):
        assert np.linalg.norm(found[name].point - truth[name].point) < most_mm, name
    assert {mark.source for mark in found.values()} == {"geometry"}


def test_without_the_nose_it_is_less_sure() -> None:
    with_nose, without = answer("below_eyes")[0], answer("below_nose")[0]
    assert without["chin"].sigma_mm > with_nose["chin"].sigma_mm >= 5.0


def test_the_profile_of_a_phantom_runs_downwards_through_its_midline() -> None:
    head = make.phantom(SEED, plain=True)
    window = next(head_windows(head.volume))
    found = read_profile(window.volume)
    assert found is not None
    assert np.all(np.diff(found.z) < 0)
    tip = head.landmarks["nose_tip"].point
    assert found.middle == pytest.approx(tip[0], abs=4.0)
    foremost = int(np.nanargmin(np.where(np.abs(found.z - tip[2]) < 40, found.skin, np.nan)))
    assert found.z[foremost] == pytest.approx(tip[2], abs=6.0)
    assert found.skin[foremost] == pytest.approx(tip[1], abs=4.0)
    assert np.nanmean(found.bone - found.skin > 0) > 0.95, "bone lies under skin"


def test_a_window_that_ends_at_the_chin_says_nothing() -> None:
    head = make.phantom(SEED, plain=True)
    grid = head.volume.grid
    k = int(grid.to_index(head.landmarks["chin"].point)[0])
    low = make.crop(head, (slice(0, k + 5), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
    window = next(head_windows(low.volume))
    assert len(SOURCE.locate(Evidence(replace(window)))) == 0
