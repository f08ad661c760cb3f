"""Data only: landmark names, ROI-name rules, method names and DICOM codes."""

from __future__ import annotations

#: Names of landmarks; left is the patient's left.
LANDMARK_NAMES: tuple[str, ...] = (
    "globe_left", "globe_right", "brow_left", "brow_right",
    "canthus_inner_left", "canthus_inner_right", "canthus_outer_left", "canthus_outer_right",
    "nasion", "nose_tip", "ala_left", "ala_right", "subnasale",
    "mouth_left", "mouth_right", "lip_upper", "lip_lower", "chin", "jaw_left", "jaw_right", "ear_left", "ear_right",
)  # fmt: skip

#: What eyes and their parts are called, in English, German, French, Spanish and Dutch, folded; a penile bulb is no eye.
EYE_WORDS = (
    "eyes?|globes?|eyeballs?|orbit|lens|cornea|augen?|linse|oeil|œil|yeux|cristallin|ojos?|cristalino|bulbus(?! penis)|oog|ogen"
)

#: What a drawn region is (values of `model.RoiKind`): regular expressions on the folded ROI name (lower case, accents and
#: punctuation to single blanks). The word that comes first in the name decides: "PTV ring" is a target, "ring PTV" a helper,
#: "skin minus PTV" an outline. Anything that no rule names is an organ: an unknown contour is kept, not cut.
ROI_RULES: tuple[tuple[str, str], ...] = (
    (r"\b(couch|couchsurface|couchinterior|table|tisch|support|head ?rest|immobili[sz]ation|base ?plate|rails?)\b", "support"),
    (r"\b(mask|thermoplast\w*|bolus|air|bite ?block|shell|marker|fiducials?|wire|bb)\b", "support"),
    (r"^(z )?(external|body|skin|outline|outer contour|patient|contour externe|peau|cuerpo|piel)\b", "external"),
    (r"^(z )?(aussenkontur|korper\w*|koerper\w*|haut|huid)\b", "external"),
    (r"(ptv|ctv|gtv|itv|\btv\b|target|tumou?r|boost|zielvolumen)", "target"),
    (r"\b(ln|lns|ganglion|node|nodes|nodal|lymph\w*|level|neck (left|right|l|r)|lk|lv [ivx]+)\b", "node"),
    (rf"\b({EYE_WORDS})\b", "landmark"),
    (r"\b(rings?|dose|isodose|hot ?spot|cold ?spot|help(er)?|hilf\w*|dummy|avoid\w*)\b", "other"),
)

#: Folded names of regions that lie in a face: where one is drawn or segmented in a scan, a scan without a face it is not.
IN_A_FACE = (
    rf"\b({EYE_WORDS}|mandib\w*|unterkiefer|onderkaak|jaw ?bone|oral cavity|mundhoehle|mundhohle|cavite (orale|buccale)"
    r"|cavidad oral|mondholte|lips?|lippen?|levres?|labios?|tongue|zunge|langue|lengua|palate|nose|nase|nez|nariz|neus|nasal\w*"
    r"|teeth\w*)\b"
)

#: Names of the registered methods, the default first; a contract test holds them against `methods.REGISTRY`.
METHOD_NAMES: tuple[str, ...] = (
    "membrane",
    "overlay",
    "reface",
    "eye_plane",
    "quickshear",
    "biometric_mask",
    "drown",
    "carve",
    "pixelate",
    "blur",
    "segmented_face",
    "nnunet",
)

#: Models that place points on a rendered face; with "none" no such model is ever loaded.
LANDMARK_MODELS: tuple[str, ...] = ("dlib68", "none")

#: What every method needs besides its own licence: it finds the face, and checks the result, with these.
MODELS = (
    "landmarks and the privacy check of every method use the 68-point model that dlib loads; it was trained on iBUG 300-W, "
    "whose terms forbid commercial use. With landmark_model=none it is never loaded: label maps, drawn eyes and the profile "
    "place the face, and the check aligns faces by the detector's box."
)

#: A mean face in the head frame, mm: x to the patient's left, y posterior, z up, origin midway between the globes, globes 64 mm
#: apart. Procrustes mean of our own detections on 20 heads, made symmetric; ears and vertex from anthropometric means.
CANONICAL_FACE_MM: dict[str, tuple[float, float, float]] = {
    "globe_left": (32.0, 0.0, 0.0),
    "globe_right": (-32.0, 0.0, 0.0),
    "brow_left": (33.5, -25.1, 16.3),
    "brow_right": (-33.5, -25.1, 16.3),
    "canthus_inner_left": (19.4, -15.7, -1.2),
    "canthus_inner_right": (-19.4, -15.7, -1.2),
    "canthus_outer_left": (43.6, -12.9, 0.5),
    "canthus_outer_right": (-43.6, -12.9, 0.5),
    "nasion": (0.0, -26.6, 0.7),
    "nose_tip": (0.0, -40.2, -40.0),
    "ala_left": (15.3, -20.0, -44.9),
    "ala_right": (-15.3, -20.0, -44.9),
    "subnasale": (0.0, -28.9, -50.2),
    "mouth_left": (28.9, -3.8, -67.8),
    "mouth_right": (-28.9, -3.8, -67.8),
    "lip_upper": (0.0, -20.6, -66.7),
    "lip_lower": (0.0, -13.2, -81.8),
    "chin": (0.0, 0.0, -112.0),
    "jaw_left": (54.5, 20.5, -72.3),
    "jaw_right": (-54.5, 20.5, -72.3),
    "ear_left": (74.0, 82.0, -28.0),
    "ear_right": (-74.0, 82.0, -28.0),
}

#: Names of the registered landmark sources.
LANDMARK_SOURCES: tuple[str, ...] = (
    "rtstruct",
    "rendered_face",
    "segmentation",
    "totalsegmentator",
    "geometry",
    "fitted_shape",
)

#: How a study of a batch can end: a verdict, input that cannot be read, a failure of something else; 'new' has no end yet.
UNREADABLE, FAILED, NEW = "unreadable", "failed", "new"
STATES = ("defaced", "partial", "no_face", "already_defaced", "refused", UNREADABLE, FAILED, NEW)
