"""Is a study safe to share, whoever defaced it? Every object in it, every attack on it, with or without the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from fw_gear_hndeface import __version__
from fw_gear_hndeface.casework import Case, locate
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.rtdose import shows_pictures
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import Contents, Series, SeriesKind, already_defaced, read_contents
from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.evaluate.placing import LOOKED_AT, Place, Placing, look_beside
from fw_gear_hndeface.evaluate.siblings import Seat, outline_head
from fw_gear_hndeface.evaluate.studies import LOOKING, Head, read_cases, rois_by_frame
from fw_gear_hndeface.evaluate.trial import costs, prepare
from fw_gear_hndeface.model import Mask, RoiKind, Volume
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.ops.skin import analysis_volume, find_body
from fw_gear_hndeface.privacy.attacks import Exposed, calm_tissue, expose
from fw_gear_hndeface.privacy.battery import Exposure, Original, remember, run_battery
from fw_gear_hndeface.verify import differing

#: How a face was placed where none was found.
NO_FACE = "no face found"
#: Objects that show a head in a way no attack is needed for.
PICTURES = {SeriesKind.LOCALIZER: "a localizer", SeriesKind.CAPTURE: "a capture"}
#: Objects that hold no picture and no outline.
HARMLESS = (SeriesKind.RTPLAN, SeriesKind.REG)


@dataclass(frozen=True)
class Sight:
    """One reason not to share: where (a series' label), through what, what it shows, and a sentence."""

    where: str
    through: str
    shows: str
    message: str


@dataclass
class Audit:
    """What was found, as it comes in."""

    sights: list[Sight] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, Any]] = field(default_factory=list)
    exposures: list[tuple[str, Exposure]] = field(default_factory=list)

    @property
    def is_safe(self) -> bool:
        """Whether nothing speaks against sharing."""
        return not self.sights

    def measures(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {
            "software": {"name": "hndeface", "version": __version__},
            "safe": self.is_safe,
            "sights": [asdict(sight) for sight in self.sights],
            "series": self.series,
            "heads": self.heads,
        }

    def tell(self, where: str, through: str, shows: str, message: str) -> None:
        """Add a reason not to share."""
        self.sights.append(Sight(where, through, shows, message))

    def judge(self, where: str, found: Sequence[Exposure], *, matched: bool) -> None:
        """Keep exposures, and tell once for every attack that gives something away.

        Parameters
        ----------
        matched : the original was there to compare with; then a face alone, whosever it is, is no reason.
        """
        self.exposures += [(where, one) for one in found]
        for attack in dict.fromkeys(one.attack for one in found):
            ones = [one for one in found if one.attack == attack]
            shows = [[what for what in one.shows if not (matched and what == "face")] for one in ones]
            told = list(dict.fromkeys(what for some in shows for what in some))
            if told:
                first = next(one.label for one, some in zip(ones, shows, strict=True) if some)
                what = f"the original's {', '.join(told)}" if matched else "a natural face"
                self.tell(where, attack, ", ".join(told), f"{where}: {what} shows, by {attack} ({first}).")


def audit(paths: Sequence[Path], originals: Sequence[Path], work: Path) -> Audit:
    """Look at every object of a study.

    Parameters
    ----------
    originals : the study as it was before, if there is one; empty otherwise
    work : folder for unpacking

    Raises
    ------
    InputError
        Nothing that can be read.
    """
    known = original_heads(originals, work) if originals else []
    found = Audit()
    with open_inputs(paths, Limits.of(LOOKING), work) as archive:
        contents = read_contents(archive)
        places = [place for case in _cases(contents, found) for place in [_audit_scan(case, known, found)] if place is not None]
        placing = Placing(places or [*_places_from_outlines(contents)], contents)
        for series in contents.series:
            _audit_series(series, placing, found)
    return found


def original_heads(paths: Sequence[Path], work: Path) -> list[Head]:
    """Every head of the study as it was before."""
    with open_inputs(paths, Limits.of(LOOKING), work) as archive:
        cases = read_cases(read_contents(archive))
    found = [(case, locate(case, LOOKING)) for case in cases]
    return [Head(case, *place) for case, place in found if place is not None]


def _cases(contents: Contents, found: Audit) -> Iterator[Case]:
    """CT volumes one by one; a series that cannot be read is told, for nobody knows what it shows."""
    rois = rois_by_frame(contents)
    for series in contents.series:
        if series.kind is not SeriesKind.CT:
            continue
        try:
            stacks = read_stacks(series)
        except HndefaceError as error:
            found.tell(series.label, "unreadable", "unknown", f"{series.label} could not be judged: {error}")
            continue
        for stack in stacks:
            yield Case(stack.volume, stack.padding, rois.get(series.frame, ()), stack.series.label)


def _audit_scan(case: Case, known: Sequence[Head], found: Audit) -> Place | None:
    """All attacks on one CT volume; where its face lies, for the objects beside it."""
    before = _same_place(case, known)
    exposed, landmarks, original, how = None, None, None, NO_FACE
    if before is not None:
        exposed, landmarks, how = _beside(case, before), before.face.landmarks, "original"
        original = remember(expose(before.case.scan, [before.scan.body], before.face.frame), landmarks)
    else:
        placed = place(case)
        if placed is not None:
            head, how = placed
            # the face may reach out of the window that it was found in
            bodies = [window.body for window in head_windows(head.scan.scan)]
            exposed, landmarks = expose(case.scan, bodies, head.face.frame), head.face.landmarks
    record: dict[str, Any] = {"series": case.label, "face_placed_by": how}
    found.heads.append(record)
    if exposed is None or landmarks is None:
        return None
    shown = run_battery(exposed, original)
    found.judge(case.label, shown, matched=original is not None)
    record["attacks"] = [one.measures() for one in shown]
    if before is not None and before.case.scan.grid.matches(case.scan.grid):
        record["cost"] = _costs(before, case.scan, original)
    return Place(Seat(exposed.rays, landmarks, original, case.scan.grid.frame), exposed, case.label)


def _same_place(case: Case, known: Sequence[Head]) -> Head | None:
    """The original that this volume was: on the same lattice, or with its eyes inside this volume."""
    same = [head for head in known if head.case.scan.grid.matches(case.scan.grid)]
    around = [head for head in known if bool(case.scan.grid.contains(head.face.frame.origin))]
    return next(iter([*same, *around]), None)


def _beside(case: Case, before: Head) -> Exposed:
    """A released volume in the frame of its original's face; what either shows as patient, or what was changed, is patient."""
    window = analysis_volume(case.scan, float(before.scan.body.grid.spacing_mm[0]), before.scan.body.grid)
    patient = [before.scan.body, find_body(window)]
    if before.case.scan.grid.matches(case.scan.grid):
        changed = differing(before.case.scan.array, case.scan.array)
        patient.append(Mask(case.scan.grid, changed, "changed"))
    return expose(case.scan, patient, before.face.frame)


def _costs(before: Head, after: Volume, original: Original | None) -> dict[str, Any]:
    ground = prepare(before, original)
    changed = differing(before.case.scan.array, after.array)
    return costs(ground, after, changed)


def place(case: Case) -> tuple[Head, str] | None:
    """A face in a volume that may be disguised, and what had to be done to find it; None where there is none."""
    for how, scan in _undisguised(case.scan):
        try:
            found = locate(replace(case, scan=scan), LOOKING)
        except HndefaceError:  # a face that is nowhere surely enough is looked for under the next disguise
            continue
        if found is not None:
            return Head(case, *found), how
    return None


def _undisguised(scan: Volume) -> Iterator[tuple[str, Volume]]:
    yield "scan", scan
    sigma = 3.0 / scan.grid.spacing_mm
    yield "smoothed scan", Volume(scan.grid, ndimage.gaussian_filter(scan.array.astype(np.float32), sigma))
    yield "calm tissue", Volume(scan.grid, np.where(calm_tissue(scan), np.float32(40.0), np.float32(-1000.0)))


def _places_from_outlines(contents: Contents) -> Iterator[Place]:
    """Where no scan shows where the face lies, a drawn outline of the patient may."""
    for frame, rois in rois_by_frame(contents).items():
        for roi in rois:
            if roi.kind is RoiKind.EXTERNAL and roi.contours_mm:
                placed = place(Case(outline_head(roi), None, (), "outline"))
                if placed is not None:
                    head = placed[0]
                    exposed = expose(head.case.scan, [head.scan.body], head.face.frame)
                    yield Place(Seat(exposed.rays, head.face.landmarks, None, frame), None)


def _audit_series(series: Series, placing: Placing, found: Audit) -> None:
    """One object beside the scans: a picture, or something that a face can be read from."""
    claim = already_defaced(series)
    found.series.append({"label": series.label, "kind": series.kind.value, "objects": len(series.instances), "claim": claim})
    if series.kind in PICTURES:
        what = PICTURES[series.kind]
        found.tell(series.label, series.kind.value, "head", f"{series.label} is {what}: it may show the head as it was.")
        return
    if series.kind in HARMLESS:
        return
    try:
        if series.instances[0].pixels.rows and shows_pictures(series):
            text = f"{series.label}: its headers carry icons or overlays, pictures of the slices or drawn on them."
            found.tell(series.label, "icon", "head", text)
        if not any(sight.where == series.label and sight.through == "unreadable" for sight in found.sights):
            _audit_sibling(series, placing, found)
    except HndefaceError as error:
        found.tell(series.label, "unreadable", "unknown", f"{series.label} could not be judged: {error}")


def _audit_sibling(series: Series, placing: Placing, found: Audit) -> None:
    """Everything that can be laid over a face; other images were judged by nobody."""
    if series.kind in LOOKED_AT:
        for shown in look_beside(series, placing):
            found.judge(series.label, shown.exposures, matched=shown.matched)
            if shown.message:
                found.tell(series.label, shown.through, shown.shows, shown.message)
    elif series.instances[0].pixels.rows:
        found.tell(series.label, series.kind.value, "unknown", f"{series.label} holds images nobody judged: leave it out.")
