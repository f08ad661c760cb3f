"""A synthetic study as DICOM: CT slices, structure set and dose of a parametric head, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import io
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTDoseStorage,
    RTStructureSetStorage,
)
from scipy import ndimage
from skimage.measure import find_contours

from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.synthetic.head import SyntheticHead

SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big": ExplicitVRBigEndian}

DATE, TIME = "20200102", "101112"

#: Detached Study Management SOP Class: what an RTSTRUCT names as the class of a study.
STUDY_CLASS_UID = "1.2.840.10008.3.1.2.3.1"

#: RT Plan Storage, for the plan that the dose says it belongs to (it is not part of the study).
PLAN_CLASS_UID = "1.2.840.10008.5.1.4.1.1.481.5"


@dataclass(frozen=True)
class StudyOptions:
    """How the study is stored.

    Parameters
    ----------
    syntax : a key of `SYNTAXES`
    slope, intercept : HU = stored * slope + intercept
    signed : pixel representation
    shuffled : file names in another order than the slices
    structures, dose, localizer : which siblings go with the CT
    compressed : deflate members of a zip (a zip stored plain is as valid)
    """

    syntax: str = "explicit"
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    shuffled: bool = False
    structures: bool = True
    dose: bool = True
    localizer: bool = False
    compressed: bool = True


@dataclass(frozen=True, eq=False)
class _Study:
    """What all objects of one study share."""

    seed: int
    grid: Grid
    options: StudyOptions

    def uid(self, role: str) -> str:
        digest = hashlib.sha256(f"hndeface synthetic|{self.seed}|{role}".encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    @property
    def frame(self) -> str:
        return self.grid.frame or self.uid("frame")


def write_study(head: SyntheticHead, target: Path, *, seed: int, options: StudyOptions | None = None) -> tuple[Path, ...]:
    """Write the head as a folder of DICOM files, or as one archive when `target` ends in `.zip`.

    Parameters
    ----------
    target : a folder (made if missing) or a `.zip`
    seed : fixes every UID; the same head, seed and options give the same bytes

    Returns
    -------
    The files written.

    Raises
    ------
    ValueError : an unknown syntax, or HU that do not fit the stored type
    """
    options = options or StudyOptions()
    if options.syntax not in SYNTAXES:
        raise ValueError(f"syntax must be one of {sorted(SYNTAXES)}, got {options.syntax!r}")
    members = study_members(head, _Study(seed, head.volume.grid, options))
    if target.suffix == ".zip":
        _write_zip(target, members, options.compressed)
        return (target,)
    paths = []
    for name, data in members:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return tuple(paths)


def _write_zip(target: Path, members: Iterator[tuple[str, bytes]], compressed: bool) -> None:
    """A zip with fixed dates and modes, so that its bytes depend on its content alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, (2020, 1, 2, 10, 11, 12))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            archive.writestr(entry, data, compresslevel=1)


def study_members(head: SyntheticHead, study: _Study) -> Iterator[tuple[str, bytes]]:
    """Every object of the study as (name, bytes)."""
    options, count = study.options, head.volume.grid.shape[0]
    numbers = np.arange(count)
    if options.shuffled:
        numbers = np.random.default_rng(study.seed).permutation(count)
    names = {int(k): f"CT/CT.{n + 1:04d}.dcm" for n, k in enumerate(numbers)}
    for k in sorted(names, key=names.__getitem__):
        yield names[k], _encode(ct_slice(head.volume, k, study), study)
    if options.localizer:
        yield "CT/LOC.0001.dcm", _encode(localizer(head.volume, study), study)
    if options.structures:
        yield "RT/RTSTRUCT.dcm", _encode(structure_set(head, study), study)
    if options.dose and head.dose is not None:
        yield "RT/RTDOSE.dcm", _encode(dose_grid(head.dose, study), study)


def _encode(dataset: Dataset, study: _Study) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = SYNTAXES[study.options.syntax]
    meta.ImplementationClassUID = UID("2.25.299792458")
    meta.ImplementationVersionName = "HNDEFACE_SYN"
    dataset.file_meta = meta
    if study.options.syntax == "big" and "PixelData" in dataset:
        dataset.PixelData = np.frombuffer(dataset.PixelData, dtype="<u2").byteswap().tobytes()
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _common(study: _Study, role: str, class_uid: str, modality: str) -> Dataset:
    """Patient, study, series and equipment of one object."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = class_uid, study.uid(role)
    ds.PatientName, ds.PatientID = "SYNTHETIC^HEAD", f"SYN{study.seed:06d}"
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID, ds.StudyID = study.uid("study"), "1"
    ds.StudyDate, ds.StudyTime = DATE, TIME
    ds.StudyDescription = "Synthetic head and neck"
    ds.ReferringPhysicianName, ds.AccessionNumber = "", ""
    ds.SeriesDate, ds.SeriesTime = DATE, TIME
    ds.Modality, ds.SeriesInstanceUID = modality, study.uid(f"series {modality} {class_uid}")
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "HNDeface", "Parametric head", "1"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.frame, ""
    return ds


def _numbers(values: NDArray[np.float64]) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [f"{float(v):.10f}".rstrip("0").rstrip(".")[:16] for v in np.ravel(values) + 0.0]


def _plane(ds: Dataset, grid: Grid, k: int) -> None:
    """Position, orientation and spacing of one slice."""
    spacing = grid.spacing_mm
    row_direction, column_direction = grid.affine[:3, 2] / spacing[2], grid.affine[:3, 1] / spacing[1]
    ds.ImagePositionPatient = _numbers(grid.to_patient((k, 0, 0)))
    ds.ImageOrientationPatient = _numbers(np.concatenate([row_direction, column_direction]))
    ds.PixelSpacing = _numbers(spacing[1:])
    ds.SliceThickness = _numbers(spacing[:1])[0]


def _pixels(ds: Dataset, stored: NDArray[np.int64], signed: bool) -> None:
    """The pixel module of a 16-bit image."""
    kind = np.dtype("<i2") if signed else np.dtype("<u2")
    limits = np.iinfo(kind)
    if stored.min() < limits.min or stored.max() > limits.max:
        raise ValueError(f"stored values {stored.min()}..{stored.max()} do not fit {kind.name}: change slope or intercept")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
    data = stored.astype(kind).tobytes()
    ds.PixelData = data
    ds["PixelData"].VR = "OW"


def ct_slice(volume: Volume, k: int, study: _Study) -> Dataset:
    """One CT image."""
    ds = _common(study, f"ct {k}", CTImageStorage, "CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = 2, "HEAD NECK 120kV", k + 1
    ds.AcquisitionNumber, ds.AcquisitionDate, ds.AcquisitionTime = 1, DATE, TIME
    ds.ContentDate, ds.ContentTime = DATE, TIME
    ds.KVP, ds.PatientPosition, ds.BodyPartExamined = "120", "HFS", "HEADNECK"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    _plane(ds, volume.grid, k)
    options = study.options
    ds.RescaleIntercept, ds.RescaleSlope = _numbers(np.array([options.intercept, options.slope]))
    ds.RescaleType = "HU"
    stored = np.rint((volume.array[k].astype(np.float64) - options.intercept) / options.slope).astype(np.int64)
    _pixels(ds, stored, options.signed)
    return ds


def localizer(volume: Volume, study: _Study) -> Dataset:
    """A side view of the head as a scout image: mean HU along the columns (a tilt is ignored, as it is a sketch)."""
    ds = _common(study, "localizer", CTImageStorage, "CT")
    ds.SeriesInstanceUID = study.uid("series localizer")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber, ds.AcquisitionNumber = 1, "Scout", 1, 1
    ds.KVP, ds.PatientPosition, ds.BodyPartExamined = "120", "HFS", "HEADNECK"
    grid = volume.grid
    spacing = grid.spacing_mm
    ds.ImagePositionPatient = _numbers(grid.to_patient((grid.shape[0] - 1, 0, grid.shape[2] / 2)))
    ds.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
    ds.PixelSpacing = _numbers(spacing[:2])
    ds.SliceThickness, ds.RescaleIntercept, ds.RescaleSlope = "1", "-1024", "1"
    _pixels(ds, np.rint(volume.array[::-1].mean(axis=2) + 1024).astype(np.int64), False)
    return ds


def contours(mask: Mask, k: int) -> list[NDArray[np.float64]]:
    """Outer closed outlines of a mask in one slice, each (N, 3) LPS mm without a repeated end point; holes are filled."""
    plane = ndimage.binary_fill_holes(mask.array[k])
    if plane is None or not plane.any():
        return []
    found = []
    for line in find_contours(np.pad(plane, 1).astype(np.float32), 0.5):
        index = np.column_stack([np.full(len(line) - 1, float(k)), line[:-1] - 1.0])
        if len(index) >= 3:
            found.append(mask.grid.to_patient(index))
    return found


def _interpreted_type(name: str) -> str:
    for start, kind in (("BODY", "EXTERNAL"), ("PTV", "PTV"), ("GTV", "GTV"), ("CTV", "CTV")):
        if name.startswith(start):
            return kind
    return "ORGAN"


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def structure_set(head: SyntheticHead, study: _Study) -> Dataset:
    """All structures as closed planar contours on the CT's slices."""
    ds = _common(study, "rtstruct", RTStructureSetStorage, "RTSTRUCT")
    ds.SeriesNumber, ds.InstanceNumber, ds.OperatorsName = 3, 1, ""
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "SYNTHETIC", DATE, TIME
    ds.ApprovalStatus = "UNAPPROVED"
    images = [
        _item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=study.uid(f"ct {k}"))
        for k in range(head.volume.grid.shape[0])
    ]
    series = _item(SeriesInstanceUID=study.uid(f"series CT {CTImageStorage}"), ContourImageSequence=Sequence(images))
    source = _item(
        ReferencedSOPClassUID=STUDY_CLASS_UID,
        ReferencedSOPInstanceUID=study.uid("study"),
        RTReferencedSeriesSequence=Sequence([series]),
    )
    frame = _item(FrameOfReferenceUID=study.frame, RTReferencedStudySequence=Sequence([source]))
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = Sequence(), Sequence(), Sequence()
    for number, (name, mask) in enumerate(sorted(head.structures.items()), start=1):
        _add_roi(ds, number, mask.named(name), study)
    return ds


def _add_roi(ds: Dataset, number: int, mask: Mask, study: _Study) -> None:
    """One region: its name, its outlines and what it is."""
    roi = _item(
        ROINumber=number, ReferencedFrameOfReferenceUID=study.frame, ROIName=mask.name, ROIGenerationAlgorithm="AUTOMATIC"
    )
    ds.StructureSetROISequence.append(roi)
    shade = np.random.default_rng(number).integers(40, 255, 3)
    drawn = _item(ROIDisplayColor=[int(c) for c in shade], ReferencedROINumber=number)
    slices = [int(k) for k in np.flatnonzero(mask.array.any(axis=(1, 2)))]
    lines = [_contour(line, k, study) for k in slices for line in contours(mask, k)]
    if lines:
        drawn.ContourSequence = Sequence(lines)
    ds.ROIContourSequence.append(drawn)
    kind = _interpreted_type(mask.name)
    seen = _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=kind, ROIInterpreter="")
    ds.RTROIObservationsSequence.append(seen)


def _contour(line: NDArray[np.float64], k: int, study: _Study) -> Dataset:
    image = _item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=study.uid(f"ct {k}"))
    return _item(
        ContourImageSequence=Sequence([image]),
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(line),
        ContourData=[f"{v:.3f}" for v in np.ravel(line)],
    )


def dose_grid(dose: Volume, study: _Study) -> Dataset:
    """The dose as one 16-bit multi-frame object on its own lattice, offsets relative to the first frame."""
    ds = _common(study, "rtdose", RTDoseStorage, "RTDOSE")
    ds.SeriesNumber, ds.InstanceNumber, ds.OperatorsName = 4, 1, ""
    _plane(ds, dose.grid, 0)
    ds.NumberOfFrames = dose.grid.shape[0]
    ds.FrameIncrementPointer = Tag("GridFrameOffsetVector")
    ds.GridFrameOffsetVector = _numbers(np.arange(dose.grid.shape[0]) * dose.grid.spacing_mm[0])
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    plan = _item(ReferencedSOPClassUID=PLAN_CLASS_UID, ReferencedSOPInstanceUID=study.uid("rtplan"))
    ds.ReferencedRTPlanSequence = Sequence([plan])
    scaling = 0.00125
    ds.DoseGridScaling = f"{scaling}"
    _pixels(ds, np.rint(dose.array.astype(np.float64) / scaling).astype(np.int64), False)
    return ds
