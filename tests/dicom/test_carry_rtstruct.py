"""A structure set follows the CT: cut regions end at the new skin, all else keeps its decimals, references are the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage
from shapely import Polygon

from fw_gear_hndeface.carry import Leader, carry
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.carry_rtstruct import carry_rtstruct
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import new_uid, uid_map
from fw_gear_hndeface.ops.change import surface_change
from fw_gear_hndeface.ops.scan import Scan
from tests.dicom import build

SHAPE, STEPS = (9, 40, 30), (3.0, 1.0, 1.0)
SET_UID = "1.2.826.0.1.7.8.1"
Text = list[str]


def scan_values() -> NDArray[np.int16]:
    """Tissue behind row 10 in columns 4 to 25, air around it."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 10:35, 4:26] = 40
    return hu


def cut() -> NDArray[np.bool_]:
    """The front five rows of tissue in the middle of slices 3 to 5."""
    change = np.zeros(SHAPE, np.bool_)
    change[3:6, 10:15, 11:19] = True
    return change


def texts(affine: NDArray[np.float64], k: float, corners: Sequence[tuple[float, float]]) -> Text:
    """Points of (row, column) corners with an unusual number of decimals."""
    points = [(affine @ [k, row, column, 1])[:3] for row, column in corners]
    return [f"{value:.5f}" for point in points for value in point]


def box(low: float, high: float, left: float, right: float) -> list[tuple[float, float]]:
    return [(low, left), (low, right), (high, right), (high, left)]


def contour(text: Text, k: int | None, kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints, item.ContourNumber = kind, len(text) // 3, 7
    item.ContourData = text
    if k is not None:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, f"{build.SERIES}.{k + 1}"
        item.ContourImageSequence = [image]
    return item


def structure_set(rois: Sequence[tuple[str, str, list[Dataset]]], frame: str = build.FRAME) -> FileDataset:
    """A structure set of (name, interpreted type, contours)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, SET_UID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RTStructureSetStorage, SET_UID, "RTSTRUCT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = build.STUDY, "1.2.826.0.1.7.8", 4
    ds.SeriesDescription = "plan"
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, kind, contours) in enumerate(rois, start=1):
        roi, drawn, seen = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID, roi.ROIVolume = number, name, frame, "12.5"
        drawn.ReferencedROINumber, drawn.ContourSequence = number, contours
        seen.ObservationNumber, seen.ReferencedROINumber, seen.RTROIInterpretedType = number, number, kind
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
        ds.RTROIObservationsSequence.append(seen)
    return ds


def followed(
    work: Path, sets: FileDataset, *, tilt_deg: float = 0.0, fill_hu: float = -1000.0, change: NDArray[np.bool_] | None = None
) -> FileDataset:
    """The structure set after the change."""
    slices = build.ct_series(scan_values(), build.truth_affine(STEPS, tilt_deg))
    with build.opened(work, {**build.files(slices), "rs": build.encoded(sets)}) as archive:
        series = {s.kind: s for s in read_contents(archive).series}
        (stack,) = read_stacks(series[SeriesKind.CT])
        plan = build.plan_on(stack, cut() if change is None else change, fill_hu)
        instances = [i.uid for s in series.values() for i in s.instances]
        stamp = build.Stamp(
            "9.8.7", "membrane", "x", build.KEY, uids=uid_map(instances, [s.uid for s in series.values()], build.KEY)
        )
        scan = Scan(stack.volume.grid, surface_change(stack.volume, plan), frozenset(), ())
        done = carry_rtstruct(series[SeriesKind.RTSTRUCT].instances[0], {build.FRAME: [scan]}, stamp)
    out = build.parsed(done.data)
    assert done.uid == out.SOPInstanceUID == out.file_meta.MediaStorageSOPInstanceUID == new_uid(SET_UID, build.KEY)
    return out


def rings(sets: Dataset, number: int) -> list[Text]:
    item = next(item for item in sets.ROIContourSequence if item.ReferencedROINumber == number)
    return [[str(value) for value in c.ContourData] for c in item.get("ContourSequence") or []]


def in_plane(text: Text, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) index coordinates of a contour."""
    points = np.column_stack([np.array(text, float).reshape(-1, 3), np.ones(len(text) // 3)])
    return (points @ np.linalg.inv(affine).T)[:, :3]


@pytest.mark.parametrize("tilt_deg", [0.0, 12.0])
def test_an_outline_follows_the_new_skin_in_its_plane_and_keeps_its_points_elsewhere(tmp_path: Path, tilt_deg: float) -> None:
    affine = build.truth_affine(STEPS, tilt_deg)
    drawn = [contour(texts(affine, k, box(9.5, 34.5, 3.5, 25.5)), k) for k in range(9)]
    out = followed(tmp_path, structure_set([("BODY", "EXTERNAL", drawn)]), tilt_deg=tilt_deg)
    new = rings(out, 1)
    for k in (0, 1, 2, 6, 7, 8):
        assert new[k] == [str(value) for value in drawn[k].ContourData]
    points = in_plane(new[4], affine)
    assert np.allclose(points[:, 0], 4, atol=1e-3)
    shape = Polygon(points[:, 1:])
    assert shape.is_valid
    assert shape.area == pytest.approx(25 * 22 - 5 * 8, abs=0.05)
    assert shape.intersection(Polygon(box(10, 14, 11, 18))).area < 1e-6
    known = {tuple(new[4][3 * n : 3 * n + 3]) for n in range(len(points))}
    back = [str(value) for value in drawn[4].ContourData[6:]]
    assert {tuple(back[:3]), tuple(back[3:])} <= known
    item = out.ROIContourSequence[0].ContourSequence
    assert [c.ContourNumber for c in item] == list(range(1, 10))
    assert all(c.NumberOfContourPoints == len(c.ContourData) // 3 for c in item)
    assert max(len(text) for text in new[4]) <= 16
    assert [c.ContourImageSequence[0].ReferencedSOPInstanceUID for c in item] == [
        new_uid(f"{build.SERIES}.{k + 1}", build.KEY) for k in range(9)
    ]
    roi = out.StructureSetROISequence[0]
    assert "clipped by face mask" in roi.ROIDescription
    assert "ROIVolume" not in roi


def test_an_outline_drawn_off_the_skin_leaves_no_shell_of_the_old_face(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    drawn = [contour(texts(affine, 4, box(6.5, 34.5, 3.5, 25.5)), 4)]
    (ring,) = rings(followed(tmp_path, structure_set([("Skin", "", drawn)])), 1)
    shape = Polygon(in_plane(ring, affine)[:, 1:])
    assert shape.intersection(Polygon(box(0, 14, 11.2, 17.8))).area < 1e-6


def test_new_tissue_becomes_part_of_the_outline_without_slits(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    drawn = [contour(texts(affine, 4, box(10, 34, 4, 25)), 4)]  # through the voxel centres, as some planning systems draw
    added = np.zeros(SHAPE, np.bool_)
    added[3:6, 6:10, 11:19] = True
    (ring,) = rings(followed(tmp_path, structure_set([("BODY", "EXTERNAL", drawn)]), fill_hu=40.0, change=added), 1)
    shape = Polygon(in_plane(ring, affine)[:, 1:])
    assert shape.covers(Polygon(box(6, 20, 11, 18)))
    assert not shape.interiors


def test_targets_organs_and_eyes_keep_every_byte(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    names = [("PTV 70", "PTV"), ("Mandible", "ORGAN"), ("Mandible", ""), ("Eye L", ""), ("Ganglion", "")]
    before = structure_set([(n, t, [contour(texts(affine, 4, box(8, 20, 9, 20)), 4)]) for n, t in names])
    out = followed(tmp_path, before)
    for number in range(1, 6):
        assert rings(out, number) == rings(before, number)
        assert out.StructureSetROISequence[number - 1].ROIVolume == before.StructureSetROISequence[number - 1].ROIVolume
        assert "ROIDescription" not in out.StructureSetROISequence[number - 1]


def test_a_region_with_nothing_left_keeps_its_name_and_loses_its_contours(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    marker = contour(texts(affine, 4, [(10, 14)]), 4, "POINT")
    far = contour(texts(affine, 4, [(30, 14)]), 4, "POINT")
    bolus = [contour(texts(affine, 4, box(5.5, 9.5, 11, 18)), 4)]
    out = followed(tmp_path, structure_set([("Bolus", "BOLUS", bolus), ("Marker nose", "MARKER", [marker, far])]))
    assert [roi.ROIName for roi in out.StructureSetROISequence] == ["Bolus", "Marker nose"]
    assert "ContourSequence" not in out.ROIContourSequence[0]
    assert rings(out, 2) == [[str(value) for value in far.ContourData]]


def test_a_shell_of_skin_becomes_solid_where_the_skin_moved(tmp_path: Path) -> None:
    """Its inner side lies as deep below the old skin everywhere: the old face once more."""
    affine = build.truth_affine(STEPS, 0.0)
    pairs = [(k, corners) for k in (1, 4) for corners in (box(9.5, 34.5, 3.5, 25.5), box(12, 32, 6, 23))]
    sets = structure_set([("Skin", "", [contour(texts(affine, k, corners), k) for k, corners in pairs])])
    out = rings(followed(tmp_path, sets), 1)
    (new,) = [ring for ring in out if abs(float(ring[2]) - build.ORIGIN[2] - 12.0) < 0.1]
    assert Polygon(in_plane(new, affine)[:, 1:]).area == pytest.approx(25 * 22 - 5 * 8, abs=0.1)
    assert [ring for ring in out if ring != new] == rings(sets, 1)[:2], "as drawn where nothing moved"


def test_the_air_before_the_face_is_no_mould_of_it(tmp_path: Path) -> None:
    """Where a region of air, a bolus or a mask ends, the skin was: its far part would still tell how far the nose stood out."""
    affine = build.truth_affine(STEPS, 0.0)
    wide, across = box(-30, 9.5, -20, 50), box(-30, 25, -20, 50)
    regions = [("air", "", wide), ("Ring 2cm", "", wide), ("Ring 5cm", "", across), ("Organ", "ORGAN", wide)]
    drawn = [(name, kind, [contour(texts(affine, k, corners), None) for k in (1, 4)]) for name, kind, corners in regions]
    sets = structure_set(drawn)
    out = followed(tmp_path, sets)
    heights = [[round(float(ring[2]) - build.ORIGIN[2], 1) for ring in rings(out, n)] for n in (1, 2, 3, 4)]
    assert heights[:2] == [[3.0], [3.0]], "gone on the plane of the change, as drawn elsewhere"
    assert heights[2] == [3.0, 12.0], "what reaches into the body is cut, not lost"
    assert rings(out, 3)[1] != rings(sets, 3)[1]
    assert rings(out, 4) == rings(sets, 4), "what is named like medicine stays as drawn"


def test_a_hole_is_joined_by_a_channel_and_stays_a_hole(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    drawn = [contour(texts(affine, 4, box(9.5, 34.5, 3.5, 25.5)), 4), contour(texts(affine, 4, box(25, 30, 8, 20)), 4)]
    (ring,) = rings(followed(tmp_path, structure_set([("Skin", "", drawn)])), 1)
    points = in_plane(ring, affine)[:, 1:]
    area = 0.5 * abs(np.dot(points[:, 0], np.roll(points[:, 1], 1)) - np.dot(points[:, 1], np.roll(points[:, 0], 1)))
    assert area == pytest.approx(25 * 22 - 5 * 8 - 5 * 12, abs=0.05)
    assert ring[:3] != ring[-3:]


def test_a_contour_of_60000_points_is_cut_and_written_where_its_length_fits(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    angle = np.linspace(0, 2 * np.pi, 60_000, endpoint=False)
    drawn = texts(affine, 4, list(zip(22 + 12.4 * np.cos(angle), 14.5 + 10.9 * np.sin(angle), strict=True)))
    sets = structure_set([("BODY", "EXTERNAL", [contour(drawn, None)])])
    sets.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    out = followed(tmp_path, sets)
    assert out.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    (ring,) = rings(out, 1)
    assert 25_000 < len(ring) // 3 < 60_000
    old, new = ({tuple(text[3 * n : 3 * n + 3]) for n in range(len(text) // 3)} for text in (drawn, ring))
    assert len(new - old) < 60
    explicit = structure_set(
        [("PTV", "PTV", [contour(drawn[:3000], None)]), ("BODY", "EXTERNAL", [contour(drawn[: 3 * 2000], None)])]
    )
    assert followed(tmp_path, explicit).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_outlines_beyond_the_scan_or_in_another_frame_are_not_passed_on(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    body = [contour(texts(affine, k, box(9.5, 34.5, 3.5, 25.5)), None) for k in (0, 15)]
    assert len(rings(followed(tmp_path, structure_set([("BODY", "EXTERNAL", body)])), 1)) == 1
    foreign = structure_set([("BODY", "EXTERNAL", body), ("PTV", "", body)], frame="1.2.826.0.1.7.33")
    out = followed(tmp_path, foreign)
    assert rings(out, 1) == []
    assert rings(out, 2) == [], "left out like every object in another frame of reference"


def test_a_damaged_contour_of_an_outline_is_left_out(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    good = contour(texts(affine, 8, box(9.5, 34.5, 3.5, 25.5)), 8)
    bad = contour(texts(affine, 8, box(9.5, 34.5, 3.5, 25.5))[:-1], 8)
    out = followed(tmp_path, structure_set([("BODY", "EXTERNAL", [bad, good])]))
    assert rings(out, 1) == [[str(value) for value in good.ContourData]]


def test_a_set_in_another_frame_and_an_unknown_object_are_left_out_with_a_reason(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    sets = structure_set([("PTV", "", [contour(texts(affine, 4, box(8, 20, 9, 20)), None)])], frame="1.2.826.0.1.7.33")
    slices = build.ct_series(scan_values(), affine)
    source = build.zip_of(tmp_path / "in.zip", {**build.files(slices), "rs": build.encoded(sets)})
    with open_inputs([source], build.LIMITS, tmp_path) as archive:
        series = read_contents(archive).series
        (stack,) = [read_stacks(s)[0] for s in series if s.kind is SeriesKind.CT]
        others = [s for s in series if s.kind is not SeriesKind.CT]
        out = carry(others, [Leader(stack, build.plan_on(stack, cut()))], build.STAMP)
    assert [one.fate for one in out.fates] == ["left out"]
    assert not out.files
    (finding,) = out.findings
    assert finding.code == "left_out"
    assert "frame of reference" in finding.message
    assert "1.2.826" not in finding.message
