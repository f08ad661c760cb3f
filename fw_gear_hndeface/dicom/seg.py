"""DICOM segmentations as label maps, one per frame of reference; segments that overlap come as further maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset

from fw_gear_hndeface.dicom.headers import DAMAGE, Instance, read_whole
from fw_gear_hndeface.dicom.study import Series
from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.model import Bool, Finding, Float, Grid, Label, LabelMap, Level
from fw_gear_hndeface.ops.labels import is_known, label_of

#: How far a frame may lie beside its place on the lattice, as a share of the step between planes.
OFF_STEP = 0.1
#: Most planes of a lattice: more would be an error of the steps, not a scan.
MOST_PLANES = 20_000
#: Step of a segmentation on one plane that states no thickness, mm.
THICKNESS_MM = 3.0
#: Values of a fractional segmentation at and above this share of its maximum are in.
INSIDE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class _Frames:
    """Pixels (N, R, C) of every frame, the lattice plane each lies on, and the segment each belongs to (0: several)."""

    pixels: NDArray[Any]
    planes: NDArray[np.intp]
    segments: NDArray[np.intp]
    grid: Grid


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment of a segmentation of any kind: what it is, and its voxels (K, J, I) on their own lattice."""

    label: Label
    grid: Grid
    inside: Bool


def read_segments(series: Series) -> Iterator[Segment]:
    """Every segment of a series, one at a time: BINARY, FRACTIONAL or LABELMAP.

    Raises
    ------
    DicomError, GeometryError
        A segmentation that cannot be read, or whose frames make no lattice.
    """
    for instance in series.instances:
        dataset = read_whole(instance.member.read(), instance.member.where)
        try:
            labels = {label.number: label for label in map(_label, dataset.get("SegmentSequence") or [])}
            frames = _frames(dataset, instance, series.label)
            kind = str(dataset.get("SegmentationType") or "")
            most = float(dataset.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 0.0
        except DAMAGE as error:
            raise DicomError(f"{instance.member.where}: the segmentation is damaged. Send it again.") from error
        numbers = np.unique(frames.pixels if kind == "LABELMAP" else frames.segments)
        for number in numbers[numbers > 0].tolist():
            found = frames.pixels == number if kind == "LABELMAP" else frames.pixels >= max(INSIDE_SHARE * most, 1)
            inside = np.zeros(frames.grid.shape, np.bool_)
            for n in np.flatnonzero((frames.segments == number) | (kind == "LABELMAP")):
                inside[frames.planes[n]] |= found[n]
            yield Segment(labels.get(number) or label_of(number, f"segment {number}"), frames.grid, inside)


def read_label_maps(series: Series) -> tuple[tuple[LabelMap, ...], tuple[Finding, ...]]:
    """The label maps of a series of segmentations, BINARY or LABELMAP; fractional ones are named in a finding.

    Raises
    ------
    DicomError, GeometryError
        A segmentation that cannot be read, or whose frames make no lattice.
    """
    maps: list[LabelMap] = []
    findings: list[Finding] = []
    for instance in series.instances:
        dataset = read_whole(instance.member.read(), instance.member.where)
        kind = str(dataset.get("SegmentationType") or "")
        if kind not in ("BINARY", "LABELMAP"):
            text = f"{series.label}: only BINARY and LABELMAP segmentations are read; its segments protect nothing."
            findings.append(Finding(Level.WARNING, "segmentation_left_out", text, series.label))
            continue
        try:
            maps += _maps(dataset, instance, kind, series.label)
        except DAMAGE as error:
            raise DicomError(f"{instance.member.where}: the segmentation is damaged. Send it again.") from error
    return tuple(maps), tuple(findings)


def _maps(dataset: FileDataset, instance: Instance, kind: str, where: str) -> list[LabelMap]:
    labels = {label.number: label for label in map(_label, dataset.get("SegmentSequence") or []) if label.number > 0}
    frames = _frames(dataset, instance, where)
    layers = _layers(frames) if kind == "BINARY" else [_placed(frames)]
    maps = []
    for layer in layers:
        present = np.flatnonzero(np.bincount(layer.ravel())).tolist()
        known = {n: labels.get(n) or label_of(n, f"segment {n}") for n in present if n}
        if known:
            maps.append(LabelMap(frames.grid, layer, known, "segmentation"))
    return maps


def _label(item: Dataset) -> Label:
    """A segment by its label, or by the meaning of its type's code where only that is a known word."""
    codes = item.get("SegmentedPropertyTypeCodeSequence") or []
    words = [str(item.get("SegmentLabel") or ""), *(str(code.get("CodeMeaning") or "") for code in codes)]
    name = next((word for word in words if is_known(word)), words[0])
    number = int(item.get("SegmentNumber") or 0)
    return label_of(number, name or f"segment {number}")


def _frames(dataset: FileDataset, instance: Instance, where: str) -> _Frames:
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if len(own) != len(pixels):
        raise DicomError(f"{where}: {len(pixels)} frames but {len(own)} descriptions of them. Send the segmentation again.")
    positions = np.array([_numbers(_group(item, shared, "PlanePositionSequence"), "ImagePositionPatient", 3) for item in own])
    measures = _group(own[0], shared, "PixelMeasuresSequence")
    axes = _numbers(_group(own[0], shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6).reshape(2, 3)
    spacing = _numbers(measures, "PixelSpacing", 2)
    thickness = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or THICKNESS_MM)
    planes, affine = _lattice(positions, axes, thickness, where)
    affine[:3, 1], affine[:3, 2] = axes[1] * spacing[0], axes[0] * spacing[1]
    shape = (int(planes.max()) + 1, pixels.shape[1], pixels.shape[2])
    return _Frames(pixels, planes, _segments(own, shared), Grid(shape, affine, instance.frame))


def _segments(own: Sequence[Dataset], shared: Dataset) -> NDArray[np.intp]:
    items = [_group(item, shared, "SegmentIdentificationSequence") for item in own]
    return np.array([int(item.get("ReferencedSegmentNumber") or 0) for item in items], dtype=np.intp)


def _group(own: Dataset, shared: Dataset, name: str) -> Dataset:
    """The functional group of a frame, its own or the shared one; empty where there is neither."""
    found: Dataset = (own.get(name) or shared.get(name) or [Dataset()])[0]
    return found


def _numbers(item: Dataset, name: str, count: int) -> Float:
    values = np.array([float(value) for value in item.get(name) or ()])
    if values.shape != (count,) or not np.all(np.isfinite(values)):
        raise GeometryError(f"A segmentation's {name} holds {values.size} values, expected {count} finite numbers.")
    return values


def _lattice(positions: Float, axes: Float, thickness_mm: float, where: str) -> tuple[NDArray[np.intp], Float]:
    """Plane of each frame and the affine but for its in-plane steps; planes without a frame hold nothing."""
    normal = np.cross(axes[0], axes[1])
    depth = positions @ normal / float(np.linalg.norm(normal))
    order = np.argsort(depth, kind="stable")
    first, last = order[0], order[-1]
    gaps = np.diff(depth[order])
    steps = gaps[gaps > 0.01]
    step = float(steps.min()) if steps.size else thickness_mm
    planes = np.rint((depth - depth[first]) / step)
    affine = np.eye(4)
    affine[:3, 0] = normal * step if planes[last] == 0 else (positions[last] - positions[first]) / planes[last]
    affine[:3, 3] = positions[first]
    off = positions - positions[first] - planes[:, None] * affine[:3, 0]
    if np.abs(off).max() > OFF_STEP * step + 0.02 or planes[last] >= MOST_PLANES:
        raise GeometryError(f"{where}: its frames lie unevenly. Write the segmentation on the CT's own slices.")
    return planes.astype(np.intp), affine


def _placed(frames: _Frames) -> NDArray[np.uint16]:
    """Label values on their planes."""
    layer = np.zeros(frames.grid.shape, np.uint16)
    for pixels, plane in zip(frames.pixels, frames.planes, strict=True):
        layer[plane] = pixels
    return layer


def _layers(frames: _Frames) -> list[NDArray[np.uint16]]:
    """Segments as numbers on as few maps as their overlaps allow."""
    layers: list[NDArray[np.uint16]] = []
    for number in np.unique(frames.segments[frames.segments > 0]).tolist():
        at = np.flatnonzero(frames.segments == number)
        home = next((layer for layer in layers if not _meets(layer, frames, at)), None)
        if home is None:
            home = np.zeros(frames.grid.shape, np.uint16)
            layers.append(home)
        for n in at:
            home[frames.planes[n]][frames.pixels[n] > 0] = number
    return layers


def _meets(layer: NDArray[np.uint16], frames: _Frames, at: NDArray[np.intp]) -> bool:
    return any(bool(np.any(layer[frames.planes[n]][frames.pixels[n] > 0])) for n in at)
