"""Stored pixel values, exactly as the file holds them, and what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from fw_gear_hndeface.dicom.codestream import FrameSize, frame_size
from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, UNDEFINED, Instance, PixelFormat, read_whole
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Bool

Stored = NDArray[Any]
#: Transfer syntaxes whose pixel bytes lie in the file as they are.
BYTE_FOR_BYTE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
MAX_MATRIX = 8192
#: Where most scanners cut off the scale of air.
AIR_FLOOR_HU = -1024.0
_ITEM = b"\xfe\xff\x00\xe0"
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0"


def check_format(instance: Instance) -> None:
    """Raise DicomError for pixels this software cannot change without doubt."""
    pixels, where = instance.pixels, instance.member.where
    if pixels.frames != 1:
        raise DicomError(f"{where}: a multi-frame image. Convert it to one file per slice first.")
    if pixels.photometric != "MONOCHROME2" or pixels.samples != 1:
        raise DicomError(f"{where}: PhotometricInterpretation is not MONOCHROME2, so its values are no measurements.")
    if pixels.bits_allocated not in (8, 16):
        raise DicomError(f"{where}: BitsAllocated is {pixels.bits_allocated}, expected 8 or 16.")
    if not 1 <= pixels.bits_stored <= pixels.bits_allocated or pixels.high_bit != pixels.bits_stored - 1:
        raise DicomError(f"{where}: BitsStored {pixels.bits_stored} and HighBit {pixels.high_bit} do not fit together.")
    if not (0 < pixels.rows <= MAX_MATRIX and 0 < pixels.columns <= MAX_MATRIX):
        raise DicomError(f"{where}: {pixels.rows} x {pixels.columns} pixels, expected 1 to {MAX_MATRIX} each way.")
    if pixels.slope == 0:
        raise DicomError(f"{where}: RescaleSlope is 0, so every value means the same.")


def read_stored(instance: Instance) -> Stored:
    """Stored values (rows, columns) of a single-frame image, bits above BitsStored resolved into the sign.

    Raises
    ------
    DicomError
        Pixel data that are missing, cut short, or that no decoder reads.
    """
    return stored_of(instance.member.read(), instance)


def stored_of(data: bytes, instance: Instance) -> Stored:
    """Stored values of a file that was read already; as `read_stored`."""
    span = native_span(instance)
    return decode(load(data, instance), instance) if span is None else stored_from_bytes(data, span, instance)


def native_span(instance: Instance) -> tuple[int, int] | None:
    """First byte and length of pixel bytes that lie in the file as they are; None where they must be decoded."""
    span = instance.pixel_span
    return span if span is not None and span[1] != UNDEFINED and instance.syntax in BYTE_FOR_BYTE else None


def load(data: bytes, instance: Instance) -> FileDataset:
    """The whole dataset of a file; DicomError when it is damaged or its fragments end before their mark."""
    where = instance.member.where
    if instance.pixel_span is not None and instance.pixel_span[1] == UNDEFINED:
        _check_fragments(data, instance)
    dataset = read_whole(data, where)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(instance.syntax)
    return dataset


def _check_fragments(data: bytes, instance: Instance) -> None:
    """Refuse compressed pixels cut short (pydicom says nothing) or of another size than the header's (GDCM crashes)."""
    where, pixels = instance.member.where, instance.pixels
    position, items = (instance.pixel_span or (0, 0))[0], []
    while data[position : position + 4] == _ITEM:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        items.append((position + 8, length))
        position += 8 + length
    if data[position : position + 4] != _END_OF_ITEMS or len(items) < 2:
        raise DicomError(f"{where}: its compressed PixelData is cut short. Send the file again.")
    if instance.syntax == RLELossless:
        return
    start, length = items[1]  # the first item is the offset table
    size = frame_size(data[start : start + length])
    if size != FrameSize(pixels.rows, pixels.columns, 1):
        told = f"{pixels.rows} x {pixels.columns}"
        raise DicomError(f"{where}: the compressed image is damaged, or not of the {told} pixels of its header. Send it again.")


def stored_from_bytes(data: bytes, span: tuple[int, int], instance: Instance) -> Stored:
    """Stored values from the native pixel bytes at `span` (offset, length) of `data`."""
    pixels = instance.pixels
    dtype = stored_dtype(pixels)
    count = pixels.rows * pixels.columns
    offset, declared = span
    got = min(declared, len(data) - offset)
    if got < count * dtype.itemsize:
        raise DicomError(
            f"{instance.member.where}: PixelData is cut short: got {max(got, 0)} bytes, expected {count * dtype.itemsize}. "
            "Send the file again."
        )
    return _resolved(np.frombuffer(data, dtype, count, offset).reshape(pixels.rows, pixels.columns), pixels)


def decode(dataset: FileDataset, instance: Instance) -> Stored:
    """Stored values of a whole dataset in any transfer syntax pydicom can decode."""
    pixels, where = instance.pixels, instance.member.where
    name = UID(instance.syntax).name
    if PIXEL_DATA not in dataset:
        raise DicomError(f"{where}: no PixelData.")
    try:
        array = dataset.pixel_array
    except DAMAGE as error:
        raise DicomError(f"{where}: its pixels ({name}) cannot be decoded, or are cut short. Send the file again.") from error
    if array.shape != (pixels.rows, pixels.columns):
        raise DicomError(f"{where}: {array.shape} pixels in the data, expected {(pixels.rows, pixels.columns)}.")
    return _resolved(array.astype(stored_dtype(pixels), copy=False), pixels)


def stored_dtype(pixels: PixelFormat) -> np.dtype[Any]:
    """The little-endian type of one stored value."""
    return np.dtype(f"<{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


def stored_range(pixels: PixelFormat) -> tuple[int, int]:
    """Smallest and largest value that BitsStored and PixelRepresentation allow."""
    if pixels.signed:
        return -(1 << (pixels.bits_stored - 1)), (1 << (pixels.bits_stored - 1)) - 1
    return 0, (1 << pixels.bits_stored) - 1


def padding_of(stored: Stored, pixels: PixelFormat) -> Bool | None:
    """Which pixels are padding; None when there is none.

    A padding value that is also the scanner's floor of air, -1024 HU, marks nothing: every voxel of clear air bears it, and
    a face could not be given new skin in air that may not be written.
    """
    if pixels.padding is None:
        return None
    low, high = pixels.padding
    if low * pixels.slope + pixels.intercept <= AIR_FLOOR_HU <= high * pixels.slope + pixels.intercept:
        return None
    mask = stored == low if low == high else (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _resolved(stored: Stored, pixels: PixelFormat) -> Stored:
    """Values of the stored bits alone: what lies above BitsStored is the sign's, or nobody's."""
    spare = pixels.bits_allocated - pixels.bits_stored
    if not spare:
        return stored
    low, high = stored_range(pixels)
    if stored.min() >= low and stored.max() <= high:
        return stored
    return (stored << spare) >> spare
