"""What goes out: the planned pixels, the listed tags, and not one byte more."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from fw_gear_hndeface.dicom.archive import ArchiveWriter
from fw_gear_hndeface.dicom.study import already_defaced
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.uids import new_uid, uid_map
from fw_gear_hndeface.dicom.write import write_stack, write_stacks
from fw_gear_hndeface.errors import GeometryError
from fw_gear_hndeface.model import Mask, Proposal
from tests.dicom.build import (
    FRAME,
    KEY,
    SERIES,
    SHAPE,
    STAMP,
    STUDY,
    box_on,
    contents_of,
    ct_series,
    encoded,
    files,
    parsed,
    plan_on,
    random_stored,
    stack_of,
    stacks_of,
    truth_affine,
    written,
)

#: Every tag that may differ between a slice and its defaced self.
MAY_DIFFER = {
    Tag(name)
    for name in (
        "SOPInstanceUID", "SeriesInstanceUID", "ImageType", "SeriesDescription", "SeriesNumber", "RecognizableVisualFeatures",
        "DeidentificationMethodCodeSequence", "DeidentificationMethod", "DerivationDescription", "DerivationCodeSequence",
        "ContributingEquipmentSequence", "RescaleType", "PixelData",
    )
}  # fmt: skip


def expected_uid(uid: str, role: str) -> str:
    digest = hmac.new(KEY, f"{role}|{uid}".encode(), hashlib.sha256).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def one(work: Path, change: object = None, stamp: Stamp = STAMP, **kwargs: object) -> tuple[FileDataset, FileDataset]:
    """A slice with changed pixels before and after, its series edited by `change(k, slice)`."""
    slices = ct_series(change=change, **kwargs)  # type: ignore[arg-type]
    before = files(slices)
    stack = stack_of(work, before)
    out, _ = written(work, stack, plan_on(stack, box_on(stack)), stamp)
    name = next(name for name in before if name.endswith("IM0004"))
    return parsed(before[name]), parsed(out[name])


class TestPixels:
    """The planned ones change, no other does."""

    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (2, -1024), (0.5, -1024), (-1, 3)])
    def test_the_fill_is_rescaled_back(self, tmp_path: Path, signed: bool, slope: float, intercept: float) -> None:
        stored = random_stored(signed=signed)
        named = files(ct_series(stored, slope=slope, intercept=intercept))
        stack = stack_of(tmp_path, named)
        change = box_on(stack)
        fill = np.linspace(-1000, 700, int(change.sum()))
        out, counts = written(tmp_path, stack, plan_on(stack, change, fill))
        low, high = np.iinfo(stored.dtype).min, np.iinfo(stored.dtype).max
        expected = stored.astype(float)
        expected[change] = np.clip(np.rint((fill.astype(np.float32).astype(float) - intercept) / slope), low, high)
        for name, data in out.items():
            k = int(name[-4:])
            assert np.array_equal(parsed(data).pixel_array, expected[k])
        assert (counts.slices, counts.changed_slices, counts.changed_pixels, counts.padding_kept) == (11, 4, change.sum(), 0)

    def test_the_fill_stays_within_the_stored_bits(self, tmp_path: Path) -> None:
        def twelve(_: int, ds: FileDataset) -> None:
            ds.BitsStored, ds.HighBit = 12, 11

        stack = stack_of(tmp_path, ct_series(random_stored(signed=False), intercept=-1024, change=twelve))
        change = box_on(stack)
        fill = np.where(np.arange(change.sum()) % 2, 9000.0, -9000.0)
        out, _ = written(tmp_path, stack, plan_on(stack, change, fill))
        changed = np.concatenate([parsed(data).pixel_array[change[int(name[-4:])]] for name, data in out.items()])
        assert set(np.unique(changed)) == {0, 4095}

    def test_bits_above_bits_stored_keep_their_overlay(self, tmp_path: Path) -> None:
        stored = random_stored(signed=False)
        noisy = stored | 0x7000

        def mark(k: int, ds: FileDataset) -> None:
            ds.BitsStored, ds.HighBit, ds.PixelData = 12, 11, noisy[k].tobytes()

        stack = stack_of(tmp_path, ct_series(stored, intercept=-1024, change=mark))
        change = box_on(stack)
        out, _ = written(tmp_path, stack, plan_on(stack, change))
        for name, data in out.items():
            k = int(name[-4:])
            raw = np.frombuffer(parsed(data).PixelData, np.uint16).reshape(SHAPE[1:])
            assert np.array_equal(raw[~change[k]], noisy[k][~change[k]])
            assert np.all(raw[change[k]] == 24)

    def test_each_slice_uses_its_own_slope(self, tmp_path: Path) -> None:
        def rescale(k: int, ds: FileDataset) -> None:
            ds.RescaleSlope = 1 + k

        stack = stack_of(tmp_path, ct_series(change=rescale))
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack), -840.0))
        for name, data in out.items():
            k = int(name[-4:])
            if 3 <= k < 7:
                assert np.all(parsed(data).pixel_array[4:15, 2:9] == round(-840 / (1 + k)))

    def test_padding_is_never_overwritten_and_never_written(self, tmp_path: Path) -> None:
        stored = random_stored()
        stored[:, 6, :] = -1000
        named = files(ct_series(stored, change=lambda _, ds: ds.add_new(Tag("PixelPaddingValue"), "SS", -1000)))
        stack = stack_of(tmp_path, named)
        change = box_on(stack)
        out, counts = written(tmp_path, stack, plan_on(stack, change, -1000.0))
        padding = stored == -1000
        assert counts.padding_kept == (change & padding).sum() >= 28
        assert counts.changed_pixels == (change & ~padding).sum()
        for name, data in out.items():
            k = int(name[-4:])
            array = parsed(data).pixel_array
            assert np.array_equal(array == -1000, padding[k])
            assert np.all(array[change[k] & ~padding[k]] == -999)
            assert parsed(data).PixelPaddingValue == -1000

    def test_the_fill_steps_off_a_padding_range_at_the_end_of_the_scale(self, tmp_path: Path) -> None:
        def mark(_: int, ds: FileDataset) -> None:
            ds.add_new(Tag("PixelPaddingValue"), "US", 65535)
            ds.add_new(Tag("PixelPaddingRangeLimit"), "US", 65000)

        stack = stack_of(tmp_path, ct_series(random_stored(signed=False), change=mark))
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack), 65400.0))
        assert all(parsed(d).pixel_array[5, 5] == 64999 for n, d in out.items() if 3 <= int(n[-4:]) < 7)

    def test_a_plan_on_another_grid_is_refused(self, tmp_path: Path) -> None:
        stack, moved = stack_of(tmp_path, ct_series()), stack_of(tmp_path, ct_series(affine=truth_affine((3.1, 0.98, 1.2))))
        with ArchiveWriter(tmp_path / "o.zip") as writer, pytest.raises(GeometryError):
            write_stack(writer, stack, plan_on(moved, box_on(moved)), STAMP)


class TestUnevenSlices:
    """The plan follows the patient, not the slice number."""

    OFFSETS = np.array([0, 0.4, -0.7, 0.2, 0, 0.9, -0.9, 0, 0.3, 1.1, 0])

    def uneven(self, k: int, ds: FileDataset) -> None:
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y, z + float(self.OFFSETS[k])]

    def test_each_slice_takes_what_lies_at_its_place(self, tmp_path: Path) -> None:
        stack = stack_of(tmp_path, ct_series(change=self.uneven))
        grid = stack.volume.grid
        depth = np.array([grid.to_patient([k, 0, 0])[2] for k in range(grid.shape[0])]) - grid.to_patient([0, 0, 0])[2]
        change = np.zeros(grid.shape, np.bool_)
        change[(depth > 8) & (depth < 21), 4:9, 3:8] = True
        fill = np.broadcast_to((depth * 10)[:, None, None], grid.shape)[change]
        out, _ = written(tmp_path, stack, plan_on(stack, change, fill))
        at = 3 * np.arange(11) + self.OFFSETS
        for name, data in out.items():
            k = int(name[-4:])
            array, before = parsed(data).pixel_array, random_stored()[k]
            outside = np.ones(SHAPE[1:], np.bool_)
            outside[4:9, 3:8] = False
            assert np.array_equal(array[outside], before[outside])
            if 9 < at[k] < 20:
                assert np.abs(array[4:9, 3:8] - at[k] * 10).max() <= 0.51
            elif not 6.5 < at[k] < 22.5:
                assert np.array_equal(array, before)

    def test_what_either_neighbour_keeps_is_kept(self, tmp_path: Path) -> None:
        stack = stack_of(tmp_path, ct_series(change=self.uneven))
        grid = stack.volume.grid
        change, keep = np.ones(grid.shape, np.bool_), np.zeros(grid.shape, np.bool_)
        keep[::2, 10:14, :] = True
        proposal = Proposal(Mask(grid, change, "all"), np.full(change.sum(), -1000, np.float32), "membrane")
        out, _ = written(tmp_path, stack, proposal.without(Mask(grid, keep, "PTV")))
        between = {round(s.instance.number or 0) - 1 for s in stack.slices if not float(s.at).is_integer()}
        assert len(between) >= 6
        for name, data in out.items():
            k = int(name[-4:])
            if k in between:
                assert np.array_equal(parsed(data).pixel_array[10:14], random_stored()[k][10:14])
                assert np.all(parsed(data).pixel_array[:10] == -1000)


class TestBytes:
    """Names, order, and every byte that is nobody's business."""

    def test_names_and_order_are_those_of_the_input(self, tmp_path: Path) -> None:
        named = files(ct_series())
        stack = stack_of(tmp_path, named)
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
        assert list(out) == list(named)
        assert [int(name[-4:]) for name in out] != sorted(int(name[-4:]) for name in out)

    @pytest.mark.parametrize("implicit", [False, True])
    def test_untouched_elements_keep_their_bytes(self, tmp_path: Path, implicit: bool) -> None:
        def oddities(_: int, ds: FileDataset) -> None:
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName = "Müller^Jürgen=山田"
            ds.add_new(0x00180050, "DS", "3.00000")
            ds.add_new(0x00181151, "IS", "+0200 ")
            ds.add_new(0x00080022, "DA", "1961-99-QQ")
            ds.private_block(0x0009, "ODD", create=True).add_new(1, "UN", b"\1\2\3\4")
            item = Dataset()
            item.add_new(0x00081150, "UI", "1.2.3")
            item.is_undefined_length_sequence_item = True
            ds.ReferencedStudySequence = Sequence([item])
            ds["ReferencedStudySequence"].is_undefined_length = True

        named = {
            name: encoded(parsed(data), ImplicitVRLittleEndian) if implicit else data
            for name, data in files(ct_series(change=oddities)).items()
        }
        stack = stack_of(tmp_path, named)
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
        for name, data in out.items():
            before, after = parsed(named[name]), parsed(data)
            assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
            differing = {tag for tag in {*before.keys(), *after.keys()} if _raw(before, tag) != _raw(after, tag)}
            assert differing <= MAY_DIFFER
            for tag in before.keys() - MAY_DIFFER:
                assert _element_bytes(named[name], before, tag) in data

    def test_a_slice_without_a_changed_pixel_keeps_its_pixel_bytes_and_gets_the_tags(self, tmp_path: Path) -> None:
        named = files(ct_series())
        stack = stack_of(tmp_path, named)
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
        for name, data in out.items():
            if int(name[-4:]) not in range(3, 7):
                before, after = parsed(named[name]), parsed(data)
                assert after.PixelData == before.PixelData
                assert after.ImageType[0] == "DERIVED"
                assert after.SOPInstanceUID != before.SOPInstanceUID

    def test_same_input_same_key_same_bytes(self, tmp_path: Path) -> None:
        results = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            stack = stack_of(tmp_path / name, ct_series())
            written(tmp_path / name, stack, plan_on(stack, box_on(stack)))
            results.append((tmp_path / name / "out.zip").read_bytes())
        assert results[0] == results[1]

    def test_retired_group_lengths_go(self, tmp_path: Path) -> None:
        named = files(ct_series())
        with_length = {}
        for name, data in named.items():
            at = data.index(b"\x08\x00\x08\x00CS")
            with_length[name] = data[:at] + b"\x08\x00\x00\x00UL\x04\x00\x10\x00\x00\x00" + data[at:]
        stack = stack_of(tmp_path, with_length)
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
        assert all(0x00080000 in parsed(data) for data in with_length.values())
        assert not any(0x00080000 in parsed(data) for data in out.values())

    def test_elements_behind_the_pixels_stay_but_signatures_go(self, tmp_path: Path) -> None:
        def sign(_: int, ds: FileDataset) -> None:
            ds.add_new(0xFFFCFFFC, "OB", b"\0\1\2\3")
            ds.DigitalSignaturesSequence = Sequence([Dataset()])
            ds.MACParametersSequence = Sequence([Dataset()])

        before, after = one(tmp_path, sign)
        assert "DigitalSignaturesSequence" in before
        assert after[0xFFFCFFFC].value == b"\0\1\2\3"
        assert "DigitalSignaturesSequence" not in after
        assert "MACParametersSequence" not in after
        assert np.all(after.pixel_array[4:15, 2:9] == -1000)

    def test_files_without_preamble_come_back_as_whole_dicom_files(self, tmp_path: Path) -> None:
        bare = {name: data[132 + 12 + int.from_bytes(data[140:144], "little") :] for name, data in files(ct_series()).items()}
        stack = stack_of(tmp_path, bare)
        change = box_on(stack)
        out, _ = written(tmp_path, stack, plan_on(stack, change))
        for name, data in out.items():
            ds = parsed(data)
            assert data[128:132] == b"DICM"
            assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
            assert np.array_equal(ds.pixel_array, np.where(change[int(name[-4:])], -1000, random_stored()[int(name[-4:])]))


def _raw(ds: FileDataset, tag: int) -> object:
    item = ds.get_item(tag)
    return None if item is None else item.value if item.is_raw else str(item)


def _element_bytes(data: bytes, ds: FileDataset, tag: int) -> bytes:
    """The bytes of an element's value as they lie in the file."""
    item = ds.get_item(tag)
    if item.is_raw:
        return data[item.value_tell : item.value_tell + item.length]
    if item.VR != "SQ":
        return str(item.value).encode()
    return data[item.file_tell : data.index(b"\xfe\xff\xdd\xe0\0\0\0\0", item.file_tell) + 8]


class TestTags:
    """Table A1 of the output rules, row by row."""

    def test_uids(self, tmp_path: Path) -> None:
        before, after = one(tmp_path)
        assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
        assert after.SOPInstanceUID == expected_uid(before.SOPInstanceUID, "instance")
        assert after.SeriesInstanceUID == expected_uid(SERIES, "series")
        assert (after.StudyInstanceUID, after.FrameOfReferenceUID) == (STUDY, FRAME)

    def test_another_key_gives_other_uids(self, tmp_path: Path) -> None:
        _, after = one(tmp_path)
        _, other = one(tmp_path, stamp=replace(STAMP, key=b"another"))
        assert after.SOPInstanceUID != other.SOPInstanceUID

    def test_image_type(self, tmp_path: Path) -> None:
        before, after = one(tmp_path)
        assert list(after.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
        _, kept = one(tmp_path, stamp=replace(STAMP, image_type="keep"))
        assert list(kept.ImageType) == list(before.ImageType)

    def test_series_text_and_number(self, tmp_path: Path) -> None:
        _, after = one(tmp_path)
        assert (after.SeriesDescription, after.SeriesNumber) == ("HN 3.0 B31f defaced", 1003)
        _, long = one(tmp_path, lambda _, ds: setattr(ds, "SeriesDescription", "x" * 64))
        assert long.SeriesDescription == "x" * 56 + " defaced"

    def test_absent_series_text_and_number(self, tmp_path: Path) -> None:
        def lose(_: int, ds: FileDataset) -> None:
            del ds.SeriesDescription
            ds.SeriesNumber = None

        _, after = one(tmp_path, lose)
        assert (after.SeriesDescription, after.SeriesNumber) == ("defaced", None)

    def test_accents_in_the_series_text_stay(self, tmp_path: Path) -> None:
        def accent(_: int, ds: FileDataset) -> None:
            ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 100", "Schädel"

        _, after = one(tmp_path, accent)
        assert after.SeriesDescription == "Schädel defaced"

    def test_the_claim(self, tmp_path: Path) -> None:
        _, after = one(tmp_path)
        assert after.RecognizableVisualFeatures == "NO"
        (code,) = after.DeidentificationMethodCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113102", "DCM")
        assert code.CodeMeaning == "Clean Recognizable Visual Features Option"
        assert after.DeidentificationMethod == "HNDeface 9.8.7: face removed"
        (equipment,) = after.ContributingEquipmentSequence
        assert (equipment.ManufacturerModelName, equipment.SoftwareVersions) == ("HNDeface", "9.8.7")
        assert equipment.Manufacturer
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109104"

    def test_without_the_claim_nothing_says_the_face_is_gone(self, tmp_path: Path) -> None:
        stack = stack_of(tmp_path, ct_series())
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)), replace(STAMP, claim=False))
        for data in out.values():
            after = parsed(data)
            assert "RecognizableVisualFeatures" not in after
            assert "DeidentificationMethodCodeSequence" not in after
            assert "removed" not in str(after.DeidentificationMethod)
            assert after.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
            assert after.SOPInstanceUID.startswith("2.25.")
        (series,) = contents_of(tmp_path, out).series
        assert already_defaced(series) is None

    def test_our_output_is_known_as_defaced(self, tmp_path: Path) -> None:
        stack = stack_of(tmp_path, ct_series())
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)))
        (series,) = contents_of(tmp_path, out).series
        assert already_defaced(series)

    def test_what_others_did_before_stays_on_record(self, tmp_path: Path) -> None:
        def earlier(_: int, ds: FileDataset) -> None:
            code, tool = Dataset(), Dataset()
            code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
            tool.ManufacturerModelName = "CTP"
            ds.DeidentificationMethodCodeSequence = Sequence([code])
            ds.ContributingEquipmentSequence = Sequence([tool])
            ds.DeidentificationMethod, ds.PatientIdentityRemoved = ["CTP", "x"], "NO"
            ds.DerivationDescription = "resampled"

        _, after = one(tmp_path, earlier)
        assert [c.CodeValue for c in after.DeidentificationMethodCodeSequence] == ["113100", "113102"]
        assert [e.ManufacturerModelName for e in after.ContributingEquipmentSequence] == ["CTP", "HNDeface"]
        assert list(after.DeidentificationMethod) == ["CTP", "x", "HNDeface 9.8.7: face removed"]
        assert after.PatientIdentityRemoved == "NO"
        assert after.DerivationDescription == "resampled; HNDeface 9.8.7, method membrane: fill -1000 HU"

    def test_patient_identity_removed_is_never_claimed(self, tmp_path: Path) -> None:
        assert "PatientIdentityRemoved" not in one(tmp_path)[1]

    def test_the_derivation(self, tmp_path: Path) -> None:
        _, after = one(tmp_path)
        (code,) = after.DerivationCodeSequence
        assert (code.CodeValue, code.CodeMeaning) == ("113077", "Volume editing")
        assert "membrane" in after.DerivationDescription
        assert "fill -1000 HU" in after.DerivationDescription
        assert "SourceImageSequence" not in after

    def test_a_long_history_keeps_within_its_limit(self, tmp_path: Path) -> None:
        _, after = one(tmp_path, lambda _, ds: setattr(ds, "DerivationDescription", "y" * 1020))
        assert len(after.DerivationDescription) == 1024
        assert after.DerivationDescription.endswith("fill -1000 HU")

    def test_rescale_type(self, tmp_path: Path) -> None:
        assert one(tmp_path)[1].RescaleType == "HU"
        assert one(tmp_path, lambda _, ds: setattr(ds, "RescaleType", "US"))[1].RescaleType == "US"

    @pytest.mark.parametrize("signed", [True, False])
    def test_extremes_are_brought_up_to_date_where_given(self, tmp_path: Path, signed: bool) -> None:
        def extremes(_: int, ds: FileDataset) -> None:
            vr = "SS" if signed else "US"
            ds.add_new(Tag("SmallestImagePixelValue"), vr, 5)
            ds.add_new(Tag("LargestImagePixelValue"), vr, 6)
            ds.add_new(Tag("SmallestPixelValueInSeries"), vr, 5)
            ds.add_new(Tag("LargestPixelValueInSeries"), vr, 6)

        _, after = one(tmp_path, extremes, stored=random_stored(signed=signed), intercept=0 if signed else -1024)
        assert ("SS" if signed else "US") == after["SmallestImagePixelValue"].VR
        assert after.SmallestImagePixelValue == after.pixel_array.min()
        assert after.LargestImagePixelValue == after.pixel_array.max()
        assert "SmallestPixelValueInSeries" not in after
        assert "LargestPixelValueInSeries" not in after
        assert "SmallestImagePixelValue" not in one(tmp_path)[1]

    def test_icons_and_old_attributes_go_at_every_depth(self, tmp_path: Path) -> None:
        def spoil(_: int, ds: FileDataset) -> None:
            icon, item = Dataset(), Dataset()
            icon.add_new(0x7FE00010, "OW", b"FACEFACE")
            item.ReferencedSOPInstanceUID = "1.2.3"
            item.IconImageSequence = Sequence([icon])
            ds.IconImageSequence = Sequence([icon])
            ds.ReferencedImageSequence = Sequence([item])
            old = Dataset()
            old.PatientID = "OLDID"
            ds.OriginalAttributesSequence = Sequence([old])

        before, after = one(tmp_path, spoil)
        assert "OLDID" in str(before)
        assert "OLDID" not in str(after)
        assert "IconImageSequence" not in after
        assert "IconImageSequence" not in after.ReferencedImageSequence[0]
        assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"

    @pytest.mark.parametrize("undefined", [False, True])
    @pytest.mark.parametrize("implicit", [False, True])
    def test_references_follow_at_every_depth(self, tmp_path: Path, undefined: bool, implicit: bool) -> None:
        scout, outside = "1.2.826.0.1.7.777", "1.2.826.0.1.7.888"

        def refer(k: int, ds: FileDataset) -> None:
            inner, outer = Dataset(), Dataset()
            inner.ReferencedSOPInstanceUID = f"{SERIES}.{(k + 1) % 11 + 1}"
            inner.SeriesInstanceUID = SERIES
            outer.ReferencedSOPInstanceUID = scout
            outer.PurposeOfReferenceCodeSequence = Sequence([inner])
            other = Dataset()
            other.ReferencedSOPInstanceUID = outside
            ds.ReferencedImageSequence = Sequence([outer, other])
            ds["ReferencedImageSequence"].is_undefined_length = undefined
            ds.ConcatenationUID = scout

        slices = ct_series(change=refer)
        named = {f"{k}": encoded(ds, ImplicitVRLittleEndian if implicit else None) for k, ds in enumerate(slices)}
        stack = stack_of(tmp_path, named)
        stamp = replace(STAMP, uids=uid_map([scout], [], KEY))
        out, _ = written(tmp_path, stack, plan_on(stack, box_on(stack)), stamp)
        known = [f"{SERIES}.{k + 1}" for k in range(11)]
        for k in range(11):
            after = parsed(out[str(k)])
            first, second = after.ReferencedImageSequence
            inner = first.PurposeOfReferenceCodeSequence[0]
            assert first.ReferencedSOPInstanceUID == expected_uid(scout, "instance") == after.ConcatenationUID
            assert second.ReferencedSOPInstanceUID == outside
            assert inner.ReferencedSOPInstanceUID == expected_uid(known[(k + 1) % 11], "instance")
            assert inner.SeriesInstanceUID == expected_uid(SERIES, "series")
            text = str(after)
            assert not any(re.search(rf"{re.escape(uid)}\b", text) for uid in (*known, SERIES, scout))


class TestUids:
    """Keyed, short, and told apart by role."""

    def test_form(self) -> None:
        uid = new_uid("1.2.3", KEY)
        assert re.fullmatch(r"2\.25\.[1-9]\d{1,38}", uid)
        assert uid == expected_uid("1.2.3", "instance") != new_uid("1.2.3", KEY, "series")

    def test_the_map_of_a_job(self) -> None:
        assert uid_map(["1.2", ""], ["1.3"], KEY) == {
            b"1.2": expected_uid("1.2", "instance").encode(),
            b"1.3": expected_uid("1.3", "series").encode(),
        }


def test_several_stacks_are_written_in_the_order_of_the_input(tmp_path: Path) -> None:
    named = {}
    for phase in range(2):
        for k, ds in enumerate(ct_series(random_stored(phase))):
            ds.SOPInstanceUID, ds.AcquisitionNumber = f"1.2.9.{phase}.{k}", phase + 1
            named[f"{k:02d}-{phase}"] = encoded(ds)
    jobs = [(stack, plan_on(stack, box_on(stack))) for stack in stacks_of(tmp_path, named)]
    with ArchiveWriter(tmp_path / "out.zip") as writer:
        counts = write_stacks(writer, jobs, STAMP)
    assert (counts.slices, counts.changed_slices) == (22, 8)
    (series,) = contents_of(tmp_path, _members(tmp_path / "out.zip")).series
    assert list(_members(tmp_path / "out.zip")) == list(named)
    assert len({instance.series_uid for instance in series.instances}) == 1


def _members(path: Path) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}
