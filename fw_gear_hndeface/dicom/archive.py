"""Inputs of any mix as one list of members, and the zip that goes out."""

from __future__ import annotations

import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from isal import isal_zlib

from fw_gear_hndeface.ahead import in_order
from fw_gear_hndeface.dicom.containers import (
    SNIFF_BYTES,
    Entry,
    Source,
    Span,
    container_kind,
    folder_entries,
    tar_entries,
    unpack,
    zip_entries,
)
from fw_gear_hndeface.dicom.limits import Budget, Limits
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.files import sync_file
from fw_gear_hndeface.model import Finding, Level

_DOS_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16


@dataclass(frozen=True)
class Member:
    """One input file. `where` may be logged, `name` may not: people put names into file names."""

    name: str
    size: int
    order: int
    where: str
    source: Source

    def head(self, count: int) -> bytes:
        """The first `count` bytes, or all of a shorter file."""
        return self.source.head(count)

    def read(self) -> bytes:
        """All bytes; InputError when the archive does not hold what it promised."""
        return self.source.read()


@dataclass(frozen=True)
class Archive:
    """All input files in a fixed order, and what was noticed on the way."""

    members: tuple[Member, ...]
    findings: tuple[Finding, ...]


def read_all(members: Iterable[Member]) -> Iterator[bytes]:
    """All bytes of each member, in their order; while one is worked on the next ones are inflated."""
    return in_order(lambda member: member.read(), members)


@contextmanager
def open_inputs(paths: Sequence[Path], limits: Limits, work: Path) -> Iterator[Archive]:
    """Zips, tars, folders and single files as one archive; nested archives are unpacked below `work` while it is open.

    Raises
    ------
    InputError
        Nothing there, damaged, encrypted, a link, a name that climbs out, a name given twice, or more than the limits allow.
    """
    if not paths:
        raise InputError("No input was given. Name a zip, a tar, a folder or DICOM files.")
    with tempfile.TemporaryDirectory(dir=work, prefix="unpacked-") as temporary:
        opener = _Opener(Budget(limits), Path(temporary))
        entries = opener.open_all(paths)
        _refuse_duplicates(entries)
        members = tuple(Member(e.name, e.size, order, e.where, e.source) for order, e in enumerate(entries))
        yield Archive(members, opener.findings())


def _refuse_duplicates(entries: Sequence[Entry]) -> None:
    if not entries:
        raise InputError("The input holds no file.")
    counts = Counter(entry.name for entry in entries)
    twice = [entry.where for entry in entries if counts[entry.name] > 1]
    if twice:
        raise InputError(f"{twice[-1]}: {len(twice)} files share a name with another. Repack the input with unique names.")


class _Opener:
    """Opens containers inside containers down to the allowed depth."""

    def __init__(self, budget: Budget, temporary: Path) -> None:
        self._budget = budget
        self._temporary = temporary
        self._unpacked = 0
        self._links = 0

    def findings(self) -> tuple[Finding, ...]:
        """What the reader of the report should know."""
        if not self._links:
            return ()
        text = f"{self._links} symbolic links or devices in the input folder were not followed."
        return (Finding(Level.WARNING, "links_ignored", text),)

    def open_all(self, paths: Sequence[Path]) -> list[Entry]:
        """Every file of every input, in order."""
        entries: list[Entry] = []
        taken: set[str] = set()
        for number, path in enumerate(paths, start=1):
            name = path.name if path.name not in taken else f"{number}-{path.name}"
            taken.add(name)
            prefix = "" if len(paths) == 1 else f"{name}/"
            entries += self._open_path(path, f"input {number}", name, prefix)
        return entries

    def _open_path(self, path: Path, where: str, name: str, prefix: str) -> list[Entry]:
        if path.is_dir():
            found, links = folder_entries(path, where, self._budget)
            self._links += links
            return [leaf for entry in found for leaf in self._open(_prefixed(entry, prefix), 0)]
        if not path.is_file():
            raise InputError(f"{where}: no such file or folder.")
        size = path.stat().st_size
        entry = Entry(name, size, where, Span(path, 0, size, where))
        kind = container_kind(entry.source.head(SNIFF_BYTES), name, where)
        if kind is None:
            self._budget.add_member(where, size)
            return [entry]
        return self._open_container(entry, kind, prefix, 0)

    def _open(self, entry: Entry, depth: int) -> list[Entry]:
        kind = container_kind(entry.source.head(SNIFF_BYTES), entry.name, entry.where)
        if kind is None:
            return [entry]
        if depth >= self._budget.limits.nesting:
            raise InputError(f"{entry.where}: archives inside archives, more than {depth} deep (max_nesting).")
        return self._open_container(entry, kind, f"{entry.name}/", depth + 1)

    def _open_container(self, entry: Entry, kind: str, prefix: str, depth: int) -> list[Entry]:
        path = self._as_file(entry)
        if kind in ("gz", "bz2", "xz"):
            path, inner = self._unpack(path, kind, entry)
            if container_kind(inner.source.head(SNIFF_BYTES), inner.name, entry.where) != "tar":
                self._budget.add_member(inner.where, inner.size)
                return self._open(inner, depth)
            kind = "tar"
        listing = zip_entries if kind == "zip" else tar_entries
        found = listing(path, entry.where, self._budget)
        return [leaf for inside in found for leaf in self._open(_prefixed(inside, prefix), depth)]

    def _unpack(self, path: Path, kind: str, entry: Entry) -> tuple[Path, Entry]:
        target = self._new_file()
        unpack(path, kind, target, entry.where, self._budget)
        size = target.stat().st_size
        name = str(Path(entry.name).with_suffix("")) if Path(entry.name).suffix else entry.name
        return target, Entry(name, size, entry.where, Span(target, 0, size, entry.where))

    def _as_file(self, entry: Entry) -> Path:
        if isinstance(entry.source, Span) and entry.source.offset == 0:
            return entry.source.path
        target = self._new_file()
        with target.open("wb") as out:
            for part in entry.source.chunks():
                out.write(part)
        return target

    def _new_file(self) -> Path:
        self._unpacked += 1
        return self._temporary / f"{self._unpacked}.bin"


def _prefixed(entry: Entry, prefix: str) -> Entry:
    return Entry(prefix + entry.name, entry.size, entry.where, entry.source)


class ArchiveWriter:
    """A zip written beside its final name and renamed when whole: same members, same bytes.

    Use as a context manager; leaving it by an exception removes what was written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._zip.close()
            if kind is None:
                sync_file(self._part)
                self._part.replace(self._path)
        except (OSError, ValueError):
            if kind is None:  # otherwise the first failure is the one to tell
                raise
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> None:
        """Add one member; a name given twice is our own mistake."""
        self._add(_Deflated.of((name, data)))

    def write_all(self, members: Iterable[tuple[str, bytes]]) -> None:
        """Add members in their order; while one is made the one before is deflated."""
        for member in in_order(_Deflated.of, members):
            self._add(member)

    def _add(self, member: _Deflated) -> None:
        name = member.name
        if name in self._zip.NameToInfo:
            raise ValueError("a member of that name was written before")
        info = zipfile.ZipInfo(name, _DOS_EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = _FILE_MODE
        info.file_size = len(member.data)
        with self._zip.open(info, "w") as out:
            # zipfile has no door for another deflate; ISA-L is 2.4 times faster. Where the inside changes, zlib 1 stays.
            if hasattr(out, "_compressor"):
                out._compressor = member
            out.write(member.data)


@dataclass(frozen=True)
class _Deflated:
    """A member that was deflated already; it stands in for zipfile's own compressor."""

    name: str
    data: bytes
    packed: bytes

    @classmethod
    def of(cls, member: tuple[str, bytes]) -> Self:
        name, data = member
        compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
        return cls(name, data, compressor.compress(data) + compressor.flush())

    def compress(self, data: object) -> bytes:
        """All packed bytes for all of the member's; `zipfile` hands them over in one piece."""
        if data is not self.data:
            raise ValueError("zipfile gave other bytes than the member's")
        return self.packed

    def flush(self) -> bytes:
        """Nothing more."""
        return b""
