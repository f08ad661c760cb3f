"""What an archive holds, by headers alone."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from fw_gear_hndeface.dicom.headers import read_instance
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, already_defaced
from fw_gear_hndeface.errors import DicomError, GeometryError, InputError
from tests.dicom.build import (
    contents_of,
    ct_series,
    encoded,
    files,
    opened,
    plan_on,
    random_stored,
    stack_of,
    transcoded,
    written,
)

JUNK = {
    ".DS_Store": b"\0\0\0\1Bud1" + b"\0" * 200,
    "__MACOSX/ct/._IM0": b"\0\5\x16\7" + b"\0" * 200,
    "readme.txt": b"hello",
    "report.pdf": b"%PDF-1.7" + b"x" * 300,
    "empty": b"",
    "DIRFILE": b"S1000 I10 I20",
    "short": b"\x08\0",
}


def other(sop_class: str, modality: str, uid: str = "1.2.3.4") -> FileDataset:
    """An object that is no CT slice."""
    ds = ct_series()[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = modality, uid + ".9", 7
    return ds


def kinds(work: Path, *objects: Dataset) -> list[SeriesKind]:
    return [series.kind for series in contents_of(work, {f"o{n}": encoded(ds) for n, ds in enumerate(objects)}).series]


def test_a_series_is_one_group_whatever_the_file_names(tmp_path: Path) -> None:
    (series,) = contents_of(tmp_path, files(ct_series())).series
    assert (series.kind, series.label, len(series.instances)) == (SeriesKind.CT, "CT series 3", 11)


def test_junk_is_counted_not_named(tmp_path: Path) -> None:
    directory = other("1.2.840.10008.1.3.10", "")
    del directory.SOPClassUID, directory.SOPInstanceUID, directory.PixelData
    contents = contents_of(tmp_path, {**JUNK, **files(ct_series()), "DICOMDIR": encoded(directory)})
    assert len(contents.series) == 1
    (finding,) = contents.findings
    assert finding.code == "not_dicom"
    assert finding.message.startswith(f"{len(JUNK) + 1} files")
    assert not any(name in finding.message for name in (*JUNK, "DICOMDIR"))


def test_no_dicom_at_all_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DICOM object"):
        contents_of(tmp_path, JUNK)


@pytest.mark.parametrize(
    ("sop_class", "modality", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.128", "PT", SeriesKind.PET),
        ("1.2.840.10008.5.1.4.1.1.4", "MR", SeriesKind.MR),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", SeriesKind.RTSTRUCT),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", SeriesKind.RTDOSE),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN", SeriesKind.RTPLAN),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", SeriesKind.SEG),
        ("1.2.840.10008.5.1.4.1.1.66.1", "REG", SeriesKind.REG),
        ("1.2.840.10008.5.1.4.1.1.7", "OT", SeriesKind.CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.7.4", "OT", SeriesKind.CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.88.67", "SR", SeriesKind.OTHER),
    ],
)
def test_each_kind_is_told_by_its_class(tmp_path: Path, sop_class: str, modality: str, kind: SeriesKind) -> None:
    assert kinds(tmp_path, other(sop_class, modality)) == [kind]


def test_a_localizer_inside_the_series_is_told_apart(tmp_path: Path) -> None:
    slices = ct_series()
    slices[4].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    series = contents_of(tmp_path, files(slices)).series
    assert {s.kind: len(s.instances) for s in series} == {SeriesKind.CT: 10, SeriesKind.LOCALIZER: 1}
    assert {s.label for s in series} == {"CT series 3", "localizer series 3"}


def test_scouts_of_another_plane_are_localizers_without_saying_so(tmp_path: Path) -> None:
    slices = ct_series()
    scout = ct_series()[0]
    scout.SOPInstanceUID, scout.ImageOrientationPatient = "1.2.3", [0, 1, 0, 0, 0, -1]
    series = contents_of(tmp_path, {**files(slices), "zz": encoded(scout)}).series
    assert [(s.kind, len(s.instances)) for s in series] == [(SeriesKind.CT, 11), (SeriesKind.LOCALIZER, 1)]


def test_two_slices_are_no_volume(tmp_path: Path) -> None:
    assert [s.kind for s in contents_of(tmp_path, files(ct_series()[:2])).series] == [SeriesKind.LOCALIZER]
    assert [s.kind for s in contents_of(tmp_path, files(ct_series()[:3])).series] == [SeriesKind.CT]


def test_matrices_and_pixel_sizes_make_series_of_their_own(tmp_path: Path) -> None:
    def shrink(k: int, ds: FileDataset) -> None:
        if k >= 6:
            ds.PixelSpacing = [0.5, 0.5]

    series = contents_of(tmp_path, files(ct_series(change=shrink))).series
    assert sorted(len(s.instances) for s in series) == [5, 6]
    assert {s.label for s in series} == {"CT series 3", "CT series 3, part 2"}


def test_studies_series_and_frames_are_kept_apart(tmp_path: Path) -> None:
    def move(k: int, ds: FileDataset) -> None:
        if k >= 8:
            ds.FrameOfReferenceUID = "1.2.3.4.5"
        elif k >= 4:
            ds.SeriesInstanceUID = "1.2.3.4.6"

    series = contents_of(tmp_path, files(ct_series(change=move))).series
    assert sorted(len(s.instances) for s in series) == [3, 4, 4]
    assert len({s.label for s in series}) == 3


def test_a_secondary_picture_without_a_place_and_a_colour_one_are_captures(tmp_path: Path) -> None:
    flat, colour = ct_series()[:2]
    flat.ImageType = ["DERIVED", "SECONDARY"]
    del flat.ImagePositionPatient
    colour.SamplesPerPixel, colour.PhotometricInterpretation = 3, "RGB"
    assert kinds(tmp_path, flat) == [SeriesKind.CAPTURE]
    assert kinds(tmp_path, colour) == [SeriesKind.CAPTURE]


def test_labels_are_safe_to_log(tmp_path: Path) -> None:
    def spoil(_: int, ds: FileDataset) -> None:
        ds.Modality, ds.SeriesDescription = "ZZDOE^JANE 19", "ZZDOE"
        ds.add_new(0x00200011, "IS", "")

    (series,) = contents_of(tmp_path, files(ct_series(change=spoil))).series
    assert series.label == "image series without number"


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    bare, implicit = {}, {}
    for name, data in files(ct_series()).items():
        bare[name] = data[132 + 8 + 4 + int.from_bytes(data[140:144], "little") :]
        buffer = io.BytesIO()
        dcmwrite(buffer, dcmread(io.BytesIO(data)), implicit_vr=True, little_endian=True, force_encoding=True)
        plain = dcmread(io.BytesIO(data))
        plain.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        whole = encoded(plain)
        implicit[name] = whole[132 + 8 + 4 + int.from_bytes(whole[140:144], "little") :]
    for members in (bare, implicit):
        assert not any(b"DICM" in data[:200] for data in members.values())
        stack = stack_of(tmp_path, members)
        assert len(stack.slices) == 11
        assert np.array_equal(stack.volume.array, stack_of(tmp_path, files(ct_series())).volume.array)


def test_a_header_longer_than_the_first_look_is_read_on(tmp_path: Path) -> None:
    def grow(_: int, ds: FileDataset) -> None:
        ds.private_block(0x0009, "LONG", create=True).add_new(1, "OB", b"\x5a" * 300_000)

    (series,) = contents_of(tmp_path, files(ct_series(change=grow))).series
    assert series.instances[0].plane is not None
    assert series.instances[0].pixels.rows == 23


def test_a_slice_with_radiotherapy_attributes_is_read_to_its_pixels(tmp_path: Path) -> None:
    def plan(_: int, ds: FileDataset) -> None:
        ds.add_new(0x300A0002, "SH", "plan")

    (series,) = contents_of(tmp_path, files(ct_series(change=plan))).series
    assert len(series.instances) == 11
    assert series.instances[0].pixel_span is not None


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_read_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    named = files(ct_series(random_stored(shape=(4, 9, 7))))
    name = data.draw(st.sampled_from(list(named)))
    spoiled = bytearray(named[name])
    for at in data.draw(st.lists(st.integers(132, len(spoiled) - 1), min_size=1, max_size=8)):
        spoiled[at] = data.draw(st.integers(0, 255))
    named[name] = bytes(spoiled)
    with suppress(InputError):
        for series in contents_of(tmp_path, named).series:
            if series.kind is SeriesKind.CT:
                for stack in read_stacks(series):
                    written(tmp_path, stack, plan_on(stack, np.ones(stack.volume.grid.shape, np.bool_)))


def test_headers_are_read_without_the_pixels(tmp_path: Path) -> None:
    big = ct_series(np.zeros((3, 600, 700), np.int16))
    with opened(tmp_path, files(big)) as archive:
        asked: list[int] = []
        for member in archive.members:
            source = member.source
            watched = type("Watched", (), {"head": lambda _, n, s=source: asked.append(n) or s.head(n)})()
            object.__setattr__(member, "source", watched)
            assert read_instance(member) is not None
    assert max(asked) < 20_000


@pytest.mark.parametrize("length", [140, 400, 700])
def test_a_header_cut_short_is_an_error_not_junk(tmp_path: Path, length: int) -> None:
    named = files(ct_series())
    named["ct/zz"] = next(iter(named.values()))[:length]
    with pytest.raises(DicomError, match="cut short"):
        contents_of(tmp_path, named)


def test_nonsense_numbers_are_named_by_their_tag(tmp_path: Path) -> None:
    named = files(ct_series())
    name = next(iter(named))
    named[name] = named[name].replace(b"-41.500000000", b"ZZDOE^QQJANE ")
    with pytest.raises(DicomError, match="ImagePositionPatient") as caught:
        contents_of(tmp_path, named)
    assert "ZZDOE" not in str(caught.value)


def test_a_multi_frame_ct_is_refused_in_words(tmp_path: Path) -> None:
    enhanced = other("1.2.840.10008.5.1.4.1.1.2.1", "CT")
    enhanced.NumberOfFrames = 30
    (series,) = contents_of(tmp_path, {"e": encoded(enhanced)}).series
    assert series.kind is SeriesKind.CT
    with pytest.raises(DicomError, match="multi-frame"):
        read_stacks(series)


def test_ct_slices_without_a_place_are_refused_in_words(tmp_path: Path) -> None:
    def lose(_: int, ds: FileDataset) -> None:
        del ds.ImagePositionPatient

    (series,) = contents_of(tmp_path, files(ct_series(change=lose))).series
    with pytest.raises(GeometryError, match="ImagePositionPatient"):
        read_stacks(series)


class TestAlreadyDefaced:
    """Any of the marks, on every slice."""

    @staticmethod
    def code(ds: FileDataset) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = "113102", "DCM"
        ds.DeidentificationMethodCodeSequence = Sequence([item])

    @staticmethod
    def flag(ds: FileDataset) -> None:
        ds.RecognizableVisualFeatures = "NO"

    @staticmethod
    def our_text(ds: FileDataset) -> None:
        ds.DeidentificationMethod = ["CTP", "HNDeface 0.1.0: face removed"]

    @staticmethod
    def our_equipment(ds: FileDataset) -> None:
        purpose, item = Dataset(), Dataset()
        purpose.CodeValue = "109104"
        item.ManufacturerModelName, item.PurposeOfReferenceCodeSequence = "HNDeface", Sequence([purpose])
        ds.ContributingEquipmentSequence = Sequence([item])

    @pytest.mark.parametrize("mark", ["code", "flag", "our_text", "our_equipment"])
    def test_each_mark_counts_when_every_slice_bears_it(self, tmp_path: Path, mark: str) -> None:
        slices = ct_series(change=lambda _, ds: getattr(self, mark)(ds))
        (series,) = contents_of(tmp_path, files(slices)).series
        assert already_defaced(series)
        fresh = ct_series(change=lambda k, ds: getattr(self, mark)(ds) if k else None)
        (series,) = contents_of(tmp_path, files(fresh)).series
        assert already_defaced(series) is None

    def test_other_marks_do_not_count(self, tmp_path: Path) -> None:
        def mark(_: int, ds: FileDataset) -> None:
            ds.RecognizableVisualFeatures, ds.PatientIdentityRemoved = "YES", "YES"
            ds.DeidentificationMethod = ["HNDeface 0.1.0: face changed, not verified", "face removed"]

        (series,) = contents_of(tmp_path, files(ct_series(change=mark))).series
        assert already_defaced(series) is None


def test_the_builder_compresses(tmp_path: Path) -> None:
    import gdcm

    assert parsed_syntax(transcoded(ct_series()[0], gdcm.TransferSyntax.JPEGLosslessProcess14_1)) == "1.2.840.10008.1.2.4.70"


def parsed_syntax(data: bytes) -> str:
    return str(dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID)


def test_a_class_of_another_type_before_radiotherapy_attributes_is_refused(tmp_path: Path) -> None:
    (ds, *_) = ct_series()
    ds.add_new(0x30020002, "SH", "label")
    data = encoded(ds).replace(b"\x08\0\x16\0UI", b"\x08\0\x16\0FD")
    with pytest.raises(DicomError, match="SOPClassUID cannot be read"):
        contents_of(tmp_path, {"a.dcm": data})
