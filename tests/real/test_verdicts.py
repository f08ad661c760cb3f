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

#: Archive -> verdict, by what is in view (seen by eye).
VERDICTS = {
    "cthd_phantom": "defaced",
    "visible_human": "defaced",
    "makehuman/makehuman_0": "defaced",
    "makehuman/makehuman_3": "defaced",
    "openkbp/pt_101": "defaced",
    "openkbp/pt_112": "defaced",
    "openkbp/pt_147": "defaced",
    "openkbp/pt_104": "partial",
    "openkbp/pt_108": "partial",
    "openkbp/pt_12": "partial",
    "edge/ct_gantry_tilt_nonuniform": "partial",
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


def test_verdict_code_and_record(case: tuple[str, Path, Done]) -> None:
    name, _, done = case
    assert done.code == 0, done.told
    record: dict[str, Any] = json.loads(next(done.output.glob("*.qa.json")).read_text(), parse_constant=refuse)
    jsonschema.validate(record, schema())
    assert record["verdict"] == VERDICTS[name]
    assert record["privacy"]["passed"] is True
    assert record["removed_ml"] + record["added_ml"] + record["retextured_ml"] > 1.0
    assert record["peak_mb"] < 1500


def test_every_drawn_region_inside_the_body_is_identical(case: tuple[str, Path, Done]) -> None:
    _, source, done = case
    before, after = ct_of(source), ct_of(done.image)
    assert [ds.ImagePositionPatient for ds in after] == [ds.ImagePositionPatient for ds in before]
    changed = hu(before) != hu(after)
    assert changed.any()
    for name, mask in drawn(source, before).items():
        if name not in SKIN:
            assert not (changed & mask).any(), f"{name}: {(changed & mask).sum()} of {mask.sum()} voxels"


def test_other_software_reads_the_same_volume_in_the_same_place(case: tuple[str, Path, Done]) -> None:
    name, source, done = case
    if name.startswith("edge/"):
        pytest.skip("unevenly spaced slices are no volume to a plain reader")
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
