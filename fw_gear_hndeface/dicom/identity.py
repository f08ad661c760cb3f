"""Which study a file belongs to, from the little that must be read of it."""

from __future__ import annotations

import io
import lzma
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom import dcmread

from fw_gear_hndeface.dicom.containers import SNIFF_BYTES, container_kind, tar_entries, zip_entries
from fw_gear_hndeface.dicom.headers import DAMAGE, looks_like_dicom
from fw_gear_hndeface.dicom.limits import Budget, Limits
from fw_gear_hndeface.errors import InputError

#: A header's leading part that holds the study's UID in all but strange files.
HEAD_BYTES = 65_536
#: Files at the start of an archive that are looked at: a DICOMDIR, a licence and a viewer may come first.
FIRST_FILES = 20
#: What a damaged archive raises, whoever opens it.
_BROKEN: tuple[type[Exception], ...] = (InputError, tarfile.TarError, lzma.LZMAError, *DAMAGE)
#: Names of label maps and of what names their labels: part of a study, without a word of it in them.
_LABEL_NAMES = (".nii", ".nii.gz", ".json")
#: Files that call themselves archives or DICOM are not passed over, whatever is in them.
_OUR_NAMES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".dcm", ".ima", ".dicom")
_DIRECTORY = "1.2.840.10008.1.3.10"


class FileKind(StrEnum):
    """What a file is to a search for studies."""

    ARCHIVE = "archive"
    DICOM = "dicom"
    LABELS = "labels"
    OTHER = "other"


@dataclass(frozen=True)
class Identity:
    """What a file is and, where it says so, whose study it is part of; `study` identifies a patient and is never printed."""

    kind: FileKind
    study: str | None


def identify(path: Path, limits: Limits) -> Identity:
    """The kind of a file and the study of its first DICOM object.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    name = path.name.lower()
    if name.endswith(_LABEL_NAMES):
        return Identity(FileKind.LABELS, None)
    try:
        kind = container_kind(head[:SNIFF_BYTES], path.name, "file")
    except InputError:  # an archive of a kind that cannot be read: whoever tries says so
        return Identity(FileKind.ARCHIVE, None)
    if kind is not None:
        return Identity(FileKind.ARCHIVE, _first_study(path, kind, limits))
    if not looks_like_dicom(head):
        return Identity(FileKind.ARCHIVE if name.endswith(_OUR_NAMES) else FileKind.OTHER, None)
    study, is_object = _study_of(head)
    return Identity(FileKind.DICOM if is_object else FileKind.OTHER, study)


def _first_study(path: Path, kind: str, limits: Limits) -> str | None:
    try:
        for head in _heads(path, kind, Budget(limits)):
            if looks_like_dicom(head) and (study := _study_of(head)[0]):
                return study
    except _BROKEN:
        return None  # the archive is damaged: the run that opens it says how
    return None


def _heads(path: Path, kind: str, budget: Budget) -> Iterator[bytes]:
    """Leading parts of the first files of an archive."""
    if kind in ("zip", "tar"):
        entries = (zip_entries if kind == "zip" else tar_entries)(path, "file", budget)
        for entry in entries[:FIRST_FILES]:
            yield entry.source.head(HEAD_BYTES)
        return
    with tarfile.open(path, "r|*") as archive:
        for _, info in zip(range(FIRST_FILES), archive, strict=False):
            file = archive.extractfile(info) if info.isreg() and info.size <= budget.limits.member_bytes else None
            if file is not None:
                yield file.read(HEAD_BYTES)


def _study_of(head: bytes) -> tuple[str | None, bool]:
    """Study and patient of a header, and whether it is an object of a patient at all rather than a directory or chance."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(
                io.BytesIO(head), stop_before_pixels=True, force=True, specific_tags=["StudyInstanceUID", "PatientID"]
            )
        study, patient = str(dataset.get("StudyInstanceUID") or ""), str(dataset.get("PatientID") or "")
        stored = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    except DAMAGE:
        return None, head[128:132] == b"DICM"
    if stored == _DIRECTORY:
        return None, False
    return (f"{study}|{patient}", True) if study else (None, head[128:132] == b"DICM")
