"""Plans and registrations beside the defaced CT: references are the new ones, and nothing in them tells where the skin was."""

from __future__ import annotations

import io
from dataclasses import dataclass

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileDataset

from fw_gear_hndeface.dicom.headers import DAMAGE, Instance
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.references import Output
from fw_gear_hndeface.dicom.tags import Stamp, stamp_companion
from fw_gear_hndeface.errors import DicomError

#: What lies on the patient's surface or is shaped after it, with the attribute that counts its items.
_FITTED = {
    "ReferencedBolusSequence": "NumberOfBoli",
    "CompensatorSequence": "NumberOfCompensators",
    "IonRangeCompensatorSequence": "NumberOfCompensators",
}
#: Where a beam meets the skin: in an arc, a profile of it.
_SKIN_POINTS = (
    "SurfaceEntryPoint",
    "SourceToSurfaceDistance",
    "ExternalContourEntryPoint",
    "SourceToExternalContourDistance",
    "AverageBeamDosePointDepth",
    "AverageBeamDosePointEquivalentDepth",
    "AverageBeamDosePointSSD",
    "AverageBeamDosePointSourceToExternalContourDistance",
    "BeamDosePointSourceToExternalContourDistance",
    "BeamDosePointSSD",
    "BeamDosePointDepth",
    "BeamDosePointEquivalentDepth",
)


@dataclass(frozen=True)
class FollowedObject:
    """An object made anew: its bytes, its new UID, and how many items that told of the skin were taken out."""

    data: bytes
    uid: str
    removed: int = 0


def carry_rtplan(instance: Instance, stamp: Stamp) -> FollowedObject:
    """The plan of the defaced CT: beams and prescriptions as they were, without bolus, compensators and skin distances.

    Raises
    ------
    DicomError
        A plan that cannot be read or written.
    """
    try:
        dataset = load(instance.member.read(), instance)
        stamp_companion(dataset, stamp)
        removed = _bare(dataset)
        if str(dataset.get("RTPlanGeometry") or "") == "PATIENT" and "ReferencedStructureSetSequence" not in dataset:
            dataset.RTPlanGeometry = "TREATMENT_DEVICE"  # a plan on a patient must name its structure set
        return FollowedObject(_encoded(dataset), str(dataset.SOPInstanceUID), removed)
    except DAMAGE as error:
        raise DicomError(f"{instance.member.where}: the plan is damaged. Send it again.") from error


def carry_reg(instance: Instance, stamp: Stamp) -> FollowedObject:
    """The registration between the frames of reference that are in the output.

    Raises
    ------
    DicomError
        A registration that cannot be read or written, or that leads to nothing in the output.
    """
    where = instance.member.where
    try:
        dataset = load(instance.member.read(), instance)
        own = str(dataset.get("FrameOfReferenceUID") or "")
        stamp_companion(dataset, stamp)
        rigid = [str(item.FrameOfReferenceUID) for item in dataset.get("RegistrationSequence") or []]
        warped = [str(item.SourceFrameOfReferenceUID) for item in dataset.get("DeformableRegistrationSequence") or []]
        if not {*rigid, *warped} - {own} or not _knows(stamp.output, own):
            raise DicomError(f"{where}: it registers frames of reference that have no image in the output.")
        return FollowedObject(_encoded(dataset), str(dataset.SOPInstanceUID))
    except DAMAGE as error:
        raise DicomError(f"{where}: the registration is damaged. Send it again.") from error


def _knows(output: Output | None, frame: str) -> bool:
    return output is None or frame in output.frames


def _bare(item: Dataset) -> int:
    """Take out what tells of the skin, at any depth; how many there were."""
    removed = 0
    for name, count in _FITTED.items():
        if item.get(name):
            removed += len(item[name].value)
            delattr(item, name)
        if count in item:
            setattr(item, count, 0)
    for name in _SKIN_POINTS:
        if name in item:
            removed += 1
            delattr(item, name)
    return removed + sum(_bare(inner) for element in list(item) if element.VR == "SQ" for inner in element.value or [])


def _encoded(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
