"""A page made again from its record: the same words, the same pictures; and nothing taken over that is not ours."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface import cli
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.report import write_report
from fw_gear_hndeface.report.exhibit import Exhibit, Picture, Scene
from fw_gear_hndeface.report.rebuild import material_in, read_record, rebuild
from fw_gear_hndeface.settings import Settings


class Words(html.parser.HTMLParser):
    """The visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.words.append(data.strip())


def written(folder: Path, *, before: bool = False) -> tuple[Path, Path]:
    """Record and page of a run with three pictures and a scene."""
    rng = np.random.default_rng(3)
    pictures = [
        Picture("turntable+0", "turntable", "From the front", rng.integers(0, 255, (30, 20), np.uint8)),
        Picture("axial-low", "slices", "Axial", rng.integers(0, 255, (30, 20, 3), np.uint8)),
    ]
    if before:
        pictures.append(Picture("before+0", "before", "From the front", np.zeros((4, 4), np.uint8)))
    scene = Scene(b"scan bytes", b"label bytes", (("Parotid_L", "#00ff00"),))
    measures = {"method": "membrane", "rois": [{"name": "Parotid_L", "kind": "organ", "unchanged_percent": 100.0}]}
    result = Result(Verdict.DEFACED, None, (Finding(Level.WARNING, "left_out", "PT series 4 was left out."),), measures)
    files = write_report(result, folder=folder, stem="case", settings=Settings(), exhibit=Exhibit(tuple(pictures), scene))
    return files[0], files[1]


def test_the_page_comes_back_word_for_word_and_picture_for_picture(tmp_path: Path) -> None:
    record, page = written(tmp_path)
    first = page.read_text(encoding="utf-8")
    assert rebuild(record) == page
    assert page.read_text(encoding="utf-8") == first
    held = material_in(page)
    assert set(held.images) == {"turntable+0", "axial-low"}
    assert set(held.files) == {"scan", "labels"}


def test_without_the_old_page_the_text_is_the_same_and_pictures_are_told_missing(tmp_path: Path) -> None:
    record, page = written(tmp_path)
    first = Words(page.read_text(encoding="utf-8")).words
    page.unlink()
    rebuild(record)
    again = page.read_text(encoding="utf-8")
    assert "<img" not in again
    words = Words(again).words
    assert words.count("picture not at hand") == 2
    for text in ("Defaced", "PT series 4 was left out.", "Parotid_L", "From the front", "Axial"):
        assert text in words
        assert text in first


def test_the_name_of_a_page_with_the_original_stays(tmp_path: Path) -> None:
    record, page = written(tmp_path, before=True)
    first = page.read_text(encoding="utf-8")
    assert "WITH-BEFORE-IMAGES" in page.name
    assert rebuild(record) == page
    assert page.read_text(encoding="utf-8") == first
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [page.name]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/x.png",
        "data:text/html;base64,QUJD",
        'data:image/png;base64,QUJD"onerror="x',
        "data:image/svg+xml;base64,QUJD",
    ],
)
def test_a_picture_that_is_not_ours_is_not_taken_over(tmp_path: Path, address: str) -> None:
    page = tmp_path / "x.qa.html"
    page.write_text(f"<img data-name='turntable+0' src='{address}'><img src='data:image/png;base64,QUJD'>", encoding="utf-8")
    assert material_in(page).images == {}


def test_a_script_that_is_not_ours_is_not_taken_over(tmp_path: Path) -> None:
    page = tmp_path / "x.qa.html"
    page.write_text(
        '<script id="scan">alert(1)</script><script id="labels">QUJD</script><p id="scan">QUJD</p>', encoding="utf-8"
    )
    assert material_in(page).files == {"labels": "QUJD"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "cannot be read as JSON"),
        ("[1, 2]", "got schema version ''"),
        ('{"schema_version": "2.0"}', "got schema version '2.0'"),
        ('{"schema_version": "1.0", "verdict": "defaced"}', "lacks software"),
    ],
)
def test_what_is_no_record_is_refused_in_words(tmp_path: Path, content: str, words: str) -> None:
    record = tmp_path / "x.qa.json"
    record.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="record") as caught:
        rebuild(record)
    assert words in str(caught.value)
    assert not list(tmp_path.glob("*.html"))


def test_another_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.qa\.json"):
        read_record(tmp_path / "DOE_JANE.json")


def test_a_record_of_version_one_without_pictures_still_makes_a_page(tmp_path: Path) -> None:
    record, page = written(tmp_path)
    data = json.loads(record.read_text(encoding="utf-8"))
    for name in ("pictures", "scene"):
        del data[name]
    record.write_text(json.dumps({**data, "schema_version": "1.0"}), encoding="utf-8")
    rebuild(record)
    assert "PT series 4 was left out." in page.read_text(encoding="utf-8")


def test_the_command_makes_the_page_again_and_names_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, page = written(tmp_path)
    page.unlink()
    assert cli.main(["report", str(record)]) == 0
    assert page.exists()
    told = capsys.readouterr().out
    assert str(tmp_path) in told
    assert "case" not in told.replace(str(tmp_path), "")
    assert cli.main(["report", str(tmp_path / "nothing.qa.json")]) == 3
    assert "cannot be read" in capsys.readouterr().err
