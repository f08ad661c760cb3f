"""Any study on disk as heads to measure: each CT volume in which a face is placed, with what was drawn on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fw_gear_hndeface.casework import Case, locate
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import Contents, SeriesKind, read_contents
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.model import Roi
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.settings import Settings

#: Whoever only looks may place a face less surely than whoever changes it, mm (one sigma).
LOOKING = Settings(max_uncertainty_mm=50.0)


@dataclass(frozen=True, eq=False)
class Head:
    """A CT volume and the face in it."""

    case: Case
    scan: HeadScan
    face: Face

    @property
    def name(self) -> str:
        """A name made from the voxels alone: the same for the same volume, and it names nobody."""
        array = np.ascontiguousarray(self.case.scan.array)
        return hashlib.sha256(array.tobytes() + np.round(self.case.scan.grid.affine, 3).tobytes()).hexdigest()[:10]


def read_cases(contents: Contents) -> tuple[Case, ...]:
    """Every CT volume of a study, with the regions drawn in its frame of reference."""
    rois = rois_by_frame(contents)
    cases = []
    for series in contents.series:
        if series.kind is SeriesKind.CT:
            for stack in read_stacks(series):
                cases.append(Case(stack.volume, stack.padding, rois.get(series.frame, ()), stack.series.label))
    return tuple(cases)


def rois_by_frame(contents: Contents) -> dict[str, tuple[Roi, ...]]:
    """Every drawn region of a study by its frame of reference."""
    found: dict[str, tuple[Roi, ...]] = {}
    for series in contents.series:
        if series.kind is SeriesKind.RTSTRUCT:
            for drawn in read_rois(series):
                found[drawn.frame] = found.get(drawn.frame, ()) + drawn.rois
    return found


def first_head(paths: Sequence[Path], work: Path, settings: Settings = LOOKING) -> Head | None:
    """The first CT volume of a study in which a face is found; None where none is.

    Raises
    ------
    InputError
        No DICOM, or nothing of it a CT volume.
    """
    with open_inputs(paths, Limits.of(settings), work) as archive:
        cases = read_cases(read_contents(archive))
    if not cases:
        raise InputError("The study holds no CT volume. Give the folder or archive of one planning study.")
    for case in cases:
        found = locate(case, settings)
        if found is not None:
            return Head(case, *found)
    return None
