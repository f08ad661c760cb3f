"""Words for people: what a verdict means and what to do, what a finding is called, numbers with their digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

#: Verdict -> (colour class, headline, what to do next).
VERDICT_TEXT: dict[str, tuple[str, str, str]] = {
    "defaced": ("good", "Defaced", "Nothing to do. The face was changed and every check passed."),
    "partial": ("good", "Defaced in part", "Nothing to do. Only part of a face is in view; that part was changed."),
    "no_face": (
        "idle",
        "No face in view",
        "Nothing to do. Nothing was changed and no image was written; the input can be used as it is.",
    ),
    "already_defaced": ("idle", "Already defaced", "Nothing to do. The input is marked as defaced; it was not changed again."),
    "refused": ("bad", "Refused", "No image was written. Read the findings, and do not share the input as defaced."),
}
_CAUTION = (
    "warn",
    "Defaced, with doubts",
    "An image was written although a check failed. Do not share it before a person has looked.",
)

#: Finding code -> its name for people; a code that is not here is told by its own words.
FINDING_TITLES: dict[str, str] = {
    "aligned_by_box": "Faces were compared without the 68-point model",
    "already_defaced": "Already defaced",
    "contours_left_out": "Contours that are no closed outline",
    "dose_follows": "The dose follows the new skin",
    "duplicate_slices": "Slices that are there twice",
    "face_turned": "The face does not look to the patient's front",
    "foreign_regions": "Regions of another scan were emptied",
    "frame_mismatch": "A structure set belongs to another scan",
    "label_sides": "Left and right of a label map do not fit",
    "labels_unused": "A label map was not used",
    "landmark": "The face could not be placed surely",
    "landmarks_disagree": "Sources do not agree on where the face is",
    "left_out": "Something was left out",
    "links_ignored": "Links in the archive were ignored",
    "missing_slices": "Slices are missing",
    "network_missing": "A segmentation network is not installed",
    "network_on_cpu": "A network ran without a GPU",
    "nifti_no_labels": "A NIfTI file is no label map",
    "no_face": "No face in view",
    "not_dicom": "Files that are no DICOM",
    "outline_by_shape": "A structure was taken for the outline",
    "outlines_follow": "Outlines follow the new skin",
    "own_plan": "Not changed as the other volumes on its grid",
    "plan_without_skin": "A plan lost what told where the skin was",
    "privacy": "The result can still be recognised",
    "privacy_failed": "The result can be matched to the original",
    "protection": "A structure to keep lies in the face",
    "refused": "The method refused this study",
    "registration_unread": "A registration could not be used",
    "segmentation_left_out": "A segmentation was left out",
    "segments_binary": "Segments became binary",
    "segments_follow": "Segments follow the new skin",
    "several_volumes": "A series holds several volumes",
    "shared_plan": "Changed as another volume on the same grid",
    "stack_left_out": "Part of a series was left out",
    "stronger_try": "A stronger try was needed",
    "no_ears": "No outer ear was found",
    "target_exposed": "A target reaches into the face",
    "uneven_slices": "Slices are not evenly spaced",
    "unreadable": "The study cannot be read",
    "verification": "The result broke a promise",
}

#: Attack -> what is done to the head, for people.
ATTACK_TITLES: dict[str, str] = {
    "smoothing": "smoothed, as against noise",
    "low_pass": "filtered, so that only coarse shape stays",
    "regrowing": "grown outwards, as against a face cut back",
    "shrinking": "outer layer taken off, as against a wall laid on",
    "fill_texture": "new tissue told by its texture and taken off",
    "mask_shell": "inside of a thermoplastic mask",
    "muscle": "muscle under the skin (left by design)",
    "bone": "bone (left by design)",
}

#: Who made a structure -> in words.
STRUCTURE_SOURCES: dict[str, str] = {
    "drawn": "drawn",
    "given": "label map",
    "segmentation": "DICOM segmentation",
    "totalsegmentator": "TotalSegmentator",
    "nnunet": "nnU-Net",
}

#: Fate of an object -> in words, where one word is not enough.
FATES: dict[str, str] = {"carried": "in the result, brought to the new skin", "left out": "left out: not in the result"}

#: Number about an object -> what it counts; the others are called by their keys.
OBJECT_NUMBERS: dict[str, str] = {
    "changed_ml": "changed, mL:",
    "changed_voxels": "voxels changed:",
    "clipped": "structures that follow the new skin:",
    "filled_voxels": "dose voxels filled in new tissue:",
    "foreign": "structures emptied, of another scan:",
    "lost": "structures of which nothing is left:",
    "removed": "references removed:",
    "zeroed_voxels": "dose voxels set to 0 in new air:",
}

#: Source of landmarks -> what it is.
SOURCES: dict[str, str] = {
    "rtstruct": "drawn in the structure set",
    "rendered_face": "seen on pictures of the surface",
    "geometry": "shape of the profile",
    "canonical": "mean face laid over the other landmarks",
}


def headline(data: Mapping[str, Any]) -> tuple[str, str, str]:
    """Colour class, verdict and what to do, for a record."""
    doubts = any(finding["level"] == "error" for finding in data["findings"])
    return _CAUTION if doubts and data["verdict"] in ("defaced", "partial") else VERDICT_TEXT[data["verdict"]]


def finding_title(code: str) -> str:
    """A finding's name for people."""
    return FINDING_TITLES.get(code, code.replace("_", " ").capitalize())


def warning_titles(data: Mapping[str, Any]) -> list[str]:
    """What the warnings of a record are about, each once, as parts of a sentence.

    A refusal says why itself, and everything else was left out because of it.
    """
    if data["verdict"] == "refused":
        return []
    titles = [finding_title(finding["code"]) for finding in data["findings"] if finding["level"] == "warning"]
    return [title[:1].lower() + title[1:] for title in dict.fromkeys(titles)]


def landmark_source(data: Mapping[str, Any]) -> str:
    """The source most landmarks came from; empty where there are none."""
    counts = Counter(mark["source"] for mark in data["landmarks"].values())
    return counts.most_common(1)[0][0] if counts else ""


def amount(value: float | None, digits: int = 1) -> str:
    """A number with fixed digits; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def facts(value: Any) -> str:
    """A measure of any shape on one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{str(name).replace('_', ' ')} {facts(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(facts(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "–" if value is None else str(value)


def reason(data: Mapping[str, Any]) -> str:
    """Why a run ended as it did, where that needs saying: the first error, else what a verdict without an image names."""
    errors = [finding["message"] for finding in data["findings"] if finding["level"] == "error"]
    named = [finding["message"] for finding in data["findings"] if finding["code"] == data["verdict"]]
    return str((errors or named or [""])[0])


def dose_words(region: Mapping[str, Any]) -> str:
    """What a region received before and after, number by number; one number where they are the same to a hundredth."""
    told = []
    for name, words in (("d95", "D95"), ("mean", "mean"), ("max", "max")):
        before, after = (amount(region[when][name], 2) for when in ("before", "after"))
        told.append(f"{words} {before}" if before == after else f"{words} {before} → {after}")
    return ", ".join(told)


def sight_words(sight: Mapping[str, Any]) -> str:
    """What one view of the result told the recogniser."""
    distance = sight.get("distance")
    return "the original shows no face here" if distance is None else f"distance to the original {distance:.2f}"


def attack_title(name: str) -> str:
    """What an attack does, for people."""
    return ATTACK_TITLES.get(name, name.replace("_", " "))


def attack_words(attack: Mapping[str, Any]) -> str:
    """What one attack's surface told detector and recogniser."""
    score, distance = attack.get("detector_score"), attack.get("distance")
    seen = "no face is seen" if score is None else f"detector score {score:.2f}"
    if attack.get("matched"):
        return f"{seen}; matched to the original"
    return seen if distance is None else f"{seen}; distance to the original {distance:.2f}"
