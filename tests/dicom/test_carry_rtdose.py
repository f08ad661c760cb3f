"""A dose follows the CT: zero where the face was, every other stored value as it was, on any lattice of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage

from fw_gear_hndeface.dicom.carry_rtdose import carry_rtdose
from fw_gear_hndeface.dicom.references import Output
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.uids import new_uid, uid_map
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Roi, RoiKind
from fw_gear_hndeface.ops.change import surface_change
from fw_gear_hndeface.ops.scan import Scan
from tests.dicom import build
from tests.dicom.test_carry_rtstruct import SET_UID, SHAPE, STEPS, cut, scan_values

DOSE_UID = "1.2.826.0.1.7.9.1"
DOSE_SHAPE, DOSE_STEPS = (8, 17, 13), (3.5, 2.5, 2.25)


def dose(
    *, bits: int = 16, downwards: bool = False, absolute: bool = False, syntax: str = ExplicitVRLittleEndian
) -> FileDataset:
    """A dose without a zero in it, upright whatever the tilt of the scan."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = RTDoseStorage, DOSE_UID, syntax
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RTDoseStorage, DOSE_UID, "RTDOSE"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = build.STUDY, "1.2.826.0.1.7.9", build.FRAME
    first = build.ORIGIN + np.array([0, 0, -1.0])
    offsets = np.arange(DOSE_SHAPE[0]) * DOSE_STEPS[0]
    if downwards:
        first, offsets = first + np.array([0, 0, offsets[-1]]), -offsets
    ds.ImagePositionPatient = [f"{value:.3f}" for value in first]
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], list(DOSE_STEPS[1:])
    ds.GridFrameOffsetVector = [f"{value + (first[2] if absolute else 0):.3f}" for value in offsets]
    ds.NumberOfFrames, ds.Rows, ds.Columns = DOSE_SHAPE
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.DoseGridScaling = bits, bits, bits - 1, "0.0013"
    stored = np.random.default_rng(4).integers(1, 2 ** min(bits, 31) - 1, DOSE_SHAPE).astype(f"<u{bits // 8}")
    ds.add_new(0x7FE00010, "OW", stored.tobytes())
    ds.DVHNormalizationDoseValue, ds.DVHSequence = "70", [Dataset()]
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = SET_UID
    ds.ReferencedStructureSetSequence = [reference]
    return ds


def followed(
    work: Path, ds: FileDataset, *, tilt_deg: float = 12.0, rois: tuple[Roi, ...] = (), written: tuple[str, ...] = ()
) -> FileDataset:
    slices = build.ct_series(scan_values(), build.truth_affine(STEPS, tilt_deg))
    with build.opened(work, {**build.files(slices), "rd": build.encoded(ds)}) as archive:
        series = {s.kind: s for s in read_contents(archive).series}
        (stack,) = read_stacks(series[SeriesKind.CT])
        change = surface_change(stack.volume, build.plan_on(stack, cut()))
        scan = Scan(stack.volume.grid, change, frozenset(), rois)
        uids = uid_map([DOSE_UID, SET_UID], [], build.KEY)
        stamp = build.Stamp("9.8.7", "membrane", "x", build.KEY, uids=uids, output=Output(objects=frozenset(written)))
        done = carry_rtdose(series[SeriesKind.RTDOSE].instances[0], [scan], stamp)
    assert done.zeroed + done.filled == np.count_nonzero(stored(ds) != stored(build.parsed(done.data)))
    return build.parsed(done.data)


def stored(ds: Dataset) -> NDArray[Any]:
    return np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}", int(np.prod(DOSE_SHAPE))).reshape(DOSE_SHAPE)


def centres(ds: Dataset) -> NDArray[np.float64]:
    """LPS mm of every dose voxel, (K, J, I, 3)."""
    offsets = np.array([float(value) for value in ds.GridFrameOffsetVector])
    x, y, z = (float(value) for value in ds.ImagePositionPatient)
    heights = offsets if offsets[0] else z + offsets
    k, j, i = np.meshgrid(*(np.arange(n) for n in DOSE_SHAPE), indexing="ij")
    return np.stack([x + i * DOSE_STEPS[2], y + j * DOSE_STEPS[1], heights[k]], axis=-1)


def scan_index(points: NDArray[np.float64], tilt_deg: float) -> NDArray[np.intp]:
    inverse = np.linalg.inv(build.truth_affine(STEPS, tilt_deg))
    return np.rint((points - build.truth_affine(STEPS, tilt_deg)[:3, 3]) @ inverse[:3, :3].T).astype(np.intp)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize(("downwards", "absolute"), [(False, False), (True, False), (False, True), (True, True)])
def test_dose_is_zero_where_the_face_was_and_the_same_elsewhere(
    tmp_path: Path, bits: int, downwards: bool, absolute: bool
) -> None:
    before = dose(bits=bits, downwards=downwards, absolute=absolute)
    after = followed(tmp_path, before)
    old, new = stored(before), stored(after)
    index = scan_index(centres(before), 12.0)
    inside = np.all((index >= 0) & (index < SHAPE), axis=-1)
    removed, tissue = np.zeros(DOSE_SHAPE, bool), np.zeros(DOSE_SHAPE, bool)
    removed[inside] = cut()[tuple(index[inside].T)]
    tissue[inside] = (scan_values() > -300)[tuple(index[inside].T)]
    assert removed.sum() > 10
    assert np.all(new[removed] == 0)
    kept = tissue & ~removed
    assert np.array_equal(new[kept], old[kept])
    distance = np.linalg.norm(centres(before)[..., None, :] - centres(before)[removed], axis=-1).min(axis=-1)
    far = distance > 2 * np.linalg.norm(DOSE_STEPS)
    assert far.any()
    assert np.array_equal(new[far], old[far])
    assert np.any((new == 0) & ~tissue), "the rim of air in front of the old skin"
    assert np.all(new[new != old] == 0)
    assert after.DoseGridScaling == before.DoseGridScaling


def test_dose_inside_a_kept_region_never_changes(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 12.0)
    corners = [(8, 12), (8, 17), (16, 17), (16, 12)]
    contours = tuple(np.array([(affine @ [k, *corner, 1])[:3] for corner in corners]) for k in range(2, 7))
    before = dose()
    free = stored(followed(tmp_path, before))
    spared = stored(followed(tmp_path, before, rois=(Roi("PTV", 1, RoiKind.TARGET, contours),)))
    index = scan_index(centres(before), 12.0)
    inside = (index[..., 1] > 8) & (index[..., 1] < 16) & (index[..., 2] > 12) & (index[..., 2] < 17)
    inside &= (index[..., 0] >= 3) & (index[..., 0] <= 5)
    assert np.any(free[inside] == 0)
    assert np.array_equal(spared[inside], stored(before)[inside])
    assert np.array_equal(free, stored(followed(tmp_path, before, rois=(Roi("Bolus", 1, RoiKind.SUPPORT, contours),))))


def test_old_histograms_go_and_references_stay_only_to_what_is_in_the_output(tmp_path: Path) -> None:
    alone = followed(tmp_path, dose())
    assert not {"DVHSequence", "DVHNormalizationDoseValue", "ReferencedStructureSetSequence"} & set(alone.dir())
    assert alone.SOPInstanceUID == alone.file_meta.MediaStorageSOPInstanceUID == new_uid(DOSE_UID, build.KEY)
    new = new_uid(SET_UID, build.KEY)
    together = followed(tmp_path, dose(), written=(new,))
    assert together.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == new


def test_a_dose_that_cannot_be_placed_is_refused_in_words(tmp_path: Path) -> None:
    uneven = dose()
    uneven.GridFrameOffsetVector = [0, 3.5, 7, 10.5, 14, 17.5, 21, 30]
    with pytest.raises(DicomError, match="not evenly spaced"):
        followed(tmp_path, uneven)
    astray = dose(absolute=True)
    astray.GridFrameOffsetVector = [float(value) + 5 for value in astray.GridFrameOffsetVector]
    with pytest.raises(DicomError, match="GridFrameOffsetVector"):
        followed(tmp_path, astray)
    mirrored = dose()
    mirrored.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    with pytest.raises(DicomError, match="order of its frames"):
        followed(tmp_path, mirrored)
    short = dose()
    short.NumberOfFrames = 9
    with pytest.raises(DicomError, match="damaged"):
        followed(tmp_path, short)
