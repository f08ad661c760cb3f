"""Surfaces and pictures for the recogniser: the head's own frame, the patient without equipment."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.render import Pose
from fw_gear_hndeface.privacy.views import HIGH_MM, LOW_MM, face_surface, pictures
from tests import phantom as make
from tests.chain import SEED, frame_of


def surface_of(head, frame: HeadFrame, *masks: Mask):  # type: ignore[no-untyped-def]
    return face_surface(head.volume, masks or (head.structures["BODY"],), frame, -300.0)


def test_the_surface_is_in_frame_millimetres_around_the_face() -> None:
    head = make.phantom(SEED, plain=True)
    frame = frame_of(head)
    surface = surface_of(head, frame)
    assert np.all(surface.points > LOW_MM * frame.scale - 2)
    assert np.all(surface.points < HIGH_MM * frame.scale + 2)
    for name in ("nose_tip", "chin", "mouth_left"):
        point = frame.axes @ (head.landmarks[name].point - frame.origin)
        assert np.linalg.norm(surface.points - point, axis=1).min() < 2.5, name
    nose = frame.axes @ (head.landmarks["nose_tip"].point - frame.origin)
    near = np.linalg.norm(surface.points - nose, axis=1) < 4.0
    assert surface.normals[near].mean(axis=0)[1] < -0.3, "the nose's tip faces forward"


def test_a_head_elsewhere_in_space_looks_the_same() -> None:
    head = make.phantom(SEED, plain=True)
    frame = frame_of(head)
    turn, shift = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([70.0, -300.0, 1200.0])
    affine = np.eye(4)
    affine[:3, :3] = turn @ head.volume.grid.affine[:3, :3]
    affine[:3, 3] = turn @ head.volume.grid.affine[:3, 3] + shift
    grid = Grid(head.volume.grid.shape, affine, "")
    moved = HeadFrame(turn @ frame.origin + shift, frame.axes @ turn.T, frame.scale)
    body = Mask(grid, head.structures["BODY"].array, "body")
    here, there = surface_of(head, frame), face_surface(Volume(grid, head.volume.array), [body], moved, -300.0)
    one, two = (pictures(surface, [Pose(0.0, 10.0)])[0].grey for surface in (here, there))
    assert one.shape == two.shape
    assert np.abs(one.astype(int) - two).mean() < 1.0


@pytest.mark.parametrize("scene", ["with_couch", "with_shell"])
def test_equipment_is_not_drawn(scene: str) -> None:
    bare, head = make.phantom(SEED, plain=True), getattr(make, scene)(SEED)
    frame = frame_of(bare)
    one, two = (pictures(surface_of(h, frame), [Pose(-10.0)])[0].depth for h in (bare, head))
    assert abs(one.shape[0] - two.shape[0]) < 12
    assert abs(one.shape[1] - two.shape[1]) < 12


def test_what_was_added_is_drawn_when_it_is_said_to_be_patient() -> None:
    head = make.phantom(SEED, plain=True)
    frame, grid = frame_of(head), head.volume.grid
    lump = np.zeros(grid.shape, dtype=np.bool_)
    k, j, i = np.rint(grid.to_index(head.landmarks["nose_tip"].point)).astype(int)
    lump[k - 2 : k + 3, j - 12 : j - 7, i - 3 : i + 4] = True
    array = head.volume.array.copy()
    array[lump] = 40
    after = Volume(grid, array)
    added = Mask(grid, lump, "added")
    without = face_surface(after, [head.structures["BODY"]], frame, -300.0)
    with_it = face_surface(after, [head.structures["BODY"], added], frame, -300.0)
    assert with_it.points[:, 1].min() < without.points[:, 1].min() - 8.0


def test_nothing_is_no_picture() -> None:
    head = make.phantom(SEED, plain=True)
    air = Volume(head.volume.grid, np.full(head.volume.grid.shape, -1000, dtype=np.int16))
    surface = face_surface(air, [head.structures["BODY"]], frame_of(head), -300.0)
    assert surface.is_empty
    assert pictures(surface, [Pose()]) == []
