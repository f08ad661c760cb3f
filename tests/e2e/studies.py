"""Studies as a scanner would send them, written with pydicom alone, with a patient's data planted where it may leak from."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from fw_gear_hndeface.model import Volume

config.settings.writing_validation_mode = config.IGNORE  # a broken date is planted on purpose

NAME = "ZZDOE^QQJANE"
PATIENT_ID = "PID-994411"
BIRTH_DATE = "19610203"
STUDY_DATE = "20190807"
ACCESSION = "ACC-5577"
BAD_DATE = "1961-99-QQ"

#: What must never be printed, logged or reported; parts of it as well.
SECRETS = ("ZZDOE", "QQJANE", "994411", BIRTH_DATE, STUDY_DATE, "5577", "1961-99")

STUDY_UID, SERIES_UID, FRAME_UID = "1.2.826.0.1.9.1", "1.2.826.0.1.9.2", "1.2.826.0.1.9.3"


def identified(modality: str, sop_class: str, uid: str) -> FileDataset:
    """A data set with a patient's data in it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, uid, modality
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber = NAME, PATIENT_ID, BIRTH_DATE, ACCESSION
    ds.StudyDate = ds.SeriesDate = STUDY_DATE
    ds.StudyInstanceUID, ds.FrameOfReferenceUID, ds.StudyID = STUDY_UID, FRAME_UID, "1"
    ds.SeriesDescription = f"HN {NAME}"
    ds.add_new(0x00080022, "DA", BAD_DATE)
    return ds


def ct_members(volume: Volume) -> dict[str, bytes]:
    """One file per slice, 16 bit signed, intercept -1024, named in an order that is not the slices'."""
    linear, steps = volume.grid.affine[:3, :3], volume.grid.spacing_mm
    members = {}
    for k in range(volume.array.shape[0]):
        ds = identified("CT", CTImageStorage, f"1.2.826.0.1.9.2.{k + 1}")
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = SERIES_UID, 3, k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Rows, ds.Columns = volume.array.shape[1:]
        ds.PixelSpacing = [float(steps[1]), float(steps[2])]
        ds.SliceThickness = float(steps[0])
        ds.ImageOrientationPatient = [*(linear[:, 2] / steps[2]), *(linear[:, 1] / steps[1])]
        ds.ImagePositionPatient = [*volume.grid.to_patient([k, 0, 0])]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        ds.PixelData = (volume.array[k].astype(np.int32) + 1024).astype("<i2").tobytes()
        members[f"CT/{(k * 7919) % 100003:06d}.dcm"] = to_bytes(ds)
    return members


def rtstruct(name: str, points_mm: list[NDArray[np.float64]]) -> bytes:
    """A structure set with one target, one polygon per slice."""
    ds = identified("RTSTRUCT", RTStructureSetStorage, generate_uid())
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.StructureSetLabel = generate_uid(), 9, "PLAN"
    frame, roi, drawn, observation = Dataset(), Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = FRAME_UID
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID, roi.ROIGenerationAlgorithm = 1, name, FRAME_UID, "MANUAL"
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, []
    for points in points_mm:
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
        contour.ContourData = [f"{value:.3f}" for value in points.ravel()]
        drawn.ContourSequence.append(contour)
    observation.ObservationNumber, observation.ReferencedROINumber, observation.RTROIInterpretedType = 1, 1, "PTV"
    observation.ROIInterpreter = ""
    ds.ReferencedFrameOfReferenceSequence, ds.StructureSetROISequence = [frame], [roi]
    ds.ROIContourSequence, ds.RTROIObservationsSequence = [drawn], [observation]
    return to_bytes(ds)


def to_bytes(ds: FileDataset) -> bytes:
    """The data set as a file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """The members as a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def edited(members: dict[str, bytes], change: Callable[[Dataset], None]) -> dict[str, bytes]:
    """The members with a change made to every data set."""
    out = {}
    for name, data in members.items():
        ds = dataset_of(data)
        change(ds)
        out[name] = to_bytes(ds)
    return out


def dataset_of(data: bytes) -> FileDataset:
    """A file's data set."""
    return pydicom.dcmread(io.BytesIO(data))


def slices_of(path: Path) -> dict[str, FileDataset]:
    """Member name -> data set of every file in a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: dataset_of(archive.read(name)) for name in archive.namelist()}


def hu_of(datasets: dict[str, FileDataset]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """HU (K, J, I) with slices going up, and their heights in mm."""
    ordered = sorted(datasets.values(), key=lambda ds: float(ds.ImagePositionPatient[2]))
    array = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in ordered])
    return array, np.array([float(ds.ImagePositionPatient[2]) for ds in ordered])
