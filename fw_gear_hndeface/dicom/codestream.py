"""What the compressed image itself says about its size, before a decoder written in C believes the header instead."""

from __future__ import annotations

from dataclasses import dataclass

_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
#: Markers without a length behind them.
_BARE_MARKERS = {0x01, *range(0xD0, 0xD8)}
_JPEG2000 = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class FrameSize:
    """Rows, columns and components (colours) of a compressed image."""

    rows: int
    columns: int
    components: int


def frame_size(fragment: bytes) -> FrameSize | None:
    """The size in a JPEG, JPEG-LS or JPEG 2000 codestream; None where it says none.

    Source
    ------
    ITU-T T.81 B.2.2 and T.87 C.2.2 (frame header), T.800 A.5.1 (SIZ).
    """
    if fragment.startswith(_JPEG2000):
        return _of_jpeg2000(fragment)
    return _of_jpeg(fragment) if fragment.startswith(_JPEG) else None


def _of_jpeg2000(data: bytes) -> FrameSize | None:
    if len(data) < 42:
        return None
    right, bottom, left, top = (_number(data, at, 4) for at in (8, 12, 16, 20))
    return FrameSize(bottom - top, right - left, _number(data, 40, 2))


def _of_jpeg(data: bytes) -> FrameSize | None:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            return FrameSize(_number(data, at + 5, 2), _number(data, at + 7, 2), data[at + 9])
        if marker == 0xFF:
            at += 1
        else:
            at += 2 + (0 if marker in _BARE_MARKERS else _number(data, at + 2, 2))
    return None


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
