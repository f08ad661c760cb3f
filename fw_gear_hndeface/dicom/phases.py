"""Slices at one place: copies are dropped, phases and acquisitions become stacks of their own, the rest is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from fw_gear_hndeface.dicom.geometry import SAME_PLACE_MM, depths_mm, lattice
from fw_gear_hndeface.dicom.headers import PHASE_TAGS, Instance, Plane
from fw_gear_hndeface.dicom.pixels import read_stored
from fw_gear_hndeface.dicom.study import MIN_SLICES, Series
from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.model import Finding, Level

Slices = list[tuple[Instance, Plane]]


@dataclass(frozen=True)
class SliceSets:
    """Sets of slices with a place of its own for each."""

    parts: tuple[Slices, ...]
    findings: tuple[Finding, ...]


def distinct_places(series: Series) -> SliceSets:
    """The slices of a series in sets whose slices lie at different places.

    Raises
    ------
    GeometryError
        Different slices at one place that no attribute tells apart.
    DicomError
        One SOPInstanceUID for two different images.
    """
    slices = [(instance, instance.plane) for instance in series.instances if instance.plane is not None]
    kept = _without_copies(slices)
    findings: list[Finding] = []
    if len(kept) < len(slices):
        text = f"{len(slices) - len(kept)} exact copies of other slices were left out."
        findings.append(Finding(Level.INFO, "duplicate_slices", text, series.label))
    crowded = _is_crowded(kept)
    parts = _split(kept, _fits if crowded else _fits_better) if crowded or _has_gaps(kept, series.label) else None
    if parts is None and crowded:
        raise GeometryError(
            f"{series.label}: different slices lie at one place and no attribute tells them apart. Send one series per phase."
        )
    if parts is None:
        return SliceSets((kept,), tuple(findings))
    text = f"The series holds {len(parts)} volumes (phases, acquisitions or reconstructions); each was taken as its own."
    findings.append(Finding(Level.INFO, "several_volumes", text, series.label))
    return SliceSets(tuple(parts), tuple(findings))


def _without_copies(slices: Slices) -> Slices:
    """The slices less those that repeat another one's place and pixels."""
    kept: Slices = []
    for place in _by_place(slices):
        seen: dict[Hashable, str] = {}
        for instance, plane in place:
            if len(place) == 1:
                kept.append((instance, plane))
                continue
            digest = _digest(instance)
            if seen.get(instance.uid, digest) != digest:
                raise DicomError(f"{instance.member.where}: its SOPInstanceUID is also that of a different image.")
            copy = instance.uid in seen or (instance.phase, digest) in seen
            seen[instance.uid] = seen[(instance.phase, digest)] = digest
            if not copy:
                kept.append((instance, plane))
    return kept


def _digest(instance: Instance) -> str:
    """Tells whether two slices show the same values."""
    pixels = instance.pixels
    meaning = f"{pixels.slope}|{pixels.intercept}|{pixels.rows}|".encode()
    return hashlib.sha256(meaning + read_stored(instance).tobytes()).hexdigest()


def _by_place(slices: Slices) -> list[Slices]:
    """Groups of slices at one depth, ascending; within a group in file order."""
    depth = depths_mm([plane for _, plane in slices])
    groups: list[Slices] = []
    last = -np.inf
    for n in np.argsort(depth, kind="stable"):
        if depth[n] - last > SAME_PLACE_MM:
            groups.append([])
        groups[-1].append(slices[n])
        last = depth[n]
    return groups


def _is_crowded(slices: Slices) -> bool:
    return len(_by_place(slices)) < len(slices)


def _has_gaps(slices: Slices, where: str) -> bool:
    """Whether the slices fit no lattice without leaving planes of it empty."""
    try:
        return not lattice([group[0][1] for group in _by_place(slices)], where).is_full
    except GeometryError:
        return True


def _split(slices: Slices, fits: Callable[[Sequence[Slices]], bool]) -> list[Slices] | None:
    """Sets told apart by as few attributes as can be, else by where the numbering starts again; None when nothing serves."""
    names = range(len(PHASE_TAGS))
    for chosen in [*combinations(names, 1), *combinations(names, 2)]:
        parts = _grouped(slices, lambda instance, chosen=chosen: tuple(instance.phase[n] for n in chosen))  # type: ignore[misc]
        if len(parts) > 1 and fits(parts):
            return parts
    runs = _runs(slices)
    return runs if len(runs) > 1 and fits(runs) else None


def _grouped(slices: Slices, key: Callable[[Instance], Hashable]) -> list[Slices]:
    groups: dict[Hashable, Slices] = {}
    for instance, plane in slices:
        groups.setdefault(key(instance), []).append((instance, plane))
    return list(groups.values())


def _runs(slices: Slices) -> list[Slices]:
    """Stretches of InstanceNumber along which the depth goes one way."""
    numbered = sorted(slices, key=lambda item: (item[0].number or 0, item[0].member.order))
    depth = depths_mm([plane for _, plane in numbered])
    forward = depth[1] > depth[0]
    runs: list[Slices] = [[numbered[0]]]
    for n in range(1, len(numbered)):
        if (depth[n] > depth[n - 1]) != forward or depth[n] == depth[n - 1]:
            runs.append([])
        runs[-1].append(numbered[n])
    return runs


def _fits(parts: Sequence[Slices]) -> bool:
    """Whether every set is a volume whose slices have places of their own."""
    return all(len(part) >= MIN_SLICES and not _is_crowded(part) for part in parts)


def _fits_better(parts: Sequence[Slices]) -> bool:
    """Whether slices with gaps are two or more even volumes that reach into each other: side by side they stay one volume."""
    if not _fits(parts) or any(_has_gaps(part, "") for part in parts):
        return False
    depth = [depths_mm([plane for _, plane in part]) for part in parts]
    ends = sorted((float(d.min()), float(d.max())) for d in depth)
    return all(later[0] < earlier[1] for earlier, later in pairwise(ends))
