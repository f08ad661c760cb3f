"""Report files: `<stem>_hndeface.qa.json`, `.qa.html` and `.qa.png`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from fw_gear_hndeface.model import Result
from fw_gear_hndeface.report.data import report_data
from fw_gear_hndeface.report.exhibit import Exhibit, strip_of
from fw_gear_hndeface.report.page import Material, material_of, render_page
from fw_gear_hndeface.report.viewer import find_viewer
from fw_gear_hndeface.settings import Settings

#: Height of the thumbnail, pixels.
THUMBNAIL_PX = 160
#: Which pictures of the turntable make the thumbnail: half from the right, the front, half from the left.
_THUMBNAIL = ("turntable-30", "turntable+0", "turntable+30")
#: Stands in the name of every page that shows the original.
BEFORE_MARK = "WITH-BEFORE-IMAGES"

_NOTHING = Exhibit()


def write_report(
    result: Result, *, folder: Path, stem: str, settings: Settings, exhibit: Exhibit = _NOTHING
) -> tuple[Path, ...]:
    """The report files of one run, written into `folder`: record, page and, where a head was defaced, thumbnail.

    Parameters
    ----------
    stem : of the file names alone; it may hold a name, so it never goes into the content
    exhibit : what is shown; nothing of the original unless the settings ask for it
    """
    data = report_data(result, settings, exhibit)
    record = folder / f"{stem}_hndeface.qa.json"
    record.write_text(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    page = write_page(data, material_of(exhibit), record)
    chosen = [picture for picture in exhibit.group("turntable") if picture.name in _THUMBNAIL]
    if not chosen:
        return record, page
    thumbnail = record.with_suffix(".png")
    Image.fromarray(strip_of(chosen, THUMBNAIL_PX)).save(thumbnail, optimize=True)
    return record, page, thumbnail


def write_page(data: Mapping[str, Any], material: Material, record: Path) -> Path:
    """The page of a record, written beside it. The name of a page that shows the original says so."""
    page = page_path(data, record)
    page.write_text(render_page(data, material, find_viewer() if data["scene"] else None), encoding="utf-8")
    return page


def page_path(data: Mapping[str, Any], record: Path) -> Path:
    """Where the page of a record lies: `x.qa.json` -> `x.qa.html`."""
    shows_before = any(picture["group"] == "before" for picture in data["pictures"])
    return record.with_name(record.name.removesuffix(".qa.json") + (f".{BEFORE_MARK}" if shows_before else "") + ".qa.html")
