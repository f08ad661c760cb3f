"""Every companion of the defaced CTs: what it becomes, and that no reference in the output leads out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fw_gear_hndeface.carry.frames import IMAGES, PLACED, Frames, Leader, reach_frames
from fw_gear_hndeface.carry.images import FollowedImages, follow_images
from fw_gear_hndeface.carry.objects import MAKERS, Made
from fw_gear_hndeface.dicom.references import Output
from fw_gear_hndeface.dicom.rtstruct import drawn_frames
from fw_gear_hndeface.dicom.series import Stack
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.uids import new_uid
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, Level, Plan

CARRIED = "carried"
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Fate:
    """What became of a series: `CARRIED` or `LEFT_OUT`, with numbers for the report."""

    series: Series
    fate: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Carried:
    """What is to be written beside the CTs, and what is to be told.

    Attributes
    ----------
    jobs : image volumes with the plan for each
    files : other objects, by their names in the archive
    output : all that the archive will hold, CTs too: references to anything else must go
    """

    fates: list[Fate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    jobs: list[tuple[Stack, Plan]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    output: Output = field(default_factory=Output)

    def leave_out(self, series: Series, reason: str) -> None:
        """Say that a series is not in the output, and why."""
        self.fates.append(Fate(series, LEFT_OUT))
        text = f"{series.label} may show the face and was left out: {reason}"
        self.findings.append(Finding(Level.WARNING, "left_out", text, series.label))


def carry(
    companions: Sequence[Series], leaders: Sequence[Leader], stamp: Stamp, *, other_frames: str = "drop", seed: int = 0
) -> Carried:
    """Everything of a job that can follow the defaced CTs; nothing is written yet.

    Parameters
    ----------
    companions : every series of the job that was not defaced by its own landmarks
    leaders : the defaced CTs
    stamp : `uids` must know all objects of the job
    other_frames : 'drop', 'register' or 'refuse', for frames of reference that no registration object leads to

    Raises
    ------
    GeometryError
        A companion in an unknown frame of reference, with other_frames='refuse'.
    """
    out = Carried()
    frames = reach_frames(leaders, companions, stamp.key, other_frames)
    out.findings += frames.findings
    work = _Work(leaders, frames, stamp, out)
    images = {n: series for n, series in enumerate(companions) if series.kind in IMAGES}
    objects = {n: series for n, series in enumerate(companions) if series.kind in MAKERS}
    followed = work.plan_images(images, seed)
    made = work.make_objects(objects, [images[n] for n in followed])
    for n, series in enumerate(companions):
        numbers: dict[str, Any] = {}
        if n in followed:
            out.jobs += followed[n].jobs
            numbers = {"changed_ml": round(followed[n].changed_ml, 2)}
        elif n in made:
            out.files |= {i.member.name: data for i, data in zip(series.instances, made[n].files, strict=True)}
            out.findings += made[n].findings
            numbers = made[n].numbers
        else:
            out.leave_out(series, work.reasons.get(n) or "this kind of object cannot follow the CT.")
            continue
        route = frames.routes.get(series.frame)
        out.fates.append(Fate(series, CARRIED, numbers | ({"registration": route} if route else {})))
    return out


@dataclass
class _Work:
    """The state of one job."""

    leaders: Sequence[Leader]
    frames: Frames
    stamp: Stamp
    out: Carried
    reasons: dict[int, str] = field(default_factory=dict)
    #: Frames of reference that structure sets are drawn in, by their UID and label: unpacking them takes long.
    drawn: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def plan_images(self, images: dict[int, Series], seed: int) -> dict[int, FollowedImages]:
        """Plans for the images that can follow; why the others cannot goes to `reasons`."""
        found = {}
        for n, series in images.items():
            try:
                self._require_frame(series)
                found[n] = follow_images(series, self.frames.scans[series.frame], seed + n, self.stamp.method)
            except InputError as error:
                self.reasons[n] = str(error)
        return found

    def make_objects(self, objects: dict[int, Series], images: Sequence[Series]) -> dict[int, Made]:
        """The other objects, made anew until none refers to one that could not be made."""
        rest = dict(objects)
        while True:
            self.out.output = self._output([*rest.values(), *images])
            stamp = replace(self.stamp, output=self.out.output)
            scans = {frame: found for frame, found in self.frames.scans.items() if frame in self.out.output.frames}
            made, failed = {}, {}
            for n, series in sorted(rest.items(), key=lambda pair: list(MAKERS).index(pair[1].kind)):
                try:
                    self._require_frame(series)
                    made[n] = MAKERS[series.kind](series, scans, stamp)
                except InputError as error:
                    failed[n] = str(error)
            if not failed:
                return made
            self.reasons |= failed
            rest = {n: series for n, series in rest.items() if n not in failed}

    def _require_frame(self, series: Series) -> None:
        """Raise `InputError` for what lies in a frame of reference that no defaced CT is seen from."""
        if series.kind not in PLACED:
            return
        frames = self._frames_of(series)
        if frames and not frames & set(self.frames.scans):
            told = [self.frames.failures[frame] for frame in frames if frame in self.frames.failures]
            reason = next(iter(told), "it has another frame of reference than the defaced CT. Add a registration object.")
            raise InputError(reason)

    def _frames_of(self, series: Series) -> set[str]:
        """Frames of reference that a series lies or is drawn in; none for what cannot be read."""
        if series.kind is not SeriesKind.RTSTRUCT:
            return {series.frame}
        key = series.uid, series.label
        if key not in self.drawn:
            try:
                self.drawn[key] = drawn_frames(series)
            except InputError:  # told when the series is made anew
                self.drawn[key] = set()
        return self.drawn[key]

    def _output(self, companions: Sequence[Series]) -> Output:
        """What the archive holds if these companions follow."""
        key = self.stamp.key
        slices = [(s.instance.uid, leader.stack.series) for leader in self.leaders for s in leader.stack.slices]
        others = [(instance.uid, series) for series in companions for instance in series.instances]
        written = [*slices, *others]
        studies = {series.study_uid for _, series in written}
        used = {frame for series in companions if series.kind in PLACED for frame in self._frames_of(series)}
        return Output(
            objects=frozenset({new_uid(uid, key) for uid, _ in written} | studies),
            series=frozenset(new_uid(series.uid, key, "series") for _, series in written),
            frames=frozenset({leader.frame for leader in self.leaders} | (used & set(self.frames.scans))),
            given=frozenset(value.decode() for value in self.stamp.uids.values()),
        )
