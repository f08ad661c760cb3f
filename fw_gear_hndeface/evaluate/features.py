"""First-order features of the voxels in a structure, before and after, and how regions and outlines changed (privacy.md 7).

Source
------
Feature names as in the NCTN comparison of defacers; formulas are the usual ones of radiomics, with kurtosis not in excess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Float, Grid
from fw_gear_hndeface.ops.boxes import mask_box
from fw_gear_hndeface.ops.morphology import border_connected
from fw_gear_hndeface.ops.skin import SKIN_HU

BIN_HU = 25.0
EPS = 1e-16
#: A feature this near to 0 has no relative change (skewness, or a median at 0 HU).
NEAR_ZERO = 1e-6


def _shares(x: Float) -> Float:
    """Share of every occupied bin of 25 HU, bins starting at multiples of 25."""
    _, counts = np.unique(np.floor(x / BIN_HU), return_counts=True)
    return np.asarray(counts / x.size)


def _moment(x: Float, order: int) -> float:
    return float(np.mean((x - x.mean()) ** order))


def _standardised(x: Float, order: int) -> float:
    variance = _moment(x, 2)
    return _moment(x, order) / variance ** (order / 2) if variance > 0 else float("nan")


#: Feature name -> formula on the values X in HU inside a structure.
FEATURES: Mapping[str, Callable[[Float], float]] = {
    "90Percentile": lambda x: float(np.percentile(x, 90)),
    "Energy": lambda x: float(np.sum(x**2)),
    "Entropy": lambda x: float(-np.sum(_shares(x) * np.log2(_shares(x) + EPS))),
    "Kurtosis": lambda x: _standardised(x, 4),
    "Maximum": lambda x: float(x.max()),
    "Median": lambda x: float(np.median(x)),
    "Range": lambda x: float(x.max() - x.min()),
    "Skewness": lambda x: _standardised(x, 3),
    "Uniformity": lambda x: float(np.sum(_shares(x) ** 2)),
    "Variance": lambda x: _moment(x, 2),
}


def first_order(values: NDArray[Any]) -> dict[str, float]:
    """Every feature of the values inside a structure, (N,) HU; N at least 1."""
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("a structure without voxels has no features")
    return {name: formula(x) for name, formula in FEATURES.items()}


def relative_change(before: float, after: float) -> float | None:
    """(after - before) / |before|; None where before is nearly 0 or either is undefined."""
    if not (np.isfinite(before) and np.isfinite(after)) or abs(before) <= NEAR_ZERO:
        return None
    return (after - before) / abs(before)


def unchanged_percent(changed: Bool, structure: Bool) -> float | None:
    """Share of a structure's voxels that are as they were, %; None for an empty structure."""
    count = int(np.count_nonzero(structure))
    return None if count == 0 else 100.0 * (1.0 - float(np.count_nonzero(changed & structure)) / count)


def dice(one: Bool, other: Bool) -> float:
    """2 n(A and B) / (n(A) + n(B)); 1 for two empty masks."""
    total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 1.0 if total == 0 else 2.0 * float(np.count_nonzero(one & other)) / total


def body_of(array: NDArray[Any]) -> Bool:
    """Everything that air does not reach from the sides of the scan, (K, J, I): the body, airways closed inside it included."""
    air = np.asarray(array <= SKIN_HU)
    return ~border_connected(air, (False, False, True, True, True, True))


def rim_of(body: Bool) -> Bool:
    """Voxels of a body that touch the outside within the scan: its external surface."""
    return np.asarray(body & ~ndimage.binary_erosion(body, border_value=1))


def surface_hd95(one: Bool, other: Bool, grid: Grid) -> float:
    """95th percentile of the symmetric distances between two external surfaces, pooled over both directions, mm.

    Distances are exact inside the box where the surfaces differ, grown by `WINDOW_MM`; everywhere else they are 0.
    """
    rims = rim_of(one), rim_of(other)
    count = sum(int(np.count_nonzero(rim)) for rim in rims)
    margin = np.ceil(WINDOW_MM / grid.spacing_mm).astype(int).tolist()
    box = mask_box(rims[0] ^ rims[1], (margin[0], margin[1], margin[2]))
    if box is None or count == 0:
        return 0.0
    apart = []
    for rim, target in (rims, rims[::-1]):
        away = ndimage.distance_transform_edt(~target[box], sampling=grid.spacing_mm)
        apart.append(away[rim[box]])
    distances = np.concatenate(apart)
    return float(np.percentile(np.concatenate([distances, np.zeros(max(count - distances.size, 0))]), 95))


#: How far around a difference the other surface is looked for, mm; more than any face is moved.
WINDOW_MM = 40.0
