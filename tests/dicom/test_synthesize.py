"""The synthetic study, read back by pydicom and SimpleITK: geometry, values, references, contours, dose, same bytes twice."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from skimage.draw import polygon2mask

from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests.phantom import FRAME, phantom

SEED = 7


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return phantom(SEED)


def read(folder: Path, pattern: str) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(p) for p in sorted(folder.glob(pattern))]


def by_number(folder: Path) -> list[pydicom.Dataset]:
    return sorted(read(folder, "CT/CT.*.dcm"), key=lambda d: int(d.InstanceNumber))


@pytest.fixture(scope="module")
def folder(head: SyntheticHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("study")
    write_study(head, target, seed=SEED, options=StudyOptions(localizer=True))
    return target


@pytest.mark.parametrize(
    "options",
    [
        StudyOptions(),
        StudyOptions(syntax="implicit", signed=True, intercept=0.0),
        StudyOptions(syntax="big", slope=0.5, intercept=-1024.0),
        StudyOptions(slope=2.0, intercept=-1000.0, signed=True, shuffled=True),
    ],
    ids=["default", "implicit signed", "big endian half steps", "shuffled slope 2"],
)
def test_hu_come_back(head: SyntheticHead, tmp_path: Path, options: StudyOptions) -> None:
    write_study(head, tmp_path, seed=SEED, options=options)
    slices = by_number(tmp_path)
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    assert np.abs(hu - head.volume.array).max() <= options.slope / 2
    assert {int(d.PixelRepresentation) for d in slices} == {int(options.signed)}
    assert {float(d.RescaleSlope) for d in slices} == {options.slope}


def test_every_slice_lies_where_the_grid_says(head: SyntheticHead, folder: Path) -> None:
    grid = head.volume.grid
    for k, ds in enumerate(by_number(folder)):
        position, axes = np.array(ds.ImagePositionPatient, float), np.array(ds.ImageOrientationPatient, float)
        rows, columns = (float(v) for v in ds.PixelSpacing)
        j, i = 31, 57
        point = position + axes[:3] * columns * i + axes[3:] * rows * j
        assert np.linalg.norm(point - grid.affine[:3, :3] @ (k, j, i) - grid.affine[:3, 3]) < 1e-4
        assert (ds.Rows, ds.Columns) == grid.shape[1:]
        assert ds.FrameOfReferenceUID == FRAME
        assert max(len(str(v)) for v in (*ds.ImagePositionPatient, *ds.ImageOrientationPatient)) <= 16


def test_shuffled_files_hold_the_same_slices(head: SyntheticHead, folder: Path, tmp_path: Path) -> None:
    write_study(head, tmp_path, seed=SEED, options=StudyOptions(shuffled=True))
    plain, shuffled = read(folder, "CT/CT.*.dcm"), read(tmp_path, "CT/CT.*.dcm")
    assert [d.InstanceNumber for d in plain] == sorted(d.InstanceNumber for d in plain)
    assert [d.InstanceNumber for d in shuffled] != sorted(d.InstanceNumber for d in shuffled)
    assert {d.SOPInstanceUID for d in plain} == {d.SOPInstanceUID for d in shuffled}


def test_uids_are_unique_valid_and_one_series_each(folder: Path) -> None:
    objects = read(folder, "*/*.dcm")
    instances = [d.SOPInstanceUID for d in objects]
    assert len(set(instances)) == len(instances) == 61 + 3
    assert all(u.is_valid and u.startswith("2.25.") for u in instances)
    assert len({d.StudyInstanceUID for d in objects}) == 1
    assert len({d.SeriesInstanceUID for d in objects}) == 4
    assert {str(d.PatientName) for d in objects} == {"SYNTHETIC^HEAD"}
    assert all(d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID for d in objects)


def test_same_seed_same_bytes(head: SyntheticHead, tmp_path: Path) -> None:
    first, again, other = tmp_path / "a.zip", tmp_path / "b.zip", tmp_path / "c.zip"
    assert write_study(head, first, seed=SEED) == (first,)
    write_study(head, again, seed=SEED)
    write_study(head, other, seed=SEED + 1)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert len(archive.namelist()) == 61 + 2
        ds = pydicom.dcmread(io.BytesIO(archive.read("CT/CT.0001.dcm")))
    assert ds.Modality == "CT"


def test_simpleitk_reads_the_series(tmp_path: Path) -> None:
    plain = phantom(SEED, plain=True)
    write_study(plain, tmp_path, seed=SEED, options=StudyOptions(structures=False, dose=False, shuffled=True))
    assert not (tmp_path / "RT").exists()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "CT")))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), plain.volume.array)
    np.testing.assert_allclose(image.GetSpacing()[::-1], plain.volume.grid.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), plain.volume.grid.affine[:3, 3], atol=1e-4)


def test_contours_are_the_structures(head: SyntheticHead, folder: Path) -> None:
    (ds,) = read(folder, "RT/RTSTRUCT.dcm")
    names = {int(r.ROINumber): str(r.ROIName) for r in ds.StructureSetROISequence}
    assert set(names.values()) == set(head.structures)
    kinds = {names[int(o.ReferencedROINumber)]: o.RTROIInterpretedType for o in ds.RTROIObservationsSequence}
    assert (kinds["BODY"], kinds["PTV70"], kinds["GTVp"], kinds["Parotid_L"]) == ("EXTERNAL", "PTV", "GTV", "ORGAN")
    for item in ds.ROIContourSequence:
        name = names[int(item.ReferencedROINumber)]
        if name in ("PTV70", "Eye_L", "Bone_Mandible", "Glnd_Submand_R"):
            drawn, mask = drawn_mask(head, item), head.structures[name].array
            overlap = 2 * np.count_nonzero(drawn & mask) / (drawn.sum() + mask.sum())
            assert overlap > 0.97, name


def drawn_mask(head: SyntheticHead, item: pydicom.Dataset) -> np.ndarray:
    """Voxels inside the contours, by an independent polygon filler."""
    grid, mask = head.volume.grid, np.zeros(head.volume.grid.shape, dtype=bool)
    for contour in item.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.NumberOfContourPoints == len(points) >= 3
        assert np.linalg.norm(points[0] - points[-1]) > 1e-3, "the first point is not repeated"
        index = np.linalg.solve(grid.affine[:3, :3], (points - grid.affine[:3, 3]).T).T
        k = round(float(index[:, 0].mean()))
        assert np.abs(index[:, 0] - k).max() < 0.01, "coplanar, on a slice"
        mask[k] |= polygon2mask(grid.shape[1:], index[:, 1:])
    return mask


def test_contours_name_the_slice_they_are_drawn_on(head: SyntheticHead, folder: Path) -> None:
    (ds,) = read(folder, "RT/RTSTRUCT.dcm")
    slices = {d.SOPInstanceUID: d for d in by_number(folder)}
    frame = ds.ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    listed = study.RTReferencedSeriesSequence[0]
    any_slice = next(iter(slices.values()))
    assert frame.FrameOfReferenceUID == any_slice.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == any_slice.StudyInstanceUID
    assert listed.SeriesInstanceUID == any_slice.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in listed.ContourImageSequence} == set(slices)
    for contour in ds.ROIContourSequence[0].ContourSequence:
        image = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        axes = np.array(image.ImageOrientationPatient, float)
        offset = np.array(contour.ContourData[:3], float) - np.array(image.ImagePositionPatient, float)
        assert abs(offset @ np.cross(axes[:3], axes[3:])) < 0.01


def test_dose_comes_back_in_gray(head: SyntheticHead, folder: Path) -> None:
    (ds,) = read(folder, "RT/RTDOSE.dcm")
    assert head.dose is not None
    dose = ds.pixel_array * float(ds.DoseGridScaling)
    np.testing.assert_allclose(dose, head.dose.array, atol=0.001)
    assert ds.NumberOfFrames == len(ds.GridFrameOffsetVector) == head.dose.grid.shape[0]
    assert float(ds.GridFrameOffsetVector[0]) == 0.0
    np.testing.assert_allclose(np.diff(np.array(ds.GridFrameOffsetVector, float)), 3.0)
    assert ds.BitsAllocated == 16
    assert ds.FrameOfReferenceUID == FRAME


def test_localizer_is_marked_and_in_its_own_series(folder: Path) -> None:
    (scout,) = read(folder, "CT/LOC.*.dcm")
    assert "LOCALIZER" in scout.ImageType
    assert scout.SeriesInstanceUID != by_number(folder)[0].SeriesInstanceUID
    assert scout.pixel_array.std() > 50


def test_what_cannot_be_stored_is_refused(head: SyntheticHead, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        write_study(head, tmp_path, seed=1, options=StudyOptions(intercept=0.0))
    with pytest.raises(ValueError, match="syntax"):
        write_study(head, tmp_path, seed=1, options=StudyOptions(syntax="jpeg"))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["CT/CT.0030.dcm", "CT/LOC.0001.dcm", "RT/RTSTRUCT.dcm", "RT/RTDOSE.dcm"])
def test_dciodvfy_finds_no_error(folder: Path, name: str) -> None:
    done = subprocess.run(["dciodvfy", str(folder / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr + done.stdout
