"""Data only: landmark names, ROI-name rules, method names and DICOM codes."""

from __future__ import annotations

#: Names of landmarks; left is the patient's left.
LANDMARK_NAMES: tuple[str, ...] = (
    "globe_left", "globe_right", "brow_left", "brow_right",
    "canthus_inner_left", "canthus_inner_right", "canthus_outer_left", "canthus_outer_right",
    "nasion", "nose_tip", "ala_left", "ala_right", "subnasale",
    "mouth_left", "mouth_right", "lip_upper", "lip_lower", "chin", "jaw_left", "jaw_right", "ear_left", "ear_right",
)  # fmt: skip

#: What a drawn region is (values of `model.RoiKind`): regular expressions on the folded ROI name (lower case, accents and
#: punctuation to single blanks); the first hit decides.
ROI_RULES: tuple[tuple[str, str], ...] = (
    (r"\b(couch|table|tisch|support|headrest|rest|immobili|baseplate|rail)", "support"),
    (r"\b(mask|thermoplast|bolus|air|bite|shell|marker|fiducial|wire|bb)\b", "support"),
    (
        r"\b(external|body|skin|outline|outer contour|patient|aussenkontur|korper|koerper|peau|contour externe|cuerpo|piel)\b",
        "external",
    ),
    (r"(ptv|ctv|gtv|itv|\btv\b|target|tumou?r|boost|zielvolumen)", "target"),
    (r"\b(ln|lns|ganglion|node|nodes|nodal|lymph\w*|level|neck (left|right|l|r)|lk|lv [ivx]+)\b", "node"),
    (r"\b(eye|eyes|globe|eyeball|orbit|lens|cornea|auge|linse|oeil|cristallin|ojo|cristalino|bulbus|oog)\b", "landmark"),
    (r"(ring|dose|iso|hot|cold|opt\b|help|hilf|dummy|\bz )", "other"),
)
"""Anything that no rule names is an organ: an unknown contour is kept, not cut."""

#: Names of the registered methods, the default first; a contract test holds them against `methods.REGISTRY`.
METHOD_NAMES: tuple[str, ...] = ("membrane",)
