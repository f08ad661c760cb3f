"""One study on a worker: read, deface, and put the whole folder of outputs in place by one rename. Knows nothing of dask."""

from __future__ import annotations

import faulthandler
import hashlib
import hmac
import json
import os
import resource
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from fw_gear_hndeface import __version__
from fw_gear_hndeface.batch.discover import Found, signature
from fw_gear_hndeface.batch.ledger import RECEIPT, Entry, Output
from fw_gear_hndeface.doors import exit_code_of, hush, words_for, words_of
from fw_gear_hndeface.errors import HndefaceError, InputError, SettingsError
from fw_gear_hndeface.files import sync_file, sync_folder, write_whole
from fw_gear_hndeface.keys import uid_key
from fw_gear_hndeface.model import Level, Result, Verdict
from fw_gear_hndeface.pipeline import deface
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.vocabulary import FAILED, UNREADABLE

#: Below the output folder: ledger, lock, unfinished work, marks of studies that took too long.
HIDDEN = ".hndeface"
MB = 1_000_000

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """What a worker is told. The key is not part of it: each worker reads its own, and `key_mark` says whether it is ours.

    Parameters
    ----------
    timeout_s : after which the worker ends itself
    memory_mb : most memory the process may take for its data; 0 for no limit
    """

    study: Found
    dest: Path = field(repr=False)
    settings: Settings
    rules: str
    key_mark: str
    timeout_s: float
    memory_mb: int = 0
    version: str = __version__


def key_mark(key: bytes) -> str:
    """Tells two keys apart without telling either."""
    return hmac.new(key, b"hndeface key mark", hashlib.sha256).hexdigest()[:16]


def rules_of(settings: Settings, key: bytes) -> str:
    """The mark of everything but the input that decides what comes out."""
    told = json.dumps({"settings": asdict(settings), "version": __version__, "key": key_mark(key)}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def work_off(task: Task) -> Entry:
    """Do one study and say how it ended; nothing but the loss of the whole process keeps it from saying so."""
    hush()
    started = time.monotonic()
    blank = Entry(task.study.stem, task.study.quick, task.rules, "", FAILED, 1)
    with _one_at_a_time:  # limits of time and memory are the process's: a worker with several threads takes turns
        try:
            entry = _done(task, blank)
        except InputError as error:
            entry = replace(blank, verdict=UNREADABLE, code=error.exit_code, reason=str(error))
        except Exception as error:
            entry = replace(blank, code=1 if isinstance(error, SettingsError) else exit_code_of(error), reason=words_for(error))
    return replace(entry, seconds=round(time.monotonic() - started, 2))


def _done(task: Task, blank: Entry) -> Entry:
    key = _same_rules(task)
    mark = task.dest / HIDDEN / "marks" / task.study.stem
    _refuse_second_try(mark)
    fingerprint = _fingerprint(task)
    before = taken_up(task, fingerprint)
    if before is not None:
        return before
    work = task.dest / HIDDEN / "work" / f"{task.study.stem}-{uuid.uuid4().hex}"
    staged = work / "staged"
    staged.mkdir(parents=True)
    try:
        with _time_limit(task.timeout_s, mark), _memory_limit(task.memory_mb):
            entry = _defaced(task, replace(blank, fingerprint=fingerprint), staged, key)
        if signature(task.study.paths, key)[0] != task.study.quick:
            raise HndefaceError("The input changed while it was read; nothing was kept of it. Start again when it is at rest.")
        commit(task.dest, entry, staged, work)
        return entry
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _same_rules(task: Task) -> bytes:
    """This worker's key, which must be the driver's, as must be the version."""
    if task.version != __version__:
        raise SettingsError(f"This worker runs version {__version__}, the driver {task.version}. Give all the same version.")
    key = uid_key()
    if not hmac.compare_digest(key_mark(key), task.key_mark):
        raise SettingsError("This worker's key is not the driver's. Set HNDEFACE_KEY_FILE to the same key on all workers.")
    return key


def _refuse_second_try(mark: Path) -> None:
    """A study that ran out of time took its worker with it; here it comes again, and is not tried again."""
    told = mark.read_text(encoding="utf-8", errors="replace") if mark.exists() else ""
    if told:
        raise HndefaceError(f"It took longer than the time limit{_place(told)}. Raise --timeout, or leave it out.")


def _place(traceback: str) -> str:
    """The innermost line of our own code in a dump of stacks; no value is in it."""
    for line in traceback.splitlines():
        if "fw_gear_hndeface" in line and "batch" not in line:
            parts = line.split('"')
            return f", in {Path(parts[1]).name}{parts[2]}" if len(parts) == 3 else ""
    return ""


def _fingerprint(task: Task) -> str:
    """Mark of the input's names and bytes and of the rules.

    Raises
    ------
    OSError
        An input file that is gone or closed.
    """
    digest = hashlib.sha256(f"{task.rules}\n".encode())
    for path in task.study.paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def taken_up(task: Task, fingerprint: str) -> Entry | None:
    """The end of an earlier run that did the same and whose outputs are all there, byte for byte."""
    folder = task.dest / task.study.stem
    try:
        entry = Entry.of_receipt(json.loads((folder / RECEIPT).read_text(encoding="utf-8")), task.study.quick)
    except (OSError, ValueError):
        return None
    if entry.fingerprint != fingerprint or entry.rules != task.rules or entry.stem != task.study.stem:
        return None
    try:
        whole = all(_output(folder / one.name) == one for one in entry.outputs)
    except OSError:
        return None
    return entry if whole else None


def _defaced(task: Task, blank: Entry, staged: Path, key: bytes) -> Entry:
    scratch = staged.parent / "scratch"
    scratch.mkdir()
    try:
        made = deface(task.study.paths, scratch, task.study.stem, task.settings, key=key, on_progress=_quiet)
    except InputError as error:
        return replace(blank, verdict=UNREADABLE, code=error.exit_code, reason=str(error))
    for path in made.files:
        sync_file(path)
        path.replace(staged / path.name)
    outputs = tuple(_output(staged / path.name) for path in made.files)
    return replace(blank, verdict=made.result.verdict.value, code=made.exit_code, reason=_reason(made.result), outputs=outputs)


def _quiet(_stage: str, _share: float) -> None:
    """Nobody watches one study."""


def _reason(result: Result) -> str:
    """Why a study was refused, or what its verdict means."""
    errors = [finding.message for finding in result.findings if finding.level is Level.ERROR]
    return errors[0] if errors and result.verdict is Verdict.REFUSED else words_of(result.verdict, result.findings)


def _output(path: Path) -> Output:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Output(path.name, path.stat().st_size, digest)


def commit(dest: Path, entry: Entry, staged: Path, work: Path) -> None:
    """Put the outputs and their receipt in place: one rename, before which there is nothing and after which all.

    Outputs of an earlier input or of other settings go first. An input that cannot be read has no outputs, and no folder.
    """
    final = dest / entry.stem
    if entry.outputs:
        write_whole(staged / RECEIPT, (json.dumps(entry.receipt(), indent=2) + "\n").encode())
    if final.exists():
        final.rename(work / "before")
    if entry.outputs:
        os.replace(staged, final)  # noqa: PTH105  Path.replace says the same; this one is the commit
    sync_folder(dest)


@contextmanager
def _time_limit(seconds: float, mark: Path) -> Iterator[None]:
    """End this process after `seconds`, and leave where it was in `mark`: a watch that no stuck library can hold up."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    with mark.open("w", encoding="utf-8") as stream:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    with suppress(OSError):
        mark.unlink()


@contextmanager
def _memory_limit(megabytes: int) -> Iterator[None]:
    """Let this process take no more memory than that for its data: the study fails, the worker lives."""
    if not megabytes:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = megabytes * MB if before[1] == resource.RLIM_INFINITY else min(megabytes * MB, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
