"""NiiVue from an installed package: packed whole, with its licence; where it is missing the page says so and stays whole."""

from __future__ import annotations

import base64
import gzip
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from fw_gear_hndeface.model import Result, Verdict
from fw_gear_hndeface.report import write_report
from fw_gear_hndeface.report.exhibit import Exhibit, Scene
from fw_gear_hndeface.report.viewer import PACKAGE, find_viewer
from fw_gear_hndeface.settings import Settings

EXHIBIT = Exhibit((), Scene(b"s" * 3_000_000, b"l" * 100_000, (("Parotid_L", "#00ff00"),)))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    find_viewer.cache_clear()
    yield
    find_viewer.cache_clear()


def page_in(folder: Path) -> Path:
    result = Result(Verdict.DEFACED, None, (), {})
    return write_report(result, folder=folder, stem="x", settings=Settings(), exhibit=EXHIBIT)[1]


def test_the_module_is_packed_as_the_package_ships_it() -> None:
    viewer = find_viewer()
    assert viewer is not None
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    shipped = Path(spec.submodule_search_locations[0], "static", "widget.js").read_bytes()
    assert gzip.decompress(base64.b64decode(viewer.module)) == shipped
    assert "Redistribution and use in source and binary forms" in viewer.licence
    assert viewer.version.startswith("2.")


def test_the_page_carries_it_with_its_licence_and_stays_small(tmp_path: Path) -> None:
    page = page_in(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in text
    assert '<details id="interactive">' in text
    assert page.stat().st_size < 15_000_000


def test_nothing_of_it_runs_unasked(tmp_path: Path) -> None:
    text = page_in(tmp_path).read_text(encoding="utf-8")
    for name in ("module", "scan", "labels"):
        assert f'<script type="text/plain" id="{name}">' in text


def test_without_the_package_the_page_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_viewer() is None
    text = page_in(tmp_path).read_text(encoding="utf-8")
    assert "the package ipyniivue was not there when it was made" in text
    assert "Defaced" in text
    assert 'id="interactive"' not in text


def test_a_package_without_the_file_is_no_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert find_viewer() is None
