"""Does every reference inside an archive lead to an object in it? Found by walking every element, with pydicom alone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset

#: The one reference that may lead out: a dose of a plan must name one (Type 1C), even where the study came without it.
ALLOWED = ("ReferencedRTPlanSequence",)

_NAMED = ("ReferencedSOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def archive_files(path: Path) -> dict[str, FileDataset]:
    """Data sets by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()}


def dangling(files: Mapping[str, FileDataset], allowed: tuple[str, ...] = ALLOWED) -> list[str]:
    """Every reference that leads out of the archive: where it stands, and through which attribute."""
    known = {
        "objects": {str(ds.SOPInstanceUID) for ds in files.values()},
        "series": {str(ds.SeriesInstanceUID) for ds in files.values()},
        "studies": {str(ds.StudyInstanceUID) for ds in files.values()},
        "frames": {str(ds.FrameOfReferenceUID) for ds in files.values() if "FrameOfReferenceUID" in ds},
    }
    return [
        f"{name}: {way}"
        for name, ds in files.items()
        for way, keyword, uid in _references(ds, "")
        if not _is_known(keyword, uid, way, known) and not any(part in allowed for part in way.split("/"))
    ]


def _is_known(keyword: str, uid: str, way: str, known: Mapping[str, set[str]]) -> bool:
    if keyword == "ReferencedSOPInstanceUID":
        return uid in known["studies" if way.split("/")[-2:-1] == ["RTReferencedStudySequence"] else "objects"]
    if keyword == "SeriesInstanceUID":
        return uid in known["series"]
    if keyword == "StudyInstanceUID":
        return uid in known["studies"]
    return uid in known["frames"]


def _references(ds: Dataset, way: str) -> Iterator[tuple[str, str, str]]:
    """(way to it, keyword, UID) of every reference below the top of a data set."""
    for element in ds:
        here = f"{way}/{element.keyword}" if way else element.keyword
        if element.VR == "SQ":
            for item in element.value:
                yield from _references(item, here)
        elif way and (element.keyword in _NAMED or element.keyword.endswith("FrameOfReferenceUID")):
            yield here, element.keyword, str(element.value)
