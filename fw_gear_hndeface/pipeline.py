"""The order of the work: read, locate, protect, plan, verify, assess, write, report; one move at the end."""

from __future__ import annotations

import re
import resource
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fw_gear_hndeface import __version__
from fw_gear_hndeface.carry import LEFT_OUT, Leader, carry
from fw_gear_hndeface.casework import Case, Defaced, deface_case, no_face_reason
from fw_gear_hndeface.dicom.archive import Archive, ArchiveWriter, open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.rtstruct import RoiSet, read_rois
from fw_gear_hndeface.dicom.series import Stack, read_stacks
from fw_gear_hndeface.dicom.split import split_series
from fw_gear_hndeface.dicom.study import Series, SeriesKind, already_defaced, read_contents
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.uids import uid_map
from fw_gear_hndeface.dicom.write import write_stacks
from fw_gear_hndeface.errors import HndefaceError, InputError, LandmarkError, PrivacyError, SettingsError
from fw_gear_hndeface.files import sync_file, sync_folder
from fw_gear_hndeface.intake import Labels, take_labels
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.report.exhibit import Exhibit
from fw_gear_hndeface.report.write import write_report
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.together import follow_leader, leader_of

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Staged:
    """A finished run whose files still lie in the work folder, ready to be moved."""

    result: Result
    files: tuple[Path, ...]
    exit_code: int


@dataclass
class _Run:
    """What a run gathers on its way."""

    settings: Settings
    seed: int
    progress: Progress
    findings: list[Finding] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    #: Every series of the job, and those beside the CT whose fate is open.
    series: tuple[Series, ...] = ()
    companions: list[Series] = field(default_factory=list)
    labels: Labels = field(default_factory=Labels)
    done: list[tuple[Stack, Defaced]] = field(default_factory=list)
    #: What lay in the work folder at its fullest, MB.
    disk_mb: int | None = None
    #: CT series in which no face was found, or none surely enough, with the error if it was one.
    faceless: list[tuple[Series, LandmarkError | None]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, share: float) -> Iterator[None]:
        """Time a stage and tell how far the run is."""
        self.progress(name, share)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)

    def fate(self, series: Series, fate: str, numbers: Mapping[str, Any] | None = None) -> None:
        """Say what became of a series, with numbers for the report."""
        entry = {"label": series.label, "modality": series.modality, "kind": series.kind.value, "fate": fate}
        self.objects.append({**entry, **(numbers or {})})

    def note(self, code: str, message: str, where: str, level: Level = Level.WARNING) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, code, message, where))


def deface(inputs: Sequence[Path], work: Path, stem: str, settings: Settings, *, key: bytes, on_progress: Progress) -> Staged:
    """Deface one study and stage its files in `work`.

    Parameters
    ----------
    stem : of the output names; it never goes into a file's content or a message.
    key : secret behind new UIDs.

    Raises
    ------
    SettingsError, InputError
        Nothing is staged. Every other foreseen failure becomes the verdict `refused` with a report and no image.
    """
    run = _Run(settings, settings.seed or secrets.randbelow(2**31 - 1) + 1, on_progress)
    started = time.perf_counter()
    try:
        images, verdict = _images(inputs, work, stem, run, key)
        code = _privacy_code(run)
    except (SettingsError, InputError):
        raise
    except HndefaceError as error:
        run.findings += error.findings
        run.note(type(error).__name__.removesuffix("Error").lower(), str(error), "study", Level.ERROR)
        _withdraw(run)
        images, verdict, code = (), Verdict.REFUSED, error.exit_code
    for series in run.companions:
        run.fate(series, LEFT_OUT)
        run.note("left_out", f"{series.label} was left out: no defaced CT is there for it to follow.", series.label)
    result = _result(run, verdict, started)
    with run.stage("report", 0.95):
        reports = write_report(result, folder=work, stem=stem, settings=settings, exhibit=_exhibit(run))
    on_progress("done", 1.0)
    return Staged(result, (*images, *reports), code)


def _withdraw(run: _Run) -> None:
    """Nothing of a refused study leaves, whatever was done already: every series but the companions gets its fate anew."""
    run.done.clear()
    run.objects.clear()
    for series in run.series:
        if not any(series is companion for companion in run.companions):
            run.fate(series, "left out: the study was refused")


def publish(staged: Staged, output: Path) -> tuple[Path, ...]:
    """Move the staged files into the output folder, each under a temporary name first, so that none is ever half there."""
    output.mkdir(parents=True, exist_ok=True)
    halves: list[tuple[Path, Path]] = []
    try:
        for source in staged.files:
            half = output / f".{source.name}.part"
            halves.append((half, output / source.name))
            shutil.copyfile(source, half)
            sync_file(half)
        for half, final in halves:
            half.replace(final)
        sync_folder(output)
    finally:
        for half, _ in halves:
            half.unlink(missing_ok=True)
    return tuple(final for _, final in halves)


def _images(inputs: Sequence[Path], work: Path, stem: str, run: _Run, key: bytes) -> tuple[tuple[Path, ...], Verdict]:
    """The staged image archive, if any, and the verdict."""
    with open_inputs(inputs, Limits.of(run.settings), work) as archive:
        with run.stage("read", 0.0):
            scans, rois = _sort(archive, run)
        if not scans:
            return (), Verdict.ALREADY_DEFACED
        for number, series in enumerate(scans):
            _deface_series(series, rois, run, 0.1 + 0.7 * number / len(scans))
        _settle_faceless(run)
        run.labels.settle()
        run.findings += run.labels.findings
        if not run.done:
            return (), Verdict.NO_FACE
        path = work / f"{stem}_hndeface.dicom.zip"
        with run.stage("write", 0.8), ArchiveWriter(path) as writer:
            _write(writer, run, key)
        run.disk_mb = _disk_mb(work)
        paths = (path, *(split_series(path, Limits.of(run.settings)) if run.settings.series_archives else ()))
    whole = all(made.face.is_whole for _, made in run.done)
    return paths, Verdict.DEFACED if whole else Verdict.PARTIAL


def _sort(archive: Archive, run: _Run) -> tuple[list[Series], dict[str, RoiSet]]:
    """The CT series to deface, the drawn regions by frame of reference, and a fate for everything else."""
    archive, run.labels = take_labels(archive, run.settings.label_table)
    contents = read_contents(archive)
    run.findings += contents.findings
    found = [series for series in contents.series if series.kind is SeriesKind.CT]
    # an Enhanced CT beside others is left out like any companion that cannot follow; alone it ends the job, in words
    scans = [series for series in found if not series.is_multi_frame] or found
    if not scans:
        raise InputError("The input holds no CT series with slices. Give the CT that the study was planned on.")
    rois = _read_rois([s for s in contents.series if s.kind is SeriesKind.RTSTRUCT], {s.frame for s in scans}, run)
    run.labels.read_segmentations(contents.series, {s.frame for s in scans})
    run.series = contents.series
    run.companions = [series for series in contents.series if not any(series is scan for scan in scans)]
    return [series for series in scans if not _is_done_already(series, run)], rois


def _is_done_already(series: Series, run: _Run) -> bool:
    reason = already_defaced(series)
    if reason is not None:
        run.fate(series, "left out: already defaced")
        run.note("already_defaced", f"{series.label} is already defaced ({reason}).", series.label, Level.INFO)
    return reason is not None


def _read_rois(sets: Sequence[Series], frames: set[str], run: _Run) -> dict[str, RoiSet]:
    """Drawn regions by frame of reference; those of a frame no CT has cannot protect anything and are named."""
    found: dict[str, RoiSet] = {}
    for series in sets:
        for drawn in read_rois(series):
            run.findings += drawn.findings
            if drawn.frame not in frames:
                text = (
                    f"{series.label}: its frame of reference is not the CT's, so its {len(drawn.rois)} regions protect "
                    "nothing. Give the structure set drawn on this CT."
                )
                run.note("frame_mismatch", text, series.label)
                continue
            before = found.get(drawn.frame, RoiSet(drawn.frame, (), ()))
            found[drawn.frame] = RoiSet(drawn.frame, before.rois + drawn.rois, ())
    return found


def _deface_series(series: Series, rois: dict[str, RoiSet], run: _Run, share: float) -> None:
    """Deface every stack of a series, or say why nothing of it leaves."""
    with run.stage("read", share):
        stacks = read_stacks(series)
    made: list[tuple[Stack, Defaced]] = []
    doubt: LandmarkError | None = None
    for stack in stacks:
        run.findings += stack.findings
        case = Case(stack.volume, stack.padding, rois[series.frame].rois if series.frame in rois else (), series.label)
        case = replace(case, labels=run.labels.on(stack.volume))
        try:
            result = _together(case, [*run.done, *made], run) or deface_case(case, run.settings, run.seed, run.stage)
        except LandmarkError as error:  # another CT of the study may show the face better
            doubt = doubt or error
            continue
        if result is None:
            run.note("no_face", f"{series.label}: {no_face_reason(case)}", series.label, Level.INFO)
        else:
            run.findings += result.findings
            made.append((stack, result))
    if made:
        run.fate(series, "defaced")
    else:
        run.faceless.append((series, doubt))
    if made and len(made) < len(stacks):
        run.note("stack_left_out", f"{series.label}: volumes without a face in view were left out.", series.label)
    run.done += made


def _together(case: Case, done: Sequence[tuple[Stack, Defaced]], run: _Run) -> Defaced | None:
    """A volume defaced by the plan of one on the same grid; None where there is none, or where its plan does not do."""
    leader = leader_of(case.scan, [(stack.volume, made) for stack, made in done])
    if leader is None:
        return None
    result = follow_leader(case, leader, run.settings, run.stage)
    if result is None:
        text = f"{case.label}: the plan of another volume on the same grid does not do here; it has one of its own."
        run.note("own_plan", text, case.label)
    return result


def _settle_faceless(run: _Run) -> None:
    """CTs without a face of their own follow those that have one; alone, they decide how the run ends."""
    for series, error in run.faceless:
        if run.done:
            run.companions.append(series)
        elif error is not None:
            raise error
        else:
            run.fate(series, "left out: no face in view")


def _write(writer: ArchiveWriter, run: _Run, key: bytes) -> None:
    passed = all(made.passed for _, made in run.done)
    stamp = Stamp(
        version=__version__,
        method=run.settings.method,
        description=f"Face changed by hndeface {__version__}, method {run.settings.method}; new skin and air in the face zone.",
        key=key,
        image_type=run.settings.image_type,
        claim=passed,
        uids=uid_map((i.uid for s in run.series for i in s.instances), (s.uid for s in run.series), key),
    )
    leaders = [Leader(stack, made.plan, tuple(cost.roi for cost in made.rois), made.face.frame) for stack, made in run.done]
    carried = carry(run.companions, leaders, stamp, other_frames=run.settings.other_frames, seed=run.seed)
    stamp = replace(stamp, output=carried.output)
    written = write_stacks(writer, [*((leader.stack, leader.plan) for leader in leaders), *carried.jobs], stamp)
    if written.pictures:
        text = f"{written.pictures} slices carried icons, overlays or curves, which may show the face; these were left out."
        run.note("pictures_left_out", text, "study", Level.INFO)
    for name, data in carried.files.items():
        writer.write(name, data)
    run.companions.clear()
    run.findings += carried.findings
    for one in carried.fates:
        run.fate(one.series, one.fate, one.numbers)


def _privacy_code(run: _Run) -> int:
    """0, or the code of a privacy failure that the settings let through for research."""
    if all(made.passed for _, made in run.done):
        return 0
    text = "The result can be matched to the original. It was written because privacy=report, without any claim of defacing."
    run.note("privacy_failed", text, "study", Level.ERROR)
    return PrivacyError.exit_code


def _result(run: _Run, verdict: Verdict, started: float) -> Result:
    measures: dict[str, Any] = {"method": run.settings.method, "objects": run.objects}
    for _, made in run.done[:1]:
        measures |= made.measures()
    for name in ("removed_ml", "added_ml", "retextured_ml"):
        if run.done:
            measures[name] = round(sum(getattr(made.cost, name) for _, made in run.done), 2)
    measures["seconds"] = {**run.seconds, "total": round(time.perf_counter() - started, 3)}
    measures["peak_mb"], measures["disk_mb"] = _peak_mb(), run.disk_mb
    plan = run.done[0][1].plan if run.done else None
    return Result(verdict, plan, tuple(run.findings), measures)


def _disk_mb(work: Path) -> int:
    """What is in the work folder: what was unpacked, and the new archive. No stage holds more."""
    return round(sum(path.stat().st_size for path in work.rglob("*") if path.is_file()) / 1e6)


def _peak_mb() -> int:
    """Most memory the process ever held, MB. Linux tells it of this program; getrusage counts what its parent held, too."""
    status = Path("/proc/self/status")
    told = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace")) if status.exists() else None
    if told:
        return round(int(told[1]) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024))


def _exhibit(run: _Run) -> Exhibit:
    return run.done[0][1].exhibit if run.done else Exhibit()
