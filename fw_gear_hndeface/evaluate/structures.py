"""Names of structures as tables group them: known words only, for a drawn region's own name may hold anything."""

from __future__ import annotations

import re

from fw_gear_hndeface.model import Roi, RoiKind

#: Name in tables, and the words that give it away in a region's name; the first hit decides.
_WORDS: tuple[tuple[str, str], ...] = (
    ("mandible", r"mandib|unterkiefer|jaw"),
    ("brainstem", r"brain ?stem|hirnstamm"),
    ("spinal cord", r"\bcord\b|spinal ?cord|myelon|rueckenmark"),
    ("parotid", r"parot"),
    ("submandibular", r"submand|smg"),
    ("larynx", r"larynx|glott"),
    ("oesophagus", r"o?esophag"),
    ("oral cavity", r"oral"),
    ("chiasm", r"chiasm"),
    ("optic nerve", r"optic|\bopt?n"),
    ("lens", r"\blens|linse"),
    ("eye", r"eye|globe|orbit|auge"),
    ("cochlea", r"cochlea"),
    ("thyroid", r"thyroid"),
    ("brain", r"brain|hirn"),
    ("lips", r"\blips?\b"),
)


def structure_of(roi: Roi) -> str:
    """What a table calls a drawn region."""
    if roi.kind in (RoiKind.TARGET, RoiKind.NODE):
        return roi.kind.value
    words = re.sub(r"[^a-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", roi.name).lower())
    return next((name for name, pattern in _WORDS if re.search(pattern, words)), "other organ")
