"""carve takes the same depth everywhere, which is why it leaks; with tissue for a fill it is the published drowning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods.carve import Cut, propose
from fw_gear_hndeface.methods.contract import Scene
from fw_gear_hndeface.model import Mask
from tests import phantom as make
from tests.scenes import Outcome, outcome, scene
from tests.unit.test_method_drown import depths, middle

#: The scan's voxels are up to 3 mm, and so far two notions of its skin may lie apart, mm.
VOXEL_MM = 3.5


def before_at(here: Scene, done: Outcome, voxels: np.ndarray, ahead_mm: float) -> np.ndarray:
    """HU before the change, so far in front of voxels (N, 3) along the head's own y axis."""
    grid = here.scan.grid
    step = np.linalg.inv(grid.affine[:3, :3]) @ (here.frame.axes[1] * ahead_mm)
    return ndimage.map_coordinates(done.before.astype(float), (voxels - step).T, order=1, mode="nearest")


@pytest.mark.parametrize("depth_mm", [6.0, 12.0])
def test_everything_goes_to_the_stated_depth_as_seen_from_in_front(depth_mm: float) -> None:
    here = scene()
    done = outcome(here, propose(here, Cut(depth_mm=depth_mm)))
    gone = (done.before > -300) & (done.after <= -300)
    ahead = before_at(here, done, np.argwhere(gone), depth_mm + VOXEL_MM)
    assert (ahead <= -300).mean() > 0.97, "nothing deeper"
    tissue = np.argwhere(middle(here) & (done.before > -300))
    shallow = np.all([before_at(here, done, tissue, depth_mm - VOXEL_MM + more) <= -300 for more in (0, 10, 20, 30)], axis=0)
    assert gone[tuple(tissue[shallow].T)].mean() > 0.9


def test_air_before_the_face_stays_as_it_was() -> None:
    here = scene()
    done = outcome(here, propose(here))
    _, height = depths()
    room = np.cumsum(done.before > -300, axis=1) == 0
    assert not np.any(done.changed & room & (height > VOXEL_MM))


def test_with_tissue_for_a_fill_the_wall_is_noise_without_grain() -> None:
    here = replace(scene(), fill="face")
    done = outcome(here, propose(here))
    _, height = depths()
    wall = (done.before <= -300) & done.changed
    assert 15.0 < height[wall].max() < 20.0 + VOXEL_MM
    values = done.after[wall].astype(float)
    assert values.min() >= -125
    assert values.max() < 50
    assert values.std() == pytest.approx(175 / np.sqrt(12), rel=0.05), "uniform between fat and muscle"
    beside = wall[..., 1:] & wall[..., :-1]
    left, right = done.after[..., :-1][beside].astype(float), done.after[..., 1:][beside].astype(float)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_bone_goes_too_and_what_is_kept_stays() -> None:
    here, head = scene(), make.phantom(plain=True)
    done = outcome(here, propose(here))
    assert np.any(done.changed & (done.before >= 250) & head.structures["BODY"].array), "the depth is the same over bone"
    kept = head.structures["Eye_L"].array
    plan = propose(here).without(Mask(here.scan.grid, kept, "eye"))
    assert not np.any(plan.change.array & kept)
    assert np.any(propose(here).change.array & kept), "the eye lies in what the method would take"


def test_the_published_rim_is_grown_slice_by_slice() -> None:
    here = replace(scene(), fill="face")
    done = outcome(here, propose(here))
    body = make.phantom(plain=True).structures["BODY"].array
    spacing = np.linalg.norm(here.scan.grid.affine[:3, :3], axis=0)[1:]
    flat = np.array([ndimage.distance_transform_edt(part, spacing) if part.any() else part * 0.0 for part in body])
    rim = done.changed & body
    assert 13.0 - VOXEL_MM < flat[rim].max() < 13.0 + VOXEL_MM
