"""overlay lays tissue before the face, removes none, bridges its hollows and leaves no edge of the old skin."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods.overlay import propose
from fw_gear_hndeface.model import Mask
from tests import phantom as make
from tests.scenes import outcome, places, scene, scene_of


def gap_at(here, done, name: str, move=(0.0, 0.0, 0.0)) -> float:  # type: ignore[no-untyped-def]
    """Distance of new from old skin on the ray through a landmark, mm, by voxels near that ray."""
    place = places(here)
    x, _, z = (here.landmarks[name].point + np.array(move) - here.frame.origin) @ here.frame.axes.T
    ray = np.hypot(place[..., 0] - x, place[..., 2] - z) < 2.6
    before, after = (place[..., 1][ray & (array > -300)].min() for array in (done.before, done.after))
    return float(before - after)


@pytest.mark.parametrize(("plain", "at"), [(True, None), (False, None), (True, "brow"), (True, "below_eyes")])
def test_no_tissue_is_removed(plain: bool, at: str | None) -> None:
    done = outcome(scene(plain=plain, at=at), "overlay")
    assert done.ml((done.before > -300) & (done.after <= -300)) == 0.0
    assert done.ml((done.before <= -300) & (done.after > -300)) > 50.0


def test_the_layer_is_3_to_8_mm_and_more_over_hollows() -> None:
    here = scene()
    done = outcome(here, "overlay")
    step = float(here.scan.grid.spacing_mm[1])
    for name in ("nose_tip", "chin", "lip_upper"):
        assert 3.0 - step < gap_at(here, done, name) < 14.0, name
    eye, nose = (gap_at(here, done, name) for name in ("canthus_inner_left", "nose_tip"))
    assert eye > nose + 3.0, "the hollow beside the nose is bridged"
    assert done.ml(done.after[done.changed] > -300) < 400


def test_the_old_skin_is_made_anew() -> None:
    here = scene()
    place, done = places(here), outcome(here, "overlay")
    cheek = (here.landmarks["mouth_left"].point - here.frame.origin) @ here.frame.axes.T + np.array([8.0, 0.0, 12.0])
    ray = np.hypot(place[..., 0] - cheek[0], place[..., 2] - cheek[2]) < 2.0
    old = place[..., 1][ray & (done.before > -300)].min()
    shell = ray & (np.abs(place[..., 1] - old) < 1.5)
    assert done.changed[shell].all()
    assert (done.after[shell] > -200).all(), "no dark film is left where the skin was"
    deep = ray & (place[..., 1] > old + 8.0)
    assert not (done.changed & deep & (done.before > -200)).any()


def test_no_skin_in_sight_is_refused() -> None:
    here = scene_of(make.phantom())
    blind = type(here)(here.scan, Mask.empty(here.body.grid, "no body"), here.keep, here.landmarks, here.frame, 5)
    with pytest.raises(LandmarkError, match="no skin is seen"):
        propose(blind)
