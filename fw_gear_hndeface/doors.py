"""What the platform's door and the command line share: output names, words for a verdict, words for a failure."""

from __future__ import annotations

import ctypes
import errno
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.model import Finding, Level, Verdict
from fw_gear_hndeface.settings import Settings

_ENDINGS = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".dicom", ".dcm", ".ima")
#: What a process ends with that was asked to end (128 + SIGTERM).
STOPPED_CODE = 143

#: What the system says when it is not our fault, and what to do.
_SYSTEM_WORDS = {
    errno.ENOSPC: "The disk is full. Make room",
    errno.EFBIG: "A file would grow beyond what the system allows (ulimit -f). Raise it",
    errno.EDQUOT: "The disk quota is used up. Make room",
    errno.EACCES: "A file or folder may not be read or written. Check its permissions",
    errno.EPERM: "A file or folder may not be read or written. Check its permissions",
    errno.EROFS: "The output lies on a disk that is mounted read-only. Take another",
    errno.ENOENT: "A file or folder is gone that was there before. Check that nobody moves the input",
    errno.ESTALE: "The network file system lost a file. Check that nobody moves the input",
    errno.EIO: "The disk reports an error. Check it",
    errno.EMFILE: "Too many files are open. Raise the limit (ulimit -n)",
    errno.ENOTEMPTY: "Another process wrote the same output. Let one run at a time use the folder",
}
#: Freed memory that a process holds on to, at most; options of glibc's mallopt(3).
KEPT_BYTES = 2**30
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}

#: What each verdict means to the person who reads it.
VERDICT_WORDS: dict[Verdict, str] = {
    Verdict.DEFACED: "The face was changed and every check passed.",
    Verdict.PARTIAL: "Only part of a face is in view; that part was changed and every check passed.",
    Verdict.NO_FACE: "No face is in view; nothing was changed and no image was written.",
    Verdict.ALREADY_DEFACED: "The input is defaced already; nothing was changed and no image was written.",
    Verdict.REFUSED: "No result could be vouched for; no image was written.",
}


class Stopped(BaseException):
    """The process was asked to end."""


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM becomes `Stopped`, so that half-written files are cleared on the way out."""

    def stop(*_: Any) -> None:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def words_of(verdict: Verdict, findings: Iterable[Finding]) -> str:
    """What a verdict means to the person who reads it, with the findings in mind."""
    if verdict in (Verdict.DEFACED, Verdict.PARTIAL) and passed(verdict, findings) == "fail":
        return "An image was written although a check failed. Do not share it before a person has looked."
    return VERDICT_WORDS[verdict]


def stem_of(name: str) -> str:
    """The input's file name without its archive and DICOM endings, for naming outputs; never print it."""
    stem = Path(name).name
    while stem.lower().endswith(_ENDINGS):
        stem = stem.rpartition(".")[0]
    return stem or "input"


def words_for(error: BaseException) -> str:
    """One sentence for a failure. The text of an error we did not foresee may name a patient, so only its place is told."""
    if isinstance(error, HndefaceError):
        return str(error)
    if isinstance(error, MemoryError):
        return "Out of memory; nothing was written. Give the job more memory."
    if isinstance(error, OSError) and error.errno in _SYSTEM_WORDS:
        return f"{_SYSTEM_WORDS[error.errno]}, and run it again; nothing was written."
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "fw_gear_hndeface" in Path(frame.filename).parts]
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return f"Unexpected {type(error).__name__}{place}; nothing was written. Please report this place."


def frames_of(error: BaseException) -> str:
    """Where an error passed through: file, line and function, without messages or values."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join(f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)


def exit_code_of(error: BaseException) -> int:
    """What a process that failed with `error` ends with."""
    return error.exit_code if isinstance(error, HndefaceError) else 1


def passed(verdict: Verdict, findings: Iterable[Finding]) -> str:
    """The QC state of a run: pass, fail or na."""
    if verdict is Verdict.REFUSED or any(finding.level is Level.ERROR for finding in findings):
        return "fail"
    return "pass" if verdict in (Verdict.DEFACED, Verdict.PARTIAL) else "na"


def hush() -> None:
    """Silence libraries whose warnings quote DICOM values."""
    warnings.simplefilter("ignore")
    for library in ("pydicom", "matplotlib", "PIL"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def keep_memory() -> None:
    """Let the C library keep the memory of freed arrays for the next ones; nothing happens where it is not glibc's.

    By default every large array is new memory from the system, page by page: a tenth of a run's CPU seconds.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            library.mallopt(option, KEPT_BYTES)


def manifest_config() -> dict[str, dict[str, Any]]:
    """The `config` part of manifest.json, written from `Settings`."""
    kinds = get_type_hints(Settings)
    options: dict[str, dict[str, Any]] = {}
    for spec in fields(Settings):
        if not spec.metadata["platform"]:
            continue
        option: dict[str, Any] = {"type": _JSON_TYPES[kinds[spec.name]], "default": spec.default}
        option["description"] = spec.metadata["help"]
        if spec.metadata["choices"]:
            option["enum"] = list(spec.metadata["choices"])
        if spec.metadata["low"] is not None:
            option |= {"minimum": spec.metadata["low"], "maximum": spec.metadata["high"]}
        options[spec.name] = option
    return options
