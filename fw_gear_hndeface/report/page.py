"""One self-contained page for people: no network, readable on a phone, in the dark, on paper and without scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fw_gear_hndeface.report.exhibit import Exhibit
from fw_gear_hndeface.report.slices import COLOURS
from fw_gear_hndeface.report.template import page_of
from fw_gear_hndeface.report.viewer import Viewer
from fw_gear_hndeface.report.words import (
    FATES,
    OBJECT_NUMBERS,
    SOURCES,
    STRUCTURE_SOURCES,
    amount,
    attack_words,
    dose_words,
    facts,
    finding_title,
    headline,
    reason,
    sight_words,
    warning_titles,
)

#: Kinds of regions that are the skin itself or no part of the patient: nobody expects them to stay.
SURFACES = ("external", "support", "other")
_ORDER = ("error", "warning", "info")
#: Measures of privacy that have words of their own on the page; the others are listed as they are.
_TOLD = (
    "passed", "views", "views_with_a_face_after", "own_distance", "nearest_distance", "stranger_share", "required_share",
    "gallery", "sights", "attacks", "detector_score_before", "detector_score_after",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What a page holds beside its text: pictures by name as addresses that hold them whole, and the interactive view's files.

    Parameters
    ----------
    images : picture name -> `data:image/...;base64,...`
    files : "scan" and "labels" -> gzipped NIfTI, base64; empty without an interactive view
    """

    images: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def material_of(exhibit: Exhibit) -> Material:
    """The pictures and files of an exhibit as a page holds them."""
    images = {picture.name: image_uri(picture.image) for picture in exhibit.pictures}
    scene = exhibit.scene
    files = {} if scene is None else {"scan": _base64(scene.scan), "labels": _base64(scene.labels)}
    return Material(images, files)


def render_page(data: Mapping[str, Any], material: Material, viewer: Viewer | None = None) -> str:
    """The page as HTML text.

    Parameters
    ----------
    data : what `report_data` returned
    viewer : NiiVue for the interactive view; without it the page says what is missing
    """
    tone, verdict, advice = headline(data)
    return page_of(
        "report",
        data=data,
        tone=tone,
        headline=verdict,
        advice=advice,
        reason=reason(data),
        warnings=warning_titles(data),
        numbers=six_numbers(data),
        findings=sorted(data["findings"], key=lambda finding: _ORDER.index(finding["level"])),
        finding_title=finding_title,
        structures=_structures(data),
        structure_sources=STRUCTURE_SOURCES,
        doses=_doses(data["objects"]),
        fates=FATES,
        numbers_of=_numbers_of,
        any_numbers=any(_numbers_of(one) for one in data["objects"]),
        groups=_groups(data["pictures"]),
        images=material.images,
        files=material.files,
        viewer=viewer,
        legend=_legend(data["rois"]),
        sources=SOURCES,
        other_privacy={name: value for name, value in data["privacy"].items() if name not in _TOLD},
        scores=_scores(data["privacy"]),
    )


def _structures(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Drawn and labelled structures, the most changed first, then those that are meant to change."""
    drawn = [{"source": "drawn", **roi} for roi in data["rois"]]
    return sorted([*drawn, *data.get("labelled", [])], key=lambda one: (one["kind"] in SURFACES, _unchanged(one)))


def _scores(privacy: Mapping[str, Any]) -> dict[str, str]:
    """Picture name -> what the recogniser made of it."""
    sights = {f"view{n}": sight_words(sight) for n, sight in enumerate(privacy.get("sights", []))}
    return sights | {f"attack-{one['attack']}": attack_words(one) for one in privacy.get("attacks", []) if "attack" in one}


def six_numbers(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(value, unit, meaning) of what changed and what did not; fewer where nothing was changed."""
    rois = [one for one in _structures(data) if one["kind"] not in SURFACES]
    untouched = sum(_unchanged(roi) >= 100.0 for roi in rois)
    share, required = data["privacy"].get("stranger_share"), data["privacy"].get("required_share")
    numbers = [
        (data["removed_ml"], "mL", "tissue removed"),
        (data["added_ml"], "mL", "tissue added"),
        (data["retextured_ml"], "mL", "tissue given new values"),
    ]
    told = [(amount(value), unit, meaning) for value, unit, meaning in numbers if value is not None]
    if data.get("scan_unchanged_percent") is not None:
        told.append((amount(data["scan_unchanged_percent"], 2), "%", "of the scan unchanged, bit for bit"))
    if rois:
        told.append((f"{untouched} of {len(rois)}", "", "structures untouched"))
    elif told:
        told.append(("none", "", "structures drawn or labelled on this scan"))
    if share is not None:
        asked = amount(100.0 * required, 0)
        told.append((amount(100.0 * share, 0), "%", f"of pairs of strangers look as alike ({asked} % asked)"))
    return told


def image_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as an address that holds it whole: grey as PNG, bit for bit; colour as WebP, a tenth of the size."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    kind = "png" if image.mode == "L" else "webp"
    image.save(buffer, format=kind.upper(), **({} if kind == "png" else {"quality": 82, "method": 3}))
    return f"data:image/{kind};base64,{_base64(buffer.getvalue())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _groups(pictures: Sequence[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    groups: dict[str, list[Mapping[str, str]]] = {name: [] for name in ("turntable", "slices", "views", "attacks", "before")}
    for picture in pictures:
        groups.setdefault(picture["group"], []).append(picture)
    return groups


def _doses(objects: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Region name -> what it received before and after, one entry per dose."""
    told: dict[str, list[str]] = {}
    for one in objects:
        for region in one.get("rois", []):
            told.setdefault(region["name"], []).append(dose_words(region))
    return told


def _numbers_of(one: Mapping[str, Any]) -> str:
    """What else is known of an object than its name, its fate and what stands in the table of structures."""
    rest = {name: value for name, value in one.items() if name not in ("label", "modality", "kind", "fate", "rois")}
    return facts({OBJECT_NUMBERS.get(name, name): value for name, value in rest.items() if value not in (None, 0, "")})


def _legend(rois: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(colour, words) of the lines on slices."""
    words = {"target": "targets", "organ": "organs", "node": "nodes", "landmark": "eyes"}
    kinds = {roi["kind"] for roi in rois}
    return [("rgb({}, {}, {})".format(*COLOURS[kind]), words[kind]) for kind in COLOURS if kind in kinds]


def _unchanged(roi: Mapping[str, Any]) -> float:
    """Percent of a structure that is as it was; a structure nobody measured sorts first."""
    percent = roi.get("unchanged_percent")
    return -1.0 if percent is None else float(percent)
