"""True landmarks of a parametric head, found on its own surface by shooting rays at it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fw_gear_hndeface.model import Float, Grid, Landmark, Landmarks, View
from fw_gear_hndeface.synthetic.anatomy import node_center
from fw_gear_hndeface.synthetic.field import Lattice, Point
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from fw_gear_hndeface.synthetic.surface import SIDES, ear_center, skin_distance
from fw_gear_hndeface.vocabulary import LANDMARK_NAMES

STEP_MM = 0.4


def _shoot(p: HeadParameters, xs: Float, zs: Float) -> Float:
    """y of the first skin along rays from the front, over z and x, (Z, X), mm; evenly spaced `xs`, `zs`."""
    ys = np.arange(-75.0, 45.0, STEP_MM)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([_step(xs), STEP_MM, _step(zs)]))
    affine[:3, 3] = [xs[0], ys[0], zs[0]]
    skin = skin_distance(p, Lattice((len(zs), len(ys), len(xs)), affine)).astype(np.float64)
    return np.asarray(_first(skin, axis=1) * STEP_MM + ys[0], dtype=np.float64)


def _step(values: Float) -> float:
    return float(values[1] - values[0]) if len(values) > 1 else 1.0


def _first(skin: Float, axis: int) -> Float:
    """Continuous index of the first crossing from outside to inside along an axis."""
    hit = (skin < 0).argmax(axis=axis)
    before = np.take_along_axis(skin, np.expand_dims(np.maximum(hit - 1, 0), axis), axis).squeeze(axis)
    after = np.take_along_axis(skin, np.expand_dims(hit, axis), axis).squeeze(axis)
    return np.asarray(hit - np.where(before > after, -after / np.maximum(before - after, 1e-9), 0.0), dtype=np.float64)


def _front(p: HeadParameters, x: float, z: float) -> Point:
    """Skin point in front of (x, z)."""
    return (x, float(_shoot(p, np.array([x]), np.array([z]))[0, 0]), z)


def _side(p: HeadParameters, side: float, y: float, z: float, start: float) -> Point:
    """Skin point met from the side, starting `start` mm from the middle plane."""
    count = int((start - 4.0) / STEP_MM)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([-side * STEP_MM, 1.0, 1.0]))
    affine[:3, 3] = [side * start, y, z]
    skin = skin_distance(p, Lattice((1, 1, count), affine)).astype(np.float64)
    return (side * (start - float(_first(skin, axis=2)[0, 0]) * STEP_MM), y, z)


def _nose_tip(p: HeadParameters) -> Point:
    xs, zs = np.arange(-6.0, 6.5, 0.5) + p.nose_bend, np.arange(-9.0, 9.5, 0.5) - p.nose_drop
    front = _shoot(p, xs, zs)
    row, column = np.unravel_index(int(front.argmin()), front.shape)
    return (float(xs[column]), float(front[row, column]), float(zs[row]))


def _profile(p: HeadParameters, low: float, high: float) -> tuple[Float, Float]:
    zs = np.arange(low, high, 0.5)
    return zs, _shoot(p, np.array([0.0]), zs)[:, 0]


def find(p: HeadParameters) -> dict[str, Point]:
    """Landmarks by name in the head frame (scale one), and `cheek_node`, the centre of the level IX node."""
    marks: dict[str, Point] = {"nose_tip": _nose_tip(p)}
    zs, ys = _profile(p, -12.0, 18.0)
    root = int(ys.argmax())
    marks["nasion"] = (0.0, float(ys[root]), float(zs[root]))
    zs, ys = _profile(p, -p.face_height - 15.0, -p.face_height + 28.0)
    lowest = int((-ys - zs).argmax())
    marks["chin"] = (0.0, float(ys[lowest]), float(zs[lowest]))
    marks["subnasale"] = _front(p, 0.0, p.subnasale_z)
    marks["lip_upper"] = _front(p, 0.0, p.mouth_z + 1.1 * p.lip_upper)
    marks["lip_lower"] = _front(p, 0.0, p.mouth_z - 1.2 * p.lip_lower)
    for side, name in zip(SIDES, ("left", "right"), strict=True):
        marks |= {f"{key}_{name}": point for key, point in _paired(p, side).items()}
    marks["cheek_node"] = node_center(p, _front(p, 36.0, -50.0))
    return marks


def _paired(p: HeadParameters, side: float) -> dict[str, Point]:
    """Landmarks of one side."""
    half = 0.5 * p.fissure_length
    rise = float(np.tan(np.radians(p.fissure_tilt_deg))) * half
    _, ear_y, ear_z = ear_center(p, side)
    return {
        "globe": (side * p.eye_x, p.eye_depth, 0.0),
        "brow": _front(p, side * (p.eye_x - 2), p.brow_height),
        "canthus_inner": _front(p, side * (p.eye_x - half), -rise - 0.5),
        "canthus_outer": _front(p, side * (p.eye_x + half), rise - 0.5),
        "ala": _side(p, side, -p.nose_forward + 19.5, -p.nose_drop - 4.0, 42.0),
        "mouth": _front(p, side * p.mouth_half_width, p.mouth_z + p.mouth_curve),
        "jaw": _side(p, side, 46.0, p.jaw_height, 110.0),
        "ear": _side(p, side, ear_y - 8.0, ear_z - 3.0, 110.0),
    }


def landmarks(marks: Mapping[str, Point], to_patient: Float, grid: Grid) -> Landmarks:
    """The points in LPS mm, each marked as in view or cut by the grid."""
    found = {}
    for name in LANDMARK_NAMES:
        point = to_patient[:3, :3] @ np.array(marks[name]) + to_patient[:3, 3]
        view = View.IN_VIEW if bool(grid.contains(point)) else View.CUT
        found[name] = Landmark(point, 0.5, "synthetic", view)
    return Landmarks(found)
