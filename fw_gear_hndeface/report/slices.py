"""Slices of the defaced head with the kept structures and the face region as lines on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.measure import find_contours

from fw_gear_hndeface.model import Bool, Float, Grid, Roi, RoiKind
from fw_gear_hndeface.ops.boxes import mask_box, points_box
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.resample import resample, resample_mask
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.report.exhibit import CLEAR_MM, Picture, Shown

PIXEL_MM = 0.75
#: Pixels of the picture per pixel of the slice: lines are drawn finer than the scan.
ZOOM = 2
#: Soft-tissue window, HU.
WINDOW_HU = (-160.0, 240.0)
#: Lines by kind of structure; the face region's is dashed. Told apart by people who see no red or green, too (Okabe and Ito).
COLOURS: dict[str, tuple[int, int, int]] = {
    RoiKind.TARGET.value: (213, 94, 0),
    RoiKind.ORGAN.value: (86, 180, 233),
    RoiKind.NODE.value: (0, 158, 115),
    RoiKind.LANDMARK.value: (240, 228, 66),
}
REGION_COLOUR = (200, 200, 200)


@dataclass(frozen=True, eq=False)
class Plane:
    """One flat slice through the patient, along the patient's axes; its grid is (1, rows, columns)."""

    name: str
    caption: str
    grid: Grid


def slice_pictures(shown: Shown) -> list[Picture]:
    """Axial, sagittal and coronal slices through what was changed; nothing where nothing was."""
    structures = shown.structures
    return [Picture(plane.name, "slices", plane.caption, draw_plane(shown, plane, structures)) for plane in planes_of(shown)]


def planes_of(shown: Shown) -> Iterator[Plane]:
    """The slices to draw: three axial, two sagittal, one coronal, at fixed shares of the changed box."""
    box = mask_box(shown.change.array)
    if box is None:
        return
    corners = shown.change.grid.crop(box).corners()
    first, last = corners.min(axis=0), corners.max(axis=0)
    for share, where in ((0.85, "high"), (0.5, "middle"), (0.2, "low")):
        z = float(first[2] + share * (last[2] - first[2]))
        yield _plane(shown, f"axial-{where}", 2, z, f"Axial, {where} in the changed part, seen from the feet")
    for share, where in ((0.5, "middle"), (0.75, "left")):
        x = float(first[0] + share * (last[0] - first[0]))
        yield _plane(shown, f"sagittal-{where}", 0, x, f"Sagittal, {where} of the changed part, front on the left")
    y = float(first[1] + 0.5 * (last[1] - first[1]))
    yield _plane(shown, "coronal-middle", 1, y, "Coronal, middle of the changed part, seen from the front")


def _plane(shown: Shown, name: str, axis: int, at_mm: float, caption: str) -> Plane:
    """A plane across patient axis 0 (x), 1 (y) or 2 (z), with up or front at the top of its picture."""
    low, high = shown.extent_mm()
    across, down = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
    sign = -1.0 if down == 2 else 1.0  # heights run up, rows run down
    start = low.copy()
    start[axis] = at_mm
    start[down] = high[down] if down == 2 else low[down]
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    affine[axis, 0] = PIXEL_MM
    affine[down, 1] = sign * PIXEL_MM
    affine[across, 2] = PIXEL_MM
    affine[:3, 3] = start
    rows, columns = (int((high[a] - low[a]) / PIXEL_MM) + 1 for a in (down, across))
    return Plane(name, caption, Grid((1, rows, columns), affine, shown.scan.grid.frame))


def draw_plane(shown: Shown, plane: Plane, structures: tuple[Roi, ...]) -> NDArray[np.uint8]:
    """One slice as RGB, (R, C, 3), with its lines."""
    hu = resample(shown.scan, plane.grid).array[0].astype(np.float32)
    low, high = WINDOW_HU
    grey = np.clip((hu - low) / (high - low) * 255.0, 0, 255).astype(np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    image = image.resize((grey.shape[1] * ZOOM, grey.shape[0] * ZOOM), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for line in _lines(_in_region(shown, plane.grid)):
        _dash(draw, line)
    silent = _silent(shown, plane.grid, hu)
    for roi in structures:
        if points_box(roi.contours_mm, plane.grid) is None:
            continue
        covered = rasterise(roi, plane.grid).array[0]
        for line in _lines(covered):
            for part in _audible(line, silent):
                draw.line(_pixels(part), fill=COLOURS[roi.kind.value], width=ZOOM)
    return np.asarray(image)


def _silent(shown: Shown, grid: Grid, hu: NDArray[np.float32]) -> Bool:
    """Pixels where no line is drawn: around what was changed, and outside the new body."""
    changed = resample_mask(shown.change, grid).array[0]
    near = ndimage.distance_transform_edt(~changed) * PIXEL_MM <= CLEAR_MM if changed.any() else changed
    return np.asarray(near | ~ndimage.binary_fill_holes(hu > SKIN_HU))


def _in_region(shown: Shown, grid: Grid) -> Bool:
    """Pixels of the face region. It follows from where the face lies, not from what it looks like."""
    place = shown.frame.to_frame(grid.to_patient(np.argwhere(np.ones(grid.shape, np.bool_))))
    return shown.frame.in_region(*place.T).reshape(grid.shape[1:])


def _lines(mask: Bool) -> list[Float]:
    """Outlines of a mask as (N, 2) rows and columns; what touches the picture's edge stays open there."""
    framed = np.pad(mask.astype(np.float32), 1, mode="edge")  # a contour needs two rows and columns
    most = np.array(mask.shape) - 1.0
    return [np.clip(np.asarray(line) - 1.0, 0.0, most) for line in find_contours(framed, 0.5)]


def _audible(line: Float, silent: Bool) -> list[Float]:
    """The runs of an outline's points that may be drawn."""
    index = np.rint(line).astype(int)
    spoken = ~silent[index[:, 0], index[:, 1]]
    edges = np.flatnonzero(np.diff(spoken.astype(np.int8), prepend=0, append=0))
    return [line[first:last] for first, last in zip(edges[::2], edges[1::2], strict=True) if last - first > 1]


def _pixels(line: Float) -> list[tuple[float, float]]:
    return [((column + 0.5) * ZOOM, (row + 0.5) * ZOOM) for row, column in line]


def _dash(draw: ImageDraw.ImageDraw, line: Float, dash: int = 8) -> None:
    for start in range(0, len(line) - 1, 2 * dash):
        draw.line(_pixels(line[start : start + dash]), fill=REGION_COLOUR, width=1)
