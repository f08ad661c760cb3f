"""Objects without pixels of the patient: structure sets, doses, plans, registrations and segmentations, made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fw_gear_hndeface.dicom.carry_plan import carry_reg, carry_rtplan
from fw_gear_hndeface.dicom.carry_rtdose import FollowedDose, carry_rtdose
from fw_gear_hndeface.dicom.carry_rtstruct import FollowedSet, carry_rtstruct
from fw_gear_hndeface.dicom.carry_seg import carry_seg
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.model import Finding, Grid, Level, Roi
from fw_gear_hndeface.ops.dvh import dose_numbers, region_points
from fw_gear_hndeface.ops.scan import Scan


@dataclass
class Made:
    """The files of a series in the order of its objects, numbers for the report, and findings."""

    files: list[bytes] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def tell(self, level: Level, code: str, text: str, series: Series) -> None:
        """Add a finding about the series."""
        self.findings.append(Finding(level, code, f"{series.label}: {text}", series.label))


Scans = Mapping[str, Sequence[Scan]]


def structures(series: Series, scans: Scans, stamp: Stamp) -> Made:
    """A series of structure sets."""
    out = Made()
    done = [carry_rtstruct(instance, scans, stamp) for instance in series.instances]
    out.files = [one.data for one in done]
    out.numbers = {name: sum(len(getattr(one, name)) for one in done) for name in ("clipped", "lost", "foreign")}
    for one in done:
        _tell_of_set(out, one, series)
    return out


def _tell_of_set(out: Made, done: FollowedSet, series: Series) -> None:
    followed = [number for number in done.clipped if number not in done.foreign]
    if followed:
        gone = len(set(done.lost) - set(done.foreign))
        lost = f"; {gone} of them have nothing left" if gone else ""
        text = f"{len(followed)} regions follow the new skin{lost}. Targets and organs are as drawn."
        out.tell(Level.INFO, "outlines_follow", text, series)
    if done.foreign:
        numbers = ", ".join(map(str, done.foreign))
        text = f"ROIs {numbers} lie in a frame of reference without defaced image and were emptied."
        out.tell(Level.WARNING, "foreign_regions", text, series)


def doses(series: Series, scans: Scans, stamp: Stamp) -> Made:
    """A series of doses, with what every drawn region received before and after."""
    out = Made()
    done = [carry_rtdose(instance, scans[series.frame], stamp) for instance in series.instances]
    out.files = [one.data for one in done]
    zeroed, filled = sum(one.zeroed for one in done), sum(one.filled for one in done)
    out.numbers = {"zeroed_voxels": zeroed, "filled_voxels": filled, "rois": _region_doses(done, scans[series.frame])}
    text = (
        f"{zeroed} dose voxels outside the new skin were set to 0, {filled} in new tissue carry on the dose beneath; its "
        "dose-volume histograms were removed."
    )
    out.tell(Level.INFO, "dose_follows", text, series)
    return out


def _region_doses(done: Sequence[FollowedDose], scans: Sequence[Scan]) -> list[dict[str, Any]]:
    """D95, mean and maximum of every drawn region in every dose of a series, before and after."""
    found = []
    regions: dict[tuple[int, str], tuple[Roi, Grid]] = {}
    for scan in scans:
        for roi in scan.rois:
            regions.setdefault((roi.number, roi.name), (roi, scan.grid))
    for roi, grid in regions.values():
        points = region_points(roi, grid)
        for number, one in enumerate(done if points is not None else (), start=1):
            if points is not None and one.before.grid.contains(points).any():
                before, after = (dose_numbers(dose, points).measures() for dose in (one.before, one.after))
                region = {"name": roi.name, "number": roi.number, "kind": roi.kind.value, "dose": number}
                found.append({**region, "before": before, "after": after})
    return found


def plans(series: Series, _: Scans, stamp: Stamp) -> Made:
    """A series of plans."""
    out = Made()
    done = [carry_rtplan(instance, stamp) for instance in series.instances]
    out.files, removed = [one.data for one in done], sum(one.removed for one in done)
    out.numbers = {"removed": removed}
    if removed:
        text = f"{removed} entries (boli, compensators, distances to the skin) were taken out: they tell where the skin was."
        out.tell(Level.INFO, "plan_without_skin", text, series)
    return out


def registrations(series: Series, _: Scans, stamp: Stamp) -> Made:
    """A series of registrations."""
    return Made([carry_reg(instance, stamp).data for instance in series.instances])


def segmentations(series: Series, scans: Scans, stamp: Stamp) -> Made:
    """A series of segmentations."""
    out = Made()
    done = [carry_seg(instance, scans[series.frame], stamp) for instance in series.instances]
    out.files, count = [one.data for one in done], sum(len(one.clipped) for one in done)
    out.numbers = {"clipped": count, "changed_voxels": sum(one.changed for one in done)}
    if count:
        text = f"{count} segments follow the new skin. Targets and organs are as drawn."
        out.tell(Level.INFO, "segments_follow", text, series)
    if any(one.kind != "BINARY" for one in done):
        text = "fractions or a label map became one bit for each voxel and segment, which every reader knows."
        out.tell(Level.INFO, "segments_binary", text, series)
    return out


Maker = Callable[[Series, Scans, Stamp], Made]
#: How each kind is made anew, in the order in which it is done.
MAKERS: dict[SeriesKind, Maker] = {
    SeriesKind.RTSTRUCT: structures,
    SeriesKind.RTPLAN: plans,
    SeriesKind.RTDOSE: doses,
    SeriesKind.REG: registrations,
    SeriesKind.SEG: segmentations,
}
