"""The page over many runs: every case with its verdict, measures, picture and link; nothing fetched, nothing injected."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.report import cohort_page, cohort_row, report_data
from fw_gear_hndeface.report.cohort import histogram
from fw_gear_hndeface.settings import Settings

WARNING = Finding(Level.WARNING, "target_exposed", "ROI 3 reaches into the zone.", "CT series 1")


def record(verdict: Verdict = Verdict.DEFACED, findings: tuple[Finding, ...] = (), **measures: Any) -> dict[str, Any]:
    usual = {
        "method": "membrane",
        "removed_ml": 41.6,
        "added_ml": 7.0,
        "retextured_ml": 12.5,
        "rois": [
            {"name": "PTV", "kind": "target", "unchanged_percent": 100.0},
            {"name": "Lips", "kind": "organ", "unchanged_percent": 99.5},
            {"name": "BODY", "kind": "external", "unchanged_percent": 90.0},
            {"name": "Chiasm", "kind": "organ", "unchanged_percent": None},
        ],
        "privacy": {"stranger_share": 0.31},
        "head": {"sigma_mm": 2.5},
        "seconds": {"read": 1.0, "total": 9.5},
    }
    return report_data(Result(verdict, None, findings, {**usual, **measures}), Settings())


def picture_of(shape: tuple[int, int] = (255, 800)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(shape[0] * shape[1], dtype=np.uint32).reshape(shape).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


class Cells(html.parser.HTMLParser):
    """The text of every row of the page's table, its links and everything the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append("")
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.fetched += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += f"{data.strip()}|"


def test_a_row_takes_what_matters_from_the_record() -> None:
    row = cohort_row(record(findings=(WARNING, Finding(Level.INFO, "stronger_try", "x"))), "a/b_hndeface.qa.html")
    assert row["least_unchanged_percent"] == 99.5, "the outline and what nobody measured do not count"
    assert row["strangers_percent"] == pytest.approx(31.0)
    assert row["findings"] == ["target_exposed"], "what is only told is no reason to filter"
    assert (row["verdict"], row["words"], row["tone"], row["sigma_mm"], row["seconds"]) == (
        "defaced",
        "Defaced",
        "good",
        2.5,
        9.5,
    )


def test_a_run_that_measured_nothing_still_makes_a_row() -> None:
    empty = report_data(Result(Verdict.REFUSED, None, (Finding(Level.ERROR, "landmark", "Unsure."),), {}), Settings())
    row = cohort_row(empty, "")
    assert row["least_unchanged_percent"] is None
    assert row["strangers_percent"] is None
    cells = Cells(cohort_page([row], "Cohort"))
    assert "Refused" in cells.rows[1]
    assert "The face could not be placed surely" in cells.rows[1]
    assert cells.links == []


def test_every_case_is_a_row_with_link_and_label_in_the_given_order() -> None:
    rows = [cohort_row(record(), "one.html", label="Head 7"), cohort_row(record(Verdict.NO_FACE), "two/x y:1.html")]
    cells = Cells(cohort_page(rows, "Cohort"))
    assert cells.links == ["one.html", "two/x%20y%3A1.html"], "no path can turn into an address with a scheme"
    assert cells.rows[1].split("|")[1] == "Head 7"
    assert cells.rows[2].split("|")[1] == "Case 2"
    assert "99.50" in cells.rows[1]


def test_the_cases_of_each_verdict_are_counted() -> None:
    rows = [cohort_row(record(verdict), "") for verdict in (Verdict.DEFACED, Verdict.NO_FACE, Verdict.DEFACED)]
    text = re.sub(r"\s+", " ", cohort_page(rows, "Cohort"))
    assert '<li class="good"><strong>2</strong> Defaced</li>' in text
    assert '<li class="idle"><strong>1</strong> No face in view</li>' in text


def test_a_histogram_counts_every_case_that_was_measured() -> None:
    rows = [cohort_row(record(removed_ml=value), "") for value in (0.0, 1.0, 1.1, 12.0, None)]
    drawn = histogram(rows, "removed_ml")
    assert drawn is not None
    assert [count for _, _, count in drawn.bars] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert drawn.bars[0][0] == 0.0
    assert drawn.bars[-1][1] == 12.0
    assert drawn.heights[:2] == (0.5, 1.0)
    assert histogram(rows[:1], "removed_ml") is None


def test_measures_nobody_has_are_no_columns() -> None:
    bare = record(Verdict.NO_FACE, removed_ml=None, rois=[], privacy={}, head={})
    text = cohort_page([cohort_row(bare, "")], "Cohort")
    assert "Removed, mL" not in text
    assert "Run time, s" in text


def test_pictures_are_embedded_small() -> None:
    row = cohort_row(record(), "a.html", picture=picture_of())
    with Image.open(io.BytesIO(base64.b64decode(row["picture"].partition(",")[2]))) as small:
        assert small.size == (226, 72)
    cells = Cells(cohort_page([row], "Cohort"))
    assert cells.fetched == [row["picture"]]
    assert not {"link", "iframe", "object"} & set(cells.tags)


def test_names_are_escaped_and_only_our_script_may_run() -> None:
    evil = '"><script>alert(1)</script>'
    text = cohort_page([cohort_row(record(), evil, label=evil)], evil)
    assert "<script>alert" not in text
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text.replace("&#39;", "'")
    assert "unsafe-inline'; script" in text
    assert text.count("<script>") == 1
