"""Every transfer syntax is read, and written back without loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fw_gear_hndeface.errors import DicomError
from tests.dicom.build import SHAPE, box_on, ct_series, encoded, parsed, plan_on, random_stored, stack_of, transcoded, written

#: Word data, to see that they survive a change of byte order.
LOOKUP = bytes(range(64))


def implicit(ds: FileDataset) -> bytes:
    return encoded(ds, ImplicitVRLittleEndian)


def deflated(ds: FileDataset) -> bytes:
    return encoded(ds, DeflatedExplicitVRLittleEndian)


def big_endian(ds: FileDataset) -> bytes:
    for tag in (0x7FE00010, 0x00281201):
        element = ds[tag]
        element.value = np.frombuffer(element.value, "<u2").astype(">u2").tobytes()
    return encoded(ds, ExplicitVRBigEndian)


def run_length(ds: FileDataset) -> bytes:
    ds.compress(RLELossless, generate_instance_uid=False)
    return encoded(ds)


def by_gdcm(syntax: int) -> Callable[[FileDataset], bytes]:
    return lambda ds: transcoded(ds, syntax)


SYNTAXES: dict[str, Callable[[FileDataset], bytes]] = {
    "explicit": encoded,
    "implicit": implicit,
    "deflated": deflated,
    "big endian": big_endian,
    "RLE": run_length,
    "JPEG lossless .57": by_gdcm(gdcm.TransferSyntax.JPEGLosslessProcess14),
    "JPEG lossless .70": by_gdcm(gdcm.TransferSyntax.JPEGLosslessProcess14_1),
    "JPEG-LS": by_gdcm(gdcm.TransferSyntax.JPEGLSLossless),
    "JPEG 2000": by_gdcm(gdcm.TransferSyntax.JPEG2000Lossless),
}
NATIVE = ("explicit", "implicit")
SIZE = (SHAPE[0], 32, 40)


def series(name: str, stored: NDArray[Any], change: Callable[[FileDataset], None] | None = None) -> dict[str, bytes]:
    """A series of 12 stored bits in one transfer syntax."""
    slices = ct_series(stored, intercept=-1024)
    out = {}
    for k, ds in enumerate(slices):
        ds.BitsStored, ds.HighBit = 12, 11
        ds.add_new(0x00281201, "OW", LOOKUP)
        if change is not None:
            change(ds)
        out[f"{k:02d}"] = SYNTAXES[name](ds)
    return out


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", SYNTAXES)
def test_values_are_the_same_in_every_syntax(tmp_path: Path, name: str, signed: bool) -> None:
    stored = random_stored(shape=SIZE, signed=signed)
    stack = stack_of(tmp_path, series(name, stored))
    assert np.array_equal(stack.volume.array, stored.astype(int) - 1024)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", SYNTAXES)
def test_what_is_written_is_lossless_and_native(tmp_path: Path, name: str, signed: bool) -> None:
    stored = random_stored(shape=SIZE, signed=signed)
    stack = stack_of(tmp_path, series(name, stored))
    change = box_on(stack)
    out, counts = written(tmp_path, stack, plan_on(stack, change, -900.0))
    assert counts.changed_pixels == change.sum()
    for k in range(SIZE[0]):
        ds = parsed(out[f"{k:02d}"])
        expected = np.where(change[k], 124, stored[k])
        assert np.array_equal(ds.pixel_array, expected)
        syntax = ds.file_meta.TransferSyntaxUID
        assert syntax == (ImplicitVRLittleEndian if name == "implicit" else ExplicitVRLittleEndian)
        assert ds[0x00281201].value == LOOKUP
        assert "ExtendedOffsetTable" not in ds


def test_a_lossy_past_stays_on_record(tmp_path: Path) -> None:
    def lossy(ds: FileDataset) -> None:
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", 4.5

    stack = stack_of(tmp_path, series("JPEG 2000", random_stored(shape=SIZE, signed=False), lossy))
    out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
    assert all(parsed(data).LossyImageCompression == "01" for data in out.values())


@pytest.mark.parametrize("name", ["deflated", "RLE", "JPEG lossless .70", "JPEG-LS", "JPEG 2000"])
def test_compressed_pixels_cut_short_are_refused(tmp_path: Path, name: str) -> None:
    members = series(name, random_stored(shape=SIZE, signed=False))
    members["04"] = members["04"][: len(members["04"]) - 700]
    with pytest.raises(DicomError, match="cut short"):
        stack_of(tmp_path, members)


@pytest.mark.parametrize("name", ["RLE", "JPEG lossless .57", "JPEG lossless .70", "JPEG-LS", "JPEG 2000"])
@pytest.mark.parametrize(("rows", "columns"), [(33, 40), (40, 32), (3000, 3000)])
def test_the_matrix_must_be_that_of_the_compressed_image(tmp_path: Path, name: str, rows: int, columns: int) -> None:
    if name == "RLE" and rows * columns == SIZE[1] * SIZE[2]:
        pytest.skip("run-length segments hold bytes, not a shape")
    members = {}
    for member, data in series(name, random_stored(shape=SIZE, signed=False)).items():
        liar = parsed(data)
        liar.Rows, liar.Columns = rows, columns
        members[member] = encoded(liar)
    with pytest.raises(DicomError, match=r"not of the|cannot be decoded"):
        stack_of(tmp_path, members)


@pytest.mark.parametrize("name", ["JPEG lossless .70", "JPEG-LS", "JPEG 2000"])
def test_a_compressed_image_that_starts_with_nonsense_is_refused(tmp_path: Path, name: str) -> None:
    members = series(name, random_stored(shape=SIZE, signed=False))
    start = members["03"].index(b"\xff\x4f\xff\x51" if "2000" in name else b"\xff\xd8\xff")
    members["03"] = members["03"][:start] + b"\0" * 60 + members["03"][start + 60 :]
    with pytest.raises(DicomError, match="the compressed image is damaged"):
        stack_of(tmp_path, members)
