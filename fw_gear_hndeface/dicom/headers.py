"""One DICOM header in plain types, read from the leading part of a file."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fw_gear_hndeface.dicom.archive import Member
from fw_gear_hndeface.errors import DicomError

FIRST_LOOK = 16_384
#: What pydicom, its decoders, zlib and struct raise on damaged bytes.
DAMAGE: tuple[type[Exception], ...] = (
    InvalidDicomError, BytesLengthException, UserWarning, ValueError, TypeError, LookupError, AttributeError, RuntimeError,
    ArithmeticError, OSError, EOFError, struct.error, zlib.error,
)  # fmt: skip
PIXEL_DATA = Tag(0x7FE00010)
UNDEFINED = 0xFFFFFFFF
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
#: Groups that may be huge and hold nothing we group by: radiotherapy, and the functional groups of multi-frame objects.
_HEAVY_GROUPS = {*range(0x3002, 0x3011, 2), 0x5200}
_CUT = "{}: damaged or cut short. Send the file again."
#: CT, MR and PET images of one slice: such a file ends in pixels, or it is not whole.
SLICE_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "4", "128"))
#: Root of the SOP classes of patient objects; directories are not below it and have no SOPClassUID of their own.
OBJECT_CLASSES = "1.2.840.10008.5.1.4."
OUR_NAME = "HNDeface"
OUR_MARK = "face removed"
#: What tells phases, acquisitions and reconstructions at one position apart, the most telling first.
PHASE_TAGS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "ConvolutionKernel",
    "ImageType",
    "KVP",
    "SliceThickness",
    "AcquisitionTime",
    "ContentTime",
)  # fmt: skip
_TAGS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "FrameOfReferenceUID", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RecognizableVisualFeatures", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ContributingEquipmentSequence", *PHASE_TAGS,
)  # fmt: skip
_SPECIFIC = [Tag(name) for name in dict.fromkeys(_TAGS)]


@dataclass(frozen=True)
class Plane:
    """Where a slice lies: LPS mm of its first pixel's centre, unit row and column directions, (row, column) spacing in mm."""

    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class PixelFormat:
    """How stored values are packed, and what they mean: value * slope + intercept."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: float
    intercept: float
    padding: tuple[int, int] | None


@dataclass(frozen=True)
class Instance:
    """One DICOM object of the input, by its header alone."""

    member: Member
    syntax: str
    sop_class: str
    uid: str
    study_uid: str
    series_uid: str
    frame: str
    modality: str
    series_number: int | None
    number: int | None
    image_type: tuple[str, ...]
    plane: Plane | None
    pixels: PixelFormat
    #: First byte and length of the PixelData value in the file, `UNDEFINED` where compressed; None where deflated or absent.
    pixel_span: tuple[int, int] | None
    phase: tuple[str, ...]
    defaced: str | None


@dataclass
class _Stop:
    """Remembers whether parsing ended at a place we know, not at the end of a leading part."""

    heavy: bool
    hit: bool = False
    length: int = 0
    pixels: bool = False

    def __call__(self, tag: BaseTag, _vr: str | None, length: int) -> bool:
        if int(tag) in _PIXEL_TAGS or (self.heavy and tag.group in _HEAVY_GROUPS):
            self.hit, self.length, self.pixels = True, length, int(tag) == PIXEL_DATA
        return self.hit


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file may be DICOM: the 'DICM' mark, or a first element of group 2 or 8 where files without preamble start."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element = struct.unpack("<HH", head[:4])
    return (group in (0x0002, 0x0008) and element <= 0x0060) or head[:3] == b"\x00\x08\x00"


def read_instance(member: Member) -> Instance | None:
    """The member's header; None for what is no DICOM object of a patient (text, DICOMDIR, a bare header).

    Raises
    ------
    DicomError
        A file that is DICOM but whose header cannot be read to its end.
    """
    size, heavy = FIRST_LOOK, True
    while True:
        head = member.head(size)
        if not looks_like_dicom(head):
            return None
        whole = len(head) < size or size >= member.size
        stop = _Stop(heavy)
        stream = io.BytesIO(head)
        dataset = _parse(stream, stop)
        if dataset is not None and stop.hit and not stop.pixels and heavy and _is_slice(dataset):
            heavy = False  # a slice with radiotherapy attributes: its pixels come behind them
            continue
        if dataset is not None and (stop.hit or whole):
            try:
                return _instance(member, dataset, stop, stream.tell())
            except DAMAGE as error:
                raise DicomError(_CUT.format(member.where)) from error
        if whole and head[128:132] != b"DICM":
            return None
        if whole:
            raise DicomError(_CUT.format(member.where))
        size *= 8


def _is_slice(dataset: Dataset) -> bool:
    try:
        return str(dataset.get("SOPClassUID")) in SLICE_CLASSES
    except DAMAGE:
        return False


def read_whole(data: bytes, where: str) -> FileDataset:
    """The dataset of a whole file; DicomError when it is damaged or ends inside an element, which pydicom lets pass."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=r"(?i).*(end of file|no tag to read)")
            dataset = dcmread(io.BytesIO(data), force=True)
        items = [dataset.get_item(tag) for tag in dataset.keys()]  # noqa: SIM118  iterating the dataset converts its elements
    except DAMAGE as error:
        raise DicomError(_CUT.format(where)) from error
    for item in items:
        if isinstance(item, RawDataElement) and item.length != UNDEFINED and len(item.value or b"") < item.length:
            raise DicomError(_CUT.format(where))
    return dataset


def _parse(stream: io.BytesIO, stop: _Stop) -> FileDataset | None:
    try:
        return read_partial(stream, stop_when=stop, force=True, specific_tags=list(_SPECIFIC))
    except DAMAGE:
        return None


def _instance(member: Member, dataset: FileDataset, stop: _Stop, offset: int) -> Instance | None:
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) or _guessed_syntax(dataset)
    reader = _Fields(dataset, member.where)
    sop_class, uid = reader.text("SOPClassUID"), reader.text("SOPInstanceUID")
    if not sop_class or not uid:
        stored = str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) or OBJECT_CLASSES
        if dataset.preamble is not None and stored.startswith(OBJECT_CLASSES):
            raise DicomError(_CUT.format(member.where))
        return None
    if sop_class in SLICE_CLASSES and not stop.pixels:
        raise DicomError(f"{member.where}: an image without PixelData, or cut short before it. Send the file again.")
    return Instance(
        member=member,
        syntax=syntax,
        sop_class=sop_class,
        uid=uid,
        study_uid=reader.text("StudyInstanceUID"),
        series_uid=reader.text("SeriesInstanceUID"),
        frame=reader.text("FrameOfReferenceUID"),
        modality=reader.text("Modality"),
        series_number=reader.integer("SeriesNumber"),
        number=reader.integer("InstanceNumber"),
        image_type=reader.texts("ImageType"),
        plane=_plane(reader),
        pixels=_pixel_format(reader),
        pixel_span=_pixel_span(dataset, syntax, stop, offset),
        phase=tuple("\\".join(reader.texts(name)) for name in PHASE_TAGS),
        defaced=_defaced_by(dataset, reader),
    )


def _guessed_syntax(dataset: FileDataset) -> str:
    implicit, little = dataset.original_encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def _pixel_span(dataset: FileDataset, syntax: str, stop: _Stop, offset: int) -> tuple[int, int] | None:
    if not stop.pixels or syntax == DeflatedExplicitVRLittleEndian:
        return None
    implicit, _ = dataset.original_encoding
    return offset + (8 if implicit else 12), stop.length


class _Fields:
    """Typed access to attributes that may be absent, empty or nonsense."""

    def __init__(self, dataset: Dataset, where: str) -> None:
        self.dataset = dataset
        self._where = where

    def texts(self, name: str) -> tuple[str, ...]:
        """All values as text."""
        value = self._value(name)
        if value is None:
            return ()
        many = isinstance(value, list | tuple) or hasattr(value, "append")
        return tuple(str(part).strip(" \0") for part in (value if many else [value]))

    def text(self, name: str) -> str:
        """The first value as text, '' when absent."""
        return next(iter(self.texts(name)), "")

    def floats(self, name: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite numbers, or None when the attribute is absent or empty."""
        texts = [text for text in self.texts(name) if text]
        if not texts:
            return None
        try:
            numbers = tuple(float(text) for text in texts)
        except ValueError as error:
            raise DicomError(f"{self._where}: {name} is not a number.") from error
        if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
            raise DicomError(f"{self._where}: {name} has {len(numbers)} values, expected {count} finite numbers.")
        return numbers

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A whole number, or the default."""
        try:
            return int(float(self.text(name)))
        except (ValueError, OverflowError):
            return default

    def signed_word(self, name: str, signed: bool) -> int | None:
        """A 16-bit value whose sign follows PixelRepresentation, whatever the file says its type is."""
        if name not in self.dataset:
            return None
        item = self.dataset.get_item(name)
        raw = item.value if isinstance(item.value, bytes) else None
        little = bool(self.dataset.original_encoding[1])
        if raw is not None and len(raw) >= 2:
            return int.from_bytes(raw[:2], "little" if little else "big", signed=signed)
        value = self.integer(name)
        return None if value is None else ((value + 0x8000) % 0x10000) - 0x8000 if signed else value % 0x10000

    def _value(self, name: str) -> Any:
        try:
            return self.dataset.get(name)
        except DAMAGE as error:
            raise DicomError(f"{self._where}: {name} cannot be read.") from error


def _plane(reader: _Fields) -> Plane | None:
    position = reader.floats("ImagePositionPatient", 3)
    axes = reader.floats("ImageOrientationPatient", 6)
    spacing = reader.floats("PixelSpacing", 2)
    if position is None or axes is None or spacing is None:
        return None
    row, column = axes[:3], axes[3:]
    if min(spacing) <= 0 or min(math.hypot(*row), math.hypot(*column)) < 0.5:
        return None
    return Plane(_triple(position), _triple(row), _triple(column), (spacing[0], spacing[1]))


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def _pixel_format(reader: _Fields) -> PixelFormat:
    signed = reader.integer("PixelRepresentation") == 1
    allocated = reader.integer("BitsAllocated") or 0
    stored = reader.integer("BitsStored") or allocated
    slope, intercept = reader.floats("RescaleSlope", 1), reader.floats("RescaleIntercept", 1)
    return PixelFormat(
        rows=reader.integer("Rows") or 0,
        columns=reader.integer("Columns") or 0,
        frames=reader.integer("NumberOfFrames") or 1,
        samples=reader.integer("SamplesPerPixel") or 1,
        photometric=reader.text("PhotometricInterpretation"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=reader.integer("HighBit", stored - 1) or 0,
        signed=signed,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        padding=_padding(reader, signed),
    )


def _padding(reader: _Fields, signed: bool) -> tuple[int, int] | None:
    value = reader.signed_word("PixelPaddingValue", signed)
    limit = reader.signed_word("PixelPaddingRangeLimit", signed)
    if value is None:
        return None
    limit = value if limit is None else limit
    return min(value, limit), max(value, limit)


def _defaced_by(dataset: Dataset, reader: _Fields) -> str | None:
    if reader.text("RecognizableVisualFeatures").upper() == "NO":
        return "RecognizableVisualFeatures is NO"
    codes = dataset.get("DeidentificationMethodCodeSequence") or []
    if any(str(item.get("CodeValue", "")) == "113102" for item in codes):
        return "DeidentificationMethodCodeSequence holds 113102"
    if any(text.startswith(OUR_NAME) and OUR_MARK in text for text in reader.texts("DeidentificationMethod")):
        return "DeidentificationMethod names this software"
    for item in dataset.get("ContributingEquipmentSequence") or []:
        purposes = item.get("PurposeOfReferenceCodeSequence") or []
        cleaned = any(str(code.get("CodeValue", "")) == "109104" for code in purposes)
        if cleaned and str(item.get("ManufacturerModelName", "")) == OUR_NAME:
            return "ContributingEquipmentSequence names this software"
    return None
