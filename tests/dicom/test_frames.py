"""Objects in another frame of reference: by registration objects, by our own registration, left out, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fw_gear_hndeface.carry import CARRIED, LEFT_OUT, Carried, Leader, carry, frames
from fw_gear_hndeface.dicom.registration import Link, paths, read_links
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import uid_map
from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.register import MOST_SKIN_MM, Registered
from fw_gear_hndeface.ops.transform import Affine
from tests.dicom import build
from tests.dicom.test_carry_rtdose import dose
from tests.dicom.test_carry_rtstruct import SHAPE, STEPS, box, contour, cut, scan_values, structure_set, texts

OTHER, THIRD = "1.2.826.0.1.7.33", "1.2.826.0.1.7.34"
MR, REG, DEFORMABLE = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("4", "66.1", "66.3"))
AFFINE = build.truth_affine(STEPS, 0.0)
#: Takes points of the CT into the other frame of reference.
MOVE = np.array([[0.0, -1, 0, 100], [1, 0, 0, -40], [0, 0, 1, 7], [0, 0, 0, 1]])

SHIFT = np.array([[1.0, 0, 0, 4], [0, 1, 0, -3], [0, 0, 1, 0], [0, 0, 0, 1]])


def mr_files(affine: NDArray[np.float64], frame: str = OTHER) -> dict[str, bytes]:
    """The scan's shape as an MR, tissue 500 and air about 4, on a lattice of its own."""

    def change(k: int, ds: FileDataset) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MR
        ds.Modality, ds.FrameOfReferenceUID, ds.SeriesInstanceUID, ds.SeriesNumber = "MR", frame, "1.2.826.0.1.7.55", 7
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.7.55.{k + 1}"

    stored = np.where(scan_values() > -300, 500, np.random.default_rng(1).integers(0, 9, SHAPE)).astype(np.int16)
    return build.files(build.ct_series(stored, affine, change=change), "mr")


def registration(sop_class: str, **content: object) -> bytes:
    meta = FileMetaDataset()
    uid = "1.2.826.0.1.7.66.1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, uid, "REG"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = build.STUDY, "1.2.826.0.1.7.66", build.FRAME
    ds.SeriesNumber = 8
    for name, value in content.items():
        setattr(ds, name, value)
    return build.encoded(ds)


def rigid(pairs: Sequence[tuple[str, NDArray[np.float64]]]) -> bytes:
    items = []
    for frame, matrix in pairs:
        item, outer, inner = Dataset(), Dataset(), Dataset()
        inner.FrameOfReferenceTransformationMatrix = [f"{v:g}" for v in matrix.ravel()]
        inner.FrameOfReferenceTransformationMatrixType = "RIGID"
        outer.MatrixSequence, item.MatrixRegistrationSequence, item.FrameOfReferenceUID = [inner], [outer], frame
        items.append(item)
    return registration(REG, RegistrationSequence=items)


def deformable(before: NDArray[np.float64], shift: Sequence[float]) -> bytes:
    """A field with one displacement everywhere, behind a matrix."""
    grid, item, pre = Dataset(), Dataset(), Dataset()
    shape = (6, 8, 8)
    grid.ImagePositionPatient, grid.ImageOrientationPatient = [float(v) for v in build.ORIGIN - 10], [1, 0, 0, 0, 1, 0]
    grid.GridDimensions, grid.GridResolution = list(shape[::-1]), [10.0, 10.0, 10.0]
    grid.VectorGridData = np.broadcast_to(np.array(shift, "<f4"), (*shape, 3)).tobytes()
    pre.FrameOfReferenceTransformationMatrix = [f"{v:g}" for v in before.ravel()]
    item.SourceFrameOfReferenceUID = OTHER
    item.PreDeformationMatrixRegistrationSequence, item.DeformableRegistrationGridSequence = [pre], [grid]
    return registration(DEFORMABLE, DeformableRegistrationSequence=[item])


def carried(work: Path, members: dict[str, bytes], *, head: HeadFrame | None = None, **settings: str) -> Carried:
    whole = {**build.files(build.ct_series(scan_values(), AFFINE)), **members}
    with build.opened(work, whole) as archive:
        series = read_contents(archive).series
        (stack,) = [read_stacks(s)[0] for s in series if s.kind is SeriesKind.CT]
        others = [s for s in series if s.kind is not SeriesKind.CT]
        uids = uid_map((i.uid for s in series for i in s.instances), (s.uid for s in series), build.KEY)
        stamp = build.Stamp("9.8.7", "membrane", "x", build.KEY, uids=uids)
        return carry(others, [Leader(stack, build.plan_on(stack, cut()), (), head)], stamp, seed=4, **settings)


def fates(out: Carried) -> dict[str, str]:
    return {one.series.kind.value: one.fate for one in out.fates}


def test_a_ct_alone_is_not_looked_at_for_followers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the skin moved takes a second to find, and nobody follows it."""
    monkeypatch.setattr(frames, "surface_change", lambda *given: pytest.fail("nobody asks where the skin moved"))
    out = carried(tmp_path, {})
    assert (out.jobs, out.files, out.fates) == ([], {}, [])
    assert len(out.output.objects) == SHAPE[0] + 1, "the slices and their study"


def test_without_a_way_there_the_image_is_left_out_or_the_study_refused(tmp_path: Path) -> None:
    out = carried(tmp_path, mr_files(MOVE @ AFFINE))
    assert fates(out) == {"MR": LEFT_OUT}
    assert not out.jobs
    assert any("registration object" in finding.message for finding in out.findings)
    with pytest.raises(GeometryError, match="other_frames"):
        carried(tmp_path, mr_files(MOVE @ AFFINE), other_frames="refuse")
    same = carried(tmp_path, mr_files(AFFINE, build.FRAME), other_frames="refuse")
    assert fates(same) == {"MR": CARRIED}


def mr_change(out: Carried) -> NDArray[np.bool_]:
    ((_, plan),) = out.jobs
    return np.asarray(plan.change.array)


def around_cut() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The cut, and the cut grown by the two voxels that an MR's zone may be wider."""
    wide = np.zeros(SHAPE, np.bool_)
    wide[2:7, 8:17, 9:21] = True
    return cut(), wide


@pytest.mark.parametrize(
    ("link", "affine"),
    [
        (rigid([(build.FRAME, np.eye(4)), (OTHER, np.linalg.inv(MOVE))]), MOVE @ AFFINE),
        (deformable(MOVE, [4.0, -3.0, 0.0]), SHIFT @ MOVE @ AFFINE),
    ],
    ids=["rigid", "deformable"],
)
def test_registration_objects_lead_there(tmp_path: Path, link: bytes, affine: NDArray[np.float64]) -> None:
    out = carried(tmp_path, {**mr_files(affine), "reg": link})
    assert fates(out) == {"MR": CARRIED, "REG": CARRIED}
    inner, outer = around_cut()
    found = mr_change(out)
    assert np.all(found[inner])
    assert not np.any(found & ~outer)
    ((stack, plan),) = out.jobs
    after = plan.apply(stack.volume).array
    assert np.all(after[inner] < 10), "air of the image's own"
    (mr,) = [one for one in out.fates if one.series.kind is SeriesKind.MR]
    assert mr.numbers["registration"] == {"by": "registration object", "objects": ["REG series 8"]}


def test_drawn_regions_of_both_frames_follow_and_others_are_emptied(tmp_path: Path) -> None:
    here = contour(texts(AFFINE, 4, box(9.5, 34.5, 3.5, 25.5)), None)
    there = contour(texts(MOVE @ AFFINE, 4, box(9.5, 34.5, 3.5, 25.5)), None)
    sets = structure_set([("BODY", "EXTERNAL", [here]), ("BODY MR", "EXTERNAL", [there]), ("GTV", "GTV", [there])])
    for number, frame in ((1, OTHER), (2, THIRD)):
        sets.StructureSetROISequence[number].ReferencedFrameOfReferenceUID = frame
    link = rigid([(OTHER, np.linalg.inv(MOVE))])
    out = carried(tmp_path, {**mr_files(MOVE @ AFFINE), "reg": link, "rs": build.encoded(sets)})
    after = build.parsed(out.files["rs"])
    sizes = [len(item.get("ContourSequence") or []) for item in after.ROIContourSequence]
    assert sizes == [1, 1, 0]
    for item in after.ROIContourSequence[:2]:
        assert item.ContourSequence[0].NumberOfContourPoints > 4
    assert {str(roi.ReferencedFrameOfReferenceUID) for roi in after.StructureSetROISequence} == {build.FRAME, OTHER}
    assert any(finding.code == "foreign_regions" for finding in out.findings)


def test_a_registration_between_frames_that_are_not_there_is_left_out(tmp_path: Path) -> None:
    damaged = rigid([(OTHER, np.zeros((4, 4)))])
    out = carried(tmp_path, {"reg": damaged})
    assert fates(out) == {"REG": LEFT_OUT}
    assert any(finding.code == "registration_unread" for finding in out.findings)


@pytest.mark.parametrize(("skin_mm", "fate"), [(MOST_SKIN_MM - 1, CARRIED), (MOST_SKIN_MM + 1, LEFT_OUT)])
def test_our_own_registration_counts_only_when_it_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skin_mm: float, fate: str
) -> None:
    monkeypatch.setattr(frames, "register", lambda scan, image, head: Registered(Affine(MOVE), skin_mm, 0.5))
    sets = structure_set([("PTV", "", [contour(texts(MOVE @ AFFINE, 4, box(8, 20, 9, 20)), None)])], frame=OTHER)
    out = carried(tmp_path, {**mr_files(MOVE @ AFFINE), "rs": build.encoded(sets)}, other_frames="register")
    assert fates(out) == {"MR": fate, "RTSTRUCT": fate}
    told = " ".join(finding.message for finding in out.findings)
    if fate == CARRIED:
        assert np.all(mr_change(out)[cut()])
        assert out.fates[0].numbers["registration"]["skin_mm"] == skin_mm
    else:
        assert "not good enough" in told
        assert not out.jobs
        assert not out.files
    assert f"{skin_mm:.1f} mm" in told


def test_an_image_that_shows_more_of_the_face_than_the_ct_is_left_out(tmp_path: Path) -> None:
    top = HeadFrame(build.ORIGIN + np.array([10.0, 20.0, 40.0]), np.eye(3), 0.1)
    out = carried(tmp_path, mr_files(AFFINE, build.FRAME), head=top)
    assert fates(out) == {"MR": CARRIED}
    out = carried(tmp_path, mr_files(build.truth_affine((9.0, 1.0, 1.0), 0.0), build.FRAME), head=top)
    assert fates(out) == {"MR": LEFT_OUT}
    assert any("beyond the CT" in finding.message for finding in out.findings)


def test_ways_between_frames_are_the_shortest_and_go_both_ways() -> None:
    one, two = Affine(np.diag([2.0, 1, 1, 1])), Affine(np.diag([1.0, 3, 1, 1]))
    found = paths("a", [Link("a", "b", one, "REG 1"), Link("c", "b", two, "REG 2"), Link("x", "y", one, "REG 3")])
    assert set(found) == {"b", "c"}
    assert np.allclose(found["c"][0](np.array([1.0, 3.0, 0.0])), [2.0, 1.0, 0.0])
    assert found["c"][1] == ("REG 1", "REG 2")


def test_a_matrix_that_flattens_space_is_refused(tmp_path: Path) -> None:
    with build.opened(tmp_path, {"reg": rigid([(OTHER, np.diag([1.0, 1, 0, 1]))])}) as archive:
        (series,) = read_contents(archive).series
        with pytest.raises(DicomError, match="flattens"):
            read_links(series.instances[0], series.label)


def test_an_object_that_cannot_be_made_takes_the_references_to_it_along(tmp_path: Path) -> None:
    plan_uid = "1.2.826.0.1.7.67.1"
    plan = registration("1.2.840.10008.5.1.4.1.1.481.5", BeamSequence=[Dataset()], RTPlanLabel="x" * 12)
    plan = plan.replace(b"1.2.826.0.1.7.66.1", plan_uid.encode()).replace(b"REG ", b"RTPLAN"[:4])
    damaged = plan[:-6]
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", plan_uid
    for data, left in ((plan, True), (damaged, False)):
        ds = dose()
        ds.ReferencedRTPlanSequence = [item]
        out = carried(tmp_path, {"rp": data, "rd": build.encoded(ds)})
        assert fates(out) == {"RTPLAN": CARRIED if left else LEFT_OUT, "RTDOSE": CARRIED}
        assert ("ReferencedRTPlanSequence" in build.parsed(out.files["rd"])) is left
