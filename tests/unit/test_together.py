"""Phases of one scan change alike, or say that they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fw_gear_hndeface.casework import Case, Defaced
from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.together import follow_leader, leader_of
from tests import chain

Numbers = NDArray[np.int16]


@pytest.fixture(scope="module")
def leader() -> Defaced:
    return chain.defaced()[1]


@pytest.fixture(scope="module")
def scan() -> Volume:
    return chain.defaced()[0].volume


def other_phase(scan: Volume, seed: int = 1) -> Volume:
    """The same head at another time: other noise, and the neck moved by breath."""
    array = scan.array.astype(np.int16).copy()
    array += np.random.default_rng(seed).normal(0, 9, array.shape).astype(np.int16)
    array[:12] = np.roll(array[:12], 1, axis=1)
    return Volume(scan.grid, np.clip(array, -1024, 3071))


def follow(scan: Volume, leader: Defaced, padding: Mask | None = None) -> Defaced | None:
    return follow_leader(Case(scan, padding, (), "CT series 1, stack 2"), leader, Settings(), chain.no_stage)


@pytest.fixture(scope="module")
def made(scan: Volume, leader: Defaced) -> Defaced:
    followed = follow(other_phase(scan), leader)
    assert followed is not None
    return followed


def test_another_phase_changes_by_the_same_plan_to_the_same_values(scan: Volume, leader: Defaced, made: Defaced) -> None:
    phase = other_phase(scan)
    first, second = leader.plan.apply(scan).array, made.plan.apply(phase).array
    change = np.asarray(leader.plan.change.array)
    assert np.array_equal(made.plan.change.array, change)
    assert np.array_equal(first[change], second[change])
    assert np.array_equal(second[~change], phase.array[~change])


def test_the_other_phase_is_measured_by_itself(leader: Defaced, made: Defaced) -> None:
    assert made.assessment.passed
    assert made.assessment is not leader.assessment
    assert made.cost != leader.cost
    assert [finding.code for finding in made.findings] == ["shared_plan"]


def test_padding_of_the_other_phase_stays(scan: Volume, leader: Defaced) -> None:
    k, j, i = np.argwhere(leader.plan.change.array)[500]
    padding = np.zeros(scan.grid.shape, dtype=np.bool_)
    padding[k, j, i] = True
    made = follow(other_phase(scan), leader, Mask(scan.grid, padding, "padding"))
    assert made is not None
    assert not made.plan.change.array[k, j, i]
    assert made.plan.change.count == leader.plan.change.count - 1


def test_a_head_that_moved_out_of_the_plan_does_not_follow_it(scan: Volume, leader: Defaced) -> None:
    moved = Volume(scan.grid, np.roll(scan.array, -14, axis=1))
    assert follow(moved, leader) is None


def test_an_empty_phase_does_not_follow(scan: Volume, leader: Defaced) -> None:
    assert follow(Volume(scan.grid, np.full(scan.grid.shape, -1000, np.int16)), leader) is None


def test_only_volumes_of_one_grid_and_frame_share_a_plan(scan: Volume, leader: Defaced) -> None:
    done = [(scan, leader)]
    affine = np.array(scan.grid.affine)
    affine[0, 3] += 0.5
    assert leader_of(scan, done) is leader
    assert leader_of(other_phase(scan), done) is leader
    assert leader_of(scan, []) is None
    for grid in (replace(scan.grid, frame="1.2.3"), Grid(scan.grid.shape, affine, scan.grid.frame)):
        assert leader_of(Volume(grid, scan.array), done) is None
    nowhere = Volume(replace(scan.grid, frame=""), scan.array)
    assert leader_of(nowhere, [(nowhere, leader)]) is None
