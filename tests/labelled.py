"""Label maps of phantoms as a network would make them, in memory, as NIfTI and as DICOM SEG; written without the product."""

from __future__ import annotations

import io
from collections.abc import Mapping

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fw_gear_hndeface.model import Grid, Label, LabelMap, RoiKind
from fw_gear_hndeface.synthetic.head import SyntheticHead

#: Structure of the phantom -> (number, name) in TotalSegmentator's and our own words.
STRUCTURES = {
    "Eye_L": (1, "eye_left"),
    "Eye_R": (2, "eye_right"),
    "Bone_Mandible": (3, "mandible"),
    "Brain": (4, "brain"),
    "Parotid_L": (5, "parotid_gland_left"),
    "Parotid_R": (6, "parotid_gland_right"),
}
KINDS = {"globe left": RoiKind.LANDMARK, "globe right": RoiKind.LANDMARK}
MEANINGS = {"eye_left": "globe left", "eye_right": "globe right"}


def numbers(head: SyntheticHead, structures: Mapping[str, tuple[int, str]] = STRUCTURES) -> NDArray[np.uint16]:
    """One number per voxel of the head's own grid."""
    array = np.zeros(head.volume.grid.shape, np.uint16)
    for structure, (number, _) in structures.items():
        array[head.structures[structure].array] = number
    return array


def names(structures: Mapping[str, tuple[int, str]] = STRUCTURES) -> dict[int, str]:
    """Number -> name."""
    return dict(structures.values())


def label_map(head: SyntheticHead, source: str = "given", structures: Mapping[str, tuple[int, str]] = STRUCTURES) -> LabelMap:
    """The head's structures as a label map."""
    labels = {}
    for number, name in structures.values():
        meaning = MEANINGS.get(name, name.replace("_", " "))
        labels[number] = Label(number, name, meaning, KINDS.get(meaning, RoiKind.ORGAN))
    return LabelMap(head.volume.grid, numbers(head, structures), labels, source)


def affine_ras(grid: Grid) -> NDArray[np.float64]:
    """(i, j, k) -> RAS mm of the transposed array, corner by corner: no matrix of the product's."""
    start = grid.to_patient([0, 0, 0])
    steps = [grid.to_patient(step) - start for step in ([0, 0, 1], [0, 1, 0], [1, 0, 0])]
    affine = np.eye(4)
    for column, vector in enumerate([*steps, start]):
        affine[:3, column] = vector * [-1.0, -1.0, 1.0]
    return affine


def nifti(array: NDArray[np.generic], grid: Grid, label_names: Mapping[int, str] | None = None) -> nibabel.Nifti1Image:
    """A NIfTI image of a (K, J, I) array, with a Caret label table in its header where names are given."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine_ras(grid))
    image.header.set_xyzt_units("mm")
    if label_names is not None:
        rows = "".join(f'<Label Key="{n}" Red="1" Alpha="1"><![CDATA[{name}]]></Label>\n' for n, name in label_names.items())
        text = f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><LabelTable>\n{rows}</LabelTable></CaretExtension>\n   '
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    return image


def segmentation(
    masks: Mapping[str, NDArray[np.bool_]], grid: Grid, *, kind: str = "BINARY", frame: str = "", keep_empty: bool = False
) -> bytes:
    """A DICOM SEG of (K, J, I) masks by label; BINARY frames without a voxel are left out, as writers do."""
    ds = _header(kind, frame, grid)
    segments, frames, pixels = [], [], []
    for number, label in enumerate(masks, 1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = number, label, "AUTOMATIC"
        segments.append(segment)
    if kind == "LABELMAP":
        whole = sum(n * np.asarray(mask, np.uint8) for n, mask in enumerate(masks.values(), 1))
        for k in range(grid.shape[0])[::-1]:
            frames.append(_frame(grid, k, None))
            pixels.append(whole[k])
        ds.PixelData = np.stack(pixels).astype(np.uint8).tobytes()
    else:
        for number, mask in enumerate(masks.values(), 1):
            for k in range(grid.shape[0]):
                if keep_empty or mask[k].any():
                    frames.append(_frame(grid, k, number))
                    pixels.append(mask[k])
        bits = np.packbits(np.stack(pixels).ravel(), bitorder="little").tobytes()
        ds.PixelData = bits + b"\0" * (len(bits) % 2)
    ds.SegmentSequence, ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = segments, frames, len(frames)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _header(kind: str, frame: str, grid: Grid) -> FileDataset:
    sop_class = f"1.2.840.10008.5.1.4.1.1.66.{7 if kind == 'LABELMAP' else 4}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, meta.MediaStorageSOPInstanceUID, "SEG"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = "1.2.826.0.1.9.1", generate_uid(), 12
    ds.FrameOfReferenceUID, ds.SegmentationType = frame or grid.frame, kind
    ds.Rows, ds.Columns = grid.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated = ds.BitsStored = 8 if kind == "LABELMAP" else 1
    ds.HighBit = ds.BitsStored - 1
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    steps = np.linalg.norm(grid.affine[:3, :3], axis=0)
    measures.PixelSpacing, measures.SliceThickness = [float(steps[1]), float(steps[2])], float(steps[0])
    orientation.ImageOrientationPatient = [*(grid.affine[:3, 2] / steps[2]), *(grid.affine[:3, 1] / steps[1])]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    return ds


def _frame(grid: Grid, k: int, segment: int | None) -> Dataset:
    item, position = Dataset(), Dataset()
    position.ImagePositionPatient = [float(value) for value in grid.to_patient([k, 0, 0])]
    item.PlanePositionSequence = [position]
    if segment is not None:
        identification = Dataset()
        identification.ReferencedSegmentNumber = segment
        item.SegmentIdentificationSequence = [identification]
    return item
