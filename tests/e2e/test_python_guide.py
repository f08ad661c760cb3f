"""The blocks of docs/python.md run as they stand, from an empty folder with one study in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fw_gear_hndeface.dicom.synthesize import write_study
from fw_gear_hndeface.synthetic.head import make_head

pytestmark = pytest.mark.slow
GUIDE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 2


def test_a_study_in_a_study_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(make_head(11, spacing_mm=(3.0, 1.5, 1.5)), tmp_path / "study.zip", seed=11)
    exec(compile(BLOCKS[0], "python.md", "exec"), {})
    assert capsys.readouterr().out.startswith("defaced 0\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "study_hndeface.dicom.zip",
        "study_hndeface.qa.json",
        "study_hndeface.qa.html",
    }


def test_one_volume_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[1], "python.md", "exec"), {})
    told = capsys.readouterr().out
    assert re.search(r"^\d+ mL removed \d+ mL added$", told, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []
