"""A real MR head, and a PET of it, follow a CT made from its own outline: the change to within a voxel on either lattice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from scipy import ndimage

from tests.dicom import build
from tests.dicom.family import MR, PET, Family, encoded, lattice, looked_up, places
from tests.dicom.resolve import archive_files, dangling
from tests.e2e.jobs import run_cli

DATA = Path(os.environ.get("HNDEFACE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data"
Float = NDArray[np.float64]
SKIN_HU = -300.0

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: HNDEFACE_SHARED names no folder with data/"),
]


@dataclass(frozen=True)
class Pair:
    """CT, MR and PET before and after, (K, J, I), and their affines."""

    ct: tuple[Float, Float]
    mr: tuple[Float, Float]
    pet: tuple[Float, Float]
    ct_affine: Float
    mr_affine: Float
    pet_affine: Float


def head() -> tuple[NDArray[np.float32], Float]:
    """The MR as (K, J, I) with LPS affine."""
    image = nibabel.load(DATA / "edge" / "mr_t1_head.nii.gz")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    return np.asarray(image.dataobj, np.float32).transpose(2, 1, 0), affine[:, [2, 1, 0, 3]]


def as_ct(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU of a head with that outline: soft tissue, and a skull 7 to 13 mm below the skin."""
    shown = ndimage.binary_closing(ndimage.gaussian_filter(values, 1.0) > 22, iterations=3)
    body = ndimage.binary_fill_holes(ndimage.binary_opening(shown, iterations=2))
    labels, _ = ndimage.label(body)
    body = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    depth = ndimage.distance_transform_edt(body, sampling=0.88)
    hu = np.where(body, 40.0, -1000.0)
    hu[(depth > 7) & (depth < 13)] = 700.0
    return ndimage.gaussian_filter(hu, 0.8).astype(np.float32)


def series(files: dict[str, FileDataset], modality: str) -> Float:
    found = sorted((ds for ds in files.values() if ds.Modality == modality), key=lambda ds: int(ds.InstanceNumber))
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in found]).astype(float)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("mr")
    values, affine = head()
    middle = (affine @ [*(np.array(values.shape) / 2), 1])[:3]
    first = build.ct_slice(0, np.zeros((2, 2), np.int16), np.eye(4))
    family = Family({}, build.STUDY, build.FRAME, first)
    ct_shape, mr_shape = (96, 150, 120), (110, 130, 150)
    ct_affine = lattice(ct_shape, (1.8, 1.5, 1.4), np.fliplr(np.eye(3)), middle + np.array([0.0, 0.0, -3.0]))
    hu = looked_up(as_ct(values), affine, places(ct_shape, ct_affine), -1000.0)
    for k, plane in enumerate(np.rint(hu).astype(np.int16)):
        ds = build.ct_slice(k, plane, ct_affine)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        family.members[f"CT/{k}"] = encoded(ds)
    t = np.radians(9.0)
    tilt = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    coronal = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])  # columns: k back, j down, i to the left
    mr_affine = lattice(mr_shape, (1.7, 1.3, 1.2), tilt @ coronal, middle)
    signal = looked_up(values, affine, places(mr_shape, mr_affine), 0.0)
    noise = np.abs(np.random.default_rng(2).normal(0, 1.5, mr_shape))
    family.add_images(MR, 22, signal + noise, mr_affine, slopes=[0.25] * mr_shape[0])
    pet_shape = (36, 66, 66)  # no taller than the CT, or it would show what was not defaced
    pet_affine = lattice(pet_shape, 4.0, np.fliplr(np.eye(3)), middle + np.array([1.0, 2.0, -1.5]))
    uptake = ndimage.gaussian_filter(np.where(as_ct(values) > SKIN_HU, 1500.0 + 12 * values, 0.0), 6.0 / 2.355 / 0.88)
    activity = looked_up(uptake.astype(np.float32), affine, places(pet_shape, pet_affine), 0.0)
    family.add_images(PET, 23, activity, pet_affine, slopes=[0.7 + 0.05 * (k % 11) for k in range(pet_shape[0])])
    source = build.zip_of(folder / "in.zip", family.members)
    # the scan ends at the middle of the nose: no detector sees a face, the fitted shape does
    done = run_cli(["run", str(source), "-o", "output", "--set", "seed=3"], folder)
    assert {entry["kind"]: entry["fate"] for entry in done.record["objects"]} == {
        "CT": "defaced",
        "MR": "carried",
        "PET": "carried",
    }, done.told
    before, after = archive_files(source), archive_files(done.image)
    assert dangling(after, allowed=()) == []
    pairs = {m: (series(before, m), series(after, m)) for m in ("CT", "MR", "PT")}
    return Pair(pairs["CT"], pairs["MR"], pairs["PT"], ct_affine, mr_affine, pet_affine)


def on_mr(pair: Pair, array: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of the CT on the MR's lattice."""
    points = places(pair.mr[0].shape, pair.mr_affine)  # type: ignore[arg-type]
    return looked_up(array.astype(np.float32), pair.ct_affine, points, 0.0, order=0) > 0.5


def test_the_mr_changes_where_the_ct_did_to_within_a_voxel(pair: Pair) -> None:
    changed, planned = pair.mr[0] != pair.mr[1], on_mr(pair, pair.ct[0] != pair.ct[1])
    tissue = on_mr(pair, (pair.ct[0] > SKIN_HU) | (pair.ct[1] > SKIN_HU))
    near = ndimage.distance_transform_edt(~planned, sampling=(1.7, 1.3, 1.2)) <= 2 * 1.7
    assert planned.sum() > 5000
    assert not np.any(changed & ~near & tissue)
    assert changed[planned].mean() > 0.97


def test_real_skin_lies_under_tissue_of_the_images_own_and_the_room_before_it_is_air(pair: Pair) -> None:
    before, after = pair.mr
    was, now = (on_mr(pair, side > SKIN_HU) for side in pair.ct)
    came = ndimage.binary_erosion(now & ~was)
    assert came.sum() > 10_000
    assert np.percentile(before[came], 75) < 15
    assert np.percentile(after[came], 25) > 25
    room = ~ndimage.binary_dilation(was | now, iterations=2) & (before != after)
    assert room.sum() > 1000, "ghosts in front of the face are looked for"
    assert np.percentile(after[room], 99) < 15


def test_the_pet_changes_where_the_ct_did_to_within_a_voxel(pair: Pair) -> None:
    before, after = pair.pet
    points = places(before.shape, pair.pet_affine)  # type: ignore[arg-type]

    def on_pet(array: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return looked_up(array.astype(np.float32), pair.ct_affine, points, 0.0, order=0) > 0.5

    changed, planned = before != after, on_pet(pair.ct[0] != pair.ct[1])
    was, now = (on_pet(side > SKIN_HU) for side in pair.ct)
    assert planned.sum() > 300
    far = ndimage.distance_transform_edt(pair.ct[0] == pair.ct[1], sampling=np.linalg.norm(pair.ct_affine[:3, :3], axis=0))
    away = looked_up(far.astype(np.float32), pair.ct_affine, points, 0.0)[changed]
    assert away.max() < 2 * 4.0
    assert np.mean(away <= 4.0) > 0.9
    assert changed[ndimage.binary_erosion(was ^ now)].mean() > 0.95
    came = ndimage.binary_erosion(now & ~was)
    assert came.sum() > 50
    assert np.median(after[came]) > 3 * np.median(before[came])
