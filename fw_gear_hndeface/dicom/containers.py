"""What zip files, tar files and folders hold: entries that are read one at a time, from untrusted input."""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Protocol, cast

from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError

from fw_gear_hndeface.dicom.limits import Budget
from fw_gear_hndeface.errors import InputError

CHUNK = 1 << 20
PIECE = 32 << 20
#: isal's type hints call this an instance; it is a class.
DEFLATE_ERROR = cast("type[Exception]", IsalError)
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
SNIFF_BYTES = 265
_MAGIC = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x07\x08": "multi-part zip",
}


class Source(Protocol):
    """Bytes that can be had again and again without being kept."""

    def head(self, count: int) -> bytes:
        """The first `count` bytes, or all of a shorter file."""

    def read(self) -> bytes:
        """All bytes; InputError when they are not what the archive promised."""

    def chunks(self) -> Iterator[bytes]:
        """All bytes, a piece at a time."""


@dataclass(frozen=True)
class Entry:
    """One file of a container: its name ('/' separated, relative), its size and its bytes."""

    name: str
    size: int
    where: str
    source: Source


@dataclass(frozen=True)
class Span:
    """A run of bytes of a file: a plain file, or a member of an uncompressed tar."""

    path: Path
    offset: int
    size: int
    where: str

    def head(self, count: int) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(min(count, self.size))

    def read(self) -> bytes:
        """All bytes."""
        data = self.head(self.size)
        if len(data) != self.size:
            raise InputError(
                f"{self.where}: got {len(data)} bytes, expected {self.size}. The file is cut short: send it again."
            )
        return data

    def chunks(self) -> Iterator[bytes]:
        """All bytes, a piece at a time."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.size
            while left:
                data = file.read(min(CHUNK, left))
                if not data:
                    raise InputError(f"{self.where}: {left} bytes are missing. The file is cut short: send it again.")
                left -= len(data)
                yield data


@dataclass(frozen=True)
class ZipEntry:
    """A member of a zip, inflated by ISA-L and held to its declared size and checksum."""

    path: Path
    info: zipfile.ZipInfo
    where: str

    def head(self, count: int) -> bytes:
        """The first bytes, inflated from no more of the file than they need."""
        parts: list[bytes] = []
        have = 0
        for part in self._inflate(min(CHUNK, max(count, 4096)), count):
            parts.append(part)
            have += len(part)
            if have >= count:
                break
        return b"".join(parts)[:count]

    def read(self) -> bytes:
        """All bytes, checked."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """All bytes, checked at the end."""
        size, crc = 0, 0
        for part in self._inflate(CHUNK, self.info.file_size + 1):
            size += len(part)
            crc = isal_zlib.crc32(part, crc)
            yield part
        if size != self.info.file_size or crc != self.info.CRC:
            raise InputError(f"{self.where}: its size or checksum is not what the archive declares. Send it again.")

    def _inflate(self, step: int, most: int) -> Iterator[bytes]:
        """Pieces of the member's bytes, at most `most` in all; reads `step` packed bytes at a time."""
        stored = self.info.compress_type == zipfile.ZIP_STORED
        inflater = None if stored else isal_zlib.decompressobj(-15)
        with self.path.open("rb") as file:
            left, packed = self._seek(file), b""
            while most > 0:
                if left and not packed:
                    packed = file.read(min(step, left))
                    if not packed:
                        raise InputError(f"{self.where}: the archive is cut short. Send it again.")
                    left -= len(packed)
                had = bool(packed)
                part, packed = self._step(inflater, packed, min(most, PIECE))
                if not (part or had or left):
                    return
                most -= len(part)
                yield part

    def _step(self, inflater: isal_zlib.Decompress | None, packed: bytes, most: int) -> tuple[bytes, bytes]:
        """The next bytes, and the packed bytes not used yet."""
        if inflater is None:
            return packed[:most], packed[most:]
        try:
            part = inflater.decompress(packed, most)
        except DEFLATE_ERROR as error:
            raise InputError(f"{self.where}: damaged compressed data. Send it again.") from error
        return part, inflater.unconsumed_tail

    def _seek(self, file: BinaryIO) -> int:
        """Move to the packed bytes; their number."""
        file.seek(max(self.info.header_offset, 0))
        header = file.read(LOCAL_HEADER.size) if self.info.header_offset >= 0 else b""
        if len(header) != LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise InputError(f"{self.where}: the archive's table points to no file. Send it again.")
        *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
        file.seek(name_length + extra_length, os.SEEK_CUR)
        return self.info.compress_size


def container_kind(head: bytes, name: str, where: str) -> str | None:
    """'zip', 'tar', 'gz', 'bz2' or 'xz' by the first `SNIFF_BYTES`; None for a plain file. DICOM wins over any other mark."""
    if head[128:132] == b"DICM":
        return None
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{where}: a {kind} archive cannot be read. Repack it as zip or tar.")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" or name.lower().endswith(".tar") else None


def zip_entries(path: Path, where: str, budget: Budget) -> list[Entry]:
    """The files of a zip; InputError when it is damaged, encrypted, or not safe to read."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, RuntimeError) as error:  # a version that zipfile cannot read
        raise InputError(f"{where}: the zip is damaged or cut short. Send it again.") from error
    entries: list[Entry] = []
    for info in infos:
        here = f"{where}, file {len(entries) + 1}"
        _check_zip_member(info, here)
        budget.add_member(here, info.file_size)
        entries.append(Entry(safe_name(info.filename, here), info.file_size, here, ZipEntry(path, info, here)))
    budget.check_ratio(where, path.stat().st_size, sum(info.file_size for info in infos))
    return entries


def _check_zip_member(info: zipfile.ZipInfo, where: str) -> None:
    if info.flag_bits & 0x1:
        raise InputError(f"{where}: the zip is encrypted. Send it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{where}: zip method {info.compress_type} cannot be read; expected stored or deflated. Repack it.")
    mode = info.external_attr >> 16
    if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise InputError(f"{where}: a link or device in an archive is not safe to read. Repack it with plain files only.")


def tar_entries(path: Path, where: str, budget: Budget) -> list[Entry]:
    """The files of an uncompressed tar; InputError when it is damaged or not safe to read."""
    entries: list[Entry] = []
    end = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                here = f"{where}, file {len(entries) + 1}"
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise InputError(f"{here}: a link or device in an archive is not safe to read. Repack it with plain files.")
                budget.add_member(here, info.size)
                if info.offset_data + info.size > end:
                    raise InputError(f"{here}: the tar is cut short. Send it again.")
                span = Span(path, info.offset_data, info.size, here)
                entries.append(Entry(safe_name(info.name, here), info.size, here, span))
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{where}: the tar is damaged or cut short. Send it again.") from error
    return entries


def folder_entries(root: Path, where: str, budget: Budget) -> tuple[list[Entry], int]:
    """The plain files below a folder in name order, and how many links and devices were passed over."""
    entries: list[Entry] = []
    skipped = 0
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if not stat.S_ISREG(path.lstat().st_mode):
                skipped += 1
                continue
            here = f"{where}, file {len(entries) + 1}"
            size = path.stat().st_size
            budget.add_member(here, size)
            relative = safe_name(path.relative_to(root).as_posix(), here)
            entries.append(Entry(relative, size, here, Span(path, 0, size, here)))
        skipped += sum(Path(folder, name).is_symlink() for name in folders)
    return entries, skipped


def unpack(path: Path, kind: str, target: Path, where: str, budget: Budget) -> None:
    """Write the content of a gzip, bzip2 or xz file to `target`, within the budget."""
    openers: dict[str, Callable[[Path, str], IO[Any]]] = {"gz": igzip.open, "bz2": bz2.open, "xz": lzma.open}
    packed, unpacked = path.stat().st_size, 0
    try:
        with openers[kind](path, "rb") as source, target.open("wb") as out:
            while data := source.read(CHUNK):
                unpacked += len(data)
                budget.check_stream(where, packed, unpacked)
                out.write(data)
    except (EOFError, OSError, lzma.LZMAError, zlib.error, DEFLATE_ERROR) as error:
        raise InputError(f"{where}: damaged or cut short. Send it again.") from error


def safe_name(name: str, where: str) -> str:
    """The name with '/' separators; InputError when it is absolute or climbs out of the archive."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\\", "/")
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or parts[0].endswith(":") or any(ord(c) < 32 for c in text):
        raise InputError(f"{where}: its name leaves the archive or is no file name. Repack it with relative names.")
    return "/".join(parts)
