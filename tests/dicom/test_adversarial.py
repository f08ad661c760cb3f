"""Companions as clinics send them: prone doses, oblique contours, names in any script or given twice, big-endian files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from fw_gear_hndeface.carry import CARRIED, Carried, Leader, carry
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import uid_map
from tests.dicom import build
from tests.dicom.test_carry_rtdose import DOSE_SHAPE, DOSE_STEPS, dose
from tests.dicom.test_carry_rtstruct import SHAPE, STEPS, box, contour, cut, rings, scan_values, structure_set, texts

TILT_DEG = 12.0
AFFINE = build.truth_affine(STEPS, TILT_DEG)


def added() -> NDArray[np.bool_]:
    """Air in front of the skin beside the cut: it becomes tissue."""
    change = np.zeros(SHAPE, np.bool_)
    change[3:6, 4:10, 19:25] = True
    return change


def carried(work: Path, members: dict[str, bytes]) -> Carried:
    """Everything beside a tilted CT with a cut and an addition; regions drawn on it count."""
    change = cut() | added()
    fill = np.where(added()[change], 30.0, -1000.0)
    whole = {**build.files(build.ct_series(scan_values(), AFFINE)), **members}
    with build.opened(work, whole) as archive:
        series = read_contents(archive).series
        (stack,) = [read_stacks(s)[0] for s in series if s.kind is SeriesKind.CT]
        rois = tuple(roi for s in series if s.kind is SeriesKind.RTSTRUCT for drawn in read_rois(s) for roi in drawn.rois)
        uids = uid_map((i.uid for s in series for i in s.instances), (s.uid for s in series), build.KEY)
        stamp = build.Stamp("9.8.7", "membrane", "x", build.KEY, uids=uids)
        others = [s for s in series if s.kind is not SeriesKind.CT]
        out = carry(others, [Leader(stack, build.plan_on(stack, change, fill), rois)], stamp)
    assert [one.fate for one in out.fates] == [CARRIED] * len(out.fates)
    return out


def dose_places(ds: Dataset) -> NDArray[np.float64]:
    """LPS mm of every dose voxel, for any axial orientation."""
    axes = np.array([float(v) for v in ds.ImageOrientationPatient]).reshape(2, 3)
    first = np.array([float(v) for v in ds.ImagePositionPatient])
    offsets = np.array([float(v) for v in ds.GridFrameOffsetVector])
    k, j, i = np.meshgrid(*(np.arange(n) for n in DOSE_SHAPE), indexing="ij")
    along = i[..., None] * DOSE_STEPS[2] * axes[0] + j[..., None] * DOSE_STEPS[1] * axes[1]
    return np.asarray(first + along + offsets[k][..., None] * np.cross(*axes))


def in_scan(points: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of the CT at LPS points."""
    index = np.rint((points - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE)[:3, :3].T).astype(int)
    inside = np.all((index >= 0) & (index < SHAPE), axis=-1)
    out = np.zeros(inside.shape, np.bool_)
    out[inside] = mask[tuple(index[inside].T)]
    return out


def stored(ds: Dataset, order: str = "<") -> NDArray[np.uint16]:
    return np.frombuffer(ds.PixelData, f"{order}u2", int(np.prod(DOSE_SHAPE))).reshape(DOSE_SHAPE)


def smooth_dose(ds: FileDataset) -> None:
    """4000 in tissue, 0 in air, as a planning system leaves it."""
    tissue = in_scan(dose_places(ds), scan_values() > -300)
    ds.PixelData = np.where(tissue, 4000, 0).astype("<u2").tobytes()


@pytest.mark.parametrize("pose", ["supine", "prone", "downwards"])
def test_a_dose_on_a_grid_of_its_own_follows_a_tilted_ct_in_any_pose(tmp_path: Path, pose: str) -> None:
    ds = dose(downwards=pose == "downwards")
    if pose == "prone":
        extent = np.array(DOSE_STEPS[:0:-1]) * (np.array(DOSE_SHAPE[:0:-1]) - 1)
        first = np.array([float(v) for v in ds.ImagePositionPatient]) + np.array([*extent, 0.0])
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [f"{v:.3f}" for v in first], [-1, 0, 0, 0, -1, 0]
    smooth_dose(ds)
    out = carried(tmp_path, {"rd": build.encoded(ds)})
    old, new = stored(ds), stored(build.parsed(out.files["rd"]))
    points = dose_places(ds)
    gone, came = in_scan(points, cut()), in_scan(points, added())
    tissue = in_scan(points, scan_values() > -300)
    assert min(gone.sum(), came.sum()) > 5
    assert np.all(new[gone] == 0)
    assert np.all(new[came] > 3000), "the dose beneath is carried on"
    assert np.array_equal(new[tissue & ~gone] > 3000, np.ones(int((tissue & ~gone).sum()), bool))
    far = np.linalg.norm(points[..., None, :] - points[gone | came], axis=-1).min(axis=-1) > 9.0
    assert np.array_equal(new[far], old[far])
    (entry,) = out.fates
    changed = int(np.count_nonzero(new != old))
    assert entry.numbers["zeroed_voxels"] + entry.numbers["filled_voxels"] == changed


def test_kept_regions_hold_their_dose_even_in_new_tissue(tmp_path: Path) -> None:
    ds = dose()
    corners = box(4, 12, 19, 25)
    target = structure_set([("PTV", "PTV", [contour(texts(AFFINE, k, corners), k) for k in range(3, 6)])])
    smooth_dose(ds)
    free = stored(build.parsed(carried(tmp_path, {"rd": build.encoded(ds)}).files["rd"]))
    out = carried(tmp_path, {"rd": build.encoded(ds), "rs": build.encoded(target)})
    kept = stored(build.parsed(out.files["rd"]))
    region = np.zeros(SHAPE, np.bool_)
    region[3:6, 5:12, 20:25] = True
    inside = in_scan(dose_places(ds), region)
    assert np.any(free[inside] != stored(ds)[inside])
    assert np.array_equal(kept[inside], stored(ds)[inside])
    (told,) = [one.numbers["rois"] for one in out.fates if "rois" in one.numbers]
    assert told[0]["before"] == told[0]["after"]


def test_several_doses_of_a_series_are_each_told(tmp_path: Path) -> None:
    one, other = dose(), dose()
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.7.9.2"
    smooth_dose(other)
    body = structure_set([("BODY", "EXTERNAL", [contour(texts(AFFINE, k, box(9.5, 34.5, 3.5, 25.5)), k) for k in range(9)])])
    out = carried(tmp_path, {"a": build.encoded(one), "b": build.encoded(other), "rs": build.encoded(body)})
    assert set(out.files) == {"a", "b", "rs"}
    (told,) = [entry.numbers["rois"] for entry in out.fates if "rois" in entry.numbers]
    assert [(region["name"], region["dose"]) for region in told] == [("BODY", 1), ("BODY", 2)]
    assert told[0]["before"]["max"] > told[1]["before"]["max"]


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_other_byte_orders_change_the_same_voxels_and_contours(tmp_path: Path, syntax: str) -> None:
    body = structure_set([("BODY", "EXTERNAL", [contour(texts(AFFINE, k, box(9.5, 34.5, 3.5, 25.5)), k) for k in range(9)])])
    plain, swapped = dose(), dose()
    smooth_dose(plain)
    smooth_dose(swapped)
    if syntax == ExplicitVRBigEndian:
        swapped.PixelData = stored(swapped).astype(">u2").tobytes()
    usual = carried(tmp_path, {"rd": build.encoded(plain), "rs": build.encoded(body)})
    other = carried(tmp_path, {"rd": build.encoded(swapped, syntax), "rs": build.encoded(body, syntax)})
    sets = [build.parsed(out.files["rs"]) for out in (usual, other)]
    assert sets[1].file_meta.TransferSyntaxUID == syntax
    assert rings(sets[0], 1) == rings(sets[1], 1)
    doses = [build.parsed(out.files["rd"]) for out in (usual, other)]
    assert np.array_equal(stored(doses[0]), stored(doses[1], ">" if syntax == ExplicitVRBigEndian else "<"))


@pytest.mark.parametrize(
    ("charset", "names"),
    [
        ("ISO_IR 192", ("目标体积", "Rückenmark", "σκελετός", "кожа")),
        ("ISO_IR 100", ("Äußere Hülle", "Œil".replace("Œ", "O"), "Parotide gauche", "Nœud".replace("œ", "oe"))),
        (["", "ISO 2022 IR 87"], ("耳下腺", "皮膚", "PTV", "体輪郭")),
        ("GB18030", ("腮腺", "皮肤", "靶区", "体表")),
    ],
)
def test_names_of_any_script_come_back_letter_by_letter(
    tmp_path: Path, charset: str | list[str], names: tuple[str, ...]
) -> None:
    inner = [contour(texts(AFFINE, 4, box(20, 25, 8, 12)), 4)]
    sets = structure_set([(name, "ORGAN", inner) for name in names])
    sets.SpecificCharacterSet = charset
    out = carried(tmp_path, {"rs": build.encoded(sets)})
    after = build.parsed(out.files["rs"])
    after.decode()
    assert [str(roi.ROIName) for roi in after.StructureSetROISequence] == list(names)
    assert [rings(after, n) for n in range(1, 5)] == [rings(sets, n) for n in range(1, 5)]


def test_regions_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    def outline(left: float) -> list[Dataset]:
        return [contour(texts(AFFINE, k, box(9.5, 34.5, left, 25.5)), k) for k in range(9)]

    sets = structure_set(
        [("BODY", "EXTERNAL", outline(3.5)), ("BODY", "EXTERNAL", outline(8.5)), ("BODY", "ORGAN", outline(3.5))]
    )
    after = build.parsed(carried(tmp_path, {"rs": build.encoded(sets)}).files["rs"])
    assert [str(roi.ROIName) for roi in after.StructureSetROISequence] == ["BODY"] * 3
    assert all(rings(after, n) != rings(sets, n) for n in (1, 2, 3)), "all three follow the skin"
    assert rings(after, 1) != rings(after, 2)
    untouched = [rings(after, n)[0] for n in (1, 2)]
    assert untouched == [rings(sets, n)[0] for n in (1, 2)]


def test_references_to_slices_that_are_not_there_go_and_the_contours_stay(tmp_path: Path) -> None:
    drawn = [contour(texts(AFFINE, k, box(20, 25, 8, 12)), k) for k in (2, 4, 300)]
    drawn[2].ContourData = texts(AFFINE, 6, box(20, 25, 8, 12))
    sets = structure_set([("Parotid", "ORGAN", drawn)])
    study, series, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = build.SERIES
    series.ContourImageSequence = [image for one in drawn for image in one.ContourImageSequence]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", build.STUDY
    study.RTReferencedSeriesSequence, frame.FrameOfReferenceUID = [series], build.FRAME
    frame.RTReferencedStudySequence, sets.ReferencedFrameOfReferenceSequence = [study], [frame]
    after = build.parsed(carried(tmp_path, {"rs": build.encoded(sets)}).files["rs"])
    contours = after.ROIContourSequence[0].ContourSequence
    assert ["ContourImageSequence" in one for one in contours] == [True, True, False]
    assert rings(after, 1) == rings(sets, 1)
    images = after.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert len(images.ContourImageSequence) == 2


@pytest.mark.parametrize("kind", ["sagittal", "coronal", "leaning"])
def test_oblique_outlines_lose_what_was_taken_away(tmp_path: Path, kind: str) -> None:
    """Outlines drawn on planes across the slices, through the middle of the cut."""
    if kind == "sagittal":
        corners = [(0.0, 9.5, 15.0), (0.0, 34.5, 15.0), (8.0, 34.5, 15.0), (8.0, 9.5, 15.0)]
    elif kind == "coronal":
        corners = [(0.0, 12.0, 3.5), (0.0, 12.0, 25.5), (8.0, 12.0, 25.5), (8.0, 12.0, 3.5)]
    else:
        corners = [(2.0, 9.5, 3.5), (2.0, 9.5, 25.5), (6.0, 34.5, 25.5), (6.0, 34.5, 3.5)]
    points = np.array([(AFFINE @ [*corner, 1])[:3] for corner in corners])
    drawn = contour([f"{v:.4f}" for v in points.ravel()], None)
    after = build.parsed(carried(tmp_path, {"rs": build.encoded(structure_set([("bolus", "", [drawn])]))}).files["rs"])
    (ring,) = rings(after, 1)
    new = np.array(ring, float).reshape(-1, 3)
    assert len(new) > 4
    normal = np.cross(points[1] - points[0], points[3] - points[0])
    off = (new - points[0]) @ normal / np.linalg.norm(normal)
    assert np.abs(off).max() < 0.01, "in its plane"
    inner = np.zeros(SHAPE, np.bool_)
    inner[4, 11:14, 12:18] = True
    index = (new - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE)[:3, :3].T
    assert not np.any(np.all((index > [3.2, 10.6, 11.4]) & (index < [4.8, 13.6, 17.6]), axis=1)), "no point in what was taken"
