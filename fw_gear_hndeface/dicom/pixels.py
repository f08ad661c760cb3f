"""Stored pixel values, exactly as the file holds them, and what they mean."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, Instance, PixelFormat
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Bool

Stored = NDArray[Any]
#: Transfer syntaxes whose pixel bytes lie in the file as they are.
BYTE_FOR_BYTE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
MAX_MATRIX = 8192


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
    data = instance.member.read()
    if instance.pixel_span is not None and instance.syntax in BYTE_FOR_BYTE:
        return stored_from_bytes(data, instance.pixel_span, instance)
    try:
        dataset = dcmread(io.BytesIO(data), force=True)
    except DAMAGE as error:
        raise DicomError(f"{instance.member.where}: damaged or cut short. Send the file again.") from error
    return decode(dataset, instance)


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
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(instance.syntax)
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
    """Which pixels are padding; None when there is none."""
    if pixels.padding is None:
        return None
    low, high = pixels.padding
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
