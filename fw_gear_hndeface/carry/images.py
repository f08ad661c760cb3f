"""Other images of the same head: PET, MR and further CTs, changed where the CT was, with values of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.dicom.series import Stack, read_stacks
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.errors import GeometryError
from fw_gear_hndeface.model import Bool, Mask, Plan, Proposal, Volume
from fw_gear_hndeface.ops.register import skin_apart
from fw_gear_hndeface.ops.scan import Scan
from fw_gear_hndeface.ops.stray import stray_signal
from fw_gear_hndeface.ops.transfer import hidden_parts, site, transferred

#: How far each kind of image smears the skin, mm; never less than one of its voxels (the middle one of its three sizes).
SPREAD_MM = {SeriesKind.PET: 4.0, SeriesKind.MR: 2.0, SeriesKind.CT: 1.0}

#: Three quarters of the facial skin of an image usually lie within this of the CT's, mm, and at most within that, if it is the
#: same head in the same place.
USUALLY_APART_MM, MOST_APART_MM = 2.5, 6.0


@dataclass
class FollowedImages:
    """An image series with a plan for each of its volumes, and the volume that changes, mL."""

    jobs: list[tuple[Stack, Plan]] = field(default_factory=list)
    changed_ml: float = 0.0


def follow_images(series: Series, scans: Sequence[Scan], seed: int, method: str) -> FollowedImages:
    """Plans that give the volumes of a series the skin of the defaced CTs.

    Raises
    ------
    DicomError, GeometryError
        A series that cannot be read, whose head lies elsewhere, or that shows parts of the face which no CT covers.
    """
    out = FollowedImages()
    for number, stack in enumerate(read_stacks(series)):
        grid = stack.volume.grid
        hidden = [hidden_parts(scan, grid) for scan in scans]
        if hidden and all(hidden):
            names = ", ".join(hidden[0]).replace("_", " ")
            raise GeometryError(f"it shows parts of the face beyond the CT ({names}).")
        near = [replace(scan, slack_mm=scan.slack_mm + _beside(stack.volume, scan)) for scan in scans]
        plan = _plan(stack, series.kind, near, seed + number, method)
        out.jobs.append((stack, plan))
        out.changed_ml += plan.change.volume_ml
    return out


def _beside(image: Volume, scan: Scan) -> float:
    """How much farther than it should the image's face lies from the scan's, mm.

    Raises
    ------
    GeometryError
        So far that it is not the same head in the same place, whatever the headers say.
    """
    apart = None if scan.head is None else skin_apart(scan.skin, scan.head, image, 75.0)
    if apart is not None and apart > MOST_APART_MM:
        raise GeometryError(
            f"its face does not lie where the CT's does: a quarter of the skin is {apart:.0f} mm and more off (allowed "
            f"{MOST_APART_MM:g}). Check its registration."
        )
    return 0.0 if apart is None else max(apart - USUALLY_APART_MM, 0.0)


def _plan(stack: Stack, kind: SeriesKind, scans: Sequence[Scan], seed: int, method: str) -> Plan:
    """One plan from all defaced CTs; voxels that several change take the value of the last."""
    volume = stack.volume
    spread = max(SPREAD_MM[kind], float(np.median(volume.grid.spacing_mm)))
    change = np.zeros(volume.grid.shape, np.bool_)
    array = volume.array.astype(np.float32)
    for scan in scans:
        where = site(scan, volume.grid, spread, ghosts=kind is SeriesKind.MR)
        if where is not None:
            plan = transferred(volume, where, seed, method=method)
            array[plan.change.array] = plan.fill_hu
            change |= plan.change.array
    if kind is SeriesKind.MR:
        _clean(volume, scans, seed, array, change)
    proposal = Proposal(Mask(volume.grid, change, "carried zone"), array[change], method)
    return proposal.without(Mask.empty(volume.grid, "nothing"))


def _clean(image: Volume, scans: Sequence[Scan], seed: int, array: NDArray[np.float32], change: Bool) -> None:
    """Give quiet air to what shines in the air around the head, in place; voxels that have new values already keep them."""
    for scan in scans:
        found = None if scan.air is None else stray_signal(image, scan.air, scan.slack_mm)
        if found is not None:
            stray, quiet = found
            fresh = stray.array & ~change
            array[fresh] = np.random.default_rng(seed).choice(quiet, int(np.count_nonzero(fresh)))
            change |= fresh
