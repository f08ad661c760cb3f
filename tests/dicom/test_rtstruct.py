"""Drawn regions: names of any script, kinds, frames, odd contours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from fw_gear_hndeface.dicom import rtstruct
from fw_gear_hndeface.dicom.rtstruct import RoiSet, fold, read_rois, roi_kind
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import RoiKind
from tests.dicom.build import FRAME, contents_of, ct_series, encoded

SQUARE = [(0, 0, 5), (10, 0, 5), (10, 10, 5), (0, 10, 5)]
HIGHER = [(x, y, 8) for x, y, _ in SQUARE]


def contour(points: object, kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    item.ContourGeometricType = kind
    numbers = np.asarray(points, float).ravel()
    item.NumberOfContourPoints = len(numbers) // 3
    item.add_new(0x30060050, "DS", [f"{v:g}" for v in numbers])
    return item


def structure_set(*rois: tuple[str, str, list[Dataset]], frame: str = FRAME) -> FileDataset:
    """A structure set of (name, interpreted type, contours), numbered from 1."""
    ds = ct_series()[0]
    for name in ("PixelData", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"):
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    ds.Modality, ds.SpecificCharacterSet = "RTSTRUCT", "ISO_IR 192"
    ds.StructureSetROISequence, ds.RTROIObservationsSequence, ds.ROIContourSequence = Sequence(), Sequence(), Sequence()
    for number, (name, kind, contours) in enumerate(rois, start=1):
        roi, observation, drawn = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        observation.ReferencedROINumber, observation.RTROIInterpretedType = number, kind
        drawn.ReferencedROINumber = number
        if contours:
            drawn.ContourSequence = Sequence(contours)
        ds.StructureSetROISequence.append(roi)
        ds.RTROIObservationsSequence.append(observation)
        ds.ROIContourSequence.append(drawn)
    return ds


def sets_of(work: Path, ds: FileDataset, syntax: str | None = None) -> tuple[RoiSet, ...]:
    (series,) = contents_of(work, {"rs": encoded(ds, syntax)}).series
    return read_rois(series)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_contours_come_back_as_points_in_their_frame(tmp_path: Path, syntax: str | None) -> None:
    ds = structure_set(("PTV_70", "PTV", [contour(SQUARE), contour(HIGHER)]), ("Parotid", "", []))
    (found,) = sets_of(tmp_path, ds, syntax)
    ptv, parotid = found.rois
    assert (found.frame, found.findings) == (FRAME, ())
    assert (ptv.name, ptv.number, ptv.kind) == ("PTV_70", 1, RoiKind.TARGET)
    assert [c.tolist() for c in ptv.contours_mm] == [
        np.array(SQUARE, float).tolist(),
        np.array(HIGHER, float).tolist(),
    ]
    assert (parotid.kind, parotid.contours_mm) == (RoiKind.ORGAN, ())


def test_each_frame_of_reference_has_a_set_of_its_own(tmp_path: Path) -> None:
    ds = structure_set(("A", "", [contour(SQUARE)]), ("B", "", [contour(SQUARE)]))
    ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.999"
    assert {s.frame: [r.name for r in s.rois] for s in sets_of(tmp_path, ds)} == {FRAME: ["A"], "1.2.999": ["B"]}


def test_the_frames_alone_are_told_without_a_contour_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = structure_set(("A", "", [contour(SQUARE)]), ("B", "", [contour(SQUARE)]))
    ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.999"
    (series,) = contents_of(tmp_path, {"rs": encoded(ds)}).series
    monkeypatch.setattr(rtstruct, "polygon_of", lambda item: pytest.fail("a contour was read"))
    assert rtstruct.drawn_frames(series) == {FRAME, "1.2.999"}


@pytest.mark.parametrize(
    "turn", [np.eye(3)[[0, 1, 2]], np.eye(3)[[2, 0, 1]], np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])]
)
def test_flat_contours_of_any_plane_are_taken(tmp_path: Path, turn: NDArray[np.float64]) -> None:
    (found,) = sets_of(tmp_path, structure_set(("A", "", [contour(np.array(SQUARE, float) @ turn)])))
    assert len(found.rois[0].contours_mm) == 1


def test_a_region_that_names_no_frame_takes_the_only_one_there_is(tmp_path: Path) -> None:
    ds = structure_set(("A", "", [contour(SQUARE)]))
    del ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    reference = Dataset()
    reference.FrameOfReferenceUID = "1.2.777"
    ds.ReferencedFrameOfReferenceSequence = Sequence([reference])
    (found,) = sets_of(tmp_path, ds)
    assert found.frame == "1.2.777"


@pytest.mark.parametrize(
    "odd",
    [
        contour(SQUARE, "POINT"),
        contour(SQUARE, "OPEN_PLANAR"),
        contour(SQUARE[:2]),
        contour([(0, 0, 0), (10, 0, 0), (10, 10, 4), (0, 10, -4)]),
        contour(np.ravel(SQUARE)[:-1]),
    ],
    ids=["point", "open", "two points", "off its plane", "not triplets"],
)
def test_odd_contours_are_left_out_and_told_by_number(tmp_path: Path, odd: Dataset) -> None:
    (found,) = sets_of(tmp_path, structure_set(("Jane's PTV", "", [contour(SQUARE), odd])))
    assert len(found.rois[0].contours_mm) == 1
    (finding,) = found.findings
    assert finding.code == "contours_left_out"
    assert finding.message.startswith("ROI 1: 1 contours")
    assert "Jane" not in finding.message


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    data = encoded(structure_set(("A", "", [contour(SQUARE)]))).replace(b"0\\0\\5\\10", b"0\\x\\5\\10")
    (series,) = contents_of(tmp_path, {"rs": data}).series
    (found,) = read_rois(series)
    assert len(found.findings) == 1


def test_exclusive_or_contours_are_closed_ones(tmp_path: Path) -> None:
    (found,) = sets_of(tmp_path, structure_set(("A", "", [contour(SQUARE, "CLOSEDPLANAR_XOR")])))
    assert len(found.rois[0].contours_mm) == 1


def test_names_given_twice_or_not_at_all_are_told_apart(tmp_path: Path) -> None:
    (found,) = sets_of(tmp_path, structure_set(("A", "", []), ("A", "", []), ("", "", [])))
    assert [roi.name for roi in found.rois] == ["A", "A (2)", "ROI 3"]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("length", [-40, -300])
def test_a_structure_set_cut_short_is_refused(tmp_path: Path, length: int, undefined: bool) -> None:
    ds = structure_set(("A", "", [contour(np.random.default_rng(0).normal(size=(40, 3)) * [9, 9, 0])]))
    ds["ROIContourSequence"].is_undefined_length = undefined
    data = encoded(ds)
    (series,) = contents_of(tmp_path, {"rs": data[:length]}).series
    with pytest.raises(DicomError, match="cut short"):
        read_rois(series)


def test_a_damaged_structure_set_is_refused_in_words(tmp_path: Path) -> None:
    data = encoded(structure_set(("A", "", [contour(SQUARE)]))).replace(b"\x06\x30\x42\x00CS", b"\x06\x30\x42\x00CX")
    (series,) = contents_of(tmp_path, {"rs": data}).series
    with pytest.raises(DicomError, match="damaged"):
        read_rois(series)


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("PTV_70-Gy", "ptv 70 gy"),
        ("  Außenkontur ", "aussenkontur"),
        ("KÖRPER", "korper"),
        ("Œil  gauche", "œil gauche"),
        ("Contour.Externe (2)", "contour externe 2"),
        ("左耳下腺", "左耳下腺"),
        ("Глаз", "глаз"),
        ("ＰＴＶ", "ptv"),
    ],
)
def test_names_fold_to_plain_words(name: str, folded: str) -> None:
    assert fold(name) == folded


@pytest.mark.parametrize(
    ("name", "interpreted", "kind"),
    [
        ("anything", "EXTERNAL", RoiKind.EXTERNAL),
        ("anything", "CTV", RoiKind.TARGET),
        ("PTV 54", "ORGAN", RoiKind.TARGET),
        ("BODY", "", RoiKind.EXTERNAL),
        ("Körper", "ORGAN", RoiKind.EXTERNAL),
        ("LN_R", "", RoiKind.NODE),
        ("Lens-L", "AVOIDANCE", RoiKind.LANDMARK),
        ("Œil_D", "", RoiKind.LANDMARK),
        ("Bulbus L", "", RoiKind.LANDMARK),
        ("Bulbus penis", "", RoiKind.ORGAN),
        ("thing", "BOLUS", RoiKind.SUPPORT),
        ("thing", "CONTROL", RoiKind.OTHER),
        ("左耳下腺", "", RoiKind.ORGAN),
        ("Parotid_L", "ORGAN", RoiKind.ORGAN),
        ("", "", RoiKind.ORGAN),
        ("Vertebral body C3", "", RoiKind.ORGAN),
        ("Opt Nerve L", "", RoiKind.ORGAN),
        ("Hamstring", "", RoiKind.ORGAN),
        ("Airway", "", RoiKind.ORGAN),
        ("Skin-PTV", "", RoiKind.EXTERNAL),
        ("PTV70 minus skin", "", RoiKind.TARGET),
        ("Ring PTV", "", RoiKind.OTHER),
    ],
)
def test_kinds_follow_the_type_then_the_name(name: str, interpreted: str, kind: RoiKind) -> None:
    assert roi_kind(name, interpreted) is kind
