"""Small ugly CT series and archives, built with pydicom and numpy alone: the truth that the reader and writer are held to."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fw_gear_hndeface.dicom.archive import Archive, ArchiveWriter, open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.series import Stack, read_stacks
from fw_gear_hndeface.dicom.study import Contents, read_contents
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.write import Written, write_stack
from fw_gear_hndeface.model import Mask, Plan, Proposal
from fw_gear_hndeface.settings import Settings

SHAPE = (11, 23, 17)
SPACING_MM = (3.0, 0.98, 1.2)
TILT_DEG = 12.0
ORIGIN = np.array([-41.5, 17.25, 803.125])
STUDY, SERIES, FRAME = "1.2.826.0.1.7.1", "1.2.826.0.1.7.2", "1.2.826.0.1.7.3"
KEY = b"a site's key"
STAMP = Stamp("9.8.7", "membrane", "fill -1000 HU", KEY)
LIMITS = Limits.of(Settings())

Change = Callable[[int, FileDataset], None]


def truth_affine(spacing_mm: Sequence[float] = SPACING_MM, tilt_deg: float = TILT_DEG) -> NDArray[np.float64]:
    """(k, j, i) -> LPS mm of a tilted gantry: slices follow the table (z), rows lean by the tilt."""
    t = np.radians(tilt_deg)
    affine = np.eye(4)
    affine[:3, 0] = [0, 0, spacing_mm[0]]
    affine[:3, 1] = np.array([0, np.cos(t), np.sin(t)]) * spacing_mm[1]
    affine[:3, 2] = [spacing_mm[2], 0, 0]
    affine[:3, 3] = ORIGIN
    return affine


def random_stored(seed: int = 3, shape: Sequence[int] = SHAPE, *, signed: bool = True) -> NDArray[Any]:
    """Stored values that use twelve bits."""
    low, high = (-1024, 1800) if signed else (0, 4095)
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16 if signed else np.uint16)


def ct_slice(
    k: int, stored: NDArray[Any], affine: NDArray[np.float64], *, slope: float = 1, intercept: float = 0
) -> FileDataset:
    """One CT slice; `stored` is (rows, columns), its sign that of the array's type."""
    meta = FileMetaDataset()
    uid = f"{SERIES}.{k + 1}"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, uid, "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = STUDY, SERIES, FRAME
    ds.PatientName, ds.PatientID, ds.StudyDate = "ZZDOE^QQJANE", "PID-994411", "20190807"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, k + 1, 1
    ds.SeriesDescription = "HN 3.0 B31f"
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    ds.PixelSpacing = [float(steps[1]), float(steps[2])]
    row, column = affine[:3, 2] / steps[2], affine[:3, 1] / steps[1]
    ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*row, *column)]
    ds.ImagePositionPatient = [f"{v:.9f}"[:16] for v in (affine @ [k, 0, 0, 1])[:3]]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    bits = stored.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    ds.RescaleIntercept, ds.RescaleSlope = intercept, slope
    ds.add_new(0x7FE00010, "OW", stored.tobytes() + b"\0" * (stored.nbytes % 2))
    return ds


def ct_series(
    stored: NDArray[Any] | None = None,
    affine: NDArray[np.float64] | None = None,
    *,
    change: Change | None = None,
    slope: float = 1,
    intercept: float = 0,
) -> list[FileDataset]:
    """A CT series in ascending order; `change(k, slice)` edits each slice."""
    stored = random_stored() if stored is None else stored
    affine = truth_affine() if affine is None else affine
    slices = [ct_slice(k, plane, affine, slope=slope, intercept=intercept) for k, plane in enumerate(stored)]
    for k, ds in enumerate(slices):
        if change is not None:
            change(k, ds)
    return slices


def encoded(ds: Dataset, syntax: str | None = None) -> bytes:
    """The file; with `syntax`, in a native transfer syntax other than Explicit VR Little Endian."""
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def transcoded(ds: Dataset, syntax: gdcm.TransferSyntax) -> bytes:
    """The file with its pixels compressed by GDCM, in the files it insists on."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.dcm"), Path(folder, "b.dcm")
        source.write_bytes(encoded(ds))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(source))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return target.read_bytes()


def files(slices: Sequence[Dataset], folder: str = "ct") -> dict[str, bytes]:
    """Named files in an order that is not the slices'."""
    named = {f"{folder}/{(k * 7) % 11:02d}-IM{k:04d}": encoded(ds) for k, ds in enumerate(slices)}
    return dict(sorted(named.items()))


def zip_of(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip of named files in the given order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def tar_of(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar of named files; `mode` as in tarfile ('w:gz')."""
    with tarfile.open(path, mode) as out:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


@contextmanager
def opened(work: Path, members: Mapping[str, bytes], limits: Limits = LIMITS) -> Iterator[Archive]:
    """The archive of named files, open."""
    with open_inputs([zip_of(work / "in.zip", members)], limits, work) as archive:
        yield archive


def contents_of(work: Path, members: Mapping[str, bytes]) -> Contents:
    """What an archive of named files holds."""
    with opened(work, members) as archive:
        return read_contents(archive)


def stacks_of(work: Path, slices: Sequence[Dataset] | Mapping[str, bytes]) -> tuple[Stack, ...]:
    """The stacks of the only series in an archive of slices."""
    named = slices if isinstance(slices, Mapping) else files(slices)
    (series,) = contents_of(work, named).series
    return read_stacks(series)


def stack_of(work: Path, slices: Sequence[Dataset] | Mapping[str, bytes]) -> Stack:
    """The only stack of the only series in an archive of slices."""
    (stack,) = stacks_of(work, slices)
    return stack


def plan_on(stack: Stack, change: NDArray[np.bool_], fill_hu: float | NDArray[Any] = -1000.0) -> Plan:
    """A plan that keeps nothing back."""
    grid = stack.volume.grid
    fill = np.broadcast_to(np.asarray(fill_hu, np.float32), (int(change.sum()),)).copy()
    return Proposal(Mask(grid, change, "face"), fill, "membrane").without(Mask.empty(grid, "nothing"))


def box_on(stack: Stack) -> NDArray[np.bool_]:
    """A box somewhere inside, touching no end of the stack."""
    change = np.zeros(stack.volume.grid.shape, np.bool_)
    change[3:7, 4:15, 2:9] = True
    return change


def written(work: Path, stack: Stack, plan: Plan, stamp: Stamp = STAMP) -> tuple[dict[str, bytes], Written]:
    """Named files of the defaced stack in the order of the zip, and the writer's counts."""
    with ArchiveWriter(work / "out.zip") as writer:
        counts = write_stack(writer, stack, plan, stamp)
    with zipfile.ZipFile(work / "out.zip") as out:
        assert out.testzip() is None
        return {info.filename: out.read(info) for info in out.infolist()}, counts


def parsed(data: bytes) -> FileDataset:
    """A file read by pydicom."""
    return dcmread(io.BytesIO(data), force=True)
