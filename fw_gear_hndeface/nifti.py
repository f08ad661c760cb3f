"""NIfTI label maps among the inputs: RAS outside, LPS (slice, row, column) inside."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from fw_gear_hndeface.dicom.archive import Archive, Member
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.label_tables import LABEL_TABLES
from fw_gear_hndeface.model import Finding, Float, Grid, LabelMap, Level
from fw_gear_hndeface.ops.labels import understand

_DAMAGE = (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError, EOFError, OverflowError, TypeError)
#: More different numbers than this are an image's grey values.
MOST_LABELS = 3000
#: A label in a text: Python turns no longer ones into numbers.
_NUMBER = "[0-9]{1,9}"
_TO_MM = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """A label map that somebody gave, and where it came from; `where` is safe to print."""

    labels: LabelMap
    where: str


def is_nifti(head: bytes) -> bool:
    """Whether a file is NIfTI-1 or NIfTI-2 in one file, by its first 352 bytes."""
    return head[344:347] == b"n+1" or head[4:7] == b"n+2"


def split(archive: Archive) -> tuple[Archive, tuple[Member, ...], tuple[Member, ...]]:
    """The archive without label maps, the label maps, and the JSON files that may name their labels."""
    named = (member for member in archive.members if member.name.lower().endswith(".nii"))  # gzip was taken off before
    maps = tuple(member for member in named if is_nifti(member.head(352)))
    if not maps:
        return archive, (), ()
    sidecars = tuple(member for member in archive.members if member.name.lower().endswith(".json"))
    rest = tuple(member for member in archive.members if member not in maps and member not in sidecars)
    return Archive(rest, archive.findings), maps, sidecars


def read_label_maps(
    maps: Sequence[Member], sidecars: Sequence[Member], table: str
) -> tuple[tuple[GivenLabels, ...], tuple[Finding, ...]]:
    """Every NIfTI of the input as a label map; images that are none are named in a finding.

    Parameters
    ----------
    table : the setting `label_table`

    Raises
    ------
    InputError
        A damaged file, one without a place in the patient, or labels that nothing names.
    """
    found, findings = [], []
    for number, member in enumerate(maps, 1):
        where = f"NIfTI file {number}"
        image = _image(member, where)
        numbers = _numbers(image, where)
        if numbers is None:
            text = f"{where} holds an image and no labels; it was not used and is not written."
            findings.append(Finding(Level.WARNING, "nifti_no_labels", text, where))
            continue
        names, stated = _names(image, _sidecar(member, sidecars, alone=len(maps) == 1), where)
        present = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
        labels = understand(present, names, table if table != "auto" else stated, where)
        found.append(GivenLabels(LabelMap(_grid(image, where), numbers, labels), where))
    return tuple(found), tuple(findings)


def grid_of(affine_ras: Float, shape: tuple[int, ...]) -> Grid:
    """The lattice of a NIfTI array of shape (I, J, K) once its axes are reversed to (K, J, I); RAS to LPS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine_ras, dtype=np.float64)
    affine[:, :3] = affine[:, 2::-1]
    return Grid((shape[2], shape[1], shape[0]), affine)


def affine_ras_of(grid: Grid) -> Float:
    """The RAS affine of a grid's array once its axes are reversed to (I, J, K)."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    affine[:, :3] = affine[:, 2::-1]
    return np.asarray(affine)


def _image(member: Member, where: str) -> Any:
    kind = nibabel.Nifti2Image if member.head(352)[4:7] == b"n+2" else nibabel.Nifti1Image
    data = member.read()
    try:
        image = kind.from_bytes(data)
        needs = math.prod(image.shape) * int(image.header["bitpix"]) // 8
    except _DAMAGE as error:
        raise InputError(f"{where}: damaged or cut short. Send it again.") from error
    if needs > len(data):  # nibabel makes room for what the header declares before it looks
        raise InputError(f"{where}: damaged: {len(data)} bytes where {needs} of voxels are declared. Send it again.")
    return image


def _grid(image: Any, where: str) -> Grid:
    if not (int(image.header["sform_code"]) or int(image.header["qform_code"])):
        raise InputError(f"{where}: it does not say where it lies (sform and qform are unset). Write it with its orientation.")
    unit = _TO_MM.get(image.header.get_xyzt_units()[0], 1.0)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= unit
    if not np.all(np.isfinite(affine)):
        raise InputError(f"{where}: its affine is not finite. Write it again.")
    return grid_of(affine, image.shape)


def _numbers(image: Any, where: str) -> NDArray[np.uint16] | None:
    """The labels as (K, J, I); None for an image of other values."""
    if len(image.shape) > 3 and set(image.shape[3:]) != {1}:
        return None
    try:
        values = np.asanyarray(image.dataobj)
    except _DAMAGE as error:
        raise InputError(f"{where}: damaged or cut short. Send it again.") from error
    if values.dtype.kind not in "iuf" or values.ndim < 3 or values.size == 0:
        return None
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return None
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        return None
    numbers = np.ascontiguousarray(values.reshape(values.shape[:3]).astype(np.uint16).T)
    return numbers if np.count_nonzero(np.bincount(numbers.ravel())) <= MOST_LABELS else None


def _names(image: Any, sidecar: Member | None, where: str) -> tuple[Mapping[int, str], str]:
    """Names of the labels from the sidecar or else the header's extension, and the table that the sidecar states."""
    if sidecar is None:
        return _extension_names(image), "auto"
    try:
        content = json.loads(sidecar.read())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: the JSON file beside it cannot be read.") from error
    if isinstance(content, dict) and "label_table" in content:
        table = str(content["label_table"])
        if table not in LABEL_TABLES:
            raise InputError(f"{where}: label_table in the JSON file beside it is none of {', '.join(LABEL_TABLES)}.")
        return {}, table
    inside = content.get("labels", content) if isinstance(content, dict) else {}
    names: dict[int, str] = {}
    for key, value in inside.items() if isinstance(inside, dict) else ():
        number, name = (key, value) if re.fullmatch(_NUMBER, str(key)) else (value, key)
        if re.fullmatch(_NUMBER, str(number)) and isinstance(name, str):
            names[int(number)] = name
    return names, "auto"


def _extension_names(image: Any) -> dict[int, str]:
    """Names in a Caret label table, as TotalSegmentator and Connectome Workbench write it into the header."""
    names: dict[int, str] = {}
    for extension in image.header.extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        start, end = text.find("<CaretExtension"), text.rfind("</CaretExtension>")
        if start < 0 or end < 0 or "<!" in text.replace("<![CDATA[", ""):
            continue
        try:
            root = ET.fromstring(text[start : end + len("</CaretExtension>")])
        except ET.ParseError:
            continue
        for label in root.iter("Label"):
            key = label.get("Key", "")
            if re.fullmatch(_NUMBER, key) and label.text:
                names[int(key)] = label.text.strip()
    return names


def _sidecar(member: Member, sidecars: Sequence[Member], *, alone: bool) -> Member | None:
    """The JSON file of the same stem, or dataset.json beside it, or the only one there is for the only map."""
    path = PurePosixPath(member.name)
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    for name in (f"{stem}.json", "dataset.json"):
        for sidecar in sidecars:
            if PurePosixPath(sidecar.name).name == name and (PurePosixPath(sidecar.name).parent == path.parent or alone):
                return sidecar
    return sidecars[0] if alone and len(sidecars) == 1 else None
