"""One self-contained page for people: no network, no scripts, readable on a phone, in the dark and on paper."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
#: Kinds of regions that are the skin itself or no part of the patient: nobody expects them to stay.
_SURFACES = ("external", "support")
_ORDER = ("error", "warning", "info")
_CAUTION = (
    "warn",
    "Defaced, with doubts",
    "An image was written although a check failed. Do not share it before a person has looked.",
)


def render_page(data: Mapping[str, Any], figures: Mapping[str, NDArray[np.uint8]]) -> str:
    """The page as HTML text.

    Parameters
    ----------
    data : what `report_data` returned.
    figures : caption -> picture of the defaced head, (R, C) or (R, C, 3).
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fw_gear_hndeface.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["facts"] = _words
    colour, headline, advice = _headline(data)
    return environment.get_template("page.html").render(
        data=data,
        colour=colour,
        headline=headline,
        advice=advice,
        numbers=_six_numbers(data),
        findings=sorted(data["findings"], key=lambda finding: _ORDER.index(finding["level"])),
        rois=sorted(data["rois"], key=_unchanged),
        pictures=[(caption, _png_uri(picture)) for caption, picture in figures.items()],
    )


def _headline(data: Mapping[str, Any]) -> tuple[str, str, str]:
    doubts = any(finding["level"] == "error" for finding in data["findings"])
    return _CAUTION if doubts and data["verdict"] in ("defaced", "partial") else VERDICT_TEXT[data["verdict"]]


def _six_numbers(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(value, unit, meaning) of what changed, what did not, and what it cost."""
    rois = [roi for roi in data["rois"] if roi["kind"] not in _SURFACES]
    untouched = sum(_unchanged(roi) >= 100.0 for roi in rois)
    seconds = [value for value in data["seconds"].values() if isinstance(value, int | float)]
    total = data["seconds"].get("total", sum(seconds))
    return [
        (_amount(data["removed_ml"]), "mL", "tissue removed"),
        (_amount(data["added_ml"]), "mL", "tissue added"),
        (_amount(data["retextured_ml"]), "mL", "given new values"),
        (
            f"{untouched} of {len(rois)}" if rois else "none",
            "",
            "drawn structures untouched" if rois else "drawn structures to keep",
        ),
        (f"{len(data['landmarks'])}", "", "landmarks placed"),
        (_amount(total) if seconds else "–", "s", f"run time, {_amount(data['peak_mb'], 0)} MB at most"),
    ]


def _words(value: Any) -> str:
    """A measure of any shape on one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{str(name).replace('_', ' ')} {_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "–" if value is None else str(value)


def _amount(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _unchanged(roi: Mapping[str, Any]) -> float:
    """Percent of a structure that is as it was; a structure nobody measured sorts first."""
    percent = roi.get("unchanged_percent")
    return -1.0 if percent is None else float(percent)


def _png_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
