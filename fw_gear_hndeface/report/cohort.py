"""One page over many runs: a table to sort and filter, a histogram per measure, a picture and a link for each case."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from fw_gear_hndeface import __version__
from fw_gear_hndeface.report.template import page_of
from fw_gear_hndeface.report.words import finding_title, headline, landmark_source

#: Height of a case's picture in the table, pixels: hundreds of them must fit into one page.
THUMBNAIL_PX = 72
#: Bars of a histogram.
BINS = 12
#: Measure of a row -> (heading, unit, digits). The order is the table's.
MEASURES: dict[str, tuple[str, str, int]] = {
    "removed_ml": ("Removed", "mL", 1),
    "added_ml": ("Added", "mL", 1),
    "retextured_ml": ("New values", "mL", 1),
    "least_unchanged_percent": ("Worst structure unchanged", "%", 2),
    "strangers_percent": ("Strangers as near", "%", 1),
    "sigma_mm": ("Uncertainty", "mm", 1),
    "seconds": ("Run time", "s", 1),
}
#: Regions nobody expects to stay: they say nothing about damage.
_SURFACES = ("external", "support")


@dataclass(frozen=True)
class Histogram:
    """How one measure spreads over the cohort; `bars` are (from, to, count), heights 0 to 1 in `heights`."""

    heading: str
    unit: str
    bars: tuple[tuple[float, float, int], ...]
    heights: tuple[float, ...]


def cohort_row(qa: Mapping[str, Any], link: str, *, label: str = "", picture: bytes | None = None) -> dict[str, Any]:
    """One line of a cohort's table.

    Parameters
    ----------
    qa : the record of a run (`.qa.json`)
    link : path of the case's page, relative to the cohort page, with forward slashes; empty for none
    label : what the case is called. It is shown: no name of a patient or a file belongs in it. Empty for a number.
    picture : PNG of the defaced head (`.qa.png`); it is embedded, smaller
    """
    tone, words, _ = headline(qa)
    percents = [roi["unchanged_percent"] for roi in qa["rois"] if roi["kind"] not in _SURFACES]
    known = [percent for percent in percents if percent is not None]
    share = qa["privacy"].get("stranger_share")
    return {
        "label": label,
        "link": quote(link),
        "picture": _thumbnail(picture) if picture else "",
        "verdict": qa["verdict"],
        "tone": tone,
        "words": words,
        "method": qa["method"] or "",
        "source": landmark_source(qa),
        "findings": sorted({finding["code"] for finding in qa["findings"] if finding["level"] != "info"}),
        "removed_ml": qa["removed_ml"],
        "added_ml": qa["added_ml"],
        "retextured_ml": qa["retextured_ml"],
        "least_unchanged_percent": min(known, default=None),
        "strangers_percent": None if share is None else 100.0 * share,
        "sigma_mm": qa.get("head", {}).get("sigma_mm"),
        "seconds": qa["seconds"].get("total"),
    }


def cohort_page(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The page of a cohort as HTML text: self-contained, no network; readable without scripts, sorted and filtered with.

    Parameters
    ----------
    rows : what `cohort_row` returned, in the order of the table
    title : heading of the page; no name of a patient belongs in it
    """
    codes = sorted({code for row in rows for code in row["findings"]})
    verdicts: dict[str, tuple[str, int]] = {}
    for row in rows:
        words, count = verdicts.get(row["words"], (row["tone"], 0))
        verdicts[row["words"]] = (words, count + 1)
    return page_of(
        "cohort",
        title=title,
        version=__version__,
        rows=rows,
        measures={name: told for name, told in MEASURES.items() if any(row[name] is not None for row in rows)},
        histograms=[drawn for name in MEASURES if (drawn := histogram(rows, name)) is not None],
        verdicts=verdicts,
        codes=[(code, finding_title(code)) for code in codes],
        finding_title=finding_title,
    )


def histogram(rows: Sequence[Mapping[str, Any]], measure: str) -> Histogram | None:
    """How a measure spreads over the rows that have it; None where fewer than two do."""
    values = np.array([row[measure] for row in rows if row[measure] is not None], dtype=np.float64)
    if len(values) < 2:
        return None
    counts, edges = np.histogram(values, bins=BINS)
    bars = tuple((float(low), float(high), int(n)) for low, high, n in zip(edges, edges[1:], counts, strict=False))
    heading, unit, _ = MEASURES[measure]
    return Histogram(heading, unit, bars, tuple(float(n) / float(counts.max()) for n in counts))


def _thumbnail(picture: bytes) -> str:
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("L")
    small.thumbnail((8 * THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.quantize(32).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
