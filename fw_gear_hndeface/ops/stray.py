"""Signal of the head where there is only air: ghosts, and what folds over at the edge of the field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Mask, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.morphology import within_mm
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.ops.skin import find_body

#: The room around a head in which signal is looked for, head frame mm at scale 1, down to the chin (below it neck and shoulders
#: move between two scans), and the step it is described in.
AROUND_MM = (np.array([-170.0, -130.0, -110.0]), np.array([170.0, 270.0, 130.0]))
STEP_MM = 4.0
#: Air begins this far from the body: hair, ears and skin move between two scans.
CLEAR_MM = 12.0
#: Air holds signal where its mean over about this many voxels each way is so many times that of most of the air.
SMOOTH_VOXELS, STRAY_TIMES = 1.0, 2.0
#: What is found is grown by so many voxels: its faint rim tells its shape.
RIM_VOXELS = 2
#: Fewer voxels of air than this tell nothing about it.
LEAST_AIR = 500


def room_around(scan: Volume, head: HeadFrame | None) -> Mask | None:
    """The air around a head, well away from it, as a CT shows it; None where nobody knows where the head lies.

    Above and below the scan nothing is known, so nothing there is air; beside it the edge of the scan goes on.
    """
    if head is None:
        return None
    grid = head.grid(AROUND_MM[0] * head.scale, AROUND_MM[1] * head.scale, STEP_MM, scan.grid.frame)
    index = np.moveaxis(np.rint(scan.grid.to_index(grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1)))), -1, 0)
    last = np.array(scan.grid.shape)[:, None, None, None] - 1
    known = (index[0] >= 0) & (index[0] <= last[0])
    body = find_body(Volume(grid, scan.array[tuple(np.clip(index, 0, last).astype(np.intp))], scan.unit))
    return Mask(grid, known & ~within_mm(body.array, grid.spacing_mm, CLEAR_MM), "air around the head")


def stray_signal(image: Volume, air: Mask, slack_mm: float = 0.0) -> tuple[Mask, NDArray[np.float32]] | None:
    """Voxels of an image that hold signal in the air around a head, and values of quiet air; None where there are none.

    Parameters
    ----------
    air : from `room_around`, in the image's frame of reference
    slack_mm : how far the air may lie beside its place

    Source
    ------
    mri_reface replaces what is ten times brighter than the robust mean of the air; here the mean over neighbours is held
    against the median, which finds fainter ghosts.
    """
    sure = ~within_mm(~air.array, air.grid.spacing_mm, slack_mm) if slack_mm else air.array
    room = resample_mask(Mask(air.grid, sure, air.name), image.grid).array
    if np.count_nonzero(room) < LEAST_AIR:
        return None
    values = image.array.astype(np.float32)
    bright = room & (_smooth(values, room) > STRAY_TIMES * max(float(np.median(values[room])), 0.0))
    stray = room & ndimage.binary_dilation(bright, iterations=RIM_VOXELS)
    quiet = room & ~stray
    if not bright.any() or not quiet.any():
        return None
    return Mask(image.grid, stray, "stray signal"), values[quiet]


def _smooth(values: NDArray[np.float32], inside: Bool) -> NDArray[np.float32]:
    """The mean over neighbours inside a mask: the head beside the air does not count."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), SMOOTH_VOXELS)
    mean = ndimage.gaussian_filter(np.where(inside, values, np.float32(0.0)), SMOOTH_VOXELS)
    return np.asarray(mean / np.maximum(weight, 1e-6), dtype=np.float32)
