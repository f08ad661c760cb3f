"""biometric_mask cuts the lower face and the ears and leaves the eyes; the losses of the published boxes come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.methods.biometric_mask import Boxes, propose
from tests import phantom as make
from tests.scenes import outcome, places, scene


def test_everything_of_the_patient_in_the_face_box_is_air() -> None:
    here, body = scene(), make.phantom(plain=True).structures["BODY"].array
    done, place = outcome(here, "biometric_mask"), places(here) / here.frame.scale
    chin = ((here.landmarks["chin"].point - here.frame.origin) @ here.frame.axes[2]) / here.frame.scale
    z = place[..., 2]
    box = (np.abs(place[..., 0]) < 40) & (place[..., 1] < 19) & (z < -26) & (z > chin - 5.0)
    assert np.all(done.after[box & body] <= -950)
    sides = (np.abs(place[..., 0]) < 70) & (place[..., 1] < 60)
    assert not np.any(done.changed & sides & ~box)


def test_eyes_and_forehead_stay_and_the_mandible_is_cut() -> None:
    here, head = scene(), make.phantom(plain=True)
    changed = outcome(here, "biometric_mask").changed
    shares = {name: changed[mask.array].mean() for name, mask in head.structures.items()}
    for whole in ("Eye_L", "Eye_R", "Lens_L", "OpticNrv_R", "Brain", "Parotid_L", "SpinalCord"):
        assert shares[whole] < 0.01, whole
    assert shares["Bone_Mandible"] > 0.25
    assert shares["Cavity_Oral"] > 0.1


def test_the_ears_boxes_follow_the_template() -> None:
    here = scene()
    place = places(here) / here.frame.scale
    x, y, z = np.moveaxis(place, -1, 0)
    ears = (np.abs(x) > 79) & (y > 73) & (y < 135) & (z > -33) & (z < 26)
    with_ears = outcome(here, propose(here)).changed
    without = outcome(here, propose(here, Boxes(ears=False))).changed
    assert np.any(with_ears & ears)
    assert not np.any(without & ears)
    assert np.array_equal(with_ears & ~without, with_ears & ears)


@pytest.mark.parametrize("fill", ["face", "35"])
def test_another_fill_stays_within_the_skin(fill: str) -> None:
    here = replace(scene(plain=False), fill=fill)
    done = outcome(here, "biometric_mask")
    assert done.ml((done.before <= -300) & (done.after > -300)) < 30.0, "nostrils and mouth are all that is filled"
    assert done.after[done.changed].min() >= -125
    assert done.after[done.changed].max() <= 50
