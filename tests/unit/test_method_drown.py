"""drown takes a rim of the stated thickness, builds a wall of tissue values before it, and stops at bone and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods.drown import Rim, propose
from fw_gear_hndeface.model import Mask
from tests import phantom as make
from tests.scenes import outcome, places, scene

FLAT = Rim(depth_mm=(8.0, 8.0), wall_mm=(20.0, 20.0), ears=False)


def depths() -> tuple[np.ndarray, np.ndarray]:
    """Depth under the true skin and height over it, mm, of the plain phantom's voxels."""
    body = make.phantom(plain=True).structures["BODY"]
    spacing = np.linalg.norm(body.grid.affine[:3, :3], axis=0)
    return ndimage.distance_transform_edt(body.array, spacing), ndimage.distance_transform_edt(~body.array, spacing)


def middle(here) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Voxels well inside the hull of the face as seen from in front."""
    place = places(here) / here.frame.scale
    return (np.abs(place[..., 0]) < 35) & (place[..., 2] > -80) & (place[..., 2] < 10) & (place[..., 1] < 40)


def test_the_rim_is_as_thick_as_stated() -> None:
    here = scene()
    done = outcome(replace(here, fill="air"), propose(replace(here, fill="air"), FLAT))
    inside, _ = depths()
    tissue = done.before > -300
    gone = tissue & (done.after <= -300)
    assert inside[gone].max() < 8.0 + 3.5, "not deeper, but for a voxel of disagreement about the skin"
    soft = middle(here) & tissue & (done.before < 200) & (inside > 0.0) & (inside < 5.0)
    near_bone = ndimage.binary_dilation(done.before >= 250, iterations=2)
    skin = soft & ~near_bone & ndimage.binary_dilation(~tissue, iterations=3)
    assert gone[skin].mean() > 0.9


def test_the_default_rim_varies_between_4_and_14_mm() -> None:
    here = replace(scene(), fill="air")
    done = outcome(here, propose(here, Rim(ears=False)))
    inside, _ = depths()
    gone = (done.before > -300) & (done.after <= -300)
    assert 10.0 < inside[gone].max() < 14.0 + 3.5
    soft = middle(here) & (done.before > -300) & (done.before < 200) & ~gone
    assert (inside[soft] < 6.5).any(), "in places no deeper than 4 mm"


def test_the_wall_is_as_high_as_stated_and_of_tissue_values() -> None:
    here = scene()
    done = outcome(here, propose(here, FLAT))
    _, height = depths()
    wall = (done.before <= -300) & done.changed
    assert 15.0 < height[wall].max() < 20.0 + 3.5
    assert (done.after[wall] >= -125).all()
    assert (done.after[wall] <= 50).all()
    near = middle(here) & (height > 3.0) & (height < 14.0) & (places(here)[..., 1] < -10)
    assert (done.after[near] > -200).mean() > 0.95
    assert done.ml((done.before > -300) & (done.after <= -300)) == 0.0


def test_wall_and_rim_cannot_be_told_apart_by_value() -> None:
    done = outcome(scene(), propose(scene(), FLAT))
    wall, rim = ((sign * (done.before + 300) > 0) & done.changed for sign in (-1, 1))
    assert abs(done.after[wall].mean() - done.after[rim].mean()) < 6.0
    assert 0.85 < done.after[wall].std() / done.after[rim].std() < 1.15


def test_bone_and_keep_stop_the_flood() -> None:
    here, head = replace(scene(), fill="air"), make.phantom(plain=True)
    done = outcome(here, "drown")
    assert not np.any(done.changed & (done.before >= 250) & head.structures["BODY"].array)
    kept = ndimage.binary_dilation(head.structures["LN_Neck_IX_L"].array, iterations=2)
    plan = propose(replace(here, keep=Mask(here.scan.grid, kept, "node")))
    assert not np.any(plan.change.array & kept)


def test_the_edge_of_the_scan_stays() -> None:
    head = make.phantom(plain=True)
    here = scene()
    front = np.argwhere(head.structures["BODY"].array)[:, 1].min()
    cropped = make.crop(head, (slice(None), slice(int(front) + 6, None), slice(None)))
    there = replace(here, scan=cropped.volume, keep=Mask.empty(cropped.volume.grid, "nothing"))
    done = outcome(there, "drown")
    assert not done.changed[:, :2].any()
    assert done.changed[:, 2:].any()


@pytest.mark.parametrize("fill", ["30", "-90"])
def test_a_number_fills_rim_and_wall(fill: str) -> None:
    here = replace(scene(plain=False), fill=fill)
    done = outcome(here, "drown")
    assert set(done.after[done.changed]) == {float(fill)}
