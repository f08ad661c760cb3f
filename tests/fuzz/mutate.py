"""Hostile bytes from sound ones: damage anywhere, values that no header should hold, archives that no one should trust."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from random import Random

from pydicom import dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

#: Numbers at which lengths and counts go wrong.
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
#: Values of any attribute.
VALUES = (
    b"", b" ", b"0", b"1", b"-1", b"0.0", b"1e-300", b"1e300", b"1e999", b"nan", b"inf", b"-inf", b"99999999999999999999",
    b"0\\0\\0", b"1\\0\\0\\0\\1\\0", b"1\\0\\0\\1\\0\\0", b"\\\\\\\\\\\\", b"1\\2", b"abc", b"\0" * 8, b"\xff" * 8,
    b"\xfe\xff\x00\xe0" * 3,
    b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.5.1.4.1.1.481.3", b"../../../etc/x", b"9" * 70_000,
)  # fmt: skip
#: Names of archive members.
NAMES = (
    "a.dcm", "a/b.dcm", "../up.dcm", "/absolute.dcm", "a/../../up.dcm", "C:\\x.dcm", "..\\up.dcm", "", ".", "..", "a//b", "con",
    "a" * 300, "\u202egnp.dcm", "a\nb", "a\0b", "DICOMDIR", "x.zip", "\udcff\udcfe", "~/x", "-o", "$(x)",
)  # fmt: skip


def damaged(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """The bytes after one to eight accidents."""
    out = bytearray(data)
    for _ in range(random.randint(1, 8)):
        random.choice(_ACCIDENTS)(random, out, other)
    return bytes(out)


def _place(random: Random, out: bytearray) -> int:
    """A place in the bytes, more often near the start, where headers are."""
    end = max(len(out) - 1, 0)
    return random.randint(0, min(end, 2000)) if random.random() < 0.7 else random.randint(0, end)


def _flip(random: Random, out: bytearray, _: bytes) -> None:
    if out:
        out[_place(random, out)] ^= 1 << random.randrange(8)


def _number(random: Random, out: bytearray, _: bytes) -> None:
    at, form = _place(random, out), random.choice(["<H", ">H", "<I", ">I"])
    size = struct.calcsize(form)
    out[at : at + size] = struct.pack(form, random.choice(NUMBERS) % (1 << (8 * size)))


def _cut(random: Random, out: bytearray, _: bytes) -> None:
    del out[_place(random, out) :]


def _remove(random: Random, out: bytearray, _: bytes) -> None:
    at = _place(random, out)
    del out[at : at + random.choice((1, 2, 4, 8, 100))]


def _repeat(random: Random, out: bytearray, _: bytes) -> None:
    at = _place(random, out)
    part = out[at : at + random.choice((4, 8, 64, 1000))]
    out[at:at] = part * random.choice((1, 2, 50))


def _graft(random: Random, out: bytearray, other: bytes) -> None:
    at, source = _place(random, out), other or bytes(out)
    start = random.randrange(max(len(source), 1))
    out[at:at] = source[start : start + random.choice((4, 64, 2000))]


def _insert(random: Random, out: bytearray, _: bytes) -> None:
    at = _place(random, out)
    value = random.choice(VALUES)
    out[at : at + random.choice((0, len(value)))] = value


_ACCIDENTS: Sequence[Callable[[Random, bytearray, bytes], None]] = (
    _flip,
    _flip,
    _number,
    _number,
    _cut,
    _remove,
    _repeat,
    _graft,
    _insert,
)


#: What pydicom raises on values that make no sense.
_TROUBLE = (
    BytesLengthException, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, OSError, EOFError,
    struct.error,
)  # fmt: skip


def misdescribed(random: Random, data: bytes) -> bytes:
    """A DICOM file with one to four attributes, at any depth, given values they should not have."""
    try:
        dataset = dcmread(io.BytesIO(data), force=True)
        for _ in range(random.randint(1, 4)):
            _edit(random, dataset)
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset)
        return buffer.getvalue()
    except _TROUBLE:
        return damaged(random, data)


def _edit(random: Random, dataset: Dataset) -> None:
    here = dataset
    while random.random() < 0.7:
        inside = [item for element in here if element.VR == "SQ" for item in element.value]
        if not inside:
            break
        here = random.choice(inside)
    tags = list(here.keys())
    if not tags:
        return
    tag = random.choice(tags)
    element = here[tag]
    what = random.random()
    if what < 0.15:
        del here[tag]
    elif what < 0.25 and element.VR == "SQ" and 0 < len(element.value) < 50:
        element.value = list(element.value) * random.choice((0, 2, 10))
    else:
        implicit, little = dataset.original_encoding
        value = random.choice(VALUES) if random.random() < 0.8 else random.randbytes(random.choice((1, 2, 4, 6, 8, 100)))
        value = _nested(random) if element.VR == "SQ" and random.random() < 0.5 else value
        if len(value) > 60_000 and element.VR not in ("OB", "OW", "UN", "UT", "SQ"):
            value = value[:60_000]
        name = (
            None if implicit else element.VR if random.random() < 0.8 else random.choice(("UN", "US", "SQ", "DS", "PN", "FD"))
        )
        raw = RawDataElement(element.tag, name, len(value), value + b" " * (len(value) % 2), 0, bool(implicit), bool(little))
        here._dict[element.tag] = raw


def _nested(random: Random) -> bytes:
    """The value of a sequence in sequences, deeper than anybody means them: explicit, little endian, of undefined length."""
    item, end_of_item, end = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    open_length, sequence = b"\xff" * 4, b"\x08\x00\x40\x11SQ\0\0"
    depth = random.choice((3, 50, 400, 3000))
    return (item + open_length + sequence + open_length) * depth + (end + end_of_item) * random.choice((depth, depth - 1, 0))


def archive(random: Random, members: Mapping[str, bytes], depth: int = 0) -> bytes:
    """An archive of some kind with the members and with things that should not be in it."""
    named = list(members.items())
    for _ in range(random.choice((0, 0, 1, 3))):
        content = random.choice((b"", b"\0" * 100_000, random.randbytes(300), *members.values()))
        named.insert(random.randrange(len(named) + 1), (random.choice(NAMES), content))
    if depth < 2 and random.random() < 0.3:
        named.append((random.choice(("in.zip", "in.tar.gz", "x")), archive(random, members, depth + 1)))
    made = random.choice((_zip, _zip, _tar, _packed))(random, named)
    return damaged(random, made) if random.random() < 0.7 else made


def _zip(random: Random, named: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, data in named:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode() or "x")
            info.compress_type = random.choice(
                (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
            )
            info.external_attr = random.choice((0, 0o100644, 0o120777, 0o040755, 0o020600)) << 16
            info.create_system = random.choice((0, 3))
            out.writestr(info, data)
    made = buffer.getvalue()
    return random.randbytes(random.choice((0, 0, 30))) + made


def _tar(random: Random, named: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    kinds = (
        tarfile.REGTYPE,
        tarfile.REGTYPE,
        tarfile.REGTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.GNUTYPE_SPARSE,
    )
    with tarfile.open(fileobj=buffer, mode="w", format=random.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))) as out:
        for name, data in named:
            info = tarfile.TarInfo(name.replace("\0", "0") or "x")
            info.type, info.size = random.choice(kinds), len(data)
            info.linkname = random.choice(("", "/etc/passwd", "../x"))
            if info.type != tarfile.REGTYPE:
                info.size = 0
            out.addfile(info, io.BytesIO(data) if info.size else None)
    return buffer.getvalue()


def _packed(random: Random, named: Sequence[tuple[str, bytes]]) -> bytes:
    pack = random.choice((gzip.compress, bz2.compress, lzma.compress))
    inner = _tar(random, named) if random.random() < 0.7 else random.choice([data for _, data in named])
    return bytes(pack(inner))
