"""A dose grid after a change of the skin: nothing where tissue went, the dose under the old skin carried on where it came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Bool, Grid
from fw_gear_hndeface.ops.boxes import points_box
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.morphology import set_cells, with_neighbours, within_mm
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.scan import KEPT, Scan
from fw_gear_hndeface.ops.transfer import extended

#: How deep under a covered old skin the dose is carried on, mm: it builds up from there, and that shows where the skin was.
BUILD_UP_MM = 5.0


def followed(stored: NDArray[Any], grid: Grid, scans: Sequence[Scan]) -> tuple[NDArray[Any], int, int]:
    """Stored dose after the changes of scans in its frame of reference.

    A voxel becomes zero when its centre lies outside the new body and it holds tissue that was taken away, or is next to one
    that does (the dose stops at the old skin there). Where air became tissue, and `BUILD_UP_MM` below, the dose carries on
    what lies beneath. Voxels in and beside a kept region never change, so that no interpolation in it sees a change, nor do
    kept parts of the scan.

    Returns
    -------
    Dose, and how many voxels were set to zero and to a dose carried on (those that had that value before are not counted).
    """
    out = stored.copy()
    zeroed = filled = 0
    for scan in scans:
        box = None if scan.change is None else points_box([scan.change.grid.corners()], grid, 3)
        if scan.change is None or box is None:
            continue
        part, before = out[box], out[box].copy()
        zones = _Zones(grid.crop(box), scan.change)
        spared = zones.kept() | _beside(scan, grid.crop(box))
        covered = zones.covered()
        zero, fill = zones.emptied() & ~spared, covered & ~spared
        part[zero] = 0
        if fill.any():
            source = zones.body & ~covered  # a kept voxel across the old skin is no model for new tissue
            values = extended(before.astype(np.float32), source, fill, grid.spacing_mm)
            part[fill] = np.clip(np.rint(values.astype(np.float64)), 0, np.iinfo(stored.dtype).max).astype(stored.dtype)
        changed = part != before
        zeroed += int(np.count_nonzero(changed & zero))
        filled += int(np.count_nonzero(changed & fill & ~zero))
    return out, zeroed, filled


class _Zones:
    """A change seen on a part of a dose grid."""

    def __init__(self, grid: Grid, change: Change) -> None:
        self._grid, self._change = grid, change
        index = np.indices(grid.shape).reshape(3, -1).T
        self._near = index[change.grid.contains(grid.to_patient(index))]
        self._points = grid.to_patient(self._near)
        self.body = self._at(change.body)

    def _at(self, array: Bool) -> Bool:
        """The dose voxels whose centre lies in a voxel of the array."""
        out = np.zeros(self._grid.shape, np.bool_)
        out[tuple(self._near.T)] = self._change.look_up(array, self._points)
        return out

    def holding(self, array: Bool) -> Bool:
        """The dose voxels in which a voxel of the scan lies, or whose centre lies in one."""
        index = np.rint(self._grid.to_index(self._change.grid.to_patient(set_cells(array)))).astype(np.intp)
        inside = np.all((index >= 0) & (index < np.array(self._grid.shape)), axis=1)
        out = self._at(array)
        out[tuple(index[inside].T)] = True
        return out

    def kept(self) -> Bool:
        """Voxels of kept parts of the scan."""
        return self.holding(self._change.kept & self._change.body) | self._at(self._change.kept)

    def emptied(self) -> Bool:
        """Voxels that lose their dose: room where tissue was, and the rim of air next to it."""
        outside = self._at(~self._change.body)
        return np.asarray(with_neighbours(self.holding(self._change.gone) & outside) & outside)

    def covered(self) -> Bool:
        """Voxels whose dose is carried on: new tissue, and the old skin below it."""
        came = self.holding(self._change.came) & self.body
        rim_mm = max(BUILD_UP_MM, float(self._grid.spacing_mm.max()))
        return np.asarray(within_mm(came, self._grid.spacing_mm, rim_mm) & self.body)


def _beside(scan: Scan, grid: Grid) -> Bool:
    """Voxels in and next to kept regions."""
    out = np.zeros(grid.shape, np.bool_)
    for roi in scan.rois:
        if roi.kind in KEPT:
            out |= with_neighbours(rasterise(roi, grid).array)
    return out
