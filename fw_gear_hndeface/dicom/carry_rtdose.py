"""A dose that follows the defaced CT: zero in the room that the face left, and no other stored value changed."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import DataElement
from scipy import ndimage

from fw_gear_hndeface.dicom.carry_rtstruct import Scan
from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, UNDEFINED, Instance
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.tags import Stamp, stamp_companion
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Bool, Float, Grid
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.protect.drawn import KEPT

#: They describe the dose as it was.
_STALE = ("DVHSequence", "DVHNormalizationPoint", "DVHNormalizationDoseValue")
#: How evenly frames must lie to be one lattice, mm.
EVEN_MM = 0.01
_AROUND = np.ones((3, 3, 3), np.bool_)
#: 1 or -1 where the frames' normal is the patient's long axis, to rounding.
_AXIAL_COS = 0.9999


@dataclass(frozen=True)
class FollowedDose:
    """A dose made anew: its bytes, its new UID and the number of voxels set to zero."""

    data: bytes
    uid: str
    zeroed: int


def carry_rtdose(instance: Instance, scans: Sequence[Scan], stamp: Stamp, written: Collection[str]) -> FollowedDose:
    """The dose on the defaced CT.

    A voxel becomes zero when its centre lies outside the new body and it holds tissue that was taken away, or is next to one
    that does (the dose stops at the old skin there). Voxels of a kept region or of kept parts of the scan never change.
    Histograms of the old dose go; the reference to a structure set stays if that set is in the output.

    Parameters
    ----------
    scans : the defaced CTs of the dose's frame of reference
    written : new UIDs of the structure sets in the output

    Raises
    ------
    DicomError
        A dose that cannot be read, is compressed, or whose frames make no even lattice.
    """
    where = instance.member.where
    if instance.pixel_span is not None and instance.pixel_span[1] == UNDEFINED:
        raise DicomError(f"{where}: a compressed dose is not supported. Store it uncompressed.")
    try:
        dataset = load(instance.member.read(), instance)
        dataset_grid = dose_grid(dataset, where)
        stamp_companion(dataset, stamp)
        _forget(dataset, written)
        zero = np.logical_or.reduce([_emptied(dataset_grid, scan) for scan in scans])
        count = _set_zero(dataset, zero, where)
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
    except DAMAGE as error:
        raise DicomError(f"{where}: the dose is damaged. Send it again.") from error
    return FollowedDose(buffer.getvalue(), str(dataset.SOPInstanceUID), count)


def dose_grid(dataset: Dataset, where: str) -> Grid:
    """The lattice of a dose, frames in stored order; offsets run from the first frame or are absolute z (PS3.3 C.8.8.3.2).

    Raises
    ------
    DicomError
        Frames that are not evenly spaced, or whose side of the first frame is not defined.
    """
    axes = np.array(dataset.ImageOrientationPatient, dtype=np.float64)
    position = np.array(dataset.ImagePositionPatient, dtype=np.float64)
    rows, columns = (float(step) for step in dataset.PixelSpacing)
    normal = np.cross(axes[:3], axes[3:])
    offsets = _offsets(dataset)
    step = float(np.diff(offsets).mean()) if len(offsets) > 1 else float(dataset.get("SliceThickness") or 1.0)
    if len(offsets) > 1 and (np.abs(np.diff(offsets) - step).max() > EVEN_MM or step == 0):
        raise DicomError(f"{where}: the frames of the dose are not evenly spaced, which is not supported.")
    if normal[2] < -_AXIAL_COS and len(offsets) > 1:
        raise DicomError(f"{where}: the dose's rows run against its columns, so the order of its frames is not defined.")
    if offsets[0] != 0 and (abs(offsets[0] - position[2]) > EVEN_MM or normal[2] < _AXIAL_COS):
        raise DicomError(f"{where}: GridFrameOffsetVector neither starts at 0 nor at the first frame's z.")
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([normal * step, axes[3:] * rows, axes[:3] * columns])
    affine[:3, 3] = position
    return Grid((len(offsets), int(dataset.Rows), int(dataset.Columns)), affine)


def _offsets(dataset: Dataset) -> Float:
    frames = int(dataset.get("NumberOfFrames") or 1)
    given = dataset.get("GridFrameOffsetVector")
    if given is None or frames == 1:
        return np.zeros(1)
    offsets = np.atleast_1d(np.array(given, dtype=np.float64))
    if len(offsets) != frames:
        raise ValueError(f"{len(offsets)} offsets for {frames} frames")
    return offsets


def _forget(dataset: Dataset, written: Collection[str]) -> None:
    """Take away what is no longer true, and a reference to a structure set that is not in the output."""
    for name in _STALE:
        if name in dataset:
            delattr(dataset, name)
    known = {str(item.get("ReferencedSOPInstanceUID", "")) for item in dataset.get("ReferencedStructureSetSequence") or []}
    if known - set(written):
        del dataset.ReferencedStructureSetSequence


def _emptied(grid: Grid, scan: Scan) -> Bool:
    """The dose voxels that the change of a scan makes zero."""
    change = scan.change
    out = np.zeros(grid.shape, np.bool_)
    if change is None:
        return out
    index = np.indices(grid.shape).reshape(3, -1).T
    near = index[change.grid.contains(grid.to_patient(index))]
    points = grid.to_patient(near)
    outside = np.zeros(grid.shape, np.bool_)
    outside[tuple(near.T)] = change.look_up(~change.body, points)
    holds = _holding(grid, change, change.gone)
    holds[tuple(near.T)] |= change.look_up(change.gone, points)
    spared = _holding(grid, change, change.kept & change.body)
    spared[tuple(near.T)] |= change.look_up(change.kept, points)
    for roi in scan.rois:
        if roi.kind in KEPT:
            spared |= rasterise(roi, grid).array
    out = ndimage.binary_dilation(holds & outside, _AROUND) & outside & ~spared
    return np.asarray(out, dtype=np.bool_)


def _holding(grid: Grid, change: Change, array: Bool) -> Bool:
    """The dose voxels in which a voxel of the scan lies."""
    index = np.rint(grid.to_index(change.grid.to_patient(np.argwhere(array)))).astype(np.intp)
    inside = np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)
    out = np.zeros(grid.shape, np.bool_)
    out[tuple(index[inside].T)] = True
    return out


def _set_zero(dataset: Dataset, zero: Bool, where: str) -> int:
    """Set stored values to 0; the number of those that were not."""
    item = dataset.get_item(PIXEL_DATA)
    kind = np.dtype(f"{'<' if dataset.original_encoding[1] else '>'}u{int(dataset.BitsAllocated) // 8}")
    data = bytearray(item.value)
    if len(data) < zero.size * kind.itemsize:
        raise DicomError(f"{where}: {len(data)} bytes of dose, expected {zero.size * kind.itemsize}. Send the file again.")
    stored: NDArray[np.unsignedinteger] = np.frombuffer(data, kind, zero.size).reshape(zero.shape)
    count = int(np.count_nonzero(stored[zero]))
    stored[zero] = 0
    dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OW", bytes(data), already_converted=True)
    return count
