"""A dose that follows the defaced CT: zero in the room that the face left, carried on in tissue that came."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import DataElement

from fw_gear_hndeface.dicom.headers import DAMAGE, PIXEL_DATA, UNDEFINED, Instance
from fw_gear_hndeface.dicom.overlays import take_drawings
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.tags import Stamp, stamp_companion
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Float, Grid, Unit, Volume
from fw_gear_hndeface.ops.dose import followed
from fw_gear_hndeface.ops.scan import Scan

#: They describe the dose as it was.
_STALE = ("DVHSequence", "DVHNormalizationPoint", "DVHNormalizationDoseValue")
#: How evenly frames must lie to be one lattice, mm.
EVEN_MM = 0.01
#: 1 or -1 where the frames' normal is the patient's long axis, to rounding.
_AXIAL_COS = 0.9999


@dataclass(frozen=True)
class FollowedDose:
    """A dose made anew: its bytes, its new UID, the numbers of voxels set to zero and filled, and the dose before and after."""

    data: bytes
    uid: str
    zeroed: int
    filled: int
    before: Volume
    after: Volume


def carry_rtdose(instance: Instance, scans: Sequence[Scan], stamp: Stamp) -> FollowedDose:
    """The dose on the defaced CT.

    What becomes of its voxels is said in `ops.dose.followed`. Histograms of the old dose go.

    Parameters
    ----------
    scans : the defaced CTs of the dose's frame of reference
    stamp : references to what its `output` does not hold go, too

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
        grid = dose_grid(dataset, where)
        for name in _STALE:
            if name in dataset:
                delattr(dataset, name)
        take_drawings(dataset)
        stamp_companion(dataset, stamp)
        stored = _stored(dataset, grid, where)
        after, zeroed, filled = followed(stored, grid, scans)
        tail = dataset.get_item(PIXEL_DATA).value[stored.nbytes :]
        dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OW", after.tobytes() + tail, already_converted=True)
        volumes = _in_units(stored, grid, dataset), _in_units(after, grid, dataset)
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
    except DAMAGE as error:
        raise DicomError(f"{where}: the dose is damaged. Send it again.") from error
    return FollowedDose(buffer.getvalue(), str(dataset.SOPInstanceUID), zeroed, filled, *volumes)


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


def _stored(dataset: Dataset, grid: Grid, where: str) -> NDArray[np.unsignedinteger]:
    """Stored values as the file holds them, in its byte order."""
    value = dataset.get_item(PIXEL_DATA).value
    kind = np.dtype(f"{'<' if dataset.original_encoding[1] else '>'}u{int(dataset.BitsAllocated) // 8}")
    count = int(np.prod(grid.shape))
    if len(value) < count * kind.itemsize:
        raise DicomError(f"{where}: {len(value)} bytes of dose, expected {count * kind.itemsize}. Send the file again.")
    return np.frombuffer(value, kind, count).reshape(grid.shape)


def _in_units(stored: NDArray[np.unsignedinteger], grid: Grid, dataset: Dataset) -> Volume:
    """The dose in Gy, or in per cent where it is relative."""
    return Volume(grid, stored.astype(np.float32) * np.float32(dataset.DoseGridScaling), Unit.GY)
