"""From one patient space to another and back: matrices, displacement fields, chains, and scans carried along."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Roi, RoiKind
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.scan import Scan
from fw_gear_hndeface.ops.transform import Affine, Chain, Field, chained

RNG = np.random.default_rng(6)
POINTS = RNG.uniform(-60, 60, (40, 3))


def turn(degrees: float, shift: tuple[float, float, float]) -> Affine:
    t = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]]
    matrix[:3, 3] = shift
    return Affine(matrix)


def bump() -> Field:
    """Up to 6 mm to the left, dying away within 60 mm of the origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([4.0, 4.0, 4.0]))
    affine[:3, 3] = -100.0
    grid = Grid((51, 51, 51), affine)
    away = np.linalg.norm(grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)), axis=-1)
    offsets = np.zeros((*grid.shape, 3))
    offsets[..., 0] = 6.0 * np.exp(-((away / 40.0) ** 2))
    return Field(grid, offsets)


def test_a_matrix_moves_points_and_lattices_alike() -> None:
    move = turn(20.0, (3.0, -5.0, 100.0))
    affine = np.diag([3.0, 2.0, 1.0, 1.0])
    affine[:3, :3] = np.fliplr(affine[:3, :3])
    grid = Grid((4, 5, 6), affine, "a")
    moved = move.moved(grid, "b")
    assert moved.frame == "b"
    assert np.allclose(moved.to_patient([3, 1, 2]), move(grid.to_patient([3, 1, 2])))
    assert np.allclose(move(np.array([0.0, 1.0, 0.0])), [3.0, -5.0 + np.cos(np.radians(20)), 100 + np.sin(np.radians(20))])


@pytest.mark.parametrize(
    "transform", [turn(17.0, (1, 2, 3)), bump(), chained([turn(5.0, (9, 0, 0)), bump(), turn(-8.0, (0, 1, 0))])]
)
def test_the_way_back_leads_back(transform: Affine | Field | Chain) -> None:
    there = transform(POINTS)
    assert np.abs(there - POINTS).max() > 1
    assert np.abs(transform.inverse()(there) - POINTS).max() < 0.05
    assert np.abs(transform.inverse().inverse()(POINTS) - there).max() < 1e-9


def test_a_field_moves_nothing_where_it_is_not_given() -> None:
    far = np.array([[500.0, 0.0, 0.0]])
    assert np.array_equal(bump()(far), far)
    assert np.allclose(bump()(np.zeros(3)), [6.0, 0.0, 0.0])


def test_chains_go_in_order_and_join_their_matrices() -> None:
    one, two = turn(90.0, (0, 0, 0)), turn(0.0, (0, 10, 0))
    joined = chained([one, two])
    assert isinstance(joined, Affine)
    assert np.allclose(joined(np.array([0.0, 1.0, 0.0])), [0.0, 10.0, 1.0])
    assert np.allclose(chained([])(POINTS), POINTS)
    assert isinstance(chained([one, bump(), two]), Chain)


def scan() -> Scan:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([3.0, 2.0, 2.0]))
    affine[:3, 3] = (-20.0, -20.0, -20.0)
    grid = Grid((14, 20, 20), affine, "a")
    empty = np.zeros(grid.shape, np.bool_)
    gone = empty.copy()
    gone[5:8, 8:12, 6:10] = True
    change = Change(grid, gone, empty, gone, ~gone, empty, gone)
    roi = Roi("PTV", 1, RoiKind.TARGET, (np.array([[0.0, 0, 1], [9.0, 0, 1], [9.0, 9, 1]]),))
    return Scan(grid, change, frozenset({"1"}), (roi,), HeadFrame(np.zeros(3), np.eye(3), 1.1))


@pytest.mark.parametrize("transform", [turn(10.0, (5.0, -3.0, 40.0)), chained([bump(), turn(10.0, (5.0, -3.0, 40.0))])])
def test_a_scan_seen_from_another_space_changed_at_the_same_anatomy(transform: Affine | Chain) -> None:
    before = scan()
    after = before.moved(transform, "b")
    assert before.change is not None
    assert after.change is not None
    assert after.change.grid.frame == after.grid.frame == "b"
    centre = before.grid.to_patient(np.argwhere(before.change.gone)).mean(axis=0)
    inner = centre + np.random.default_rng(0).uniform(-2, 2, (50, 3))
    assert after.change.look_up(after.change.gone, transform(inner)).all()
    outer = centre + np.array([[14.0, 0, 0], [0, 12.0, 0], [0, 0, -14.0]])
    assert not after.change.look_up(after.change.gone, transform(outer)).any()
    volume = np.count_nonzero(after.change.gone) * after.change.grid.voxel_ml
    assert volume == pytest.approx(np.count_nonzero(before.change.gone) * before.grid.voxel_ml, rel=0.25)
    assert np.allclose(after.rois[0].contours_mm[0], transform(before.rois[0].contours_mm[0]))
    assert after.head is not None
    assert np.allclose(after.head.origin, transform(np.zeros(3)))
    assert np.allclose(after.head.axes @ after.head.axes.T, np.eye(3), atol=1e-9)
