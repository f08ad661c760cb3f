"""Enhanced multi-frame images are not read: each class is left out beside a CT, and refused alone, in one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset

from fw_gear_hndeface import pipeline
from fw_gear_hndeface.carry import LEFT_OUT, Leader, carry
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import uid_map
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.evaluate.audit import audit
from fw_gear_hndeface.settings import Settings
from tests.dicom import build
from tests.dicom.test_carry_rtstruct import SHAPE, STEPS, cut, scan_values

STORAGE = "1.2.840.10008.5.1.4.1.1."
#: SOP class -> modality, of every Enhanced and converted image of CT, MR and PET.
CLASSES = {"2.1": "CT", "2.2": "CT", "4.1": "MR", "4.3": "MR", "4.4": "MR", "128.1": "PT", "130": "PT"}
AFFINE = build.truth_affine(STEPS, 0.0)


def enhanced(tail: str, *, frames: int = SHAPE[0]) -> FileDataset:
    """The scan as one object whose geometry and rescaling lie in functional groups, frame by frame."""
    ds = build.ct_slice(0, scan_values()[0].astype(np.int16), AFFINE)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = STORAGE + tail
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.7.88.1"
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.Modality = "1.2.826.0.1.7.88", 9, CLASSES[tail]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, STEPS[0]
    orientation.ImageOrientationPatient = ds.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    items = []
    for k in range(frames):
        item, position, rescale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{v:.6f}" for v in (AFFINE @ [k, 0, 0, 1])[:3]]
        rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = "0", "1", "HU"
        item.PlanePositionSequence, item.PixelValueTransformationSequence = [position], [rescale]
        items.append(item)
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleIntercept", "RescaleSlope"):
        delattr(ds, name)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = [shared], items, frames
    ds.PixelData = scan_values()[:frames].astype("<i2").tobytes()
    return ds


@pytest.mark.parametrize("frames", [SHAPE[0], 1])
@pytest.mark.parametrize("tail", CLASSES)
def test_beside_a_ct_it_is_left_out_and_says_what_to_do(tmp_path: Path, tail: str, frames: int) -> None:
    members = {**build.files(build.ct_series(scan_values(), AFFINE)), "enhanced": build.encoded(enhanced(tail, frames=frames))}
    with build.opened(tmp_path, members) as archive:
        series = read_contents(archive).series
        (plain,) = [s for s in series if s.kind is SeriesKind.CT and not s.is_multi_frame]
        (other,) = [s for s in series if s is not plain]
        (stack,) = read_stacks(plain)
        uids = uid_map((i.uid for s in series for i in s.instances), (s.uid for s in series), build.KEY)
        stamp = build.Stamp("9.8.7", "membrane", "x", build.KEY, uids=uids)
        out = carry([other], [Leader(stack, build.plan_on(stack, cut()), ())], stamp)
    assert [one.fate for one in out.fates] == [LEFT_OUT]
    assert not out.jobs
    assert not out.files
    (told,) = [finding.message for finding in out.findings if finding.code == "left_out"]
    assert "multi-frame (Enhanced)" in told
    assert "one file per slice" in told


@pytest.mark.parametrize("tail", [tail for tail, modality in CLASSES.items() if modality == "CT"])
def test_an_enhanced_ct_beside_a_plain_one_is_a_companion_and_alone_it_is_refused(tmp_path: Path, tail: str) -> None:
    plain = build.files(build.ct_series(scan_values(), AFFINE))
    data = build.encoded(enhanced(tail))
    run = pipeline._Run(Settings(), 1, lambda _name, _share: None)
    with build.opened(tmp_path, {**plain, "enhanced": data}) as archive:
        scans, _ = pipeline._sort(archive, run)
        assert [scan.is_multi_frame for scan in scans] == [False]
        assert [companion.is_multi_frame for companion in run.companions] == [True]
    path = build.zip_of(tmp_path / "alone.zip", {"enhanced": data})
    with pytest.raises(DicomError, match=r"multi-frame \(Enhanced\)") as refused:
        pipeline.deface([path], tmp_path, "x", Settings(), key=build.KEY, on_progress=lambda _name, _share: None)
    assert refused.value.exit_code == 3
    assert not list(tmp_path.glob("*.dicom.zip"))


@pytest.mark.parametrize("tail", CLASSES)
def test_the_audit_calls_it_unsafe(tmp_path: Path, tail: str) -> None:
    found = audit([build.zip_of(tmp_path / "alone.zip", {"enhanced": build.encoded(enhanced(tail))})], [], tmp_path)
    assert not found.is_safe
    assert {sight.through for sight in found.sights} <= {"unreadable", "unplaced"}
