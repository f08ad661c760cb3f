"""Small heads and torsos with known truth for tests: ugly grids, cut fields of view, couches, masks, noise and turned arrays.

`phantom()` is a parametric head on a grid that is not cubic, not isotropic, not axis-aligned and gantry-tilted by 12 degrees.
The truth (structures, landmarks) comes with it and follows every change made here. Heads are cached and
their arrays read-only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Landmark, Landmarks, Mask, View, Volume
from fw_gear_hndeface.synthetic.head import Scene, SyntheticHead, axial_grid, render_head
from fw_gear_hndeface.synthetic.parameters import HeadParameters

FRAME = "2.25.101010101"
SHAPE = (61, 47, 83)
SPACING_MM = (4.36, 5.3, 2.71)
TILT_DEG = 12.0
PLAIN_SPACING_MM = (3.1, 1.93, 2.07)

#: Where `cut` ends the field of view, mm above (+) the named landmark; only what lies below is kept.
CUTS = {
    "brow": ("brow_left", 3.0),
    "eyes": ("globe_left", 0.0),
    "below_eyes": ("globe_left", -16.0),
    "below_nose": ("subnasale", -4.0),
}


def ugly_grid(
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
    tilt_deg: float = TILT_DEG,
    turn_deg: float = 3.0,
) -> Grid:
    """A sheared (gantry-tilted) and slightly turned lattice around the default head."""
    t, a = np.radians(tilt_deg), np.radians(turn_deg)
    columns = np.array([np.cos(a), np.sin(a), 0.0])
    rows = np.array([-np.sin(a) * np.cos(t), np.cos(a) * np.cos(t), np.sin(t)])
    slices = np.array([0.0, 0.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([slices * spacing_mm[0], rows * spacing_mm[1], columns * spacing_mm[2]], axis=1)
    middle = np.array(Scene().origin_lps) + np.array([1.0, 61.0, -26.0])
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, FRAME)


def plain_grid(spacing_mm: tuple[float, float, float] = PLAIN_SPACING_MM, field: str = "head_neck") -> Grid:
    """An axial, untilted lattice, fine enough for a face (about a million voxels)."""
    return axial_grid(spacing_mm, field, origin_lps=Scene().origin_lps, frame=FRAME)


@cache
def phantom(seed: int = 7, *, plain: bool = False, scene: Scene | None = None) -> SyntheticHead:
    """A head with its truth, on `ugly_grid()` or, with `plain`, on `plain_grid()`."""
    return render_head(HeadParameters.draw(seed), plain_grid() if plain else ugly_grid(), scene or Scene())


def with_shell(seed: int = 7, *, plain: bool = True) -> SyntheticHead:
    """The same head under a thermoplastic mask."""
    return phantom(seed, plain=plain, scene=Scene(shell=True))


def with_couch(seed: int = 7, *, plain: bool = True) -> SyntheticHead:
    """The same head on a couch with a headrest."""
    return phantom(seed, plain=plain, scene=Scene(couch=True))


def posed(pitch: float, yaw: float, roll: float, seed: int = 7, *, plain: bool = True) -> SyntheticHead:
    """The same head turned in space (degrees; pitch lifts the chin)."""
    return phantom(seed, plain=plain, scene=Scene(pose_deg=(pitch, yaw, roll)))


def cut(head: SyntheticHead, at: str) -> SyntheticHead:
    """The head without the slices above a landmark (a key of `CUTS`): a field of view that ends there."""
    name, above_mm = CUTS[at]
    grid = head.volume.grid
    up = float(grid.affine[2, 0])
    k = grid.to_index(head.landmarks[name].point + np.array([0.0, 0.0, above_mm]))[0]
    part = slice(0, max(int(np.floor(k)) + 1, 1)) if up > 0 else slice(min(int(np.ceil(k)), grid.shape[0] - 1), grid.shape[0])
    return crop(head, (part, slice(0, grid.shape[1]), slice(0, grid.shape[2])))


def crop(head: SyntheticHead, box: tuple[slice, slice, slice]) -> SyntheticHead:
    """The head in an index box, with its truth."""
    grid = head.volume.grid.crop(box)
    structures = {name: Mask(grid, mask.array[box], name) for name, mask in head.structures.items()}
    return replace(
        head, volume=Volume(grid, head.volume.array[box]), structures=structures, landmarks=_seen(head.landmarks, grid)
    )


def _seen(landmarks: Landmarks, grid: Grid) -> Landmarks:
    def one(mark: Landmark) -> Landmark:
        return replace(mark, view=View.IN_VIEW if bool(grid.contains(mark.point)) else View.CUT)

    return Landmarks({name: one(mark) for name, mark in landmarks.items()})


def with_noise(head: SyntheticHead, deviation_hu: float = 40.0, seed: int = 5) -> SyntheticHead:
    """The head from a poor scan."""
    noise = np.random.default_rng(seed).normal(0.0, deviation_hu, head.volume.grid.shape)
    return _with_array(head, head.volume.array + noise)


def with_streaks(head: SyntheticHead, height_hu: float = 500.0) -> SyntheticHead:
    """The head with dental metal: bright and dark rays in the slices of the mouth, in the air too."""
    grid = head.volume.grid
    mouth = 0.5 * (head.landmarks["mouth_left"].point + head.landmarks["mouth_right"].point) + np.array([0.0, 12.0, 0.0])
    offset = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)) - mouth
    angle, away = np.arctan2(offset[..., 1], offset[..., 0]), np.hypot(offset[..., 0], offset[..., 1])
    rays = np.cos(17 * angle) ** 3 * np.exp(-away / 60.0) * np.exp(-0.5 * (offset[..., 2] / 7.0) ** 2)
    return _with_array(head, head.volume.array + height_hu * rays)


def _with_array(head: SyntheticHead, array: np.ndarray) -> SyntheticHead:
    stored = np.rint(np.clip(array, -1024, 3071)).astype(np.int16)
    return replace(head, volume=Volume(head.volume.grid, stored, head.volume.unit))


#: Array axes reversed by the way a patient lies: (slice, row, column).
TURNS = {"prone": (1, 2), "feet_first": (0, 2), "mirrored_rows": (1,), "descending": (0,)}


def turned(head: SyntheticHead, how: str) -> SyntheticHead:
    """The same head in patient space, stored with some array axes reversed (a key of `TURNS`) or permuted ("sagittal")."""
    grid = head.volume.grid
    if how == "sagittal":
        return _restored(
            head, Grid(_permuted(grid.shape), grid.affine[:, [2, 0, 1, 3]], grid.frame), lambda a: a.transpose(2, 0, 1)
        )
    axes = TURNS[how]
    affine = grid.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    return _restored(head, Grid(grid.shape, affine, grid.frame), lambda a: np.flip(a, axes))


def _permuted(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return (shape[2], shape[0], shape[1])


def _restored(head, grid, change):  # type: ignore[no-untyped-def]
    structures = {name: Mask(grid, change(mask.array).copy(), name) for name, mask in head.structures.items()}
    return replace(head, volume=Volume(grid, change(head.volume.array).copy()), structures=structures)


@cache
def chest() -> Volume:
    """A torso without a head: lungs, heart, spine and two arms beside it, on an axial grid (HU, int16)."""
    spacing = np.array([4.9, 3.3, 3.1])
    shape = (41, 103, 151)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    affine[:3, 3] = [-232.5, -168.3, -640.0]
    grid = Grid(shape, affine, FRAME)
    x, y, z = np.moveaxis(grid.to_patient(np.stack(np.indices(shape), axis=-1)), -1, 0)
    z = z + 540.0
    hu = np.full(shape, -1000.0)
    hu[(x / 165) ** 2 + (y / 115) ** 2 < 1] = -100.0
    hu[(x / 150) ** 2 + (y / 100) ** 2 < 1] = 50.0
    for side in (1, -1):
        hu[((x - side * 75) / 52) ** 2 + (y / 75) ** 2 + (z / 130) ** 2 < 1] = -850.0
        hu[(x - side * 200) ** 2 + (y - 5) ** 2 < 28**2] = 40.0
        hu[(x - side * 200) ** 2 + (y - 5) ** 2 < 11**2] = 900.0
    hu[((x - 20) / 45) ** 2 + ((y + 35) / 40) ** 2 + ((z + 30) / 50) ** 2 < 1] = 45.0
    hu[(x**2 + (y - 70) ** 2) < 18**2] = 500.0
    noise = np.random.default_rng(11).normal(0, 10, shape)
    return Volume(grid, np.rint(ndimage.gaussian_filter(hu, 0.6) + noise).clip(-1024, 3071).astype(np.int16))


def fine_chest() -> Volume:
    """The same torso on as many slices and pixels as scanners make, under noise that packs no better than theirs."""
    small, shape = chest(), (300, 512, 512)
    index = [np.arange(large) * few // large for large, few in zip(shape, small.grid.shape, strict=True)]
    affine = np.array(small.grid.affine)
    affine[:3, :3] *= np.array(small.grid.shape) / np.array(shape)
    noise = np.random.default_rng(5).normal(0.0, 10.0, shape).astype(np.int16)
    return Volume(Grid(shape, affine, small.grid.frame), np.maximum(small.array[np.ix_(*index)] + noise, -1024))
