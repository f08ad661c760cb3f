"""The plain face: a head's size and curvature, left like right, and no feature of anybody."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.plain_face import plain_face
from fw_gear_hndeface.ops.relief import Rays, make_rays
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

LOW, HIGH = np.array([-90.0, -80.0, -130.0]), np.array([90.0, 80.0, 70.0])


def rays(scale: float = 1.0) -> Rays:
    return make_rays(HeadFrame(np.array([3.0, -7.0, 11.0]), np.eye(3), scale), LOW * scale, HIGH * scale)


def at(field: np.ndarray, here: Rays, x: float, z: float) -> float:
    row, column = np.rint(np.array(here.pixels(x, z))).astype(int)
    return float(field[row, column])


def test_left_is_like_right() -> None:
    field = plain_face(rays())
    assert np.allclose(field, field[:, ::-1], atol=1e-9)


def test_it_is_as_large_as_the_head() -> None:
    small, large = plain_face(rays(0.7)), plain_face(rays(1.0))
    for x, z in ((0.0, 0.0), (40.0, -30.0), (-60.0, 20.0), (10.0, -90.0)):
        assert at(small, rays(0.7), 0.7 * x, 0.7 * z) == pytest.approx(0.7 * at(large, rays(1.0), x, z), abs=0.8)


def test_it_lies_where_faces_lie_and_curves_back_to_the_sides() -> None:
    here = rays()
    field = plain_face(here)
    for name in ("brow_left", "canthus_outer_left", "mouth_left", "lip_upper"):
        x, y, z = CANONICAL_FACE_MM[name]
        assert at(field, here, x, z) == pytest.approx(y, abs=9.0), name
    assert at(field, here, 70.0, -10.0) > at(field, here, 0.0, -10.0) + 25.0
    assert at(field, here, 0.0, -110.0) > at(field, here, 0.0, -20.0) + 10.0


def test_it_has_no_nose_no_sockets_and_no_lips() -> None:
    here = rays()
    field = plain_face(here)
    lowest, highest = (np.rint(here.pixels(0.0, z)[0]).astype(int) for z in (-120.0, 55.0))
    middle = field[lowest:highest, np.rint(here.pixels(0.0, 0.0)[1]).astype(int)]
    assert np.abs(np.diff(middle, n=2)).max() < 0.05, "mm per mm squared: no ridge along the midline"
    x = CANONICAL_FACE_MM["globe_left"][0]
    beside_nose, nose = at(field, here, x, -30.0), at(field, here, 0.0, -30.0)
    assert 0.0 < beside_nose - nose < 12.0, "a nose would stand out by 25 mm"
