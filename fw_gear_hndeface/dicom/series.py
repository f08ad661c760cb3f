"""A series as stacks: a volume in HU on a uniform lattice, and the real slices that know their place on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.dicom.archive import read_all
from fw_gear_hndeface.dicom.geometry import Lattice, depths_mm, lattice
from fw_gear_hndeface.dicom.headers import Instance, PixelFormat
from fw_gear_hndeface.dicom.phases import Slices, distinct_places
from fw_gear_hndeface.dicom.pixels import Stored, check_format, padding_of, stored_of
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.model import Bool, Finding, Grid, Level, Mask, Unit, Volume

INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Slice:
    """A real slice and its lattice plane: whole where the slice is one, a fraction where it lies between two."""

    instance: Instance
    at: float

    def neighbours(self) -> tuple[tuple[int, float], ...]:
        """The lattice planes the slice lies on or between, each with its weight; weights sum to one."""
        low = int(np.floor(self.at))
        part = self.at - low
        if part == 0:
            return ((low, 1.0),)
        return (low, 1 - part), (low + 1, part)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one series that make one volume.

    `volume` is what we reason about: where slices are missing or uneven its planes are interpolated. `slices` are what is
    written, in ascending depth. `padding` marks voxels outside the scanner's field of view, None where there are none.
    """

    volume: Volume
    series: Series
    slices: tuple[Slice, ...]
    padding: Mask | None
    findings: tuple[Finding, ...]


def read_stacks(series: Series) -> tuple[Stack, ...]:
    """Every volume a series of images holds: one, or several where phases or acquisitions share their places.

    Raises
    ------
    DicomError, GeometryError
        Pixels that cannot be decoded, slices without a place, or places that make no volume; in words.
    """
    if series.is_multi_frame:
        raise DicomError(
            f"{series.label}: multi-frame (Enhanced) images are not supported. Convert them to one file per slice."
        )
    for instance in series.instances:
        check_format(instance)
        if instance.plane is None:
            raise GeometryError(f"{instance.member.where} ({series.label}): ImagePositionPatient or its kin is missing.")
    if len(series.instances) < 2:
        raise GeometryError(f"{series.label}: one slice is no volume.")
    sets = distinct_places(series)
    several = len(sets.parts) > 1
    return tuple(
        _stack(
            replace(series, label=f"{series.label}, stack {number}") if several else series,
            part,
            sets.findings if number == 1 else (),
        )
        for number, part in enumerate(sets.parts, start=1)
    )


def _stack(series: Series, part: Slices, findings: tuple[Finding, ...]) -> Stack:
    depth = depths_mm([plane for _, plane in part])
    ordered = [part[n] for n in np.argsort(depth, kind="stable")]
    places = lattice([plane for _, plane in ordered], series.label)
    slices = tuple(Slice(instance, float(at)) for (instance, _), at in zip(ordered, places.at, strict=True))
    instances = tuple(s.instance for s in slices)
    pixels = slices[0].instance.pixels
    grid = Grid((places.count, pixels.rows, pixels.columns), places.affine, series.frame)
    canvas = _Canvas(grid, places, instances)
    for slice_, data in zip(slices, read_all(i.member for i in instances), strict=True):
        canvas.add(slice_, stored_of(data, slice_.instance))
    unit = Unit.HU if series.kind is SeriesKind.CT else Unit.ARBITRARY
    here = replace(series, instances=instances)
    return Stack(
        Volume(grid, canvas.array, unit), here, slices, canvas.padding_mask(), findings + _gap_findings(places, series.label)
    )


def _gap_findings(places: Lattice, label: str) -> tuple[Finding, ...]:
    if places.is_full:
        return ()
    if np.all(places.at == np.rint(places.at)):
        text = f"{places.count - len(places.at)} slices are missing between others; they were interpolated to find the face."
        return (Finding(Level.WARNING, "missing_slices", text, label),)
    text = "The slices are unevenly spaced; the face was found on an interpolated volume, each slice keeps its own place."
    return (Finding(Level.WARNING, "uneven_slices", text, label),)


class _Canvas:
    """The volume while its slices come in, in ascending depth."""

    def __init__(self, grid: Grid, places: Lattice, instances: Sequence[Instance]) -> None:
        whole = all(float(value).is_integer() for i in instances for value in (i.pixels.slope, i.pixels.intercept))
        self._grid = grid
        self._full = places.is_full
        self._last: _Plane | None = None
        self._padding: Bool | None = None
        self.array: NDArray[Any] = np.empty(grid.shape, np.int16 if whole else np.float32)

    def padding_mask(self) -> Mask | None:
        """Padding voxels, or None."""
        return None if self._padding is None else Mask(self._grid, self._padding, "padding")

    def add(self, slice_: Slice, stored: Stored) -> None:
        """Take the next slice: fills its own plane, or every plane since the slice before."""
        pixels = slice_.instance.pixels
        padding = padding_of(stored, pixels)
        self._make_room(stored, pixels)
        if self._full:
            self._set(int(slice_.at), stored, pixels)
            self._pad(int(slice_.at), padding)
            return
        now = _Plane(slice_.at, stored.astype(np.float32) * np.float32(pixels.slope) + np.float32(pixels.intercept), padding)
        before = self._last or now
        for k in range(int(np.floor(before.at)) + (before is not now), int(np.floor(now.at)) + 1):
            part = 1.0 if before is now else (k - before.at) / (now.at - before.at)
            mixed = now.hu if part == 1 else before.hu * np.float32(1 - part) + now.hu * np.float32(part)
            self.array[k] = np.rint(mixed) if self.array.dtype == np.int16 else mixed
            self._pad(k, now.padding)
            self._pad(k, before.padding if part < 1 else None)
        self._last = now

    def _set(self, k: int, stored: Stored, pixels: PixelFormat) -> None:
        if self.array.dtype == np.float32:
            self.array[k] = stored * np.float32(pixels.slope) + np.float32(pixels.intercept)
        elif pixels.slope == 1 and abs(pixels.intercept) <= INT16.max:
            np.add(stored, np.int16(pixels.intercept), out=self.array[k], dtype=np.int16, casting="unsafe")
        else:
            self.array[k] = stored.astype(np.float64) * pixels.slope + pixels.intercept

    def _pad(self, k: int, padding: Bool | None) -> None:
        if padding is None:
            return
        if self._padding is None:
            self._padding = np.zeros(self._grid.shape, np.bool_)
        self._padding[k] |= padding

    def _make_room(self, stored: Stored, pixels: PixelFormat) -> None:
        """Go over to float where values do not fit 16 bits, as with unsigned data that use them all."""
        ends = [float(value) * pixels.slope + pixels.intercept for value in (stored.min(), stored.max())]
        if self.array.dtype == np.int16 and (min(ends) < INT16.min or max(ends) > INT16.max):
            self.array = self.array.astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Plane:
    at: float
    hu: NDArray[np.float32]
    padding: Bool | None
