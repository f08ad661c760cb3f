"""A file with some elements exchanged: every byte that belongs to another element is copied, not written anew."""

from __future__ import annotations

import io
from collections.abc import Set
from dataclasses import dataclass

from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_partial
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from fw_gear_hndeface.dicom.headers import PIXEL_DATA

PREAMBLE = 128


@dataclass(frozen=True, eq=False)
class Layout:
    """A parsed header and where each of its elements begins in the file; PixelData is the last element of the file."""

    data: bytes
    dataset: FileDataset
    starts: dict[BaseTag, int]
    #: First byte of the PixelData element.
    pixels_at: int
    #: First byte and length of the PixelData value.
    span: tuple[int, int]


def layout(data: bytes, span: tuple[int, int]) -> Layout | None:
    """Where the elements of a native little-endian file lie; None where the file is too unusual to be spliced.

    Parameters
    ----------
    data : the whole file
    span : first byte and length of the PixelData value
    """
    stream = io.BytesIO(data)
    dataset = read_partial(stream, stop_when=lambda tag, _vr, _length: tag == PIXEL_DATA, force=True)
    implicit = bool(dataset.original_encoding[0])
    starts = {tag: _start(dataset, tag, implicit) for tag in dataset.keys()}  # noqa: SIM118  iterating converts elements
    in_order = list(starts.values()) == sorted(starts.values()) and list(starts) == sorted(starts)
    plain = data[PREAMBLE : PREAMBLE + 4] == b"DICM" and "TransferSyntaxUID" in dataset.file_meta
    if not (in_order and plain and span[0] + span[1] == len(data)):
        return None
    return Layout(data, dataset, starts, stream.tell(), span)


def _start(dataset: FileDataset, tag: BaseTag, implicit: bool) -> int:
    item = dataset.get_item(tag)
    value_at = item.value_tell if isinstance(item, RawDataElement) else item.file_tell
    long_header = not implicit and (item.VR in EXPLICIT_VR_LENGTH_32)
    return int(value_at or 0) - (12 if long_header else 8)


def spliced(where: Layout, touched: Set[BaseTag], pixel_value: bytes | bytearray | memoryview) -> bytes:
    """The file with the touched elements as the dataset now holds them, gone where it holds them no more.

    Group lengths (retired, and no longer true) are left out.
    """
    out = DicomBytesIO()
    implicit = bool(where.dataset.original_encoding[0])
    charset = where.dataset.original_character_set
    charset = charset if isinstance(charset, str) else list(charset)
    out.is_implicit_VR, out.is_little_endian = implicit, True
    out.write(where.data[:PREAMBLE] + b"DICM")
    write_file_meta_info(out, where.dataset.file_meta, enforce_standard=True)
    ends = dict(zip(where.starts, [*list(where.starts.values())[1:], where.pixels_at], strict=True))
    for tag in sorted({*where.starts, *touched}):
        if tag in touched:
            if tag in where.dataset:
                write_data_element(out, where.dataset.get_item(tag), charset)
        elif tag.element != 0:
            out.write(where.data[where.starts[tag] : ends[tag]])
    out.write(where.data[where.pixels_at : where.span[0]])
    out.write(pixel_value)
    return out.getvalue()
