"""Cohorts on disk for tests: tiny studies without a face, small heads with one, and things that are no study."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fw_gear_hndeface.batch.discover import Found, Search, files_below, find_studies
from fw_gear_hndeface.batch.drive import Job
from fw_gear_hndeface.batch.work import Task, key_mark, rules_of
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.keys import uid_key
from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.settings import Settings
from tests.e2e import studies

SHAPE = (4, 11, 13)


def noise(seed: int = 8) -> Volume:
    """A few slices of noise: read at once, and no face in it."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([9.0, 9.5, 10.0]))
    array = np.random.default_rng(seed).integers(-1000, 900, SHAPE).astype(np.int16)
    return Volume(Grid(SHAPE, affine, studies.FRAME_UID), array)


def members(number: int, volume: Volume | None = None, patient: str = studies.PATIENT_ID) -> dict[str, bytes]:
    """The CT of study `number` of a cohort."""

    def renamed(ds: studies.Dataset) -> None:
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.826.0.1.77.{number}", f"1.2.826.0.1.77.{number}.1"
        ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{ds.InstanceNumber}"
        ds.file_meta.MediaStorageSOPInstanceUID, ds.PatientID = ds.SOPInstanceUID, patient

    return studies.edited(studies.ct_members(volume or noise(number)), renamed)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """The files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_studies(folder: Path, count: int) -> Path:
    """So many zips, each a study without a face, under names that hold a patient's."""
    for number in range(count):
        studies.write_zip(folder / f"{studies.NAME}_{number}.zip", members(number))
    return folder


def search(root: Path, dest: Path, key: bytes | None = None) -> Search:
    """What is found below a folder."""
    return find_studies(files_below(root, dest), key or uid_key(), Limits.of(Settings()), on_file=lambda: None)


def task(study: Found, dest: Path, settings: Settings | None = None, **options: object) -> Task:
    """What a worker would be told."""
    key, chosen = uid_key(), settings or Settings(seed=5)
    dest.mkdir(exist_ok=True)
    return Task(study, dest, chosen, rules_of(chosen, key), key_mark(key), **{"timeout_s": 60.0, **options})  # type: ignore[arg-type]


def job(root: Path | str, dest: Path, **options: object) -> Job:
    """A batch."""
    return Job(str(root), dest, **{"settings": Settings(seed=5), "key": uid_key(), **options})  # type: ignore[arg-type]


def tree(dest: Path) -> dict[str, bytes]:
    """Every file of an output folder that is not hidden, by its name."""
    files = (path for path in sorted(dest.rglob("*")) if path.is_file() and ".hndeface" not in path.parts)
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in files}
