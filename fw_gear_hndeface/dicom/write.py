"""Defaced slices out: the input's bytes with the planned pixels and the listed tags changed, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from fw_gear_hndeface.dicom.archive import ArchiveWriter, read_all
from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, Instance, PixelFormat
from fw_gear_hndeface.dicom.overlays import has_pictures, take_drawings
from fw_gear_hndeface.dicom.pixels import (
    BYTE_FOR_BYTE,
    Stored,
    decode,
    load,
    native_span,
    padding_of,
    stored_dtype,
    stored_from_bytes,
    stored_range,
)
from fw_gear_hndeface.dicom.series import Slice, Stack
from fw_gear_hndeface.dicom.splice import layout, spliced
from fw_gear_hndeface.dicom.tags import Stamp, Stamper
from fw_gear_hndeface.dicom.uids import uid_map
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Bool, Plan

_OFFSET_TABLES = {Tag("ExtendedOffsetTable"), Tag("ExtendedOffsetTableLengths")}
_EXTREMES = (Tag("SmallestImagePixelValue"), Tag("LargestImagePixelValue"))
Fill = NDArray[np.float32]


@dataclass(frozen=True)
class Written:
    """What was written: slices, those with a changed pixel, changed pixels, and planned pixels left alone as padding.

    `pictures` counts slices from whose headers icons, overlays or curves were taken.
    """

    slices: int
    changed_slices: int
    changed_pixels: int
    padding_kept: int
    pictures: int = 0


def write_stack(writer: ArchiveWriter, stack: Stack, plan: Plan, stamp: Stamp) -> Written:
    """Write every slice of a stack under its old name with the plan carried out; slices come in the order they were read.

    Raises
    ------
    GeometryError
        The plan is not on the stack's grid.
    DicomError
        A slice that can no longer be read.
    """
    return write_stacks(writer, [(stack, plan)], stamp)


def write_stacks(writer: ArchiveWriter, jobs: Sequence[tuple[Stack, Plan]], stamp: Stamp) -> Written:
    """Write several stacks at once, in the order their files came in."""
    todo: list[tuple[Slice, _Painter]] = []
    uids = dict(stamp.uids)
    for stack, plan in jobs:
        plan.change.grid.require_match(stack.volume.grid)
        uids |= uid_map([s.instance.uid for s in stack.slices], [stack.series.uid], stamp.key)
        painter = _Painter(plan)
        todo += [(slice_, painter) for slice_ in stack.slices]
    stamper = Stamper(stamp, uids)
    counts: list[tuple[int, int, bool]] = []
    todo.sort(key=lambda job: job[0].instance.member.order)
    writer.write_all(_files(todo, stamper, counts))
    changed, kept, pictures = (np.array(column) for column in zip(*counts, strict=True))
    totals = (int(np.count_nonzero(changed)), int(changed.sum()), int(kept.sum()), int(pictures.sum()))
    return Written(len(counts), *totals)


def _files(
    todo: Sequence[tuple[Slice, _Painter]], stamper: Stamper, counts: list[tuple[int, int, bool]]
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every slice; of each, `counts` gets the changed pixels, those planned that were padding, and whether
    its header held pictures."""
    for (slice_, painter), data in zip(todo, read_all(s.instance.member for s, _ in todo), strict=True):
        brush, out = _written(data, slice_, painter, stamper)
        counts.append((brush.count, brush.padding_kept, brush.pictures))
        yield slice_.instance.member.name, out


class _Painter:
    """The plan on real slices: on a plane as it stands; between two planes what either changes and neither keeps."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        counts = [int(np.count_nonzero(plane)) for plane in plan.change.array]
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def on(self, slice_: Slice) -> tuple[Bool, Fill] | None:
        """Which pixels of a slice change, (J, I), and to which HU, one per changed pixel; None when none does."""
        near = [(k, weight) for k, weight in slice_.neighbours() if self._starts[k + 1] > self._starts[k]]
        if not near:
            return None
        if len(slice_.neighbours()) == 1:
            return self._plan.change.array[near[0][0]], self._fill(near[0][0])
        keep = np.logical_or.reduce([self._plan.keep.array[k] for k, _ in slice_.neighbours()])
        return self._between(near, keep)

    def _fill(self, k: int) -> Fill:
        return self._plan.fill_hu[self._starts[k] : self._starts[k + 1]]

    def _between(self, near: Sequence[tuple[int, float]], keep: Bool) -> tuple[Bool, Fill] | None:
        total, weights = np.zeros(keep.shape, np.float32), np.zeros(keep.shape, np.float32)
        for k, weight in near:
            plane = self._plan.change.array[k]
            total[plane] += weight * self._fill(k)
            weights[plane] += weight
        change = (weights > 0) & ~keep
        fill: Fill = (total[change] / weights[change]).astype(np.float32)
        return (change, fill) if change.any() else None


def _written(data: bytes, slice_: Slice, painter: _Painter, stamper: Stamper) -> tuple[_Brush, bytes]:
    """What was set in a slice, and its file."""
    instance = slice_.instance
    try:
        return _defaced(data, instance, painter.on(slice_), stamper)
    except DAMAGE as error:
        raise DicomError(
            f"{instance.member.where}: its header is damaged and cannot be written. Send the file again."
        ) from error


def _defaced(data: bytes, instance: Instance, painted: tuple[Bool, Fill] | None, stamper: Stamper) -> tuple[_Brush, bytes]:
    """What was set in a slice, and the file with it set."""
    span = native_span(instance)
    where = None if span is None else layout(data, span)
    dataset = load(data, instance) if where is None else where.dataset
    stored = decode(dataset, instance) if where is None else stored_from_bytes(data, where.span, instance)
    pictures = has_pictures(dataset)
    drawings, in_pixels = take_drawings(dataset)
    brush = replace(_brush(stored, painted, instance.pixels), pictures=pictures, cleared=stored if in_pixels else None)
    touched = drawings | _refresh_extremes(dataset, brush, stored, instance.pixels) | stamper.apply(dataset)
    if where is None:
        return brush, _rewritten(dataset, brush, stored, instance)
    return brush, spliced(where, touched, _patched(data, where.span, brush, instance.pixels))


@dataclass(frozen=True, eq=False)
class _Brush:
    """Which pixels of one slice are set to which stored values, and how many were spared as padding.

    `pictures` tells whether its header held any; `cleared` are all stored values where an overlay lay in their spare bits.
    """

    pixels: Bool
    values: Stored
    padding_kept: int
    pictures: bool = False
    cleared: Stored | None = None

    @property
    def count(self) -> int:
        """Number of pixels set."""
        return len(self.values)


def _brush(stored: Stored, painted: tuple[Bool, Fill] | None, pixels: PixelFormat) -> _Brush:
    if painted is None:
        return _Brush(np.zeros(stored.shape, np.bool_), np.empty(0, stored.dtype), 0)
    change, fill = painted
    values = fill_values(fill, pixels)
    padding = padding_of(stored, pixels)
    if padding is None:
        return _Brush(change, values, 0)
    spared = padding[change]
    return _Brush(change & ~padding, values[~spared], int(np.count_nonzero(spared)))


def fill_values(fill_hu: Fill, pixels: PixelFormat) -> Stored:
    """Stored values of HU, rounded and clipped to what BitsStored holds, and never the value that means padding."""
    low, high = stored_range(pixels)
    values = np.clip(np.rint((fill_hu.astype(np.float64) - pixels.intercept) / pixels.slope), low, high)
    if pixels.padding is not None:
        first, last = pixels.padding
        beside = last + 1 if last + 1 <= high else first - 1
        values[(values >= first) & (values <= last)] = beside
    return values.astype(stored_dtype(pixels))


def _patched(data: bytes, span: tuple[int, int], brush: _Brush, pixels: PixelFormat) -> bytearray | memoryview:
    """PixelData with the planned pixels set; all other bits stay, those above BitsStored and behind the image too.

    Only overlays in the bits above BitsStored (retired) go: they are pictures of the slice.
    """
    value = memoryview(data)[span[0] : span[0] + span[1]]
    if not brush.count and brush.cleared is None:
        return value
    patched = bytearray(value)
    raw = np.frombuffer(patched, stored_dtype(pixels), pixels.rows * pixels.columns)
    if brush.cleared is not None:
        raw[:] = brush.cleared.ravel()
    raw[np.flatnonzero(brush.pixels)] = brush.values
    return patched


def _rewritten(dataset: FileDataset, brush: _Brush, stored: Stored, instance: Instance) -> bytes:
    """A file that cannot be spliced, written anew; compressed, deflated and big-endian become Explicit VR Little Endian."""
    if instance.syntax not in BYTE_FOR_BYTE:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for tag in _OFFSET_TABLES & set(dataset.keys()):
            del dataset[tag]
    if instance.syntax == ExplicitVRBigEndian:
        _swap_words(dataset)
    if brush.count:
        stored = stored.copy()
        stored[brush.pixels] = brush.values
    if brush.count or brush.cleared is not None or instance.syntax not in BYTE_FOR_BYTE:
        data = stored.tobytes()
        dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OW", data + b"\0" * (len(data) % 2), already_converted=True)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _swap_words(dataset: Dataset) -> None:
    """Turn big-endian word data (overlays, lookup tables) round; pydicom turns every other kind itself."""
    for element in dataset.iterall():
        if element.VR == "OW" and isinstance(element.value, bytes) and element.tag != PIXEL_DATA:
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


def _refresh_extremes(dataset: Dataset, brush: _Brush, stored: Stored, pixels: PixelFormat) -> set[BaseTag]:
    """Bring Smallest- and LargestImagePixelValue up to date where they are given; the tags that were set."""
    given = {tag for tag in _EXTREMES if tag in dataset}
    if not (given and brush.count):
        return set()
    changed = stored.copy()
    changed[brush.pixels] = brush.values
    for tag, value in zip(_EXTREMES, (changed.min(), changed.max()), strict=True):
        if tag in given:
            dataset[tag] = DataElement(tag, "SS" if pixels.signed else "US", int(value))
    return given
