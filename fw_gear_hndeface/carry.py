"""What follows the defaced CT into the archive: structure sets and doses of its frame of reference; the rest is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fw_gear_hndeface.dicom.archive import ArchiveWriter
from fw_gear_hndeface.dicom.carry_rtdose import carry_rtdose
from fw_gear_hndeface.dicom.carry_rtstruct import FollowedSet, Scan, carry_rtstruct
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.series import Stack
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.uids import new_uid
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, Level, Plan, Roi
from fw_gear_hndeface.ops.change import surface_change

CARRIED = "carried"
LEFT_OUT = "left out"


@dataclass
class Companions:
    """What became of the series beside the CT: a fate for each, findings, and new UIDs of the structure sets written."""

    fates: list[tuple[Series, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sets: set[str] = field(default_factory=set)

    def leave_out(self, series: Series, reason: str) -> None:
        """Say that a series is not in the output, and why."""
        self.fates.append((series, LEFT_OUT))
        text = f"{series.label} may show the face and was left out: {reason}"
        self.findings.append(Finding(Level.WARNING, "left_out", text, series.label))


def carry(
    writer: ArchiveWriter, companions: Sequence[Series], done: Sequence[tuple[Stack, Plan, Sequence[Roi]]], stamp: Stamp
) -> Companions:
    """Write every series that can follow the defaced CTs, structure sets before the doses that refer to them.

    Parameters
    ----------
    companions : every series of the job that is no CT
    done : each defaced CT with its plan and the regions drawn on it, kinds as they counted
    stamp : `uids` must know all objects of the job
    """
    scans: dict[str, list[Scan]] = {}
    for stack, plan, rois in done:
        slices = frozenset(new_uid(slice_.instance.uid, stamp.key) for slice_ in stack.slices)
        scan = Scan(stack.volume.grid, surface_change(stack.volume, plan), slices, tuple(rois))
        scans.setdefault(stack.series.frame, []).append(scan)
    out = Companions()
    for series in sorted(companions, key=lambda series: series.kind is not SeriesKind.RTSTRUCT):
        reason = unfollowed(series, scans)
        if reason is not None:
            out.leave_out(series, reason)
            continue
        try:
            files = (
                _structures(series, scans, stamp, out)
                if series.kind is SeriesKind.RTSTRUCT
                else _doses(series, scans, stamp, out)
            )
        except InputError as error:
            out.leave_out(series, str(error))
            continue
        for instance, data in zip(series.instances, files, strict=True):
            writer.write(instance.member.name, data)
        out.fates.append((series, CARRIED))
    return out


def unfollowed(series: Series, scans: Mapping[str, object]) -> str | None:
    """Why a series cannot follow the defaced CTs, given by frame of reference; None where it can."""
    if series.kind is SeriesKind.RTSTRUCT:
        frames = {drawn.frame for drawn in read_rois(series)}
        return None if frames & set(scans) else "it is drawn in another frame of reference than the defaced CT."
    if series.kind is SeriesKind.RTDOSE:
        return None if series.frame in scans else "it has another frame of reference than the defaced CT."
    return "only CT, RTSTRUCT and RTDOSE are carried by this version."


def _structures(series: Series, scans: Mapping[str, Sequence[Scan]], stamp: Stamp, out: Companions) -> list[bytes]:
    """The files of a series of structure sets."""
    done = [carry_rtstruct(instance, scans, stamp) for instance in series.instances]
    out.sets |= {one.uid for one in done}
    out.findings += [finding for one in done for finding in _told(one, series.label)]
    return [one.data for one in done]


def _told(done: FollowedSet, label: str) -> list[Finding]:
    findings = []
    if done.clipped:
        lost = f"; {len(done.lost)} of them have nothing left" if done.lost else ""
        text = f"{label}: {len(done.clipped)} regions follow the new skin{lost}. Targets and organs are as drawn."
        findings.append(Finding(Level.INFO, "outlines_follow", text, label))
    if done.foreign:
        numbers = ", ".join(map(str, done.foreign))
        text = f"{label}: ROIs {numbers} lie in a frame of reference without defaced CT and were emptied."
        findings.append(Finding(Level.WARNING, "foreign_regions", text, label))
    return findings


def _doses(series: Series, scans: Mapping[str, Sequence[Scan]], stamp: Stamp, out: Companions) -> list[bytes]:
    """The files of a series of doses."""
    done = [carry_rtdose(instance, scans[series.frame], stamp, out.sets) for instance in series.instances]
    zeroed = sum(one.zeroed for one in done)
    text = f"{series.label}: {zeroed} dose voxels outside the new skin were set to 0; its dose-volume histograms were removed."
    out.findings.append(Finding(Level.INFO, "dose_follows", text, series.label))
    return [one.data for one in done]
