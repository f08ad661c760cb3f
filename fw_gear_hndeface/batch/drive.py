"""The order of a batch: find, choose, hand out, record, sum up."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fw_gear_hndeface.batch.discover import Found, Search, files_below, files_listed, find_studies
from fw_gear_hndeface.batch.ledger import Entry, Ledger, peek
from fw_gear_hndeface.batch.progress import Progress
from fw_gear_hndeface.batch.summary import counts_of, exit_code, write_summary
from fw_gear_hndeface.batch.work import HIDDEN, Task, key_mark, rules_of
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.errors import InputError, SettingsError
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.vocabulary import FAILED, NEW

Say = Callable[[str], None]
STDIN = "-"


@dataclass(frozen=True)
class Job:
    """What the user asked for.

    Parameters
    ----------
    source : a folder, an archive, or '-' for a list in `listed`
    listed : lines of that list
    scheduler : address of a dask scheduler; None for workers of this machine
    workers, memory_mb : None for what fits the machine
    only : ends of earlier runs; empty for all
    since : seconds since 1970; studies with no file as young are passed over
    crosswalk : file for the list of names and input paths, which identifies patients
    """

    source: str
    dest: Path
    settings: Settings
    key: bytes = field(repr=False)
    listed: Iterable[str] = ()
    scheduler: str | None = None
    workers: int | None = None
    memory_mb: int | None = None
    timeout_s: float = 1800.0
    only: tuple[str, ...] = ()
    since: float | None = None
    crosswalk: Path | None = None
    dry_run: bool = False
    quiet: bool = False


def run_batch(job: Job, say: Say) -> int:
    """Do every study that is not done yet and return the exit code of the whole.

    Raises
    ------
    SettingsError, InputError
        An output folder that cannot be used or is in use, a scheduler that does not answer, a source without studies.
    HndefaceError
        A ledger that cannot be written, a scheduler that is gone.
    """
    rules = rules_of(job.settings, job.key)
    if job.dry_run:
        chosen, todo = _choose(job, _search(job, say), peek(ledger_path(job.dest)), rules)
        _tell_plan(chosen, todo, say)
        return 0
    _check_crosswalk(job)
    with _locked(job.dest, say), Ledger(ledger_path(job.dest)) as ledger:
        search = _search(job, say)
        _write_crosswalk(job, search)
        chosen, todo = _choose(job, search, ledger.rows(), rules)
        say(f"{len(chosen)} studies, {len(chosen) - len(todo)} of them done already.")
        if todo:
            _work(job, todo, ledger, rules, say)
        ledger.settle()
        rows = ledger.rows()
        write_summary(list(rows.values()), job.dest)
    ended = [rows[study.stem] for study in chosen if study.stem in rows]
    _tell_end(ended, job.dest, say)
    return exit_code(ended)


def ledger_path(dest: Path) -> Path:
    """Where the ledger of an output folder lies."""
    return dest / HIDDEN / "ledger.sqlite"


def _search(job: Job, say: Say) -> Search:
    paths = files_listed(job.listed, job.dest) if job.source == STDIN else files_below(Path(job.source), job.dest)
    with Progress(None, "files", quiet=job.quiet, say=say) as progress:
        search = find_studies(paths, job.key, Limits.of(job.settings), on_file=progress.step)
    if not search.studies:
        raise InputError(f"SOURCE holds no study ({search.others} other files). Give a folder with archives or DICOM files.")
    if search.others:
        say(f"{search.others} files are neither DICOM nor archives; they were passed over.")
    return search


def _choose(job: Job, search: Search, rows: Mapping[str, Entry], rules: str) -> tuple[list[Found], list[Found]]:
    """The studies that were asked for, and those of them that must be done."""
    chosen = []
    for study in search.studies:
        row = rows.get(study.stem)
        state = NEW if row is None else row.verdict
        young = job.since is None or study.newest >= job.since
        if young and (not job.only or state in job.only):
            chosen.append(study)
    return chosen, [study for study in chosen if not is_done(study, rows.get(study.stem), rules, job.dest)]


def is_done(study: Found, row: Entry | None, rules: str, dest: Path) -> bool:
    """Whether the ledger knows an end of this very input under these very rules, and the outputs lie where it says."""
    if row is None or row.verdict == FAILED or row.quick != study.quick or row.rules != rules:
        return False
    try:
        return all((dest / study.stem / output.name).stat().st_size == output.size for output in row.outputs)
    except OSError:
        return False


def _work(job: Job, todo: list[Found], ledger: Ledger, rules: str, say: Say) -> None:
    from fw_gear_hndeface.batch.cluster import hire, size_of

    size = size_of(job.workers, job.memory_mb)
    limit = size.memory_mb if job.scheduler is None or job.memory_mb else 0
    mark = key_mark(job.key)
    tasks = (Task(study, job.dest.resolve(), job.settings, rules, mark, job.timeout_s, limit) for study in todo)
    with hire(job.scheduler, size) as crew:
        if crew.is_local:
            say(f"{size.workers} workers, {size.memory_mb} MB each.")
        if crew.dashboard:
            say(f"Dashboard: {crew.dashboard}")
        with Progress(len(todo), "studies", quiet=job.quiet, say=say) as progress:
            for entry in crew.outcomes(tasks):
                ledger.record(entry)
                progress.ended(entry)


@contextmanager
def _locked(dest: Path, say: Say) -> Iterator[None]:
    """Keep the output folder to ourselves, and clear what a run that was killed left unfinished."""
    hidden = dest / HIDDEN
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        handle = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(f"--output: the folder cannot be used ({error.strerror}).") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError("--output: another run of hndeface batch works into this folder. Wait for it.") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            say("This file system has no locks: take care that no other run of hndeface batch works into the folder.")
        _sweep(hidden)
        yield
        _sweep(hidden)
    finally:
        os.close(handle)


def _sweep(hidden: Path) -> None:
    for name in ("work", "marks"):
        shutil.rmtree(hidden / name, ignore_errors=True)


def _check_crosswalk(job: Job) -> None:
    if job.crosswalk is not None and job.crosswalk.resolve().is_relative_to(job.dest.resolve()):
        raise SettingsError(
            "--crosswalk: it names patients, so it must not lie in the output folder. Put it where only you can read."
        )


def _write_crosswalk(job: Job, search: Search) -> None:
    """Names of studies beside the paths of their files, readable by the user alone."""
    if job.crosswalk is None:
        return
    try:
        handle = os.open(job.crosswalk, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            for study in search.studies:
                for path in study.paths:
                    stream.write(f"{study.stem}\t{path}\n")
    except OSError as error:
        raise SettingsError(f"--crosswalk: the file cannot be written ({error.strerror}).") from error


def _tell_plan(chosen: list[Found], todo: list[Found], say: Say) -> None:
    for study in todo:
        say(f"{study.stem}  {len(study.paths)} files  {study.size / 1e6:.1f} MB")
    total = sum(study.size for study in todo) / 1e6
    done = len(chosen) - len(todo)
    say(f"{len(chosen)} studies, {done} done already, {len(todo)} to do, {total:.0f} MB. Nothing was written.")


def _tell_end(ended: list[Entry], dest: Path, say: Say) -> None:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in counts_of(ended).items())
    say(f"{len(ended)} studies: {counts}.")
    reasons = Counter(entry.reason for entry in ended if entry.verdict == FAILED)
    for reason, count in reasons.most_common(5):
        say(f"failed {count} times: {reason}")
    if reasons:
        say("Start again to try those that failed.")
    say(f"Look at {dest}: cohort.html, cohort.csv, cohort.json, and one folder per study.")
