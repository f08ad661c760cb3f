"""Studies in a folder tree or a list: which files belong together, and the neutral name each study goes by."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fw_gear_hndeface.dicom.identity import FileKind, identify
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.errors import InputError

#: Hexadecimal digits of a name: 80 bits, so that two of a million studies share one with a chance of 10^-12.
STEM_DIGITS = 20


@dataclass(frozen=True)
class Found:
    """One study: the files that belong together and a name that tells nothing. Paths may hold names: never printed."""

    stem: str
    paths: tuple[Path, ...] = field(repr=False)
    #: Changes when a file is added, removed, or changes its size or time.
    quick: str
    size: int
    #: Time of the file that changed last, seconds since 1970.
    newest: float


@dataclass(frozen=True)
class Search:
    """What a search came back with: studies by name, and how many files are neither DICOM nor archives."""

    studies: tuple[Found, ...]
    others: int


@dataclass
class _Heap:
    """Files by what tells them apart while the search goes on."""

    by_study: dict[str, list[Path]] = field(default_factory=dict)
    alone: list[Path] = field(default_factory=list)
    others: int = 0


def find_studies(paths: Iterable[Path], key: bytes, limits: Limits, *, on_file: Callable[[], None]) -> Search:
    """The studies that a number of files make.

    Files of one StudyInstanceUID and patient are one study wherever they lie; an archive counts by its first DICOM object.
    A DICOM file that does not say its study, or a file that does not open, goes with the study of its folder if there is just
    one, else it is on its own: nothing that may be part of a study is passed over.

    Parameters
    ----------
    key : secret behind the names
    on_file : told of every file
    """
    heap = _Heap()
    for _, group in _by_folder(paths):
        _sort_folder(group, heap, limits, on_file)
    found = [_found(f"study|{identity}", files, key) for identity, files in heap.by_study.items()]
    found += [_found(f"content|{_digest(path)}", [path], key) for path in heap.alone]
    unique = {one.stem: one for one in sorted(found, key=lambda one: one.paths, reverse=True)}
    return Search(tuple(unique[stem] for stem in sorted(unique)), heap.others)


def files_below(root: Path, without: Path) -> Iterator[Path]:
    """Plain files below a folder, folder by folder, less those below `without` (the outputs); no link is followed.

    Raises
    ------
    InputError
        There is no such folder or file.
    """
    if not root.exists():
        raise InputError("SOURCE: no such file or folder.")
    if root.is_file():
        yield root
        return
    barred = without.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if Path(folder, name).resolve() != barred)
        for name in sorted(files):
            if stat.S_ISREG(Path(folder, name).lstat().st_mode):
                yield Path(folder, name)


def files_listed(lines: Iterable[str], without: Path) -> Iterator[Path]:
    """Files named by a list of files and folders, one a line; names that lead nowhere are given back as they are."""
    for line in lines:
        path = Path(line.rstrip("\n"))
        if not line.strip():
            continue
        if path.is_dir():
            yield from files_below(path, without)
        else:
            yield path


def _by_folder(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Files in runs of one folder each, as the walk gives them."""
    folder: Path | None = None
    group: list[Path] = []
    for path in paths:
        if folder is not None and path.parent != folder:
            yield folder, group
            group = []
        folder = path.parent
        group.append(path)
    if folder is not None:
        yield folder, group


def _sort_folder(group: list[Path], heap: _Heap, limits: Limits, on_file: Callable[[], None]) -> None:
    here: dict[FileKind, set[str]] = {kind: set() for kind in FileKind}
    strays: list[Path] = []
    labels: list[Path] = []
    for path in group:
        on_file()
        try:
            identity = identify(path, limits)
        except OSError:
            strays.append(path)
            continue
        if identity.study is not None:
            heap.by_study.setdefault(identity.study, []).append(path)
            here[identity.kind].add(identity.study)
        elif identity.kind is FileKind.ARCHIVE:
            heap.alone.append(path)
        elif identity.kind is FileKind.OTHER:
            heap.others += 1
        else:
            (labels if identity.kind is FileKind.LABELS else strays).append(path)
    _only(here[FileKind.DICOM], heap, heap.alone).extend(strays)
    home = _only(here[FileKind.DICOM] | here[FileKind.ARCHIVE], heap, [])
    maps = any(path.name.lower().endswith((".nii", ".nii.gz")) for path in labels)
    taken = labels if home and maps else []
    home += taken
    heap.others += len(labels) - len(taken)


def _only(studies: set[str], heap: _Heap, otherwise: list[Path]) -> list[Path]:
    """The files of the study when there is just one."""
    return heap.by_study[next(iter(studies))] if len(studies) == 1 else otherwise


def _found(identity: str, files: list[Path], key: bytes) -> Found:
    told = f"hndeface name|{identity}".encode("utf-8", "surrogateescape")
    stem = hmac.new(key, told, hashlib.sha256).hexdigest()[:STEM_DIGITS]
    ordered = tuple(sorted(set(files)))
    return Found(stem, ordered, *signature(ordered, key))


def signature(paths: Iterable[Path], key: bytes) -> tuple[str, int, float]:
    """A mark that changes with any file's name, size or time, or when one goes; all sizes together; the latest time."""
    digest, size, newest = hmac.new(key, digestmod=hashlib.sha256), 0, 0.0
    for path in paths:
        told = "gone"
        with suppress(OSError):
            seen = path.stat()
            told = f"{seen.st_size}|{seen.st_mtime_ns}"
            size, newest = size + seen.st_size, max(newest, seen.st_mtime)
        digest.update(f"{path.absolute()}|{told}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), size, newest


def _digest(path: Path) -> str:
    """What tells a file apart that names no study: its bytes, or its place where they cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return f"closed|{path.absolute()}"
