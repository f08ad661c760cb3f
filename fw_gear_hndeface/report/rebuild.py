"""The page of a record made again: text from the record, pictures and the interactive view from the page beside it."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Verdict
from fw_gear_hndeface.report.data import SCHEMA_VERSION
from fw_gear_hndeface.report.page import Material
from fw_gear_hndeface.report.write import page_path, write_page

_ENDING = ".qa.json"
_IMAGE = re.compile(r"data:image/(png|webp);base64,[A-Za-z0-9+/]+={0,2}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
#: Elements of a page that hold the interactive view's files.
_FILES = ("scan", "labels")
#: What every page needs of its record; the rest is there since version 1.1 or has a default.
_NEEDED = ("software", "findings", "rois", "privacy", "landmarks", "objects", "seconds", "settings", "versions")


def rebuild(record: Path) -> Path:
    """Write the page of a record anew and return where it lies.

    Pictures are taken from the page beside the record, if there is one: the record holds none. Without it the page is made of
    text, and says where a picture is missing.

    Raises
    ------
    InputError
        No record of this software, or one of a later version.
    """
    data = read_record(record)
    page = page_path(data, record)
    return write_page(data, material_in(page), record)


def read_record(record: Path) -> dict[str, Any]:
    """The content of a `.qa.json`.

    Raises
    ------
    InputError
        It cannot be read, or it is no record of this software or one of a later version.
    """
    if not record.name.endswith(_ENDING):
        raise InputError(f"The record: expected a file that ends in {_ENDING}, as a run writes it beside its page.")
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("The record cannot be read as JSON. Give the .qa.json that a run wrote.") from error
    version = str(data.get("schema_version", "")) if isinstance(data, dict) else ""
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(
            f"The record: got schema version '{version[:10]}', expected {SCHEMA_VERSION.split('.')[0]}.x. "
            "Give the .qa.json of a run of this software, or install the version that wrote it."
        )
    missing = [name for name in _NEEDED if name not in data]
    if missing or data.get("verdict") not in list(Verdict):
        raise InputError(f"The record lacks {missing[0] if missing else 'a verdict'}. Give the .qa.json as the run wrote it.")
    nothing = ("method", "removed_ml", "added_ml", "retextured_ml", "peak_mb", "scene")
    return {**dict.fromkeys(nothing), "pictures": [], **data}


def material_in(page: Path) -> Material:
    """The pictures and files in a page that was made before; nothing where there is none or it holds none."""
    if not page.is_file():
        return Material()
    found = _Held()
    found.feed(page.read_text(encoding="utf-8", errors="replace"))
    return Material(found.images, found.files)


class _Held(html.parser.HTMLParser):
    """What a page holds, as far as it is what we put there: anything else in a file of that name is not taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "img" and "data-name" in given and _IMAGE.fullmatch(given.get("src", "")):
            self.images[given["data-name"]] = given["src"]
        self._open = given.get("id", "") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in _FILES and _BASE64.fullmatch(data):
            self.files[self._open] = data
