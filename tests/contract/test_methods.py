"""Contract of every method beyond what tests/unit/test_method_contract.py holds: keep, inputs, number types, empty plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.methods import REGISTRY
from fw_gear_hndeface.model import Mask, Volume
from fw_gear_hndeface.settings import Settings
from tests.scenes import outcome, scene

EVERY = pytest.mark.parametrize("name", REGISTRY)


@EVERY
def test_the_proposal_is_on_the_scan_s_grid_and_says_who_made_it(name: str) -> None:
    here = scene(plain=False)
    made = outcome(here, name).proposal
    here.scan.grid.require_match(made.change.grid)
    assert made.method == name
    assert made.change.count > 100
    assert made.fill_hu.dtype == np.float32
    assert np.isfinite(made.fill_hu).all()
    assert Settings(method=name).method == name


@EVERY
def test_nothing_it_was_given_is_changed(name: str) -> None:
    here = scene(plain=False)
    given = (here.scan.array, here.body.array, here.keep.array, here.frame.axes, here.frame.origin)
    before = [array.tobytes() for array in given]
    marks = {mark: here.landmarks[mark].point.tobytes() for mark in here.landmarks}
    REGISTRY[name].propose(here)
    assert [array.tobytes() for array in given] == before
    assert {mark: here.landmarks[mark].point.tobytes() for mark in here.landmarks} == marks


@EVERY
def test_where_everything_is_kept_the_plan_is_empty(name: str) -> None:
    here = scene(plain=False)
    everything = Mask(here.scan.grid, np.ones(here.scan.grid.shape, dtype=np.bool_), "all of it")
    plan = REGISTRY[name].propose(replace(here, keep=everything)).without(everything)
    assert plan.change.count == 0
    assert np.array_equal(plan.apply(here.scan).array, here.scan.array)


@EVERY
def test_a_scan_of_real_numbers_changes_like_one_of_integers(name: str) -> None:
    here = scene(plain=False)
    real = replace(here, scan=Volume(here.scan.grid, here.scan.array.astype(np.float32)))
    one, two = outcome(here, name), outcome(real, name)
    assert (one.changed != two.changed).sum() < 0.06 * one.changed.sum(), "the grain of a fill may equal what was there"
    assert ((one.after > -500) != (two.after > -500)).sum() < 0.02 * one.changed.sum(), "tissue and air are the same"


@EVERY
def test_changed_values_differ_from_what_was_there(name: str) -> None:
    done = outcome(scene(plain=False), name)
    wasted = done.proposal.change.array & ~done.changed
    assert wasted.sum() < 0.25 * done.proposal.change.count
