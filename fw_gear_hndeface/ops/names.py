"""What a region is, by its name: drawn regions and segmented structures alike."""

from __future__ import annotations

import re
import unicodedata

from fw_gear_hndeface.model import RoiKind
from fw_gear_hndeface.vocabulary import ROI_RULES

#: RTROIInterpretedType values that say more than any name.
_TYPE_FIRST = {"EXTERNAL": RoiKind.EXTERNAL, "PTV": RoiKind.TARGET, "CTV": RoiKind.TARGET, "GTV": RoiKind.TARGET}
#: Values that count where no name rule speaks.
_TYPE_LAST = {
    "BOLUS": RoiKind.SUPPORT, "SUPPORT": RoiKind.SUPPORT, "FIXATION": RoiKind.SUPPORT, "MARKER": RoiKind.SUPPORT,
    "CONTROL": RoiKind.OTHER, "DOSE_REGION": RoiKind.OTHER, "TREATED_VOLUME": RoiKind.OTHER,
    "IRRAD_VOLUME": RoiKind.OTHER, "ISOCENTER": RoiKind.OTHER, "REGISTRATION": RoiKind.OTHER,
}  # fmt: skip


def roi_kind(name: str, interpreted_type: str = "") -> RoiKind:
    """What a region is, by its RTROIInterpretedType and the rule whose word comes first in its folded name; else an organ."""
    interpreted = interpreted_type.strip().upper()
    if interpreted in _TYPE_FIRST:
        return _TYPE_FIRST[interpreted]
    folded = fold(name)
    hits = [(found.start(), rank) for rank, (pattern, _) in enumerate(ROI_RULES) if (found := re.search(pattern, folded))]
    if hits:
        return RoiKind(ROI_RULES[min(hits)[1]][1])
    return _TYPE_LAST.get(interpreted, RoiKind.ORGAN)


def fold(name: str) -> str:
    """The name in lower case without accents, every run of other signs one blank; letters of any script stay."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(sign))
    return " ".join("".join(sign if sign.isalnum() else " " for sign in plain).split())
