"""Drawn regions of structure sets, one set per frame of reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset

from fw_gear_hndeface.dicom.headers import DAMAGE, read_whole
from fw_gear_hndeface.dicom.study import Series
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Finding, Float, Level, Roi
from fw_gear_hndeface.ops.names import fold as fold
from fw_gear_hndeface.ops.names import roi_kind as roi_kind

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
#: How far a contour's points may lie off its plane, mm.
FLAT_MM = 0.5


@dataclass(frozen=True)
class RoiSet:
    """The regions drawn in one frame of reference, and what could not be used."""

    frame: str
    rois: tuple[Roi, ...]
    findings: tuple[Finding, ...]


def read_rois(series: Series) -> tuple[RoiSet, ...]:
    """The drawn regions of every structure set of a series, by frame of reference.

    Points, open lines, contours off their plane and damaged ones are left out, each region with a finding that names its
    number: names may identify.

    Raises
    ------
    DicomError
        A structure set that cannot be read.
    """
    drawn: dict[str, list[Roi]] = {}
    findings: dict[str, list[Finding]] = {}
    for instance in series.instances:
        dataset = read_whole(instance.member.read(), instance.member.where)
        try:
            found = _regions(dataset, instance.frame)
        except DAMAGE as error:
            raise DicomError(f"{instance.member.where}: the structure set is damaged. Send it again.") from error
        for frame, roi, left_out in found:
            drawn.setdefault(frame, []).append(roi)
            if left_out:
                text = f"ROI {roi.number}: {left_out} contours are no closed planar polygons and were not used."
                findings.setdefault(frame, []).append(Finding(Level.WARNING, "contours_left_out", text, series.label))
    return tuple(RoiSet(frame, _named_apart(rois), tuple(findings.get(frame, ()))) for frame, rois in drawn.items())


def drawn_frames(series: Series) -> set[str]:
    """The frames of reference that the structure sets of a series are drawn in; no contour is read.

    Raises
    ------
    DicomError
        A structure set that cannot be read.
    """
    found: set[str] = set()
    for instance in series.instances:
        dataset = read_whole(instance.member.read(), instance.member.where)
        try:
            found |= {frame for _, frame in roi_frames(dataset, instance.frame).values()}
        except DAMAGE as error:
            raise DicomError(f"{instance.member.where}: the structure set is damaged. Send it again.") from error
    return found


def _regions(dataset: Dataset, default_frame: str) -> list[tuple[str, Roi, int]]:
    """Frame of reference, region and number of unusable contours of each region of one structure set."""
    kinds = roi_types(dataset)
    contours = {int(item.get("ReferencedROINumber") or 0): item for item in dataset.get("ROIContourSequence") or []}
    out = []
    for number, (name, frame) in roi_frames(dataset, default_frame).items():
        closed, left_out = _contours(contours.get(number))
        out.append((frame, Roi(name, number, roi_kind(name, kinds.get(number, "")), tuple(closed)), left_out))
    return out


def roi_frames(dataset: Dataset, default: str) -> Mapping[int, tuple[str, str]]:
    """Name and frame of reference of each region, by number."""
    referenced = dataset.get("ReferencedFrameOfReferenceSequence") or []
    only = str(referenced[0].get("FrameOfReferenceUID", "")) if len(referenced) == 1 else ""
    out = {}
    for item in dataset.get("StructureSetROISequence") or []:
        frame = str(item.get("ReferencedFrameOfReferenceUID") or only or default)
        out[int(item.get("ROINumber") or 0)] = (str(item.get("ROIName") or "").strip(), frame)
    return out


def roi_types(dataset: Dataset) -> Mapping[int, str]:
    """RTROIInterpretedType of each region, by number."""
    return {
        int(item.get("ReferencedROINumber") or 0): str(item.get("RTROIInterpretedType") or "")
        for item in dataset.get("RTROIObservationsSequence") or []
    }


def _contours(item: Dataset | None) -> tuple[list[Float], int]:
    """The closed planar contours of a region, and how many others it has."""
    items = [] if item is None else item.get("ContourSequence") or []
    found = [polygon_of(contour) for contour in items]
    return [points for points in found if points is not None], sum(points is None for points in found)


def polygon_of(item: Dataset) -> Float | None:
    """Points (N, 3) LPS mm; None for what is not a closed planar polygon."""
    points = points_of(item)
    if str(item.get("ContourGeometricType") or "").strip() not in CLOSED or points is None or len(points) < 3:
        return None
    if np.any(np.all(points == points[0], axis=0)):  # one coordinate for all: flat, as nearly every contour is
        return points
    spread = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    off_plane = np.abs((points - points.mean(axis=0)) @ spread[2][2]).max()
    return points if off_plane <= FLAT_MM else None


def points_of(item: Dataset) -> Float | None:
    """Points (N, 3) LPS mm of a contour of any type; None where they are damaged."""
    try:
        numbers = np.array(point_texts(item), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if numbers.size == 0 or numbers.size % 3 or not np.all(np.isfinite(numbers)):
        return None
    return numbers.reshape(-1, 3)


def point_texts(item: Dataset) -> list[bytes]:
    """The numbers of a contour as they are written, three for each point."""
    if "ContourData" not in item:
        return []
    raw = item.get_item("ContourData").value
    # pydicom makes an object of each of half a million numbers; numpy reads the text at once.
    return raw.strip(b" \0").split(b"\\") if isinstance(raw, bytes) else [str(part).encode() for part in raw or []]


def _named_apart(rois: Iterable[Roi]) -> tuple[Roi, ...]:
    """The regions with a number behind a name that came before."""
    seen: Counter[str] = Counter()
    out = []
    for roi in rois:
        name = roi.name or f"ROI {roi.number}"
        seen[name] += 1
        out.append(replace(roi, name=name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return tuple(out)
