"""Drawings that lie over an image: an outline of the skin, or a picture of the head, in a header."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

#: Groups of overlays (PS3.3 C.9) and of curves (retired), each with its repetitions.
_OVERLAYS, _CURVES = range(0x6000, 0x6100), range(0x5000, 0x5100)
_OVERLAY_DATA = 0x3000
_ICON = Tag("IconImageSequence")


def has_pictures(dataset: Dataset) -> bool:
    """Whether a header carries an icon, an overlay or a curve."""
    return _ICON in dataset or bool(_drawings(dataset))


def take_drawings(dataset: Dataset) -> tuple[set[BaseTag], bool]:
    """Delete overlays and curves, in place; their tags, and whether an overlay lies in spare bits of the pixels (retired)."""
    found = _drawings(dataset)
    groups = {tag.group for tag in found if tag.group in _OVERLAYS}
    for tag in found:
        del dataset[tag]
    return found, any(Tag(group, _OVERLAY_DATA) not in found for group in groups)


def _drawings(dataset: Dataset) -> set[BaseTag]:
    return {tag for tag in dataset.keys() if tag.group in _OVERLAYS or tag.group in _CURVES}  # noqa: SIM118
