"""A segmentation that follows the defaced CT: outlines on the new skin, nothing in the room before it, one bit per voxel."""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from scipy import ndimage

from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, Instance
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.seg import INSIDE_SHARE
from fw_gear_hndeface.dicom.tags import SHORT_TEXT, Stamp, stamp_companion
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Bool, Float, Grid, RoiKind
from fw_gear_hndeface.ops.labels import label_of
from fw_gear_hndeface.ops.morphology import filled_plane
from fw_gear_hndeface.ops.outlines import LEAST_TISSUE, SHELL_SHARE
from fw_gear_hndeface.ops.scan import KEPT, Scan

CLIPPED = "clipped by face mask"
#: A segment that holds more of the tissue taken away than this is the patient's outline, whatever its name.
OUTLINE_SHARE = 0.5
#: Attributes of the other kinds of segmentation, and of palettes.
_NOT_BINARY = (
    "SegmentationFractionalType",
    "MaximumFractionalValue",
    "PixelPaddingValue",
    "ICCProfile",
    "ColorSpace",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue") for part in ("Data", "Descriptor")),
)
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass
class FollowedSeg:
    """A segmentation made anew: its bytes, its new UID, the segments that changed and how many of their voxels did."""

    data: bytes = b""
    uid: str = ""
    clipped: set[int] = field(default_factory=set)
    changed: int = 0
    kind: str = "BINARY"


@dataclass(frozen=True, eq=False)
class _Frame:
    """One plane of one segment: its voxels, its description, and the lattice it lies on."""

    segment: int
    mask: Bool
    item: Dataset
    grid: Grid


@dataclass(frozen=True, eq=False)
class _Plane:
    """A change on one plane: room around the new body, tissue that came, tissue that went, what is near, the old body."""

    room: Bool
    came: Bool
    gone: Bool
    near: Bool
    before: Bool


def carry_seg(instance: Instance, scans: Sequence[Scan], stamp: Stamp) -> FollowedSeg:
    """The segmentation on the defaced CT, as BINARY: label maps are known to few readers, fractions show partial skin.

    Segments of targets, organs, nodes and eyes that lose no tissue stay as they are. Outlines of the patient gain what came;
    every other segment loses what lies in the room around the new body near the change, and its parts that lie in the air.

    Raises
    ------
    DicomError
        A segmentation that cannot be read or written.
    """
    where = instance.member.where
    try:
        dataset = load(instance.member.read(), instance)
        kind = str(dataset.get("SegmentationType") or "")
        if kind not in _KINDS:
            raise DicomError(f"{where}: SegmentationType is none of {', '.join(_KINDS)}.")
        frames = list(_frames(dataset, kind))
        stamp_companion(dataset, stamp)
        out = FollowedSeg(uid=str(dataset.SOPInstanceUID), kind=kind)
        masks = _followed(frames, scans, _kinds(dataset), out)
        if kind != "BINARY":
            _describe_binary(dataset, frames, kind)
        _note(dataset, out)
        _set_pixels(dataset, masks)
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        out.data = buffer.getvalue()
        return out
    except DAMAGE as error:
        raise DicomError(f"{where}: the segmentation is damaged. Send it again.") from error


def _frames(dataset: FileDataset, kind: str) -> Iterator[_Frame]:
    """Every plane of every segment; a plane of a label map comes once for each label on it."""
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    least = INSIDE_SHARE * float(dataset.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1.0
    for plane, item in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        grid = _grid(item, shared, plane.shape)
        if kind != "LABELMAP":
            number = int(_group(item, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            yield _Frame(number, np.asarray(plane >= least), item, grid)
            continue
        for number in np.unique(plane[plane > 0]).tolist():
            yield _Frame(int(number), np.asarray(plane == number), item, grid)


def _group(item: Dataset, shared: Dataset, name: str) -> Dataset:
    """A functional group of a frame, its own or the shared one."""
    found: Dataset = (item.get(name) or shared[name].value)[0]
    return found


def _grid(item: Dataset, shared: Dataset, shape: tuple[int, ...]) -> Grid:
    position = np.array(_group(item, shared, "PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
    axes = np.array(_group(item, shared, "PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64)
    rows, columns = (float(v) for v in _group(item, shared, "PixelMeasuresSequence").PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([np.cross(axes[:3], axes[3:]), axes[3:] * rows, axes[:3] * columns])
    affine[:3, 3] = position
    return Grid((1, shape[0], shape[1]), affine)


def _kinds(dataset: Dataset) -> dict[int, RoiKind]:
    """What each segment is, by its label."""
    items = [(int(item.get("SegmentNumber") or 0), item) for item in dataset.get("SegmentSequence") or []]
    return {number: label_of(number, str(item.get("SegmentLabel") or "")).kind for number, item in items}


def _followed(frames: Sequence[_Frame], scans: Sequence[Scan], kinds: dict[int, RoiKind], out: FollowedSeg) -> list[Bool]:
    """The voxels of every frame after the change."""
    planes: dict[bytes, _Plane | None] = {}
    seen = []
    for frame in frames:
        key = frame.grid.affine.tobytes()
        if key not in planes:
            planes[key] = _plane(frame.grid, scans)
        seen.append(planes[key])
    outlines = {number for number, kind in kinds.items() if kind is RoiKind.EXTERNAL} | _outlines_by_shape(frames, seen, planes)
    touched = {f.segment for f, plane in zip(frames, seen, strict=True) if plane is not None and np.any(f.mask & plane.gone)}
    touched |= {number for number in _in_air(frames, seen) if kinds.get(number, RoiKind.ORGAN) in (RoiKind.ORGAN, RoiKind.NODE)}
    masks = []
    for frame, plane in zip(frames, seen, strict=True):
        mask = frame.mask
        kept = kinds.get(frame.segment, RoiKind.ORGAN) in KEPT and frame.segment not in touched | outlines
        if plane is not None and not kept:
            outline = frame.segment in outlines
            mask = (_solid(mask, plane) & ~plane.room) | plane.came if outline else _on_tissue(mask, plane) & ~plane.room
        changed = int(np.count_nonzero(mask != frame.mask))
        out.changed += changed
        if changed:
            out.clipped.add(frame.segment)
        masks.append(mask)
    return masks


def _solid(mask: Bool, plane: _Plane) -> Bool:
    """An outline on a plane, filled if it is a shell and the skin moved there: its inner side follows the old skin as well."""
    whole = filled_plane(mask)
    shell = np.count_nonzero(whole & ~mask) > SHELL_SHARE * np.count_nonzero(whole)
    return whole if shell and (plane.gone | plane.came).any() else mask


def _on_tissue(mask: Bool, plane: _Plane) -> Bool:
    """A segment on a plane without its parts that lie in the air near the change: where they end, the old skin was."""
    parts, count = ndimage.label(mask)
    near = np.bincount(parts[plane.near], minlength=count + 1)
    held = np.bincount(parts[plane.near & plane.before], minlength=count + 1)
    airy = held < LEAST_TISSUE * near
    airy[0] = True
    return np.asarray(~airy[parts])


def _in_air(frames: Sequence[_Frame], seen: Sequence[_Plane | None]) -> set[int]:
    """Segments that near the change hold next to no tissue: no organ does that, whatever its name."""
    near: Counter[int] = Counter()
    held: Counter[int] = Counter()
    for frame, plane in zip(frames, seen, strict=True):
        if plane is not None:
            near[frame.segment] += int(np.count_nonzero(frame.mask & plane.near))
            held[frame.segment] += int(np.count_nonzero(frame.mask & plane.near & plane.before))
    return {number for number, count in near.items() if held[number] < LEAST_TISSUE * count}


def _outlines_by_shape(frames: Sequence[_Frame], seen: Sequence[_Plane | None], planes: dict[bytes, _Plane | None]) -> set[int]:
    """Segments that hold most of the tissue that was taken away."""
    whole = sum(int(np.count_nonzero(plane.gone)) for plane in planes.values() if plane is not None)
    held: dict[int, int] = {}
    for frame, plane in zip(frames, seen, strict=True):
        if plane is not None:
            held[frame.segment] = held.get(frame.segment, 0) + int(np.count_nonzero(frame.mask & plane.gone))
    return {number for number, count in held.items() if count > OUTLINE_SHARE * whole}


def _plane(grid: Grid, scans: Sequence[Scan]) -> _Plane | None:
    """What scans changed on a plane; None where they did not."""
    found = [scan.change for scan in scans if scan.change is not None]
    rows, columns = np.indices(grid.shape[1:])
    points: Float = grid.to_patient(np.stack([np.zeros_like(rows), rows, columns], axis=-1))
    here = [change for change in found if bool(change.grid.contains(points).any())]
    if not here:
        return None
    room, came, gone, near, before = (
        np.logical_or.reduce([change.look_up(getattr(change, name), points) for change in here])
        for name in ("room", "came", "gone", "near", "before")
    )
    return _Plane(room, came, gone, near, before) if (room | came | gone).any() else None


def _describe_binary(dataset: FileDataset, frames: Sequence[_Frame], kind: str) -> None:
    """Turn the description of a fractional segmentation or a label map into that of a binary one."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    dataset.SegmentationType, dataset.PhotometricInterpretation = "BINARY", "MONOCHROME2"
    for name in _NOT_BINARY:
        if name in dataset:
            delattr(dataset, name)
    if kind != "LABELMAP":
        return
    dataset.SegmentSequence = DicomSequence(
        [item for item in dataset.SegmentSequence if int(item.get("SegmentNumber") or 0) > 0]
    )
    dataset.SegmentsOverlap = "NO"
    _index_by_segment(dataset)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence([_own_item(frame) for frame in frames])


def _own_item(frame: _Frame) -> Dataset:
    """The description of a frame of one segment."""
    item, segment = copy.deepcopy(frame.item), Dataset()
    segment.ReferencedSegmentNumber = frame.segment
    item.SegmentIdentificationSequence = DicomSequence([segment])
    for content in item.get("FrameContentSequence") or []:
        if "DimensionIndexValues" in content:
            old = content.DimensionIndexValues
            content.DimensionIndexValues = [frame.segment, *(old if hasattr(old, "__iter__") else [old])]
    return item


def _index_by_segment(dataset: Dataset) -> None:
    """Segments become the first dimension: a label map has none."""
    old = list(dataset.get("DimensionIndexSequence") or [])
    if not old:
        return
    index = Dataset()
    index.DimensionOrganizationUID = old[0].get("DimensionOrganizationUID", "")
    index.DimensionIndexPointer = Tag("ReferencedSegmentNumber")
    index.FunctionalGroupPointer = Tag("SegmentIdentificationSequence")
    dataset.DimensionIndexSequence = DicomSequence([index, *old])


def _note(dataset: Dataset, out: FollowedSeg) -> None:
    """Say of a segment that it was changed."""
    for item in dataset.get("SegmentSequence") or []:
        if int(item.get("SegmentNumber") or 0) in out.clipped:
            told = str(item.get("SegmentDescription") or "")
            item.SegmentDescription = (f"{told}; {CLIPPED}" if told else CLIPPED)[-SHORT_TEXT:]


def _set_pixels(dataset: FileDataset, masks: Sequence[Bool]) -> None:
    """One bit for each voxel, frames without a gap between them."""
    bits: NDArray[np.uint8] = np.concatenate([mask.ravel() for mask in masks]).astype(np.uint8)
    data = pack_bits(bits)
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.NumberOfFrames, dataset.SamplesPerPixel, dataset.PixelRepresentation = 0, len(masks), 1, 0
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or not dataset.original_encoding[1]:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OB", data + b"\0" * (len(data) % 2), already_converted=True)
