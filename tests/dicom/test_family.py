"""A whole study goes through the chain: PET, an MR in another frame of reference, plan and registration follow the CT."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from scipy import ndimage

from fw_gear_hndeface.pipeline import deface
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.dicom import build
from tests.dicom import family as family_of
from tests.dicom.resolve import archive_files, dangling

Float = NDArray[np.float64]
SKIN_HU = -300


@dataclass(frozen=True)
class Done:
    """A study before and after, and what is known about it."""

    head: SyntheticHead
    before: dict[str, FileDataset]
    after: dict[str, FileDataset]
    record: dict[str, Any]
    pet: tuple[Float, tuple[int, int, int]]
    mr: tuple[Float, tuple[int, int, int]]
    to_mr: Float


def taken_through(folder: Path, source: Path, **settings: Any) -> tuple[dict[str, FileDataset], dict[str, Any]]:
    staged = deface(
        [source], folder, "study", Settings(seed=3, **settings), key=build.KEY, on_progress=lambda _name, _share: None
    )
    archive, *parts = [path for path in staged.files if path.suffix == ".zip"]
    assert bool(parts) is bool(settings.get("series_archives"))
    whole = archive_files(archive)
    assert not parts or {name for part in parts for name in archive_files(part)} == set(whole)
    (record,) = [path for path in staged.files if path.name.endswith(".qa.json")]
    return whole, json.loads(record.read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("family")
    head = make.phantom(4, plain=True)
    family = family_of.Family.of(head, folder, localizer=True)
    (dose,) = family.by_modality("RTDOSE")
    family_of.add_plan(family, str(dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID))
    pet = family_of.add_pet(family, head)
    to_mr = family_of.rigid(9.0, (14.0, -22.0, 30.0), head.landmarks["nasion"].point)
    mr = family_of.add_mr(family, head, frame=family_of.OTHER_FRAME, moved=to_mr)
    family_of.add_registration(family, np.linalg.inv(to_mr))
    source = build.zip_of(folder / "in.zip", family.members)
    after, record = taken_through(folder, source, series_archives=True)
    return Done(head, archive_files(source), after, record, pet, mr, to_mr)


def images(files: dict[str, FileDataset], modality: str) -> list[FileDataset]:
    """Images of a modality in the order they were made; no localizer."""
    found = [ds for ds in files.values() if ds.Modality == modality and "LOCALIZER" not in (ds.get("ImageType") or [])]
    return sorted(found, key=lambda ds: int(ds.InstanceNumber))


def values(files: dict[str, FileDataset], modality: str) -> Float:
    return np.stack(
        [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in images(files, modality)]
    ).astype(float)


def ct_changed(done: Done) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Changed voxels of the CT, tissue before, tissue after."""
    before, after = values(done.before, "CT"), values(done.after, "CT")
    return before != after, before > SKIN_HU, after > SKIN_HU


def at_points(done: Done, array: NDArray[np.bool_], points: Float) -> NDArray[np.bool_]:
    """A mask of the CT at LPS points, nearest voxel."""
    return family_of.looked_up(array.astype(np.float32), done.head.volume.grid.affine, points, 0.0, order=0) > 0.5


def test_every_object_has_a_fate_and_no_reference_leads_out(done: Done) -> None:
    fates = {entry["kind"]: entry["fate"] for entry in done.record["objects"]}
    assert fates == {
        "CT": "defaced",
        "localizer": "left out",
        **dict.fromkeys(("RTSTRUCT", "RTDOSE", "RTPLAN", "PET", "MR", "REG"), "carried"),
    }
    assert len(done.after) == len(done.before) - 1
    assert dangling(done.after, allowed=()) == []
    assert dangling({n: ds for n, ds in done.after.items() if ds.Modality != "RTSTRUCT"}), (
        "the look itself sees what is missing"
    )
    old = {str(ds.SOPInstanceUID) for ds in done.before.values()} | {str(ds.SeriesInstanceUID) for ds in done.before.values()}
    assert not old & {str(e.value) for ds in done.after.values() for e in ds.iterall() if e.VR == "UI"}
    assert all(len({str(ds.SeriesInstanceUID) for ds in images(done.after, m)}) == 1 for m in ("CT", "PT", "MR"))


@pytest.mark.parametrize("modality", ["PT", "MR"])
def test_other_images_change_where_the_ct_did_to_within_a_voxel(done: Done, modality: str) -> None:
    affine, shape = done.pet if modality == "PT" else done.mr
    points = family_of.places(shape, affine)
    if modality == "MR":
        points = points @ np.linalg.inv(done.to_mr)[:3, :3].T + np.linalg.inv(done.to_mr)[:3, 3]
    changed = values(done.before, modality) != values(done.after, modality)
    planned, was, now = (at_points(done, array, points) for array in ct_changed(done))
    around = ndimage.binary_dilation(planned, np.ones((3, 3, 3)))
    room = ~was & ~now
    assert not np.any(changed & ~around & ~(room if modality == "MR" else False)), "far from the plan only ghosts in the air go"
    surface = ndimage.binary_erosion(was ^ now)
    assert surface.sum() > 50
    assert changed[surface].mean() > 0.95
    kept = at_points(done, done.head.structures["PTV70"].array | done.head.structures["Parotid_L"].array, points)
    assert not np.any(changed & ndimage.binary_erosion(kept))


@pytest.mark.parametrize("modality", ["PT", "MR"])
def test_the_old_skin_is_gone_from_other_images_and_the_new_one_stands_there(done: Done, modality: str) -> None:
    affine, shape = done.pet if modality == "PT" else done.mr
    points = family_of.places(shape, affine)
    if modality == "MR":
        points = points @ np.linalg.inv(done.to_mr)[:3, :3].T + np.linalg.inv(done.to_mr)[:3, 3]
    _, was, now = (at_points(done, array, points) for array in ct_changed(done))
    before, after = values(done.before, modality), values(done.after, modality)
    level = 700.0 if modality == "PT" else 120.0
    gone, came = ndimage.binary_erosion(was & ~now), ndimage.binary_erosion(now & ~was)
    assert gone.sum() > 4, "a PET of 4 mm shows little of what was taken off"
    assert came.sum() > 20
    assert np.mean(before[gone] > level) > 0.5
    assert np.mean(after[gone] > level) < 0.02
    assert np.mean(before[came] > level) < 0.2
    assert np.mean(after[came] > level) > 0.8


def test_ghosts_around_the_head_are_cleaned_and_quiet_air_is_as_it_was(done: Done) -> None:
    affine, shape = done.mr
    points = family_of.places(shape, affine)
    points = points @ np.linalg.inv(done.to_mr)[:3, :3].T + np.linalg.inv(done.to_mr)[:3, 3]
    before, after = values(done.before, "MR"), values(done.after, "MR")
    nose, ear = done.head.landmarks["nose_tip"].point, done.head.landmarks["ear_left"].point
    beside = (np.abs(points[..., 0] - nose[0]) < 40) & (np.abs(points[..., 2] - nose[2]) < 35)
    in_front = (points[..., 1] < nose[1] - 12) & beside
    assert in_front.sum() > 1000
    assert np.percentile(before[in_front], 99) > 25, "there was a ghost"
    assert np.percentile(after[in_front], 99) < 0.7 * np.percentile(before[in_front], 99)
    tissue = at_points(done, values(done.before, "CT") > SKIN_HU, points)
    away = ndimage.distance_transform_edt(~tissue, sampling=np.linalg.norm(affine[:3, :3], axis=0))
    behind = (points[..., 1] > ear[1] + 60) & (away > 20) & beside
    assert behind.sum() > 300
    assert np.percentile(before[behind], 95) > 25, "half a field of view behind the face lies its ghost"
    assert np.mean(after[behind] > 25) < 0.03 * np.mean(before[behind] > 25)
    back = points[..., 1] > ear[1]
    assert np.array_equal(before[back & (away < 5)], after[back & (away < 5)])
    assert np.mean(before[back & (before < 4)] == after[back & (before < 4)]) > 0.5, "quiet air"


def test_pet_keeps_its_slopes_and_everything_that_uptake_is_worked_out_from(done: Done) -> None:
    old, new = images(done.before, "PT"), images(done.after, "PT")
    assert len({float(ds.RescaleSlope) for ds in old}) > 5
    for one, other in zip(old, new, strict=True):
        for name in ("RescaleSlope", "RescaleIntercept", "Units", "DecayFactor", "DecayCorrection", "PatientWeight"):
            assert one[name].value == other[name].value
        assert other.ImageType[0] == "DERIVED"
        assert other.RecognizableVisualFeatures == "NO"
        assert "RescaleType" not in other


def test_the_plan_keeps_its_prescription_and_tells_nothing_of_the_skin(done: Done) -> None:
    (plan,) = [ds for ds in done.after.values() if ds.Modality == "RTPLAN"]
    (dose,) = [ds for ds in done.after.values() if ds.Modality == "RTDOSE"]
    (sets,) = [ds for ds in done.after.values() if ds.Modality == "RTSTRUCT"]
    assert float(plan.DoseReferenceSequence[0].TargetPrescriptionDose) == 70
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == sets.SOPInstanceUID
    assert plan.ReferencedDoseSequence[0].ReferencedSOPInstanceUID == dose.SOPInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    beam = plan.BeamSequence[0]
    assert (beam.NumberOfBoli, beam.NumberOfCompensators) == (0, 0)
    assert not {"ReferencedBolusSequence", "CompensatorSequence"} & set(beam.dir())
    point = beam.ControlPointSequence[0]
    assert float(point.GantryAngle) == 30
    assert not {"SourceToSurfaceDistance", "SurfaceEntryPoint"} & set(point.dir())


def test_the_registration_stays_and_loses_only_what_it_refers_to_outside(done: Done) -> None:
    before, after = (next(ds for ds in side.values() if ds.Modality == "REG") for side in (done.before, done.after))
    for one, other in zip(before.RegistrationSequence, after.RegistrationSequence, strict=True):
        assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
        assert one.MatrixRegistrationSequence == other.MatrixRegistrationSequence
        assert "ReferencedImageSequence" not in other
    (mr,) = [entry for entry in done.record["objects"] if entry["kind"] == "MR"]
    assert mr["registration"]["by"] == "registration object"


def test_dose_of_every_kept_region_is_equal_and_follows_the_new_skin(done: Done) -> None:
    (entry,) = [entry for entry in done.record["objects"] if entry["kind"] == "RTDOSE"]
    names = {region["name"] for region in entry["rois"]}
    assert {"PTV70", "Parotid_L", "BODY", "Eye_L"} <= names
    assert all(region["before"] == region["after"] for region in entry["rois"] if region["name"] != "BODY")
    before, after = (next(ds for ds in side.values() if ds.Modality == "RTDOSE") for side in (done.before, done.after))
    dose = done.head.dose
    assert dose is not None
    points = family_of.places(dose.grid.shape, dose.grid.affine)
    _, was, now = (at_points(done, array, points) for array in ct_changed(done))
    old, new = before.pixel_array, after.pixel_array
    gone, came = ndimage.binary_erosion(was & ~now), ndimage.binary_erosion(now & ~was)
    assert np.all(new[gone] == 0)
    assert np.any(old[gone] > 0)
    assert np.mean(old[came] == 0) > 0.9
    assert np.mean(new[came] > 0) > 0.95, "all but what lies next to a kept region"


@pytest.mark.slow
def test_an_image_that_does_not_lie_where_its_header_says_is_left_out(tmp_path: Path) -> None:
    """The registration object leads the wrong way: the mask would miss the face."""
    head = make.phantom(4, plain=True)
    family = family_of.Family.of(head, tmp_path, dose=False, structures=False)
    to_mr = family_of.rigid(9.0, (14.0, -22.0, 30.0), head.landmarks["nasion"].point)
    family_of.add_mr(family, head, frame=family_of.OTHER_FRAME, moved=to_mr)
    family_of.add_registration(family, to_mr)
    after, record = taken_through(tmp_path, build.zip_of(tmp_path / "in.zip", family.members))
    assert {entry["kind"]: entry["fate"] for entry in record["objects"]}["MR"] == "left out"
    assert not [ds for ds in after.values() if ds.Modality == "MR"]
    (told,) = [
        finding["message"] for finding in record["findings"] if finding["code"] == "left_out" and "MR" in finding["where"]
    ]
    assert "does not lie where the CT's does" in told or "beyond the CT" in told
    assert dangling(after, allowed=()) == []
