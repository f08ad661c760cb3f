"""What the input holds, by headers alone: objects grouped by study, series, frame of reference and plane."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fw_gear_hndeface.dicom.archive import Archive
from fw_gear_hndeface.dicom.headers import Instance, read_instance
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, Level

MIN_SLICES = 3
"""Fewer parallel slices than this are a scout, not a volume."""
SAME_DIRECTION_COS = math.cos(math.radians(0.5))


class SeriesKind(StrEnum):
    """What a series is to us."""

    CT = "CT"
    PET = "PET"
    MR = "MR"
    RTSTRUCT = "RTSTRUCT"
    RTDOSE = "RTDOSE"
    RTPLAN = "RTPLAN"
    SEG = "SEG"
    REG = "REG"
    LOCALIZER = "localizer"
    CAPTURE = "capture"
    OTHER = "other"


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = {
    "2": SeriesKind.CT, "2.1": SeriesKind.CT, "2.2": SeriesKind.CT,
    "4": SeriesKind.MR, "4.1": SeriesKind.MR, "4.3": SeriesKind.MR, "4.4": SeriesKind.MR,
    "128": SeriesKind.PET, "128.1": SeriesKind.PET, "130": SeriesKind.PET,
    "66.1": SeriesKind.REG, "66.3": SeriesKind.REG, "66.4": SeriesKind.SEG, "66.7": SeriesKind.SEG,
    "481.2": SeriesKind.RTDOSE, "481.3": SeriesKind.RTSTRUCT, "481.5": SeriesKind.RTPLAN, "481.8": SeriesKind.RTPLAN,
    "7": SeriesKind.CAPTURE, "7.1": SeriesKind.CAPTURE, "7.2": SeriesKind.CAPTURE,
    "7.3": SeriesKind.CAPTURE, "7.4": SeriesKind.CAPTURE,
}  # fmt: skip
#: Enhanced images, and those converted to look like them: a whole volume in one object, its geometry frame by frame.
_MULTI_FRAME = {_STORAGE + tail for tail in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130")}
_IMAGES = (SeriesKind.CT, SeriesKind.PET, SeriesKind.MR)
_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Series:
    """Objects that belong together: one study, series, frame of reference, kind and, for images, one plane and matrix."""

    kind: SeriesKind
    modality: str
    #: Safe to log, such as 'CT series 3'.
    label: str
    frame: str
    study_uid: str
    uid: str
    instances: tuple[Instance, ...]

    @property
    def is_multi_frame(self) -> bool:
        """Whether a whole volume lies in one object, which this software does not read."""
        return any(i.sop_class in _MULTI_FRAME or (i.pixels.frames > 1 and self.kind in _IMAGES) for i in self.instances)


@dataclass(frozen=True)
class Contents:
    """Every series of the input, in the order their first file came."""

    series: tuple[Series, ...]
    findings: tuple[Finding, ...]


def read_contents(archive: Archive) -> Contents:
    """The series of an archive from its headers; files that are no DICOM are counted in a finding.

    Raises
    ------
    InputError
        No DICOM object at all, a damaged header, or one SOPInstanceUID for two different objects.
    """
    found = [read_instance(member) for member in archive.members]
    instances = [instance for instance in found if instance is not None and instance.sop_class != _DIRECTORY]
    if not instances:
        raise InputError(f"The input holds no DICOM object ({len(found)} other files).")
    findings = list(archive.findings)
    junk = len(found) - len(instances)
    if junk:
        findings.append(Finding(Level.INFO, "not_dicom", f"{junk} files are no DICOM objects and were left out."))
    return Contents(tuple(_labelled(_grouped(instances))), tuple(findings))


def already_defaced(series: Series) -> str | None:
    """Which mark says that every object of the series was defaced before; None when one bears no mark."""
    reasons = [instance.defaced for instance in series.instances]
    return reasons[0] if reasons and all(reasons) else None


def kind_of(instance: Instance) -> SeriesKind:
    """What an object is, by SOP class and ImageType."""
    tail = instance.sop_class.removeprefix(_STORAGE)
    kind = _CLASSES.get(tail, SeriesKind.OTHER)
    if kind not in _IMAGES:
        return kind
    words = {word.upper() for word in instance.image_type}
    if words & {"LOCALIZER", "SCOUT", "TOPOGRAM"}:
        return SeriesKind.LOCALIZER
    secondary = len(instance.image_type) > 1 and instance.image_type[1].upper() == "SECONDARY"
    flat = instance.plane is None and instance.sop_class not in _MULTI_FRAME
    return SeriesKind.CAPTURE if instance.pixels.samples != 1 or (secondary and flat) else kind


def _grouped(instances: Sequence[Instance]) -> list[Series]:
    groups: dict[tuple[str, str, str, SeriesKind], list[Instance]] = {}
    for instance in instances:
        key = (instance.study_uid, instance.series_uid, instance.frame, kind_of(instance))
        groups.setdefault(key, []).append(instance)
    series = []
    for (study, uid, frame, kind), members in groups.items():
        for part in _by_plane(members) if kind in _IMAGES else [members]:
            whole = Series(kind, _modality(part[0].modality), "", frame, study, uid, tuple(part))
            scout = kind is SeriesKind.CT and len(part) < MIN_SLICES and not whole.is_multi_frame
            series.append(replace(whole, kind=SeriesKind.LOCALIZER) if scout else whole)
    return series


def _by_plane(instances: Sequence[Instance]) -> list[list[Instance]]:
    """Images of one orientation, matrix and pixel size each."""
    parts: list[list[Instance]] = []
    for instance in instances:
        home = next((part for part in parts if _same_plane(part[0], instance)), None)
        if home is None:
            parts.append([instance])
        else:
            home.append(instance)
    return parts


def _same_plane(one: Instance, other: Instance) -> bool:
    matrix = (one.pixels.rows, one.pixels.columns) == (other.pixels.rows, other.pixels.columns)
    if one.plane is None or other.plane is None or not matrix:
        return matrix and one.plane is other.plane
    sizes = zip(one.plane.spacing_mm, other.plane.spacing_mm, strict=True)
    if any(abs(a - b) > 1e-4 * a for a, b in sizes):
        return False
    pairs = ((one.plane.row, other.plane.row), (one.plane.column, other.plane.column))
    return all(
        sum(x * y for x, y in zip(a, b, strict=True)) > SAME_DIRECTION_COS * math.hypot(*a) * math.hypot(*b) for a, b in pairs
    )


def _modality(text: str) -> str:
    """The modality if it is a code, never free text."""
    return text if re.fullmatch(r"[A-Z]{2,10}", text) else "image"


def _labelled(groups: Sequence[Series]) -> list[Series]:
    """Labels such as 'CT series 3', told apart by ', part 2' where a number comes twice."""
    seen: Counter[str] = Counter()
    out = []
    for series in groups:
        number = series.instances[0].series_number
        name = str(series.kind) if series.kind in (SeriesKind.LOCALIZER, SeriesKind.CAPTURE) else series.modality
        label = f"{name} series {number if number is not None else 'without number'}"
        seen[label] += 1
        out.append(replace(series, label=label if seen[label] == 1 else f"{label}, part {seen[label]}"))
    return out
