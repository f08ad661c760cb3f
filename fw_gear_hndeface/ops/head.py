"""Windows of a scan in which a head may lie, cleaned of equipment and ready for rendering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Float, Grid, Mask, Volume
from fw_gear_hndeface.ops.morphology import largest_component
from fw_gear_hndeface.ops.profile import Profile, read_profile
from fw_gear_hndeface.ops.render import Surface, extract_surface
from fw_gear_hndeface.ops.resample import lps_grid, resample
from fw_gear_hndeface.ops.skin import SKIN_HU, analysis_volume, cleaned, find_body

#: Height of one window: a head from vertex to the lower neck, mm.
WINDOW_MM = 290.0
#: How far the next window down starts below the last; two thirds of a window, so that no face is cut by both.
STRIDE_MM = 190.0
#: Most windows searched: a whole-body scan, arms or blankets above the head included.
MOST_WINDOWS = 8
#: Bone around a brain, and the brain itself, HU.
VAULT_HU, BRAIN_HU = 150.0, (-20.0, 110.0)
#: Least area of a brain in a slice, cm2 (a newborn's is 80), and over how much height, mm: jaws and hyoid enclose less.
BRAIN_CM2, BRAIN_MM = 75.0, 20.0
#: A skull cut through its brain shows it to within this of the cut, mm; a whole vault ends farther from the scan's end.
CUT_BRAIN_MM = 12.0


@dataclass(frozen=True, eq=False)
class HeadScan:
    """One window of the scan on a 2 mm grid along the patient axes; outside the body it holds air."""

    volume: Volume
    body: Mask
    scan: Volume

    @cached_property
    def skin(self) -> Surface:
        """The skin surface of the window."""
        return extract_surface(self.volume, SKIN_HU)

    @cached_property
    def profile(self) -> Profile | None:
        """The mid-sagittal profile of the window; None where there is no body."""
        return read_profile(self.volume)

    @property
    def top_mm(self) -> float:
        """Most superior position in the scan, mm."""
        return float(self.scan.grid.corners()[:, 2].max())

    @cached_property
    def brain_mm(self) -> Float:
        """Heights of the slices in which a skull encloses a brain, mm, from below upwards; empty where no head is in view."""
        grid = self.volume.grid
        pixel_cm2 = float(grid.spacing_mm[1] * grid.spacing_mm[2]) / 100.0
        rows = [k for k, plane in enumerate(self.volume.array) if _brain_pixels(plane) * pixel_cm2 >= BRAIN_CM2]
        if len(rows) * float(grid.spacing_mm[0]) < BRAIN_MM:
            return np.zeros(0)
        return grid.to_patient(np.column_stack([rows, np.zeros((len(rows), 2))]))[:, 2]

    @property
    def shows_vault(self) -> bool:
        """Whether the skull closes above its brain, or the scan ends below within it: the jaw may then be out of view."""
        if self.brain_mm.size == 0:
            return False
        bottom = float(self.scan.grid.corners()[:, 2].min())
        return bool(self.top_mm - self.brain_mm[-1] > CUT_BRAIN_MM or self.brain_mm[0] - bottom < CUT_BRAIN_MM)


def head_windows(scan: Volume, spacing_mm: float = 2.0) -> Iterator[HeadScan]:
    """Windows from the top of the patient downwards, each as wide as the body in it."""
    coarse = resample(scan, lps_grid(scan.grid.corners(), 6.0, scan.grid.frame))
    solid = ndimage.binary_opening(coarse.array > SKIN_HU)
    if not solid.any():
        return
    body = largest_component(Mask(coarse.grid, solid, "body"))
    heights = np.flatnonzero(body.array.any(axis=(1, 2)))
    top, bottom = (float(coarse.grid.to_patient((k, 0, 0))[2]) + s for k, s in ((heights[-1], 9.0), (heights[0], -9.0)))
    for number in range(MOST_WINDOWS):
        high = top - number * STRIDE_MM
        if number and high - bottom < 60.0:
            return
        grid = _window(body, max(high - WINDOW_MM, bottom), high, spacing_mm)
        if grid is not None:
            volume = analysis_volume(scan, spacing_mm, grid)
            found = find_body(volume)
            if found.count:
                yield HeadScan(cleaned(volume, found), found, scan)


def _window(body: Mask, low: float, high: float, spacing_mm: float) -> Grid | None:
    """Grid over the body between two heights; its width is that of the upper half, where a head would be."""
    k, j, i = np.nonzero(body.array)
    points = body.grid.to_patient(np.column_stack([k, j, i]))
    slab = points[(points[:, 2] <= high) & (points[:, 2] >= (low + high) / 2 - 20.0)]
    if len(slab) == 0:
        return None
    ends = np.array([[*(slab[:, :2].min(axis=0) - 24.0), low], [*(slab[:, :2].max(axis=0) + 24.0), high]])
    return lps_grid(ends, spacing_mm, body.grid.frame)


def _brain_pixels(plane: NDArray[np.float32]) -> int:
    """Pixels of a slice that have the brain's values and lie within a ring of bone, gaps of 8 mm closed."""
    bone = ndimage.binary_closing(np.pad(plane > VAULT_HU, 3), iterations=2)[3:-3, 3:-3]
    inside = ndimage.binary_fill_holes(bone) & ~bone
    return int(np.count_nonzero(inside & (plane > BRAIN_HU[0]) & (plane < BRAIN_HU[1])))
