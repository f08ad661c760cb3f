"""A real face rebuilt from the outline, the dose and a PET beside the CT: it works on the input and fails on the output."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from scipy import ndimage
from skimage.draw import polygon2mask

from tests.dicom import build
from tests.dicom.family import PET, Family, encoded, lattice, looked_up, places
from tests.e2e.jobs import run_cli

DATA = Path(os.environ.get("HNDEFACE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data"
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
SKIN_HU = -300

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: HNDEFACE_SHARED names no folder with data/"),
]


@dataclass(frozen=True)
class Scan:
    """An axial CT going up: HU, the affine of its (k, j, i), and every data set of its study by name."""

    hu: Float
    affine: Float
    objects: dict[str, FileDataset]


def scan_of(path: Path) -> Scan:
    with zipfile.ZipFile(path) as archive:
        objects = {n: dcmread(io.BytesIO(d)) for n in archive.namelist() if (d := archive.read(n))[128:132] == b"DICM"}
    slices = sorted((ds for ds in objects.values() if ds.Modality == "CT"), key=lambda ds: float(ds.ImagePositionPatient[2]))
    hu = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])
    first, last = (np.array([float(v) for v in ds.ImagePositionPatient]) for ds in (slices[0], slices[-1]))
    row, column = (float(v) for v in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([(last - first) / (len(slices) - 1), [0, row, 0], [column, 0, 0]])
    affine[:3, 3] = first
    return Scan(hu, affine, objects)


def with_companions(source: Path, target: Path) -> None:
    """The study with a PET of its head, and with a dose that fills the body as that of many beams does."""
    scan = scan_of(source)
    body = np.stack([ndimage.binary_fill_holes(part) for part in scan.hu > SKIN_HU])
    members = {name: encoded(ds) for name, ds in scan.objects.items() if ds.Modality != "RTDOSE"}
    for name, ds in scan.objects.items():
        if ds.Modality == "RTDOSE":
            grid, shape = dose_affine(ds), ds.pixel_array.shape
            inside = looked_up(body.astype(np.float32), scan.affine, places(shape, grid), 0.0) > 0.5
            ds.PixelData = np.where(inside, 40_000, 0).astype(ds.pixel_array.dtype).tobytes()
            members[name] = encoded(ds)
    first = next(ds for ds in scan.objects.values() if ds.Modality == "CT")
    family = Family(members, str(first.StudyInstanceUID), str(first.FrameOfReferenceUID), first)
    middle = (scan.affine @ [*((np.array(scan.hu.shape) - 1) / 2), 1])[:3]
    shape = (int(scan.hu.shape[0] * np.linalg.norm(scan.affine[:3, 0]) / 4), 80, 80)
    affine = lattice(shape, 4.0, np.fliplr(np.eye(3)), middle)
    uptake = np.where(body & (scan.hu > SKIN_HU), 2400.0, 0.0) + np.where(body & (scan.hu > 20), 900.0, 0.0)
    seen = ndimage.gaussian_filter(uptake, 6.0 / 2.355 / np.linalg.norm(scan.affine[:3, :3], axis=0))
    values = looked_up(seen.astype(np.float32), scan.affine, places(shape, affine), 0.0)
    noise = np.random.default_rng(3).normal(0, 30, shape) * np.sqrt(1 + values / 2000)
    slopes = [0.8 + 0.06 * (k % 7) for k in range(shape[0])]
    family.add_images(PET, 41, np.maximum(values + noise, 0), affine, slopes=slopes)
    build.zip_of(target, family.members)


def dose_affine(ds: FileDataset) -> Float:
    offsets = np.array([float(v) for v in ds.GridFrameOffsetVector])
    row, column = (float(v) for v in ds.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, column], [0, row, 0], [offsets[1] - offsets[0], 0, 0]]
    affine[:3, 3] = [float(v) for v in ds.ImagePositionPatient]
    return affine


def outline(ds: FileDataset, scan: Scan) -> Bool:
    """The drawn BODY on the CT's lattice, by the even-odd rule."""
    (number,) = [roi.ROINumber for roi in ds.StructureSetROISequence if roi.ROIName == "BODY"]
    inside = np.zeros(scan.hu.shape, np.bool_)
    (item,) = [item for item in ds.ROIContourSequence if item.ReferencedROINumber == number]
    for contour in item.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        index = (points - scan.affine[:3, 3]) @ np.linalg.inv(scan.affine[:3, :3]).T
        inside[round(float(index[:, 0].mean()))] ^= polygon2mask(inside.shape[1:], index[:, 1:])
    return inside


def surfaces(side: Scan) -> dict[str, Bool]:
    """What each object takes for the inside of the head, on the CT's lattice."""
    points = places(side.hu.shape, side.affine)  # type: ignore[arg-type]
    (sets,) = [ds for ds in side.objects.values() if ds.Modality == "RTSTRUCT"]
    (dose,) = [ds for ds in side.objects.values() if ds.Modality == "RTDOSE"]
    images = sorted((ds for ds in side.objects.values() if ds.Modality == "PT"), key=lambda ds: int(ds.InstanceNumber))
    activity = np.stack([ds.pixel_array * float(ds.RescaleSlope) for ds in images])
    origin = np.array([float(v) for v in images[0].ImagePositionPatient])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.fliplr(np.eye(3)) * 4.0, origin
    return {
        "CT": side.hu > SKIN_HU,
        "outline": outline(sets, side),
        "dose": looked_up(dose.pixel_array.astype(np.float32), dose_affine(dose), points, 0.0) > 20_000,
        "PET": looked_up(activity.astype(np.float32), affine, points, 0.0) > 1100,
    }


def own_relief(inside: Bool, scan: Scan, box: tuple[slice, slice]) -> Float:
    """How far each point of the face stands out of the dome that fits it best, mm; rays run from front to back."""
    step = float(np.linalg.norm(scan.affine[:3, 1]))
    depth = (np.where(inside.any(axis=1), inside.argmax(axis=1), inside.shape[1]) * step)[box]
    z, x = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, n) for n in depth.shape), indexing="ij"))
    dome = np.column_stack([np.ones_like(x), x, z, x * z, x**2, z**2])
    return np.asarray((dome @ np.linalg.lstsq(dome, depth.ravel(), rcond=None)[0]).reshape(depth.shape) - depth)


@dataclass(frozen=True)
class Likeness:
    """Share of the original face's own relief that each object holds: 1 for all of it, 0 for a plain dome."""

    before: dict[str, float]
    after: dict[str, float]


def likeness(source: Path, folder: Path) -> Likeness:
    with_companions(source, folder / "in.zip")
    done = run_cli(["run", str(folder / "in.zip"), "-o", "output", "--set", "seed=3"], folder)
    assert done.code == 0, done.told
    assert {o["kind"]: o["fate"] for o in done.record["objects"]}["PET"] == "carried"
    before, after = scan_of(folder / "in.zip"), scan_of(done.image)
    marks = {name: np.array(mark["lps_mm"]) for name, mark in done.record["landmarks"].items()}
    ends = np.array([marks["globe_left"], marks["globe_right"], marks["chin"]])
    low, high = ends.min(axis=0) + np.array([-10, 0, 15]), ends.max(axis=0) + np.array([10, 0, 15])
    index = (np.array([low, high]) - before.affine[:3, 3]) @ np.linalg.inv(before.affine[:3, :3]).T
    (k0, _, i0), (k1, _, i1) = np.clip(np.rint(index).astype(int), 0, np.array(before.hu.shape) - 1)
    box = slice(k0, k1), slice(i0, i1)
    truth = own_relief(before.hu > SKIN_HU, before, box).ravel()
    sides = [
        {
            name: float(np.corrcoef(own_relief(inside, side, box).ravel(), truth)[0, 1])
            for name, inside in surfaces(side).items()
        }
        for side in (before, after)
    ]
    return Likeness(*sides)


@pytest.fixture(scope="module", params=["pt_101", "pt_155"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Likeness:
    return likeness(DATA / "openkbp" / f"{request.param}.zip", tmp_path_factory.mktemp("rebuilt"))


@pytest.mark.parametrize("name", ["CT", "outline", "dose", "PET"])
def test_the_face_can_be_rebuilt_before_and_not_after(found: Likeness, name: str) -> None:
    assert found.before[name] > 0.8
    assert found.after[name] < 0.4
