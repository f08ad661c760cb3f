"""`hndeface run` on real studies: the right verdict, targets and organs identical, and an image that other software opens."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from skimage.draw import polygon2mask

from fw_gear_hndeface.report import schema
from tests.e2e.jobs import Done, refuse, run_cli
from tests.e2e.studies import slices_of

DATA = Path(os.environ.get("HNDEFACE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data"

#: Archive -> verdicts that are right, by what is in view (seen by eye).
VERDICTS: dict[str, tuple[str, ...]] = {
    "cthd_phantom": ("defaced",),
    "visible_human": ("defaced",),
    "makehuman/makehuman_0": ("defaced",),
    "makehuman/makehuman_3": ("defaced",),
    "openkbp/pt_101": ("defaced",),
    "openkbp/pt_112": ("defaced",),
    "openkbp/pt_141": ("defaced",),
    "openkbp/pt_147": ("defaced",),
    "openkbp/pt_155": ("defaced",),
    "openkbp/pt_104": ("partial",),
    "openkbp/pt_108": ("partial",),
    "openkbp/pt_12": ("partial",),
    "openkbp/pt_120": ("partial",),
    "edge/ct_gantry_tilt_nonuniform": ("partial", "refused"),
}
#: Regions that are the skin or hug it: only their inner part can be expected to stay.
SKIN = ("BODY", "External")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: HNDEFACE_SHARED names no folder with data/"),
]


@pytest.fixture(scope="module", params=VERDICTS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Done]:
    """One study through the command line."""
    folder = tmp_path_factory.mktemp("real")
    source = DATA / f"{request.param}.zip"
    return request.param, source, run_cli(["run", str(source), "-o", "output", "--set", "seed=3"], folder)


def ct_of(path: Path) -> list[FileDataset]:
    """The CT slices of an archive, going up."""
    found = [ds for ds in readable(path).values() if ds.get("Modality") == "CT" and "ImagePositionPatient" in ds]
    return sorted(found, key=lambda ds: float(ds.ImagePositionPatient[2]))


def readable(path: Path) -> dict[str, FileDataset]:
    """Every DICOM object of an archive."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "dicom.zip"
        with zipfile.ZipFile(clean, "w") as copy:
            for name in archive.namelist():
                data = archive.read(name)
                if data[128:132] == b"DICM":
                    copy.writestr(name, data)
        return slices_of(clean)


def hu(datasets: list[FileDataset]) -> NDArray[np.float64]:
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in datasets])


def drawn(source: Path, slices: list[FileDataset]) -> dict[str, NDArray[np.bool_]]:
    """Voxels whose centres lie in each drawn region, by this test's own reckoning (axial slices only)."""
    heights = np.array([float(ds.ImagePositionPatient[2]) for ds in slices])
    origin, (row_mm, column_mm) = np.array(slices[0].ImagePositionPatient, float), map(float, slices[0].PixelSpacing)
    shape = (int(slices[0].Rows), int(slices[0].Columns))
    regions: dict[str, NDArray[np.bool_]] = {}
    for ds in readable(source).values():
        if (
            ds.get("Modality") != "RTSTRUCT"
            or ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID != slices[0].FrameOfReferenceUID
        ):
            continue
        names = {item.ROINumber: item.ROIName for item in ds.StructureSetROISequence}
        for item in ds.ROIContourSequence:
            mask = np.zeros((len(slices), *shape), bool)
            for contour in item.get("ContourSequence", []):
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                k = int(np.argmin(np.abs(heights - points[0, 2])))
                polygon = np.column_stack([(points[:, 1] - origin[1]) / row_mm, (points[:, 0] - origin[0]) / column_mm])
                mask[k] ^= polygon2mask(shape, polygon)
            regions[names[item.ReferencedROINumber]] = mask
    return regions


def record_of(done: Done) -> dict[str, Any]:
    return dict(json.loads(next(done.output.glob("*.qa.json")).read_text(), parse_constant=refuse))


def need_image(done: Done) -> None:
    """A refused study has no image to look at, and must not have one."""
    if record_of(done)["verdict"] == "refused":
        assert not list(done.output.glob("*.zip"))
        pytest.skip("refused: no image was written, as it should be")


def test_verdict_code_and_record(case: tuple[str, Path, Done]) -> None:
    name, _, done = case
    record = record_of(done)
    jsonschema.validate(record, schema())
    assert record["verdict"] in VERDICTS[name], done.told
    assert (done.code == 0) is (record["verdict"] != "refused"), done.told
    need_image(done)
    assert record["privacy"]["passed"] is True
    assert record["removed_ml"] + record["added_ml"] + record["retextured_ml"] > 1.0
    assert record["peak_mb"] < 1500


def test_every_drawn_region_inside_the_body_is_identical(case: tuple[str, Path, Done]) -> None:
    _, source, done = case
    need_image(done)
    before, after = ct_of(source), ct_of(done.image)
    assert [ds.ImagePositionPatient for ds in after] == [ds.ImagePositionPatient for ds in before]
    changed = hu(before) != hu(after)
    assert changed.any()
    for name, mask in drawn(source, before).items():
        if name not in SKIN:
            assert not (changed & mask).any(), f"{name}: {(changed & mask).sum()} of {mask.sum()} voxels"


def test_only_the_front_of_the_head_changes(case: tuple[str, Path, Done]) -> None:
    _, source, done = case
    need_image(done)
    before = ct_of(source)
    changed = np.argwhere(hu(before) != hu(ct_of(done.image)))
    points = np.array([voxel_mm(before[k], j, i) for k, j, i in changed])
    marks = {name: np.array(mark["lps_mm"]) for name, mark in record_of(done)["landmarks"].items()}
    eyes = (marks["globe_left"] + marks["globe_right"]) / 2
    across = marks["globe_left"] - marks["globe_right"]
    left = across / np.linalg.norm(across)
    up = eyes - marks["chin"]
    up = up - (up @ left) * left
    up = up / np.linalg.norm(up)
    back = np.cross(up, left)
    offset = (points - eyes) @ np.column_stack([left, back, up])
    assert offset[:, 1].max() < 105.0, "nothing behind the ears"
    assert np.abs(offset[:, 0]).max() < 115.0
    assert offset[:, 2].max() < 105.0, "no vault"
    assert offset[:, 2].min() > -190.0, "no neck"
    assert np.median(offset[:, 1]) < 40.0, "most of it at the front"


def voxel_mm(ds: FileDataset, row: float, column: float) -> NDArray[np.float64]:
    """LPS mm of a pixel's centre, as the standard says."""
    across, down = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, ds.PixelSpacing)
    return np.asarray(np.array(ds.ImagePositionPatient, float) + across * column * column_mm + down * row * row_mm)


def test_other_software_reads_every_slice(case: tuple[str, Path, Done]) -> None:
    _, source, done = case
    need_image(done)
    before, after = ct_of(source), ct_of(done.image)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "slice.dcm")
        for old, new in zip(before, after, strict=True):
            new.save_as(path)
            image = sitk.ReadImage(path)
            assert np.allclose(image.GetOrigin(), np.array(old.ImagePositionPatient, float))
            assert np.array_equal(sitk.GetArrayViewFromImage(image)[0], hu([new])[0])


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("makehuman/*.zip")))
def test_globes_and_nose_lie_within_millimetres_of_the_truth(name: str, tmp_path: Path) -> None:
    truth = json.loads((DATA / "makehuman" / "landmarks.json").read_text())[name]
    done = run_cli(["run", str(DATA / "makehuman" / f"{name}.zip"), "-o", "output", "--set", "seed=3"], tmp_path)
    marks = record_of(done)["landmarks"]
    for mark, most_mm in (("globe_left", 7.5), ("globe_right", 7.5), ("nose_tip", 6.0)):
        assert np.linalg.norm(np.array(marks[mark]["lps_mm"]) - truth[mark]) < most_mm, mark
        assert marks[mark]["source"] == "rendered_face"


def test_other_software_reads_the_same_volume_in_the_same_place(case: tuple[str, Path, Done]) -> None:
    name, source, done = case
    if name.startswith("edge/"):
        pytest.skip("unevenly spaced slices are no volume to a plain reader")
    need_image(done)
    volumes = []
    for path in (source, done.image):
        with tempfile.TemporaryDirectory() as folder:
            for number, ds in enumerate(ct_of(path)):
                ds.save_as(Path(folder) / f"{number:04d}.dcm")
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
            volumes.append(reader.Execute())
    before, after = volumes
    assert before.GetSize() == after.GetSize()
    assert np.allclose(before.GetOrigin(), after.GetOrigin())
    assert np.allclose(before.GetDirection(), after.GetDirection())
    assert np.array_equal(sitk.GetArrayViewFromImage(after), hu(ct_of(done.image)))


def test_what_was_printed_and_reported_names_no_file_and_no_header(case: tuple[str, Path, Done]) -> None:
    _, source, done = case
    first = ct_of(source)[0]
    page = next(done.output.glob("*.qa.html")).read_text()
    for secret in (
        str(first.get("PatientID", "")),
        str(first.get("PatientName", "")),
        str(first.StudyInstanceUID),
        source.stem,
    ):
        if len(secret) > 3:
            assert secret not in done.told
            assert secret not in page


def test_a_structure_set_in_a_frame_of_its_own_is_left_out_and_told(case: tuple[str, Path, Done]) -> None:
    """`cthd_phantom` holds a structure set whose frame of reference is not the CT's."""
    name, source, done = case
    frames = {str(ds.FrameOfReferenceUID) for ds in ct_of(source)}
    sets = [ds for ds in readable(source).values() if ds.get("Modality") == "RTSTRUCT"]
    foreign = [ds for ds in sets if not frames & {str(roi.ReferencedFrameOfReferenceUID) for roi in ds.StructureSetROISequence}]
    assert bool(foreign) is (name == "cthd_phantom")
    record = record_of(done)
    told = [finding for finding in record["findings"] if finding["code"] == "frame_mismatch"]
    assert bool(told) is bool(foreign)
    if foreign:
        assert "drawn on this CT" in told[0]["message"]
        fates = {entry["kind"]: entry["fate"] for entry in record["objects"]}
        assert fates == {"CT": "defaced", "RTSTRUCT": "left out"}
        assert not [ds for ds in readable(done.image).values() if ds.Modality == "RTSTRUCT"]
