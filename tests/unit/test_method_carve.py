"""carve takes the same depth everywhere, which is why it leaks; with tissue for a fill it is the published drowning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods.carve import Cut, propose
from fw_gear_hndeface.model import Mask
from tests import phantom as make
from tests.scenes import outcome, scene
from tests.unit.test_method_drown import depths, middle

#: The scan's voxels are up to 3 mm, and so far two notions of its skin may lie apart, mm.
VOXEL_MM = 3.5


@pytest.mark.parametrize("depth_mm", [6.0, 12.0])
def test_soft_tissue_goes_to_the_stated_depth_and_no_deeper(depth_mm: float) -> None:
    here = scene()
    done = outcome(here, propose(here, Cut(depth_mm=depth_mm)))
    inside, _ = depths()
    gone = (done.before > -300) & (done.after <= -300)
    assert depth_mm - VOXEL_MM < inside[gone].max() < depth_mm + VOXEL_MM
    near_bone = ndimage.binary_dilation(done.before >= 250, iterations=2)
    shallow = middle(here) & (done.before > -300) & ~near_bone & (inside > 0) & (inside < depth_mm - VOXEL_MM)
    shallow &= ndimage.binary_dilation(done.before <= -300, iterations=3)
    assert gone[shallow].mean() > 0.9


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


def test_bone_and_what_is_kept_stay() -> None:
    here, head = scene(), make.phantom(plain=True)
    done = outcome(here, propose(here))
    assert not np.any(done.changed & (done.before >= 250) & head.structures["BODY"].array)
    kept = head.structures["Eye_L"].array
    plan = propose(here).without(Mask(here.scan.grid, kept, "eye"))
    assert not np.any(plan.change.array & kept)
    assert np.any(propose(here).change.array & kept), "the eye lies in what the method would take"
