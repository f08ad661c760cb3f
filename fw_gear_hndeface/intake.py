"""Label maps of a job, NIfTI and DICOM SEG, each given to the CT it lies on; one that lies on none is never passed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fw_gear_hndeface.dicom import seg
from fw_gear_hndeface.dicom.archive import Archive
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, LabelMap, Level, Volume
from fw_gear_hndeface.nifti import GivenLabels, read_label_maps, split
from fw_gear_hndeface.ops.labels import misfit, sides_swapped


@dataclass
class Labels:
    """The label maps of a job: those given as NIfTI, those of SEG series, and what was noticed."""

    given: tuple[GivenLabels, ...] = ()
    segmented: list[GivenLabels] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    #: Why each map, by its place of origin, does not lie on a CT that was looked at; None once it lies on one.
    reasons: dict[str, str | None] = field(default_factory=dict)

    def read_segmentations(self, series: Sequence[Series], frames: set[str]) -> None:
        """Add the SEG series drawn in a CT's frame of reference; others, and those that cannot be read, are named."""
        for one in series:
            if one.kind is not SeriesKind.SEG:
                continue
            try:
                maps, findings = seg.read_label_maps(one)
            except InputError as error:
                text = f"{error} Its segments protect nothing."
                self.findings.append(Finding(Level.WARNING, "segmentation_left_out", text, one.label))
                continue
            self.findings += findings
            if any(labels.grid.frame not in frames for labels in maps):
                text = f"{one.label}: its frame of reference is not the CT's, so its segments protect nothing."
                self.findings.append(Finding(Level.WARNING, "frame_mismatch", text, one.label))
            self.segmented += [GivenLabels(labels, one.label) for labels in maps if labels.grid.frame in frames]

    def on(self, scan: Volume) -> tuple[LabelMap, ...]:
        """The maps that lie on a CT volume."""
        found = []
        near = [one for one in self.segmented if one.labels.grid.frame == scan.grid.frame]
        for one in (*self.given, *near):
            reason = misfit(one.labels, scan)
            if reason is None:
                found.append(one.labels)
                if self.reasons.get(one.where, "") is not None:
                    self.findings += sides_swapped(one.labels, one.where)
            self.reasons[one.where] = None if reason is None else self.reasons.get(one.where, reason)
        return tuple(found)

    def settle(self) -> None:
        """Say which maps lay on no CT.

        Raises
        ------
        InputError
            A map that was given by hand lies on none: it is not what the user thinks it is.
        """
        for one in self.given:
            if reason := self.reasons.get(one.where):
                raise InputError(f"{one.where}: {reason} Give the label map made on this CT, or leave it out.")
        for one in self.segmented:
            if reason := self.reasons.get(one.where):
                self.findings.append(Finding(Level.WARNING, "labels_unused", f"{one.where}: {reason}", one.where))


def take_labels(archive: Archive, table: str) -> tuple[Archive, Labels]:
    """The archive without its NIfTI label maps, and those maps.

    Raises
    ------
    InputError
        As `nifti.read_label_maps`.
    """
    rest, maps, sidecars = split(archive)
    given, findings = read_label_maps(maps, sidecars, table)
    return rest, Labels(given, findings=list(findings))
