"""segmented_face and nnunet: exactly the labelled face, with the fill that was asked for, from the right maker's map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.model import Label, LabelMap, RoiKind
from tests.scenes import outcome, places, scene

BOTH = pytest.mark.parametrize(("name", "source"), [("segmented_face", "given"), ("nnunet", "nnunet")])


def face_of(source: str, *, plain: bool = False) -> LabelMap:
    return next(labels for labels in scene(plain=plain).labels if labels.source == source)


@BOTH
def test_changes_the_labelled_voxels_to_air_and_nothing_else(name: str, source: str) -> None:
    here = scene(plain=False)
    face = face_of(source).array == 1
    done = outcome(here, name)
    assert not (done.changed & ~face).any()
    assert (done.after[face] == -1000.0).all()
    assert done.changed[face & (done.before > -900)].all()


@BOTH
def test_reads_only_the_maps_of_its_own_maker(name: str, source: str) -> None:
    here = scene(plain=False)
    others = tuple(labels for labels in here.labels if labels.source != source)
    with pytest.raises(LandmarkError, match=f"{name}: no label map names a face"):
        outcome(replace(here, labels=others), name)
    with pytest.raises(LandmarkError, match="Give one with a label called face"):
        outcome(replace(here, labels=()), name)


@pytest.mark.parametrize(("fill", "low", "high"), [("air", -1000, -1000), ("-300", -300, -300), ("face", -140, 90)])
def test_any_fill_takes_the_face_s_place(fill: str, low: float, high: float) -> None:
    here = scene(plain=False)
    done = outcome(replace(here, fill=fill), "segmented_face")
    values = done.after[done.changed]
    assert values.min() >= low
    assert values.max() <= high


def test_a_second_try_takes_more() -> None:
    here = scene(plain=True)
    one, two = (outcome(replace(here, strength=strength), "segmented_face") for strength in (1.0, 1.5))
    assert np.all(two.changed[one.changed])
    assert two.ml(two.changed) > 1.1 * one.ml(one.changed)
    grown = ndimage.distance_transform_edt(face_of("given", plain=True).array == 0, sampling=here.scan.grid.spacing_mm)
    assert grown[two.changed].max() <= 6.0 * here.frame.scale + 0.01


def test_ears_belong_to_it_and_other_labels_do_not() -> None:
    here = scene(plain=False)
    x = places(here)[..., 0]
    whole = face_of("given")
    array = np.where(whole.array == 1, np.where(x > 0, 1, 2), 0).astype(np.uint16)
    ears = {1: Label(1, "ears", "ears", RoiKind.OTHER), 2: Label(2, "brain", "brain", RoiKind.ORGAN)}
    changed = outcome(replace(here, labels=(replace(whole, array=array, labels=ears),)), "segmented_face").changed
    assert changed.any()
    assert (x[changed] > 0).all()


def test_a_label_far_from_the_face_is_no_face() -> None:
    here = scene(plain=False)
    whole = face_of("given")
    away = whole.grid.affine.copy()
    away[2, 3] -= 600.0
    grid = replace(whole.grid, affine=away)
    with pytest.raises(LandmarkError, match="where the face is"):
        outcome(replace(here, labels=(replace(whole, grid=grid),)), "segmented_face")
