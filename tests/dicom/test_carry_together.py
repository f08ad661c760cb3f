"""One map of UIDs for the whole job: nothing that leaves tells a UID of what came in, not even of what was left out."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage

from fw_gear_hndeface import pipeline
from fw_gear_hndeface.dicom.archive import ArchiveWriter
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import new_uid
from fw_gear_hndeface.settings import Settings
from tests.dicom import build
from tests.dicom.test_carry_rtdose import dose
from tests.dicom.test_carry_rtstruct import SET_UID, STEPS, box, contour, cut, scan_values, structure_set, texts

SCOUT = "1.2.826.0.1.7.6.1"


def scout() -> Dataset:
    ds = build.ct_slice(0, scan_values()[0], build.truth_affine(STEPS, 0.0))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = SCOUT
    ds.SeriesInstanceUID = "1.2.826.0.1.7.6"
    return ds


def refer(_: int, ds: Dataset) -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, SCOUT
    ds.ReferencedImageSequence = [item]


def uids_in(ds: FileDataset) -> set[str]:
    """Every UID of an object, at any depth, and that of its file."""
    return {str(ds.file_meta.MediaStorageSOPInstanceUID)} | {str(e.value) for e in ds.iterall() if e.VR == "UI"}


def test_ct_structure_set_and_dose_leave_together_and_no_old_uid_stays(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    sets = structure_set([("BODY", "EXTERNAL", [contour(texts(affine, 4, box(9.5, 34.5, 3.5, 25.5)), 4)])])
    slices = build.files(build.ct_series(scan_values(), affine, change=refer))
    # The dose comes first: the structure set that it refers to must be known all the same.
    members = {"rd": build.encoded(dose()), **slices, "rs": build.encoded(sets), "loc": build.encoded(scout())}
    run = pipeline._Run(Settings(), 1, lambda _name, _share: None)
    with build.opened(tmp_path, members) as archive:
        run.series = read_contents(archive).series
        (stack,) = [read_stacks(s)[0] for s in run.series if s.kind is SeriesKind.CT]
        run.companions = [s for s in run.series if s.kind is not SeriesKind.CT]
        made: Any = SimpleNamespace(plan=build.plan_on(stack, cut()), rois=(), face=SimpleNamespace(frame=None), passed=True)
        run.done.append((stack, made))
        with ArchiveWriter(tmp_path / "out.zip") as writer:
            pipeline._write(writer, run, build.KEY)
    with zipfile.ZipFile(tmp_path / "out.zip") as out:
        files = {name: out.read(name) for name in out.namelist()}
    assert set(files) == {*slices, "rs", "rd"}
    fates = {entry["kind"]: entry["fate"] for entry in run.objects}
    assert fates == {"RTSTRUCT": "carried", "RTDOSE": "carried", "localizer": "left out"}
    old = {str(build.parsed(data).SOPInstanceUID) for data in members.values()}
    old |= {str(build.parsed(data).SeriesInstanceUID) for data in members.values()}
    assert not old & {uid for data in files.values() for uid in uids_in(build.parsed(data))}
    assert not any("ReferencedImageSequence" in build.parsed(files[name]) for name in slices), "the scout was left out"
    reference = build.parsed(files["rd"]).ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert reference == build.parsed(files["rs"]).SOPInstanceUID == new_uid(SET_UID, build.KEY)
