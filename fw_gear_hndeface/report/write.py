"""Report files: `<stem>_hndeface.qa.json` and `<stem>_hndeface.qa.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Result
from fw_gear_hndeface.report.data import report_data
from fw_gear_hndeface.report.page import render_page
from fw_gear_hndeface.settings import Settings


def write_report(
    result: Result, *, folder: Path, stem: str, settings: Settings, figures: Mapping[str, NDArray[np.uint8]]
) -> tuple[Path, ...]:
    """The report files of one run, written into `folder`.

    Parameters
    ----------
    stem : of the file names alone; it may hold a name, so it never goes into the content.
    figures : caption -> picture of the defaced head, (R, C) grey or (R, C, 3) RGB. Never of the original.
    """
    data = report_data(result, settings)
    record = folder / f"{stem}_hndeface.qa.json"
    record.write_text(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    page = folder / f"{stem}_hndeface.qa.html"
    page.write_text(render_page(data, figures), encoding="utf-8")
    return record, page
