"""A segmentation follows the CT in any of its three kinds, and always leaves as BINARY."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import SegmentationStorage

from fw_gear_hndeface.dicom.carry_seg import FollowedSeg, carry_seg
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import new_uid, uid_map
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Grid
from fw_gear_hndeface.ops.change import surface_change
from fw_gear_hndeface.ops.scan import Scan
from tests import labelled
from tests.dicom import build
from tests.dicom.test_carry_rtstruct import SHAPE, STEPS, cut, scan_values

Bool = NDArray[np.bool_]
GRID = Grid(SHAPE, build.truth_affine(STEPS, 12.0), build.FRAME)


def added() -> Bool:
    """Air in front of the body's side that becomes tissue."""
    change = np.zeros(SHAPE, np.bool_)
    change[3:6, 7:10, 20:24] = True
    return change


def masks() -> dict[str, Bool]:
    body = scan_values() > -300
    found = {name: np.zeros(SHAPE, np.bool_) for name in ("body", "parotid_left", "bolus", "GTVp", "lump")}
    found["body"] = body
    found["parotid_left"][2:7, 20:28, 8:14] = True  # behind the cut
    found["bolus"][2:7, 7:10, 10:18] = True  # on the old skin
    found["GTVp"][4, 12:18, 20:22] = True  # beside the cut
    found["lump"][3:6, 10:18, 11:19] = True  # an organ by its name, and most of what was taken away
    return found


def fractional(data: bytes, values: dict[str, Bool]) -> bytes:
    """The same segments as fractions of 200."""
    ds = dcmread(io.BytesIO(data))
    ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue = "FRACTIONAL", "PROBABILITY", 200
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    frames = [np.where(mask[k], 140, 60).astype(np.uint8) for mask in values.values() for k in range(SHAPE[0])]
    ds.PixelData = np.stack(frames).tobytes()
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def followed(work: Path, data: bytes) -> tuple[FollowedSeg, FileDataset]:
    change = cut() | added()
    fill = np.where(added()[change], 30.0, -1000.0)
    slices = build.ct_series(scan_values(), build.truth_affine(STEPS, 12.0))
    with build.opened(work, {**build.files(slices), "seg": data}) as archive:
        series = {s.kind: s for s in read_contents(archive).series}
        (stack,) = read_stacks(series[SeriesKind.CT])
        scan = Scan(stack.volume.grid, surface_change(stack.volume, build.plan_on(stack, change, fill)), frozenset(), ())
        instance = series[SeriesKind.SEG].instances[0]
        stamp = build.Stamp("9.8.7", "membrane", "x", build.KEY, uids=uid_map([instance.uid], [], build.KEY))
        done = carry_seg(instance, [scan], stamp)
    out = build.parsed(done.data)
    assert out.SOPInstanceUID == out.file_meta.MediaStorageSOPInstanceUID == done.uid == new_uid(instance.uid, build.KEY)
    return done, out


def segments(ds: FileDataset) -> dict[str, Bool]:
    """Segments by label, from the bits and the heights of their frames."""
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in ds.SegmentSequence}
    found = {name: np.zeros(SHAPE, np.bool_) for name in names.values()}
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    size = SHAPE[1] * SHAPE[2]
    for n, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
        k = round((float(item.PlanePositionSequence[0].ImagePositionPatient[2]) - build.ORIGIN[2]) / STEPS[0])
        name = names[int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        found[name][k] |= bits[n * size : (n + 1) * size].reshape(SHAPE[1:]).astype(bool)
    return found


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_outlines_follow_organs_stay_and_nothing_is_left_in_the_room(tmp_path: Path, kind: str) -> None:
    before = masks()
    data = labelled.segmentation(before, GRID, keep_empty=True)
    done, out = followed(tmp_path, fractional(data, before) if kind == "FRACTIONAL" else data)
    after = segments(out)
    assert out.SegmentationType == "BINARY"
    assert (out.BitsAllocated, out.BitsStored, out.HighBit) == (1, 1, 0)
    assert not {"MaximumFractionalValue", "SegmentationFractionalType"} & set(out.dir())
    assert out.NumberOfFrames == len(before) * SHAPE[0]
    assert np.array_equal(after["body"], (before["body"] & ~cut()) | added())
    assert np.array_equal(after["parotid_left"], before["parotid_left"])
    assert np.array_equal(after["GTVp"], before["GTVp"])
    assert not np.any(after["bolus"] & (cut() | ((scan_values() < -300) & ~added())))
    assert not np.any(after["lump"] & cut()), "what shows the old skin is cut, whatever its name"
    assert done.clipped == {1, 3, 5}
    told = [str(item.get("SegmentDescription") or "") for item in out.SegmentSequence]
    assert [bool(text) for text in told] == [True, False, True, False, True]
    assert done.changed == sum(int(np.count_nonzero(after[name] != before[name])) for name in before)


def test_a_shell_of_skin_becomes_solid_where_the_skin_moved(tmp_path: Path) -> None:
    body = scan_values() > -300
    shell = body.copy()
    shell[:, 12:33, 6:24] = False
    _, out = followed(tmp_path, labelled.segmentation({"skin": shell}, GRID, keep_empty=True))
    after = segments(out)["skin"]
    moved = (cut() | added()).any(axis=(1, 2))
    assert np.array_equal(after[moved], ((body & ~cut()) | added())[moved])
    assert np.array_equal(after[~moved], shell[~moved])


@pytest.mark.parametrize("name", ["air", "Segment_3"])
def test_the_air_before_the_face_is_no_mould_of_it(tmp_path: Path, name: str) -> None:
    before = {name: np.zeros(SHAPE, np.bool_), "parotid_left": masks()["parotid_left"], "GTVp": np.zeros(SHAPE, np.bool_)}
    before[name][:, :10] = True
    before[name][:, 38:, 27:] = True  # a part of it far from the change
    before["GTVp"][:, 7:9, 12:14] = True
    done, out = followed(tmp_path, labelled.segmentation(before, GRID, keep_empty=True))
    after = segments(out)
    assert not after[name][:, :10].any(), "also where it is farther from the skin than any outline is looked at"
    assert after[name][:, 38:, 27:].all()
    assert np.array_equal(after["parotid_left"], before["parotid_left"])
    assert np.array_equal(after["GTVp"], before["GTVp"]), "a target stays wherever it is drawn"
    assert done.clipped == {1}


def test_a_label_map_becomes_binary_frames_of_the_labels_it_holds(tmp_path: Path) -> None:
    before = {name: mask for name, mask in masks().items() if name in ("parotid_left", "bolus")}
    done, out = followed(tmp_path, labelled.segmentation(before, GRID, kind="LABELMAP"))
    assert out.SOPClassUID == out.file_meta.MediaStorageSOPClassUID == SegmentationStorage
    assert out.SegmentationType == "BINARY"
    after = segments(out)
    assert np.array_equal(after["parotid_left"], before["parotid_left"])
    assert not np.any(after["bolus"] & (scan_values() < -300) & ~added())
    assert done.kind == "LABELMAP"
    assert len(out.PerFrameFunctionalGroupsSequence) == out.NumberOfFrames == 10
    assert len(out.PixelData) % 2 == 0
    assert np.array_equal(np.asarray(out.pixel_array).astype(bool).any(axis=(1, 2)), [f.any() for f in out.pixel_array])


def test_a_damaged_segmentation_is_refused_in_words(tmp_path: Path) -> None:
    ds = dcmread(io.BytesIO(labelled.segmentation(masks(), GRID, keep_empty=True)))
    ds.PerFrameFunctionalGroupsSequence = [Dataset(), *ds.PerFrameFunctionalGroupsSequence[1:]]
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    with pytest.raises(DicomError, match="damaged"):
        followed(tmp_path, out.getvalue())
    ds.SegmentationType = "SOMETHING"
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    with pytest.raises(DicomError, match="SegmentationType"):
        followed(tmp_path, out.getvalue())
