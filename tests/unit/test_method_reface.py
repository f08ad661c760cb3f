"""reface lays on an average that is nobody's, where the landmarks say, another one for every seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.methods.reface import Face, average, new_face
from fw_gear_hndeface.ops.average import anchors, canonical_positions, carry, relief_of
from fw_gear_hndeface.ops.front import read_front, whole_face
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM
from tests import phantom as make
from tests.scenes import outcome, scene, scene_of


def own_relief(here) -> np.ndarray:  # type: ignore[no-untyped-def]
    """A phantom's own relief on the canonical pixels."""
    front = read_front(here.scan, here.body, here.frame, 2.0)
    return relief_of(front, whole_face(front.rays, here.landmarks, Face().margin_mm), here.landmarks)


def test_the_average_is_symmetric_and_a_face() -> None:
    relief = average().relief
    assert np.allclose(relief[:, 1:], relief[:, :0:-1])
    at = average().at
    nose, cheek, eye = (at(np.array([x]), np.array([z]))[0] for x, z in ((0.0, -38.0), (30.0, -38.0), (32.0, 0.0)))
    assert nose < cheek - 12.0
    assert nose < eye - 12.0
    assert abs(at(np.array([0.0]), np.array([-155.0]))[0]) < 1.0


def test_the_average_is_nobodys() -> None:
    heads = [own_relief(scene_of(make.phantom(seed, plain=True))) for seed in (7, 8, 9)]
    mean = average().relief
    face = np.abs(mean) > 1.0
    away = [np.sqrt(np.mean((head - mean)[face] ** 2)) for head in heads]
    apart = [np.sqrt(np.mean((heads[a] - heads[b])[face] ** 2)) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(away) > 1.0, "no head is the average"
    assert np.mean(away) < np.mean(apart), "and the average lies amid them"


def test_the_warp_takes_landmarks_to_the_canonical_face() -> None:
    here = scene()
    points, canonical = anchors(here.landmarks, here.frame)
    moved = carry(points, canonical, points[:, 0], points[:, 1])
    assert np.allclose(moved, canonical, atol=1e-6)
    tip = (here.landmarks["nose_tip"].point - here.frame.origin) @ here.frame.axes.T
    rays = read_front(here.scan, here.body, here.frame, 2.0).rays
    x, z = canonical_positions(rays, here.landmarks)
    row, column = (round(float(v)) for v in rays.pixels(tip[0], tip[2]))
    assert np.hypot(x[row, column] - CANONICAL_FACE_MM["nose_tip"][0], z[row, column] - CANONICAL_FACE_MM["nose_tip"][2]) < 3.0


def test_every_seed_gives_another_face_of_millimetres() -> None:
    here = scene()
    front = read_front(here.scan, here.body, here.frame)
    zone = whole_face(front.rays, here.landmarks, 12.0)
    one, two = (new_face(front, zone, replace(here, seed=seed), Face()) for seed in (1, 2))
    assert 0.8 < np.abs(one - two)[zone].mean() < 5.0
    assert np.array_equal(one[~zone], front.skin[~zone])


@pytest.mark.parametrize("at", [None, "brow", "below_eyes"])
def test_as_much_is_added_as_removed(at: str | None) -> None:
    here = scene(at=at)
    done = outcome(here, "reface")
    removed, added = done.ml((done.before > -300) & (done.after <= -300)), done.ml((done.before <= -300) & (done.after > -300))
    assert 5.0 < removed < 150.0
    assert 5.0 < added < 150.0


def test_the_new_skin_depends_on_the_old_one_by_its_rim_alone() -> None:
    here = scene()
    front = read_front(here.scan, here.body, here.frame)
    zone = whole_face(front.rays, here.landmarks, 12.0)
    inner = whole_face(front.rays, here.landmarks, -10.0)
    bent = replace(front, skin=front.skin + 9.0 * inner * np.sin(np.arange(front.rays.shape[1]) / 9.0))
    one, two = new_face(front, zone, here, Face()), new_face(bent, zone, here, Face())
    assert np.abs(one - two)[inner].max() < 0.1
    assert np.abs(front.skin - bent.skin)[inner].max() > 8.0
