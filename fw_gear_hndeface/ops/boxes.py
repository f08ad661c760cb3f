"""Index boxes around points and masks: what lies outside is neither read nor changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fw_gear_hndeface.model import Bool, Float, Grid, Volume

Box = tuple[slice, slice, slice]


def points_box(points: Sequence[Float], grid: Grid, margin: int = 2) -> Box | None:
    """The index box that holds LPS points, grown by a margin in voxels; None where none of it lies on the grid.

    Parameters
    ----------
    points : arrays of (N, 3) LPS mm, such as the contours of a region
    """
    if not points:
        return None
    index = grid.to_index(np.concatenate(points))
    start = np.clip(np.floor(index.min(axis=0)).astype(int) - margin, 0, grid.shape)
    stop = np.clip(np.ceil(index.max(axis=0)).astype(int) + margin + 1, 0, grid.shape)
    return None if np.any(stop <= start) else _box(start.tolist(), stop.tolist())


def part_around(scan: Volume, near: Grid) -> Volume:
    """The scan's own voxels around another grid; all of the scan where that lies beside it."""
    box = points_box([near.corners()], scan.grid)
    return scan if box is None else scan.crop(box)


def mask_box(array: Bool, margin: tuple[int, int, int] = (0, 0, 0)) -> Box | None:
    """The smallest index box that holds all set voxels, grown by a margin in voxels; None for an empty mask."""
    start, stop = [], []
    for axis in range(3):
        hit = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
        if hit.size == 0:
            return None
        start.append(max(int(hit[0]) - margin[axis], 0))
        stop.append(min(int(hit[-1]) + margin[axis] + 1, array.shape[axis]))
    return _box(start, stop)


def _box(start: list[int], stop: list[int]) -> Box:
    return slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2])
