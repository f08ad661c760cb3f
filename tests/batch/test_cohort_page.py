"""The batch's page: each study's thumbnail in it, the page beside it linked, and a lost file no reason to fail."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fw_gear_hndeface.batch.ledger import Entry, Output
from fw_gear_hndeface.batch.summary import write_summary
from fw_gear_hndeface.model import Result, Verdict
from fw_gear_hndeface.report import write_report
from fw_gear_hndeface.report.exhibit import Exhibit, Picture
from fw_gear_hndeface.settings import Settings


def entry(dest: Path, stem: str) -> Entry:
    """A study that was defaced, with its report in place."""
    (dest / stem).mkdir()
    front = Picture("turntable+0", "turntable", "front", np.tile(np.arange(0, 240, 2, dtype=np.uint8), (160, 1)))
    result = Result(Verdict.DEFACED, None, (), {"removed_ml": 3.0, "seconds": {"total": 1.0}})
    files = write_report(result, folder=dest / stem, stem=stem, settings=Settings(), exhibit=Exhibit((front,)))
    outputs = tuple(Output(path.name, path.stat().st_size, "") for path in files)
    return Entry(stem, "", "", "", "defaced", 0, "", 1.0, outputs)


def page_of(dest: Path, *entries: Entry) -> str:
    write_summary(entries, dest)
    return (dest / "cohort.html").read_text(encoding="utf-8")


def test_each_study_has_its_picture_and_its_link(tmp_path: Path) -> None:
    text = page_of(tmp_path, entry(tmp_path, "0a1b"), entry(tmp_path, "2c3d"))
    assert text.count('<img src="data:image/png;base64,') == 2
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', text) == [
        ("0a1b/0a1b_hndeface.qa.html", "0a1b"),
        ("2c3d/2c3d_hndeface.qa.html", "2c3d"),
    ]


def test_a_lost_thumbnail_leaves_the_row(tmp_path: Path) -> None:
    one = entry(tmp_path, "0a1b")
    (tmp_path / "0a1b" / "0a1b_hndeface.qa.png").unlink()
    text = page_of(tmp_path, one)
    assert "<img" not in text
    assert "0a1b/0a1b_hndeface.qa.html" in text
