"""A structure set that follows the defaced CT: outlines that show the skin are made anew, everything else stays as drawn."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from fw_gear_hndeface.dicom.headers import DAMAGE, Instance
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.rtstruct import point_texts, points_of, polygon_of, roi_frames, roi_types
from fw_gear_hndeface.dicom.tags import SHORT_TEXT, Stamp, stamp_companion
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Float, RoiKind
from fw_gear_hndeface.ops.names import roi_kind
from fw_gear_hndeface.ops.outlines import by_plane, redrawn
from fw_gear_hndeface.ops.scan import KEPT, Scan

CONTOUR_DATA = Tag("ContourData")
#: The longest value that Explicit VR can hold in a decimal string, bytes.
LONGEST_EXPLICIT = 65534
_WAY_TO_IMAGES = (
    "ReferencedFrameOfReferenceSequence",
    "RTReferencedStudySequence",
    "RTReferencedSeriesSequence",
    "ContourImageSequence",
)
CLIPPED = "clipped by face mask"


@dataclass
class FollowedSet:
    """A structure set made anew: its bytes, its new UID, and the numbers of the regions that were changed.

    `lost` are those with nothing left, `foreign` those of them that are drawn in a frame of reference without defaced CT.
    """

    data: bytes = b""
    uid: str = ""
    clipped: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)


def carry_rtstruct(instance: Instance, scans: Mapping[str, Sequence[Scan]], stamp: Stamp) -> FollowedSet:
    """The structure set on the defaced CT.

    Regions kept by the plan (targets, organs, nodes, eyes) keep every byte of their contours. All others lose what lies
    outside the new body near the change, and outlines of the patient follow the new skin there. What cannot be followed (any
    region in a frame of reference without defaced image, a plane beyond the scan, a damaged contour) is left out.

    Parameters
    ----------
    scans : the defaced CTs by frame of reference; where there are several, the one that the structure set refers to counts
    stamp : `uids` must know all objects of the job

    Raises
    ------
    DicomError
        A structure set that cannot be read or written.
    """
    try:
        return _carried(load(instance.member.read(), instance), instance.frame, scans, stamp)
    except DAMAGE as error:
        raise DicomError(f"{instance.member.where}: the structure set is damaged. Send it again.") from error


def _carried(dataset: FileDataset, default_frame: str, scans: Mapping[str, Sequence[Scan]], stamp: Stamp) -> FollowedSet:
    stamp_companion(dataset, stamp)
    mentioned = _mentioned(dataset)
    out = FollowedSet(uid=str(dataset.SOPInstanceUID))
    frames, types = roi_frames(dataset, default_frame), roi_types(dataset)
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.get("ReferencedROINumber") or 0)
        name, frame = frames.get(number, ("", default_frame))
        scan = _referenced(scans.get(frame, ()), mentioned)
        kind = roi_kind(name, types.get(number, "")) if number in frames else RoiKind.OTHER
        spared = scan is not None and kind in KEPT and not _is_outline(item, number, scan)
        if not item.get("ContourSequence") or spared:
            continue
        if scan is None:
            out.foreign.append(number)
        if scan is None or _follow(item, scan, external=kind in KEPT or kind is RoiKind.EXTERNAL):
            _note(dataset, item, number, out, gone=scan is None)
    _settle_frames(dataset, default_frame, scans)
    out.data = _encoded(dataset)
    return out


def _settle_frames(dataset: Dataset, default_frame: str, scans: Mapping[str, Sequence[Scan]]) -> None:
    """Emptied regions lie nowhere: they name the frame of reference of the others, not one that is not in the output."""
    known = [frame for frame in (default_frame, *scans) if frame in scans]
    for roi in dataset.get("StructureSetROISequence") or []:
        if known and "ReferencedFrameOfReferenceUID" in roi and str(roi.ReferencedFrameOfReferenceUID) not in scans:
            roi.ReferencedFrameOfReferenceUID = known[0]
    if known and "FrameOfReferenceUID" in dataset and str(dataset.FrameOfReferenceUID) not in scans:
        dataset.FrameOfReferenceUID = known[0]


def _mentioned(dataset: Dataset) -> set[str]:
    """UIDs of the images that a structure set was drawn on."""
    names = (
        "ReferencedFrameOfReferenceSequence",
        "RTReferencedStudySequence",
        "RTReferencedSeriesSequence",
        "ContourImageSequence",
    )
    items = [dataset]
    for name in names:
        items = [inner for item in items for inner in item.get(name) or []]
    return {str(item.get("ReferencedSOPInstanceUID", "")) for item in items}


def _referenced(scans: Sequence[Scan], mentioned: set[str]) -> Scan | None:
    return max(scans, key=lambda scan: len(scan.slices & mentioned), default=None)


def _is_outline(item: Dataset, number: int, scan: Scan | None) -> bool:
    """Whether a region named like an organ was taken for the patient's outline by its shape."""
    known = [roi for roi in scan.rois if roi.number == number and roi.kind is RoiKind.EXTERNAL] if scan is not None else []
    if not known:
        return False
    sizes = [len(points) for contour in item.ContourSequence if (points := polygon_of(contour)) is not None]
    return any([len(points) for points in roi.contours_mm] == sizes for roi in known)


def _note(dataset: Dataset, item: Dataset, number: int, out: FollowedSet, *, gone: bool) -> None:
    """Say of a region that it was changed; its volume is no longer true."""
    out.clipped.append(number)
    if gone or not item.ContourSequence:
        del item.ContourSequence
        out.lost.append(number)
    for roi in dataset.get("StructureSetROISequence") or []:
        if int(roi.get("ROINumber") or 0) == number:
            if "ROIVolume" in roi:
                del roi.ROIVolume
            told = str(roi.get("ROIDescription") or "")
            roi.ROIDescription = (f"{told}; {CLIPPED}" if told else CLIPPED)[-SHORT_TEXT:]


def _follow(item: Dataset, scan: Scan, *, external: bool) -> bool:
    """Make the contours of one region follow the new skin; whether any changed."""
    old = list(item.ContourSequence)
    polygons = [polygon_of(contour) for contour in old]
    fate: dict[int, list[Dataset]] = {n: [] for n, points in enumerate(polygons) if points is None and _shows(old[n], scan)}
    drawn = [n for n, points in enumerate(polygons) if points is not None]
    for plane in by_plane([_sure(polygons[n]) for n in drawn]):
        members = [drawn[m] for m in plane]
        points = [_sure(polygons[n]) for n in members]
        fresh = _on_plane(points, scan, external)
        if fresh is not None:
            fate |= {n: [] for n in members}
            fate[members[0]] = _contours([old[n] for n in members], points, fresh)
    if not fate:
        return False
    new = [contour for n, contour in enumerate(old) for contour in fate.get(n, [contour])]
    _renumber(new)
    item.ContourSequence = DicomSequence(new)
    return True


def _sure(points: Float | None) -> Float:
    return np.empty((0, 3)) if points is None else points


def _on_plane(points: Sequence[Float], scan: Scan, external: bool) -> tuple[Float, ...] | None:
    """The contours of one plane after the change, None where they stay; none on planes that the scan does not reach."""
    level = scan.grid.to_index(np.concatenate(points))[:, 0]
    if level.max() < -1 or level.min() > scan.grid.shape[0]:
        return ()
    return None if scan.change is None else redrawn(points, scan.change, external=external)


def _shows(contour: Dataset, scan: Scan) -> bool:
    """Whether points or an open line lie where the skin was; what cannot be read is taken to."""
    points = points_of(contour)
    if points is None:
        return True
    return scan.change is not None and bool(scan.change.look_up(scan.change.room, points).any())


def _contours(old: Sequence[Dataset], points: Sequence[Float], fresh: Sequence[Float]) -> list[Dataset]:
    """Contour items like the first old one; known points are written as they were."""
    texts: dict[bytes, bytes] = {}
    for contour, known in zip(old, points, strict=True):
        parts = point_texts(contour)
        texts |= {key: b"\\".join(parts[3 * n : 3 * n + 3]) for n, key in enumerate(_keys(known))}
    template = old[0]
    del template[CONTOUR_DATA]
    return [_contour(copy.deepcopy(template), ring, texts) for ring in fresh]


def _contour(item: Dataset, ring: Float, texts: Mapping[bytes, bytes]) -> Dataset:
    points = zip(_keys(ring), ring.tolist(), strict=True)
    value = b"\\".join(texts.get(key) or b"\\".join(map(_text, point)) for key, point in points)
    value += b" " * (len(value) % 2)
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(ring)
    item[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(value), value, 0, False, True)
    return item


def _keys(points: Float) -> list[bytes]:
    """The bits of every point."""
    bits, size = points.tobytes(), points.shape[1] * points.itemsize
    return [bits[start : start + size] for start in range(0, len(bits), size)]


def _text(value: float) -> bytes:
    """A decimal string: a thousandth of a millimetre is far below any voxel, and fits into 16 characters."""
    return f"{value + 0.0:.3f}".rstrip("0").rstrip(".").encode()


def _renumber(contours: Sequence[Dataset]) -> None:
    """Numbers in order where they are used; attachments to contours by number are no longer true."""
    numbered = any("ContourNumber" in contour for contour in contours)
    for number, contour in enumerate(contours, start=1):
        if numbered:
            contour.ContourNumber = number
        if "AttachedContours" in contour:
            del contour.AttachedContours


def _lengths(dataset: Dataset) -> Iterator[int]:
    """Bytes of every contour's points."""
    for item in dataset.get("ROIContourSequence") or []:
        for contour in item.get("ContourSequence") or []:
            if CONTOUR_DATA in contour:
                raw = contour.get_item(CONTOUR_DATA).value
                yield len(raw) if isinstance(raw, bytes) else sum(len(str(part)) + 1 for part in raw or [])


def _encoded(dataset: FileDataset) -> bytes:
    """The file; in Implicit VR where a contour is too long for Explicit VR."""
    if max(_lengths(dataset), default=0) > LONGEST_EXPLICIT:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
