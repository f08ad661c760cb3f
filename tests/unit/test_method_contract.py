"""What every registered method promises, on ugly, cut and turned phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.methods import REGISTRY
from fw_gear_hndeface.model import Mask
from fw_gear_hndeface.vocabulary import METHOD_NAMES
from tests import phantom as make
from tests.scenes import outcome, places, scene, scene_of

EVERY = pytest.mark.parametrize("name", METHOD_NAMES)
#: The face region in the head frame at scale 1, mm, written down again.
LOW, HIGH = np.array([-105.0, -130.0, -175.0]), np.array([105.0, 100.0, 100.0])


def test_the_registry_and_the_setting_name_the_same_methods() -> None:
    assert tuple(REGISTRY) == METHOD_NAMES
    assert METHOD_NAMES[0] == "membrane"
    assert all(name == method.name for name, method in REGISTRY.items())


@EVERY
def test_says_what_a_reader_must_know(name: str) -> None:
    method = REGISTRY[name]
    for text in (method.reference, method.removes, method.leaks, method.licence):
        assert 8 < len(text) < 140
    lacking = method.missing()
    assert lacking is None or "pip install" in lacking


@EVERY
@pytest.mark.parametrize("plain", [False, True])
def test_changes_the_face_within_its_bounds(name: str, plain: bool) -> None:
    here = scene(plain=plain)
    done, method = outcome(here, name), REGISTRY[name]
    place, reach = places(here), method.bounds.reach_mm
    assert done.ml(done.changed) > 40.0, "a face was in view"
    where = place[done.changed]
    assert np.all(where >= LOW * here.frame.scale - reach)
    assert np.all(where <= HIGH * here.frame.scale + reach)
    removed = done.ml((done.before > -300) & (done.after <= -300))
    assert removed <= method.bounds.most_removed_ml
    assert done.after.min() >= -1024
    assert done.after[done.changed].max() <= done.before.max()


@EVERY
def test_says_whether_another_try_changes_anything(name: str) -> None:
    here = scene(plain=False)
    one, two = (REGISTRY[name].propose(s) for s in (here, replace(here, seed=here.seed + 1, strength=1.5)))
    same = np.array_equal(one.change.array, two.change.array) and np.array_equal(one.fill_hu, two.fill_hu)
    assert REGISTRY[name].varies is not same


@EVERY
def test_leaves_what_lies_deep(name: str) -> None:
    here, head = scene(), make.phantom(plain=True)
    changed = outcome(here, name).changed
    deep = ["BrainStem", "SpinalCord"] + (["PTV70", "LN_Neck_II_L"] if name != "quickshear" else [])
    shares = {structure: changed[head.structures[structure].array].mean() for structure in deep}
    assert all(share < 0.02 for share in shares.values()), shares


@EVERY
def test_same_seed_same_bytes(name: str) -> None:
    here = scene(plain=False)
    one, two = REGISTRY[name].propose(here), REGISTRY[name].propose(here)
    assert np.array_equal(one.change.array, two.change.array)
    assert one.fill_hu.tobytes() == two.fill_hu.tobytes()


@pytest.mark.parametrize("name", ["membrane", "overlay", "reface", "drown", "pixelate"])
def test_another_seed_another_surface(name: str) -> None:
    here = scene(plain=False)
    one, two = (outcome(replace(here, seed=seed), name).after > -300 for seed in (5, 6))
    assert np.count_nonzero(one != two) > 25


@EVERY
def test_what_is_kept_stays(name: str) -> None:
    here, head = scene(plain=False), make.phantom()
    kept = head.structures["Bone_Mandible"].array | head.structures["Eye_L"].array
    keep = Mask(here.scan.grid, kept.copy(), "jaw and eye")
    plan = REGISTRY[name].propose(replace(here, keep=keep)).without(keep)
    after = plan.apply(here.scan)
    assert np.array_equal(after.array[kept], here.scan.array[kept])
    assert np.any(after.array != here.scan.array)


@EVERY
@pytest.mark.parametrize("at", ["brow", "eyes", "below_eyes", "below_nose"])
def test_a_cut_head_is_changed_or_refused_in_words(name: str, at: str) -> None:
    here = scene(at=at)
    if name == "eye_plane" and at != "brow":
        with pytest.raises(LandmarkError, match="another method"):
            outcome(here, name)
        return
    done = outcome(here, name)
    removed = done.ml((done.before > -300) & (done.after <= -300))
    assert done.ml(done.changed) > 10.0
    assert removed <= REGISTRY[name].bounds.most_removed_ml


@pytest.mark.parametrize("name", ["eye_plane", "quickshear", "biometric_mask", "blur"])
@pytest.mark.parametrize("how", ["sagittal", "prone"])
def test_the_order_of_the_array_does_not_matter(name: str, how: str) -> None:
    here = scene(plain=False)
    turned = make.turned(make.phantom(), how)
    there = replace(here, scan=turned.volume, keep=Mask.empty(turned.volume.grid, "nothing"))
    one, two = outcome(here, name), outcome(there, name)
    back = np.flip(two.after, (1, 2)) if how == "prone" else two.after.transpose(1, 2, 0)
    other = np.abs(one.after - back) > 0.6
    assert np.count_nonzero(other) <= 0.005 * np.count_nonzero(one.changed), "but for ties"


@pytest.mark.parametrize("name", ["overlay", "reface", "drown", "pixelate", "blur", "biometric_mask"])
def test_a_mask_shell_is_no_skin(name: str) -> None:
    shelled = scene_of(make.with_shell())
    bare, under = outcome(scene(), name), outcome(shelled, name)
    assert 0.6 < under.ml(under.changed) / bare.ml(bare.changed) < 1.6
