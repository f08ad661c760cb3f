"""How far the plain face comes forward, and how deep behind it tissue is made anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.methods import Scene
from fw_gear_hndeface.methods.membrane import Face, Shape, floor, forward_mm, read_face
from fw_gear_hndeface.model import Grid, Landmarks, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.plain_face import plain_face
from fw_gear_hndeface.ops.relief import Map, Rays, make_rays

RAYS = make_rays(
    HeadFrame(np.array([3.0, -7.0, 11.0]), np.eye(3), 1.0), np.array([-90.0, -60.0, -130.0]), np.array([90.0, 60.0, 60.0])
)
#: Voxels along the rays, mm: of a fine scan and of a coarse one.
FINE_MM, COARSE_MM = 1.0, 5.0


def place(rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.indices(rays.shape)
    return column * rays.pixel_mm + rays.low[0], row * rays.pixel_mm + rays.low[2]


def cheeks(mm: float) -> Map:
    """Two bumps of skin in front of the plain face beside the mouth, so many mm high."""
    x, z = place(RAYS)
    return np.asarray(mm * np.exp(-((((np.abs(x) - 44.0) / 10.0) ** 2 + ((z + 62.0) / 14.0) ** 2) ** 2)))


def face(bump_mm: float, thickness: float = FINE_MM) -> Face:
    skin = plain_face(RAYS) - cheeks(bump_mm)
    bone = plain_face(RAYS)  # so that the plain face may not go back
    head = Volume(RAYS.grid, np.zeros(RAYS.grid.shape, dtype=np.float32))
    return Face(RAYS, head, skin, np.ones(RAYS.shape, dtype=np.bool_), bone, thickness)


def forward(one: Face, shape: Shape) -> float:
    """As far as so fleshy cheeks ask for, if the volume they lose is no reason."""
    fade = np.ones(RAYS.shape)
    nowhere = np.zeros(RAYS.shape, dtype=np.bool_)
    return forward_mm(plain_face(RAYS), one, fade, nowhere, replace(shape, most_removed_ml=1e6))


def taken(one: Face, step: float) -> float:
    """Share of the place of facial nodes that is cut or becomes new skin, %: counted in columns of a millimetre each."""
    x, z = place(RAYS)
    beside = (np.abs(x) > 25) & (np.abs(x) < 62) & (z > -105) & (z < -18)
    down, across = np.gradient(one.skin)
    slant = np.sqrt(1 + down**2 + across**2)
    cut = np.maximum(plain_face(RAYS) - step - one.skin, 0)
    lost = total = 0.0
    for depth in np.arange(5.5, 20.0):  # under the skin, at right angles to it
        total += slant[beside].sum()
        lost += slant[beside & (cut > 0) & (cut / slant + 2.5 + 0.5 * one.thickness / slant > depth)].sum()
    return float(100.0 * lost / total)


def test_fleshy_cheeks_bring_the_plain_face_forward_until_their_nodes_stay() -> None:
    heavy = face(14.0)
    careless, careful = (forward(heavy, replace(Shape(), most_node_share=share)) for share in (1.0, Shape().most_node_share))
    assert careful > careless + 2.0
    assert taken(heavy, careless) > 3.0, "else the anchor shows nothing"
    assert taken(heavy, careful) < 2.0
    assert taken(heavy, careful - 2.0) > 1.5, "no farther than it must"


def test_cheeks_that_are_cut_less_deep_than_nodes_lie_ask_for_nothing() -> None:
    slight = face(2.0)
    assert forward(slight, Shape()) == forward(slight, replace(Shape(), most_node_share=1.0))


def test_on_coarse_voxels_the_new_skin_reaches_deeper_and_asks_for_more() -> None:
    fine, coarse = (forward(face(9.0, thickness), Shape()) for thickness in (FINE_MM, COARSE_MM))
    assert coarse > fine


def test_it_comes_forward_until_the_skin_of_eyes_nose_and_mouth_is_somewhere_else() -> None:
    x, z = place(RAYS)
    telling, fade = (np.abs(x) < 40.0) & (np.abs(z + 40.0) < 40.0), np.ones(RAYS.shape)
    alike = face(0.0)  # a skin that is the plain face already
    nowhere = forward_mm(plain_face(RAYS), alike, fade, telling, replace(Shape(), least_moved_mm=0.0))
    somewhere = forward_mm(plain_face(RAYS), alike, fade, telling, Shape())
    assert abs(nowhere) < 2.0, "else the anchor shows nothing"
    assert Shape().least_moved_mm <= somewhere < Shape().least_moved_mm + 1.5
    beyond = replace(alike, seen=~telling)
    assert forward_mm(plain_face(RAYS), beyond, fade, telling, Shape()) == pytest.approx(nowhere), (
        "where none is seen, none moves"
    )


@pytest.mark.parametrize("bump_mm", [40.0, 90.0])
def test_it_never_comes_farther_forward_than_allowed(bump_mm: float) -> None:
    assert forward(face(bump_mm), Shape()) <= Shape().most_forward_mm + 1.0


def test_what_rays_meet_over_the_cut_end_of_a_scan_is_no_skin() -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([3.1, 2.9, 2.5]))
    affine[:3, 3] = (-100.0, -60.0, -140.0)
    grid = Grid((57, 50, 65), affine, "")
    y, top = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1))[..., 1], -140.0 + 56 * 2.5
    block = Volume(grid, np.where(y > 0.0, 40, -1000).astype(np.int16))
    down = np.radians(20.0)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(down), -np.sin(down)], [0.0, np.sin(down), np.cos(down)]])
    frame = HeadFrame(np.array([0.0, 15.0, -30.0]), axes, 1.0)
    nothing = Mask.empty(grid, "nothing")
    found = read_face(Scene(block, Mask(grid, y > 0.0, "body"), nothing, Landmarks({}), frame, 1), Shape())

    x, z = place(found.rays)
    depth = (0.0 - frame.origin[1] - z * axes[2, 1]) / axes[1, 1]  # frame y at which each ray comes to the front of the block
    height = frame.origin[2] + depth * axes[1, 2] + z * axes[2, 2]
    inside = np.abs(x) < 80.0
    assert found.seen[inside & (height < top - 6.0) & (height > -120.0)].all()
    over = inside & (height > top + 6.0) & (height < top + 12.0)  # these meet the cut 16-33 mm behind the front
    assert over.sum() > 200
    assert not found.seen[over].any()


def scene() -> Scene:
    """Nothing but a head frame: landmarks are where the canonical face has them."""
    grid = Grid((3, 4, 5), np.eye(4), "")
    nothing = Mask.empty(grid, "nothing")
    return Scene(Volume(grid, np.zeros(grid.shape, dtype=np.int16)), nothing, nothing, Landmarks({}), RAYS.frame, 1)


def relief() -> Map:
    """A nose, lips and a pit beside the nose."""
    x, z = place(RAYS)
    nose = 14.0 * np.exp(-((x / 9.0) ** 2) - ((z + 30.0) / 14.0) ** 2)
    lips = 6.0 * np.exp(-((x / 22.0) ** 2) - ((z + 72.0) / 7.0) ** 2)
    return np.asarray(nose + lips - 5.0 * np.exp(-(((np.abs(x) - 16.0) / 6.0) ** 2) - ((z + 20.0) / 8.0) ** 2))


def own(field: Map, core: np.ndarray) -> np.ndarray:
    return np.asarray(field[core] - field[core].mean())


def test_behind_the_new_skin_tissue_is_made_anew_to_a_level_that_the_old_face_is_not_in() -> None:
    x, z = place(RAYS)
    core = (np.abs(x) < 24.0) & (z > -85.0) & (z < -5.0)
    skin = plain_face(RAYS) - relief()
    one = replace(face(0.0), skin=skin, obstacle=np.full(RAYS.shape, np.inf))
    new = plain_face(RAYS) - 6.0
    level = floor(one, new, core, scene(), Shape())
    inner = (np.abs(x) < 14.0) & (z > -76.0) & (z < -20.0)
    shallow = skin + 2.5
    assert np.all(level >= shallow - 1e-9)
    assert np.all(level <= np.maximum(np.maximum(skin, new) + Shape().most_level_mm, shallow) + 1e-9)
    left, before = (own(field - plain_face(RAYS), inner) for field in (level, shallow))
    assert np.std(left) < 0.4 * np.std(before), "what is left of the old relief"


def test_before_globes_and_over_facial_nodes_only_the_old_skin_is_made_anew() -> None:
    x, z = place(RAYS)
    one = replace(face(0.0), skin=plain_face(RAYS) - relief(), obstacle=np.full(RAYS.shape, np.inf))
    every = np.ones(RAYS.shape, dtype=np.bool_)
    level = floor(one, one.skin - 5.0, every, scene(), Shape())
    deeper = level > one.skin + 2.5 + 1e-6
    assert deeper.sum() > 500
    globe = RAYS.frame.to_frame(RAYS.frame.canonical("globe_left"))
    assert not np.any(deeper & (np.hypot(np.abs(x) - globe[0], z - globe[2]) < 14.0))
    assert not np.any(deeper & (np.abs(x) > 26.0) & (np.abs(x) < 61.0) & (z > -104.0) & (z < -19.0))


def test_bone_and_what_is_kept_end_it() -> None:
    x, z = place(RAYS)
    core = (np.abs(x) < 24.0) & (z > -85.0) & (z < -5.0)
    skin = plain_face(RAYS) - relief()
    one = replace(face(0.0), skin=skin, obstacle=skin + 4.0)
    level = floor(one, skin - 3.0, core, scene(), Shape())
    assert np.all(level <= skin + 4.0)
    assert np.any(floor(replace(one, obstacle=skin + 8.0), skin - 3.0, core, scene(), Shape()) > skin + 4.0)
