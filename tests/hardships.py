"""Real heads made harder in memory: cut, turned, covered, streaky, coarse, small. Each change says where it moves the patient.

Unlike those of `phantom`, these take any scan with a face placed on it; `moved` carries the truth along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.frame import moved_head
from fw_gear_hndeface.ops.resample import AIR_HU, resample, resample_mask

#: Around a head in a finely resampled scan, mm: left and right, before and behind the origin of the head frame.
ROOM_MM = (105.0, 95.0, 120.0)


@dataclass(frozen=True, eq=False)
class Hard:
    """A scan after a change; `moved` is the (4, 4) matrix that carries LPS points of the original to it."""

    scan: Volume
    moved: np.ndarray = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class Whole:
    """A scan as it was, with the face and the patient in it."""

    scan: Volume
    face: Face
    body: Mask

    def point(self, *names: str) -> np.ndarray:
        """Mean of some landmarks, LPS mm."""
        return np.mean([self.face.landmarks[name].point for name in names], axis=0)

    @property
    def scale(self) -> float:
        """Size of the head against the canonical one."""
        return self.face.frame.scale

    def around(self, middle: np.ndarray, reach_mm: tuple[float, float, float]) -> tuple[tuple[slice, ...], np.ndarray]:
        """An index box around a point, and its voxels' places about that point along the head frame, (K, J, I, 3) mm."""
        grid = self.scan.grid
        ends = np.array(np.meshgrid(*[(-r, r) for r in reach_mm])).reshape(3, -1).T @ self.face.frame.axes + middle
        index = grid.to_index(ends)
        low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.array(grid.shape) - 1)
        high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, low + 1, grid.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        places = grid.to_patient(np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1))
        return box, (places - middle) @ self.face.frame.axes.T

    def mixed(self, box: tuple[slice, ...], share: np.ndarray, hu: float) -> Hard:
        """The scan with some of a material in the voxels of a box."""
        array = self.scan.array.copy()
        array[box] = np.rint(array[box] * (1.0 - share) + hu * share).astype(array.dtype)
        return Hard(Volume(self.scan.grid, array))

    def outside_mm(self, box: tuple[slice, ...]) -> np.ndarray:
        """Distance to the skin of the voxels of a box, mm; negative inside."""
        inside = self.body.array
        spacing = self.body.grid.spacing_mm
        away = ndimage.distance_transform_edt(~inside, sampling=spacing) - ndimage.distance_transform_edt(
            inside, sampling=spacing
        )
        whole = Volume(self.body.grid, away.astype(np.float32))
        return resample(whole, self.scan.grid.crop(box), outside=99.0).array


def _cropped(head: Whole, box: tuple[slice, slice, slice]) -> Hard:
    return Hard(head.scan.crop(box))


def _sides(head: Whole, axis: int, patient_axis: int, at_mm: float, *, keep_greater: bool) -> Hard:
    """The scan on one side of a plane across a patient axis, in whole slices, rows or columns."""
    grid = head.scan.grid
    index = np.zeros((grid.shape[axis], 3))
    index[:, axis] = np.arange(grid.shape[axis])
    index[:, [a for a in range(3) if a != axis]] = [(grid.shape[a] - 1) / 2 for a in range(3) if a != axis]
    place = grid.to_patient(index)[:, patient_axis]
    kept = np.flatnonzero(place >= at_mm if keep_greater else place <= at_mm)
    box = [slice(0, n) for n in grid.shape]
    box[axis] = slice(int(kept[0]), int(kept[-1]) + 1)
    return _cropped(head, (box[0], box[1], box[2]))


def below(name: str, above_mm: float) -> Callable[[Whole], Hard]:
    """Only what lies below a landmark: a field of view that ends there."""
    return lambda head: _sides(head, 0, 2, head.point(name)[2] + above_mm * head.scale, keep_greater=False)


def without_chin(head: Whole) -> Hard:
    """Only what lies above the middle of lower lip and chin."""
    return _sides(head, 0, 2, head.point("lip_lower", "chin")[2], keep_greater=True)


def without_nose(head: Whole) -> Hard:
    """The field of view ends 10 mm behind the tip of the nose."""
    return _sides(head, 1, 1, head.point("nose_tip")[1] + 10.0 * head.scale, keep_greater=True)


def without_a_side(head: Whole) -> Hard:
    """The field of view ends at the middle of the left eye."""
    return _sides(head, 2, 0, head.point("globe_left")[0], keep_greater=False)


def _rotation(axis: int, degrees: float, centre: np.ndarray) -> np.ndarray:
    a, (p, q) = np.radians(degrees), [(1, 2), (2, 0), (0, 1)][axis]
    out = np.eye(4)
    out[[p, q], [p, q]] = np.cos(a)
    out[p, q], out[q, p] = -np.sin(a), np.sin(a)
    out[:3, 3] = centre - out[:3, :3] @ centre
    return out


def turned(axis: int, degrees: float, *, resampled: bool = False) -> Callable[[Whole], Hard]:
    """The patient turned about a patient axis (x: a negative angle raises the chin), by the affine or into the old lattice."""

    def change(head: Whole) -> Hard:
        grid = head.scan.grid
        move = _rotation(axis, degrees, head.face.frame.origin + np.array([0.0, 60.0, -40.0]))
        turned_grid = Grid(grid.shape, move @ grid.affine, grid.frame)
        there = Volume(turned_grid, head.scan.array)
        return Hard(resample(there, grid, outside=float(head.scan.array.min())) if resampled else there, move)

    return change


def stored(*axes: int) -> Callable[[Whole], Hard]:
    """The same patient in the same place, stored with some array axes reversed."""

    def change(head: Whole) -> Hard:
        grid, affine = head.scan.grid, head.scan.grid.affine.copy()
        for axis in axes:
            affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
            affine[:3, axis] *= -1
        return Hard(Volume(Grid(grid.shape, affine, grid.frame), np.flip(head.scan.array, axes).copy()))

    return change


def tilted(degrees: float) -> Callable[[Whole], Hard]:
    """The same patient scanned with a tilted gantry: slices are planes that lean, on a sheared lattice."""

    def change(head: Whole) -> Hard:
        grid, affine = head.scan.grid, head.scan.grid.affine.copy()
        step = float(affine[1, 1])
        affine[1:3, 1] = step * np.cos(np.radians(degrees)), step * np.sin(np.radians(degrees))
        middle = (np.array(grid.shape) - 1) / 2
        affine[:3, 3] = grid.to_patient(middle) - affine[:3, :3] @ middle
        return Hard(resample(head.scan, Grid(grid.shape, affine, grid.frame), outside=float(head.scan.array.min())))

    return change


def slices_of(thickness_mm: float) -> Callable[[Whole], Hard]:
    """Slices of this thickness, each the mean over it; thicker ones stay."""

    def change(head: Whole) -> Hard:
        grid, affine = head.scan.grid, head.scan.grid.affine.copy()
        ratio = thickness_mm / float(grid.spacing_mm[0])
        if ratio <= 1.05:
            return Hard(head.scan)
        array = ndimage.gaussian_filter1d(head.scan.array.astype(np.float32), 0.35 * ratio, axis=0)
        affine[:3, 0] *= ratio
        target = Grid((max(int((grid.shape[0] - 1) / ratio) + 1, 2), *grid.shape[1:]), affine, grid.frame)
        return Hard(_as_stored(resample(Volume(grid, array), target), head.scan.array.dtype))

    return change


def every_second(head: Whole) -> Hard:
    """Every second slice."""
    grid, affine = head.scan.grid, head.scan.grid.affine.copy()
    affine[:3, 0] *= 2.0
    array = head.scan.array[::2].copy()
    return Hard(Volume(Grid(array.shape, affine, grid.frame), array))


def fine_pixels(head: Whole) -> Hard:
    """The part around the head at 0.5 mm in plane."""
    grid, affine = head.scan.grid, np.eye(4)
    beside, before, behind = (head.scale * room for room in ROOM_MM)
    x, y = head.face.frame.origin[:2]
    affine[:3, :3] = np.array([[0, 0, 0.5], [0, 0.5, 0], [grid.spacing_mm[0], 0, 0]])
    affine[:3, 3] = x - beside, y - before, grid.corners()[:, 2].min()
    shape = (grid.shape[0], int((before + behind) / 0.5), int(2 * beside / 0.5))
    return Hard(_as_stored(resample(head.scan, Grid(shape, affine, grid.frame)), head.scan.array.dtype))


def _as_stored(volume: Volume, kind: np.dtype) -> Volume:
    return Volume(volume.grid, np.rint(volume.array).astype(kind))


def noisy(deviation_hu: float) -> Callable[[Whole], Hard]:
    """The same from a poor scan."""

    def change(head: Whole) -> Hard:
        noise = np.random.default_rng(5).standard_normal(head.scan.array.shape, dtype=np.float32) * deviation_hu
        return Hard(Volume(head.scan.grid, np.rint(np.clip(head.scan.array + noise, -1024, 3071)).astype(np.int16)))

    return change


def streaks(*, beard: bool) -> Callable[[Whole], Hard]:
    """Rays of dental metal in the slices of the mouth, in the air too; a beard of bright ones hangs over the chin."""

    def change(head: Whole) -> Hard:
        middle = head.point("mouth_left", "mouth_right") + 14.0 * head.scale * head.face.frame.axes[1]
        box, offset = head.around(middle, (140.0, 140.0, 45.0))
        x, y, z = np.moveaxis(offset, -1, 0)
        away, angle = np.hypot(x, y), np.arctan2(y, x)
        if beard:
            rays = np.maximum(np.cos(23 * angle), 0.0) ** 2 * np.exp(-away / 90.0) * (np.abs(z + 14.0) < 22.0) * (y < 10.0)
            add = 1400.0 * rays
        else:
            add = 900.0 * np.cos(17 * angle) ** 3 * np.exp(-away / 60.0) * np.exp(-0.5 * (z / 7.0) ** 2)
        array = head.scan.array.astype(np.float32)
        array[box] = np.clip(array[box] + add, -1024, 3071)
        return Hard(Volume(head.scan.grid, np.rint(array).astype(np.int16)))

    return change


def under_a_shell(head: Whole) -> Hard:
    """A thermoplastic shell of 2.5 mm, 3 mm off the skin of the front half, with the partial volume of the voxels."""
    box, offset = head.around(head.face.frame.origin, (130.0, 150.0, 190.0))
    away = head.outside_mm(box)
    blur = 0.35 * float(np.sort(head.scan.grid.spacing_mm)[:2].mean())
    share = _between(away, 3.0, 5.5, blur) * (offset[..., 1] < 60.0) * (away > 0.0)
    return head.mixed(box, share, 100.0)


def with_bolus(head: Whole) -> Hard:
    """A bolus of 10 mm on the left cheek."""
    middle = head.point("globe_left", "mouth_left")
    box, offset = head.around(middle, (60.0, 60.0, 60.0))
    away = head.outside_mm(box)
    on = (np.hypot(offset[..., 0] - 15.0, offset[..., 2]) < 35.0) & (offset[..., 1] < 40.0)
    return head.mixed(box, _between(away, -1.0, 10.0, 0.5) * on * (away > 0.0), 20.0)


def _between(away: np.ndarray, low: float, high: float, blur: float) -> np.ndarray:
    return np.clip((away - low) / max(2 * blur, 0.5) + 0.5, 0, 1) * np.clip((high - away) / max(2 * blur, 0.5) + 0.5, 0, 1)


def with_bite_block(head: Whole) -> Hard:
    """A rod of plastic between the lips, 45 mm out."""
    box, offset = head.around(head.point("lip_upper", "lip_lower"), (15.0, 55.0, 15.0))
    x, y, z = np.moveaxis(offset, -1, 0)
    return head.mixed(box, ((x**2 + z**2 < 11.0**2) & (y > -45.0) & (y < 15.0)).astype(float), 150.0)


def open_mouth(head: Whole) -> Hard:
    """Air between parted lips: an oval of 32 by 22 mm, 30 mm deep; teeth and jaws stay."""
    box, offset = head.around(head.point("lip_upper", "lip_lower"), (25.0, 45.0, 25.0))
    x, y, z = np.moveaxis(offset / head.scale, -1, 0)
    oval = (x / 16.0) ** 2 + (z / 11.0) ** 2 + (np.maximum(y, 0.0) / 30.0) ** 2 < 1.0
    return head.mixed(box, (oval & (head.scan.array[box] < 150)).astype(float), AIR_HU)


def sized(factor: float) -> Callable[[Whole], Hard]:
    """The same head smaller or larger, by the affine alone."""

    def change(head: Whole) -> Hard:
        move = np.diag([factor, factor, factor, 1.0])
        move[:3, 3] = (1.0 - factor) * head.face.frame.origin
        return Hard(
            Volume(Grid(head.scan.grid.shape, move @ head.scan.grid.affine, head.scan.grid.frame), head.scan.array), move
        )

    return change


def on_a_couch(head: Whole) -> Hard:
    """A flat plate of 20 mm that touches the back of the head and goes on under the patient."""
    up = head.face.frame.origin[2]
    k, j, i = np.nonzero(head.body.array)
    places = head.body.grid.to_patient(np.column_stack([k, j, i]))
    back = float(places[(places[:, 2] > up - 40.0) & (places[:, 2] < up + 60.0), 1].max())
    grid = head.scan.grid
    at = grid.to_patient(np.column_stack([np.zeros(grid.shape[1]), np.arange(grid.shape[1]), np.zeros(grid.shape[1])]))[:, 1]
    plate = (at >= back - 1.0) & (at <= back + 20.0)
    array = head.scan.array.copy()
    array[:, plate] = np.maximum(array[:, plate], 60)
    return Hard(Volume(grid, array))


def padded(head: Whole) -> Hard:
    """The reconstruction's circle: -2000 outside, air at -1024 inside."""
    grid = head.scan.grid
    j, i = np.ogrid[: grid.shape[1], : grid.shape[2]]
    size = grid.spacing_mm
    half = 0.5 * min(grid.shape[1] * size[1], grid.shape[2] * size[2])
    circle = ((j - (grid.shape[1] - 1) / 2) * size[1]) ** 2 + ((i - (grid.shape[2] - 1) / 2) * size[2]) ** 2 <= half**2
    array = np.where(head.scan.array < -950, -1024, head.scan.array)
    return Hard(Volume(grid, np.where(circle, array, -2000).astype(np.int16)))


HARDSHIPS: dict[str, Callable[[Whole], Hard]] = {
    "as it is": lambda head: Hard(head.scan),
    "cut at the brow": below("brow_left", 3.0),
    "cut at mid-eye": below("globe_left", 0.0),
    "cut below the eyes": below("globe_left", -16.0),
    "lower face only": below("subnasale", -4.0),
    "chin cut": without_chin,
    "nose cut by the field of view": without_nose,
    "one side cut by the field of view": without_a_side,
    "chin raised 30 degrees": turned(0, -30.0),
    "chin raised 30 degrees, resampled": turned(0, -30.0, resampled=True),
    "chin lowered 30 degrees": turned(0, 30.0),
    "chin lowered 30 degrees, resampled": turned(0, 30.0, resampled=True),
    "rolled 20 degrees": turned(1, 20.0),
    "turned 25 degrees": turned(2, 25.0),
    "on the side": turned(2, 90.0),
    "prone": stored(1, 2),
    "feet first": stored(0, 2),
    "slices reversed": stored(0),
    "labelled supine, lies prone": turned(2, 180.0),
    "labelled head first, lies feet first, prone": turned(0, 180.0),
    "gantry tilt of 18 degrees": tilted(18.0),
    "every second slice": every_second,
    "slices of 5 mm": slices_of(5.0),
    "pixels of 0.5 mm": fine_pixels,
    "noise of 60 HU": noisy(60.0),
    "metal streaks": streaks(beard=False),
    "beard of streaks": streaks(beard=True),
    "mask shell, 3 mm off the skin": under_a_shell,
    "bolus on the cheek": with_bolus,
    "bite block": with_bite_block,
    "open mouth": open_mouth,
    "child: 0.75": sized(0.75),
    "infant: 0.62": sized(0.62),
    "large: 1.12": sized(1.12),
    "flat couch": on_a_couch,
    "padding of -2000": padded,
}


def moved_points(points: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """LPS points of the original in the changed scan, (..., 3)."""
    return points @ moved[:3, :3].T + moved[:3, 3]


def moved_mask(mask: Mask, hard: Hard) -> Mask:
    """A mask of the original on the changed scan."""
    return resample_mask(Mask(Grid(mask.grid.shape, hard.moved @ mask.grid.affine), mask.array, mask.name), hard.scan.grid)


def moved_frame(head: Whole, hard: Hard):  # type: ignore[no-untyped-def]
    """The true head frame in the changed scan."""
    return moved_head(head.face.frame, lambda points: moved_points(points, hard.moved))
