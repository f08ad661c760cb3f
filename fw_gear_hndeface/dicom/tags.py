"""The header of a defaced slice: what is set, appended, remapped and deleted. Everything else keeps its bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from fw_gear_hndeface.dicom.headers import OUR_MARK, OUR_NAME, PIXEL_DATA
from fw_gear_hndeface.dicom.references import Output, drop_dangling
from fw_gear_hndeface.dicom.uids import new_uid

MIN_UID = 8
_UID = re.compile(rb"[0-9.]{8,64}")
_ONLY_UIDS = re.compile(rb"[0-9.\\]+[\0 ]?")
#: Megabytes of coordinates, and never a UID among them.
_NUMBERS_ONLY = {PIXEL_DATA, Tag("ContourData")}
_ICON = Tag("IconImageSequence")
_ICON_BYTES = (b"\x88\x00\x00\x02", b"\x00\x88\x02\x00")
#: Thumbnails show the face, old attributes may identify, signatures and series extremes are no longer true.
_DELETED = {
    Tag(name)
    for name in (
        "IconImageSequence",
        "OriginalAttributesSequence",
        "DigitalSignaturesSequence",
        "MACParametersSequence",
        "SmallestPixelValueInSeries",
        "LargestPixelValueInSeries",
    )
}
_INSTANCE_UID = Tag("SOPInstanceUID")
#: What a slice is described by, and what that is worked out from.
_WRITTEN = {
    Tag(name)
    for name in (
        "ImageType",
        "SeriesDescription",
        "DerivationDescription",
        "DerivationCodeSequence",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "ContributingEquipmentSequence",
        "SeriesNumber",
        "RecognizableVisualFeatures",
        "RescaleType",
    )
}
_SOURCES = sorted({*_WRITTEN, Tag("Modality"), Tag("SpecificCharacterSet")})
LONG_STRING = 64
SHORT_TEXT = 1024
SERIES_NUMBER_STEP = 1000


@dataclass(frozen=True)
class Stamp:
    """What a defaced object says about how it was made.

    Attributes
    ----------
    version, method : of this software
    description : the derivation in words (method, fill value)
    key : secret behind the new UIDs
    image_type : 'derived' sets the first value of ImageType, 'keep' leaves it
    claim : False leaves out every statement that the face is gone
    uids : old to new for all objects and series of the job, from `uid_map`; those of the series itself are always known
    output : what the archive holds; references to anything else go. None where nobody knows yet
    """

    version: str
    method: str
    description: str
    key: bytes
    image_type: str = "derived"
    claim: bool = True
    uids: Mapping[bytes, bytes] = field(default_factory=dict)
    output: Output | None = None


class Stamper:
    """Stamps the slices of a job; what the slices of a series share is worked out once.

    `uids` must hold the series' own UID: it is replaced like every other known one.
    """

    def __init__(self, stamp: Stamp, uids: Mapping[bytes, bytes]) -> None:
        self._stamp = stamp
        self._uids = uids
        self._written = _WRITTEN - ({Tag("ImageType")} if stamp.image_type == "keep" else set())
        self._known: dict[tuple[object, ...], Dataset] = {}

    def apply(self, dataset: FileDataset) -> set[BaseTag]:
        """Turn the header of an input slice into that of a defaced one, in place (DICOM PS3.3, PS3.15 E.3.2).

        Returns
        -------
        The tags of all elements that were set, changed or deleted; every other element is as it was read.
        """
        uid = UID(new_uid(str(dataset.SOPInstanceUID), self._stamp.key))
        touched = remap_uids(dataset, self._uids)
        if self._stamp.output is not None:
            touched |= drop_dangling(dataset, self._stamp.output)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        for tag in _DELETED & set(dataset.keys()):
            del dataset[tag]
        self._describe(dataset)
        return touched | _DELETED | self._written | {_INSTANCE_UID}

    def _describe(self, dataset: FileDataset) -> None:
        """Set what all slices with the same input values have in common."""
        items = [dataset.get_item(tag) if tag in dataset else None for tag in _SOURCES]
        raw = all(item is None or isinstance(item, RawDataElement) for item in items)
        key = (dataset.original_encoding, *(item and item.value for item in items))
        if not raw or key not in self._known:
            _describe(dataset, self._stamp)
            if not raw:
                return
            self._known[key] = _as_bytes(dataset, self._written)
        known = self._known[key]
        for tag in known.keys():  # noqa: SIM118  iterating a dataset converts its elements
            dataset[tag] = known.get_item(tag)


def _as_bytes(dataset: FileDataset, tags: Set[BaseTag]) -> Dataset:
    """The elements of the given tags in their encoded form, so that writing them again is a copy."""
    part = Dataset()
    for tag in tags & set(dataset.keys()):
        part[tag] = dataset[tag]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = (bool(flag) for flag in dataset.original_encoding)
    charset = dataset.original_character_set
    write_dataset(buffer, part, charset if isinstance(charset, str) else list(charset))
    buffer.seek(0)
    return read_dataset(cast(BinaryIO, buffer), buffer.is_implicit_VR, buffer.is_little_endian)


def _describe(dataset: Dataset, stamp: Stamp) -> None:
    _describe_series(dataset)
    _describe_image(dataset, stamp)
    _describe_work(dataset, stamp)


def stamp_companion(dataset: FileDataset, stamp: Stamp) -> None:
    """Turn the header of an object that follows the CT (structure set, dose) into that of its defaced copy, in place.

    UIDs go first, while the elements are as they were read: later on only what is set here would be seen.
    """
    uid = UID(new_uid(str(dataset.SOPInstanceUID), stamp.key))
    remap_uids(dataset, stamp.uids)
    if stamp.output is not None:
        drop_dangling(dataset, stamp.output)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    for tag in _DELETED & set(dataset.keys()):
        del dataset[tag]
    _describe_series(dataset)
    _describe_work(dataset, stamp)


def remap_uids(dataset: Dataset, uids: Mapping[bytes, bytes]) -> set[BaseTag]:
    """Replace every known UID, at any depth, and delete icons inside sequences; the tags of the elements that changed."""
    touched = set()
    for tag in list(dataset.keys()):
        if tag not in _NUMBERS_ONLY and _remap_item(dataset, tag, uids):
            touched.add(tag)
    return touched


def _remap_item(dataset: Dataset, tag: BaseTag, uids: Mapping[bytes, bytes]) -> bool:
    item = dataset.get_item(tag)
    if isinstance(item, RawDataElement):
        if item.value is None or not _worth_opening(item.value, uids):
            return False
        if item.VR != "SQ" and _ONLY_UIDS.fullmatch(item.value):
            dataset[tag] = _remapped(item, uids)
            return True
        item = dataset[tag]
    if item.VR == "SQ" and item.value:
        changed = [_clean_inside(inner, uids) for inner in item.value]  # every item, not just the first that changes
        return any(changed)
    return False


def _clean_inside(item: Dataset, uids: Mapping[bytes, bytes]) -> bool:
    """Remap a sequence item and take its icon away; whether that changed it."""
    had_icon = _ICON in item
    if had_icon:
        del item[_ICON]
    return bool(remap_uids(item, uids)) or had_icon


def _worth_opening(value: bytes, uids: Mapping[bytes, bytes]) -> bool:
    if any(mark in value for mark in _ICON_BYTES):
        return True
    return len(value) >= MIN_UID and any(found in uids for found in _UID.findall(value))


def _remapped(item: RawDataElement, uids: Mapping[bytes, bytes]) -> RawDataElement:
    parts = [uids.get(part, part) for part in (item.value or b"").rstrip(b"\0 ").split(b"\\")]
    joined = b"\\".join(parts)
    joined += b"\0" * (len(joined) % 2)
    return item._replace(value=joined, length=len(joined))


def _describe_series(dataset: Dataset) -> None:
    ending = " defaced"
    old = str(dataset.get("SeriesDescription") or "")[: LONG_STRING - len(ending)]
    dataset.SeriesDescription = (old + ending).strip()
    number = dataset.get("SeriesNumber")
    if number is not None and str(number):
        dataset.SeriesNumber = int(number) + SERIES_NUMBER_STEP


def _describe_image(dataset: Dataset, stamp: Stamp) -> None:
    if stamp.image_type == "derived":
        old = dataset.get("ImageType")
        values = list(old) if old is not None and not isinstance(old, str) else [old or "ORIGINAL", "PRIMARY"]
        dataset.ImageType = ["DERIVED", *values[1:]]
    if dataset.get("Modality") == "CT" and not dataset.get("RescaleType"):
        dataset.RescaleType = "HU"
    if stamp.claim:
        dataset.RecognizableVisualFeatures = "NO"
    told = str(dataset.get("DerivationDescription") or "")
    text = f"{OUR_NAME} {stamp.version}, method {stamp.method}: {stamp.description}"
    dataset.DerivationDescription = (f"{told}; {text}" if told else text)[-SHORT_TEXT:]
    _append(dataset, "DerivationCodeSequence", _code("113077", "Volume editing"))


def _describe_work(dataset: Dataset, stamp: Stamp) -> None:
    name = f"{OUR_NAME} {stamp.version}: {OUR_MARK if stamp.claim else 'face changed, not verified'}"
    methods = dataset.get("DeidentificationMethod")
    old = [] if not methods else [methods] if isinstance(methods, str) else list(methods)
    dataset.DeidentificationMethod = [*old, name[:LONG_STRING]]
    if stamp.claim:
        _append(dataset, "DeidentificationMethodCodeSequence", _code("113102", "Clean Recognizable Visual Features Option"))
    _append(dataset, "ContributingEquipmentSequence", _equipment(stamp))


def _append(dataset: Dataset, name: str, item: Dataset) -> None:
    old = dataset.get(name) or []
    codes = {str(known.get("CodeValue", "")) for known in old}
    if "CodeValue" in item and item.CodeValue in codes:
        return
    setattr(dataset, name, DicomSequence([*old, item]))


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item


def _equipment(stamp: Stamp) -> Dataset:
    item = Dataset()
    item.Manufacturer = OUR_NAME
    item.ManufacturerModelName = OUR_NAME
    item.SoftwareVersions = stamp.version
    item.ContributionDescription = f"method {stamp.method}"
    purpose = ("109104", "De-identifying Equipment") if stamp.claim else ("109103", "Modifying Equipment")
    item.PurposeOfReferenceCodeSequence = DicomSequence([_code(*purpose)])
    return item
