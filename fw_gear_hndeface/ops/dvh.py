"""What a dose does to a drawn region, in the three numbers that plans are judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.model import Float, Grid, Roi, Volume
from fw_gear_hndeface.ops.polygons import rasterise, roi_box
from fw_gear_hndeface.ops.resample import sample

#: A region of more voxels than this is measured at so many of them, drawn at random, always the same.
MOST_POINTS = 200_000


@dataclass(frozen=True)
class DoseNumbers:
    """Dose that 95 % of a region's volume receives at least, its mean and its maximum, Gy (or per cent, as the dose is)."""

    d95: float
    mean: float
    maximum: float

    def measures(self) -> dict[str, float]:
        """Plain data, rounded to a ten-thousandth."""
        return {"d95": round(self.d95, 4), "mean": round(self.mean, 4), "max": round(self.maximum, 4)}


def region_points(roi: Roi, grid: Grid) -> Float | None:
    """Centres of the scan's voxels inside a region, (N, 3) LPS mm; None where the scan has none of it."""
    box = roi_box(roi, grid)
    if box is None:
        return None
    part = grid.crop(box)
    cells = np.flatnonzero(rasterise(roi, part).array)
    if not len(cells):
        return None
    if len(cells) > MOST_POINTS:
        cells = np.random.default_rng(0).choice(cells, MOST_POINTS, replace=False, shuffle=False)
    return part.to_patient(np.stack(np.unravel_index(cells, part.shape), axis=-1))


def dose_numbers(dose: Volume, points: Float) -> DoseNumbers:
    """The dose at points, interpolated between dose voxels; 0 outside its grid."""
    found = sample(dose, points, outside=0.0).astype(np.float64)
    return DoseNumbers(float(np.percentile(found, 5.0)), float(found.mean()), float(found.max()))
