"""The other objects of a head's study, written with pydicom alone: PET, oblique MR, plan, registration, segmentation."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter, map_coordinates

from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.synthetic.head import SyntheticHead

Float = NDArray[np.float64]
PET, MR, PLAN, REG, DEFORMABLE = (
    f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("128", "4", "481.5", "66.1", "66.3")
)  # fmt: skip
ROOT = "1.2.826.0.1.7.77"
OTHER_FRAME = f"{ROOT}.99"


@dataclass(frozen=True)
class Family:
    """A study's files by name, and what all objects share."""

    members: dict[str, bytes]
    study: str
    frame: str
    first_ct: FileDataset

    @classmethod
    def of(cls, head: SyntheticHead, folder: Path, seed: int = 5, **options: bool) -> Family:
        """CT, structure set and dose of a head."""
        (path,) = write_study(head, folder / "family.zip", seed=seed, options=StudyOptions(compressed=False, **options))
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        first = dcmread(io.BytesIO(next(data for name, data in members.items() if name.startswith("CT/CT"))))
        return cls(members, str(first.StudyInstanceUID), str(first.FrameOfReferenceUID), first)

    def by_modality(self, modality: str) -> list[FileDataset]:
        """Data sets of a modality."""
        found = [dcmread(io.BytesIO(data)) for data in self.members.values()]
        return [ds for ds in found if ds.Modality == modality]

    def new(self, sop_class: str, modality: str, number: int, series: int, frame: str | None = None) -> FileDataset:
        """An object of the study."""
        meta = FileMetaDataset()
        uid = f"{ROOT}.{series}.{number + 1}"
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, uid, modality
        ds.PatientName, ds.PatientID, ds.StudyID = self.first_ct.PatientName, self.first_ct.PatientID, "1"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.study, f"{ROOT}.{series}"
        ds.FrameOfReferenceUID = self.frame if frame is None else frame
        ds.SeriesNumber, ds.InstanceNumber = series, number + 1
        return ds

    def add_images(
        self, sop_class: str, series: int, array: Float, affine: Float, *, slopes: Sequence[float], frame: str | None = None
    ) -> None:
        """A series of single-frame images with a slope for each slice; slices go in under names in another order."""
        modality = {PET: "PT", MR: "MR"}.get(sop_class, "CT")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        for k, slope in enumerate(slopes):
            ds = self.new(sop_class, modality, k, series, frame)
            ds.ImageType = ["ORIGINAL", "PRIMARY"]
            ds.ImagePositionPatient = [f"{v:.6f}" for v in (affine @ [k, 0, 0, 1])[:3]]
            ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1]))]
            ds.PixelSpacing, ds.SliceThickness = [f"{v:.6f}" for v in spacing[1:]], f"{spacing[0]:.6f}"
            stored = np.rint(array[k] / slope).clip(0, 32767).astype("<i2")
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.Rows, ds.Columns = stored.shape
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
            ds.RescaleSlope, ds.RescaleIntercept = f"{slope:.8g}", "0"
            if sop_class == PET:
                ds.Units, ds.DecayCorrection, ds.DecayFactor = "BQML", "START", f"{1 + k / 100:.3f}"
                ds.PatientWeight = "71"
            reference = Dataset()
            reference.ReferencedSOPClassUID = self.first_ct.SOPClassUID
            reference.ReferencedSOPInstanceUID = self.first_ct.SOPInstanceUID
            ds.ReferencedImageSequence = [reference]
            ds.add_new(0x7FE00010, "OW", stored.tobytes())
            self.members[f"{modality}{series}/{(k * 37) % 101:03d}-{k}"] = encoded(ds)


def encoded(ds: FileDataset) -> bytes:
    """The file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def lattice(shape: tuple[int, int, int], spacing: float | Sequence[float], axes: Float, middle: Float) -> Float:
    """Affine (k, j, i) -> LPS of a lattice along unit vectors `axes` (columns k, j, i) around a point."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.broadcast_to(spacing, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def places(shape: tuple[int, int, int], affine: Float) -> Float:
    """LPS of every voxel, (K, J, I, 3)."""
    return np.asarray(np.stack(np.indices(shape), axis=-1) @ affine[:3, :3].T + affine[:3, 3])


def looked_up(array: NDArray[np.float32], affine: Float, points: Float, outside: float, order: int = 1) -> Float:
    """An array at LPS points."""
    inverse = np.linalg.inv(affine)
    index = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    return np.asarray(map_coordinates(array, index, order=order, mode="constant", cval=outside), dtype=np.float64)


def activity(head: SyntheticHead) -> NDArray[np.float32]:
    """Bq/mL on the CT's lattice: tissue, brain and tumour, as a camera of 6 mm sees it."""
    tissue = np.where(head.structures["BODY"].array & (head.volume.array > -300), 2200.0, 0.0)
    tissue[head.structures["Brain"].array] = 21000.0
    tissue[head.structures["GTVp"].array] = 38000.0
    sigma = 6.0 / 2.355 / head.volume.grid.spacing_mm
    return gaussian_filter(tissue, sigma).astype(np.float32)


def contrast(head: SyntheticHead) -> NDArray[np.float32]:
    """A T1-like image on the CT's lattice: fat bright, bone and air dark."""
    hu = head.volume.array.astype(np.float32)
    value = np.interp(hu, [-1000, -300, -120, -60, 0, 60, 250, 800], [0, 40, 880, 700, 380, 420, 90, 30])
    value[head.structures["Brain"].array] = 520.0
    value[~head.structures["BODY"].array] = 0.0
    return value.astype(np.float32)


def add_pet(family: Family, head: SyntheticHead, frame: str | None = None) -> tuple[Float, tuple[int, int, int]]:
    """A PET of 4 mm on its own lattice with a slope for each slice; its affine and shape."""
    shape = (70, 64, 64)
    affine = lattice(shape, 4.0, np.fliplr(np.eye(3)), head.landmarks["nasion"].point + np.array([3.0, 55.0, -50.0]))
    values = looked_up(activity(head), head.volume.grid.affine, places(shape, affine), 0.0)
    noise = np.random.default_rng(1).normal(0, 40, shape) * np.sqrt(1 + values / 2000)
    values = np.maximum(values + noise, 0)
    family.add_images(PET, 21, values, affine, slopes=[0.9 + 0.07 * (k % 9) for k in range(shape[0])], frame=frame)
    return affine, shape


def rigid(turn_deg: float, shift_mm: Sequence[float], around: Float) -> Float:
    """A turn about the patient's long axis and a shift, as a 4 x 4 matrix."""
    t = np.radians(turn_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]]
    matrix[:3, 3] = around - matrix[:3, :3] @ around + np.array(shift_mm)
    return matrix


def add_mr(
    family: Family, head: SyntheticHead, *, frame: str | None = None, moved: Float | None = None, ghost: float = 0.06
) -> tuple[Float, tuple[int, int, int]]:
    """A sagittal MR, oblique by a few degrees, with a ghost of the head half a field of view in front; affine and shape.

    `moved` takes CT points into the MR's frame of reference.
    """
    shape, spacing = (90, 128, 128), (2.1, 1.9, 1.9)
    t = np.radians(7.0)
    sagittal = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # columns: k to the left, j down, i back
    tilt = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    moved = np.eye(4) if moved is None else moved
    middle = (moved @ np.append(head.landmarks["nasion"].point + np.array([0.0, 50.0, -30.0]), 1))[:3]
    affine = lattice(shape, spacing, moved[:3, :3] @ tilt @ sagittal, middle)
    points = places(shape, np.linalg.inv(moved) @ affine)
    values = looked_up(contrast(head), head.volume.grid.affine, points, 0.0)
    rng = np.random.default_rng(2)
    values += ghost * np.roll(values, -shape[2] // 2, axis=2)  # phase encoding runs from front to back
    values = np.hypot(values + rng.normal(0, 6, shape), rng.normal(0, 6, shape))
    family.add_images(MR, 22, values, affine, slopes=[1.0] * shape[0], frame=frame)
    return affine, shape


def add_plan(family: Family, uid: str) -> None:
    """A plan with bolus, compensator and distances to the skin, under the UID that the dose names."""
    ds = family.new(PLAN, "RTPLAN", 0, 23)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.RTPlanLabel, ds.RTPlanGeometry, ds.RTPlanDate, ds.RTPlanTime = "HN", "PATIENT", "", ""
    sets, dose = family.by_modality("RTSTRUCT")[0], family.by_modality("RTDOSE")[0]
    for name, target in (("ReferencedStructureSetSequence", sets), ("ReferencedDoseSequence", dose)):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = target.SOPClassUID, target.SOPInstanceUID
        setattr(ds, name, [item])
    wanted, beam, point, bolus, compensator = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    wanted.DoseReferenceNumber, wanted.DoseReferenceStructureType, wanted.DoseReferenceType = 1, "SITE", "TARGET"
    wanted.TargetPrescriptionDose = "70"
    bolus.ReferencedROINumber = 3
    compensator.CompensatorNumber, compensator.CompensatorThicknessData = 1, ["1.5", "2.5"]
    point.ControlPointIndex, point.GantryAngle, point.SourceToSurfaceDistance = 0, "30", "912.5"
    point.SurfaceEntryPoint, point.IsocenterPosition = ["1", "-99", "3"], ["0", "0", "0"]
    beam.BeamNumber, beam.BeamType, beam.NumberOfBoli, beam.NumberOfCompensators = 1, "STATIC", 1, 1
    beam.ReferencedBolusSequence, beam.CompensatorSequence, beam.ControlPointSequence = [bolus], [compensator], [point]
    ds.DoseReferenceSequence, ds.BeamSequence = [wanted], [beam]
    family.members["RT/PLAN"] = encoded(ds)


def add_registration(family: Family, matrix: Float, frame: str = OTHER_FRAME) -> None:
    """A rigid registration object: `matrix` takes points of the other frame into the CT's."""
    ds = family.new(REG, "REG", 0, 24)
    items = []
    for of, how in ((family.frame, np.eye(4)), (frame, matrix)):
        item, outer, inner, image = Dataset(), Dataset(), Dataset(), Dataset()
        inner.FrameOfReferenceTransformationMatrixType = "RIGID"
        inner.FrameOfReferenceTransformationMatrix = [f"{v:.10g}" for v in how.ravel()]
        outer.MatrixSequence, outer.RegistrationTypeCodeSequence = [inner], []
        item.FrameOfReferenceUID, item.MatrixRegistrationSequence = of, [outer]
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = MR, f"{ROOT}.404.1"  # not in the study
        item.ReferencedImageSequence = [image]
        items.append(item)
    ds.RegistrationSequence = items
    family.members["REG/1"] = encoded(ds)


def add_deformable(family: Family, affine: Float, offsets: Float, frame: str = OTHER_FRAME) -> None:
    """A deformable registration object whose own frame is the CT's: displacements (K, J, I, 3) lead into the other frame."""
    ds = family.new(DEFORMABLE, "REG", 0, 25)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    grid, item = Dataset(), Dataset()
    grid.ImagePositionPatient = [f"{v:.6f}" for v in affine[:3, 3]]
    grid.ImageOrientationPatient = [f"{v:.9f}" for v in (*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1]))]
    grid.GridDimensions, grid.GridResolution = list(offsets.shape[2::-1]), [float(v) for v in spacing[::-1]]
    grid.VectorGridData = offsets.astype("<f4").tobytes()
    item.SourceFrameOfReferenceUID, item.RegistrationTypeCodeSequence = frame, []
    item.DeformableRegistrationGridSequence = [grid]
    ds.DeformableRegistrationSequence = [item]
    family.members["REG/2"] = encoded(ds)
