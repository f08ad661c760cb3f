"""Trials as rows of a cohort's page."""

from __future__ import annotations

import re
from typing import Any

from fw_gear_hndeface.evaluate.cases import case_row, cases_page

DONE: dict[str, Any] = {
    "study": 3,
    "method": "membrane",
    "status": "done",
    "removed_ml": 12.0,
    "added_ml": 30.5,
    "retextured_ml": 4.0,
    "seconds": 6.5,
    "structures": [
        {"structure": "PTV70", "kind": "target", "unchanged_percent": 100.0},
        {"structure": "Lips", "kind": "organ", "unchanged_percent": 88.25},
    ],
}


def test_a_trial_becomes_a_row_with_its_cost() -> None:
    row = case_row(DONE)
    assert (row["label"], row["verdict"], row["method"], row["link"]) == ("Study 3, membrane", "defaced", "membrane", "")
    assert (row["removed_ml"], row["least_unchanged_percent"], row["seconds"]) == (12.0, 88.25, 6.5)


def test_refusals_and_heads_without_a_face_are_rows_too() -> None:
    refused = case_row({"study": 1, "method": "drown", "status": "refused", "reason": "Too near."})
    assert (refused["verdict"], refused["findings"], refused["removed_ml"]) == ("refused", ["refused"], None)
    assert case_row({"study": 1, "method": "drown", "status": "no face"})["verdict"] == "no_face"
    assert case_row({"study": 1, "method": "drown", "status": "unreadable", "reason": "x"})["findings"] == ["unreadable"]


def test_the_page_holds_every_trial_but_the_untouched_heads() -> None:
    text = cases_page([DONE, {**DONE, "method": "original"}, {**DONE, "study": 4, "method": "drown"}])
    assert re.findall(r"Study \d, \w+", re.sub(r'alt="[^"]*"', "", text)) == ["Study 3, membrane", "Study 4, drown"]
    assert "Methods compared on 2 studies" in text
    assert "88.25" in text
