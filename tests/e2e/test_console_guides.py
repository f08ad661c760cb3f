"""The commands of README and guides, typed in word for word in an empty folder with one study in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import pytest

from fw_gear_hndeface.dicom.synthesize import write_study
from fw_gear_hndeface.synthetic.head import SyntheticHead, make_head
from tests import labelled
from tests.guides import REPOSITORY, Block, blocks, console, follow

pytestmark = pytest.mark.slow
SEED = 11
PLAIN, CHECKOUT = console(""), console("a checkout")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return make_head(SEED, spacing_mm=(3.0, 1.5, 1.5), with_dose=False)


@pytest.fixture
def folder(head: SyntheticHead, tmp_path: Path) -> Path:
    """What the guides speak of as the reader's own: study.zip, an archive of studies, a label map with names."""
    write_study(head, tmp_path / "study.zip", seed=SEED)
    (tmp_path / "archive").mkdir()
    shutil.copy(tmp_path / "study.zip", tmp_path / "archive" / "one.zip")
    names = labelled.names()
    nibabel.save(labelled.nifti(labelled.numbers(head), head.volume.grid, names), tmp_path / "labels.nii.gz")
    (tmp_path / "labels.json").write_text(json.dumps({str(number): name for number, name in names.items()}))
    return tmp_path


@pytest.mark.parametrize("page", PLAIN)
def test_a_page_s_commands_work_from_an_empty_folder(page: str, folder: Path) -> None:
    follow(PLAIN[page], folder, {"PATH": PATH})


def test_the_report_page_s_python_makes_a_page_over_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow([Block("", "console", ("$ hndeface run study.zip -o OUT",))], folder, {"PATH": PATH})
    (block,) = [block for block in blocks() if block.page == "docs/report.md" and block.kind == "python"]
    monkeypatch.chdir(folder)
    exec(compile("\n".join(block.lines), "report.md", "exec"), {})
    page = (folder / "OUT" / "cohort.html").read_text(encoding="utf-8")
    assert "My cohort" in page
    assert "study_hndeface.qa.html" in page


def test_what_the_first_page_and_the_gear_s_page_say_works_in_a_fresh_checkout(folder: Path) -> None:
    checkout = folder / "checkout"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, checkout], check=True)
    shutil.copy(folder / "study.zip", checkout / "study.zip")
    for page in ("README.md", "docs/gear.md"):
        follow(CHECKOUT[page], checkout, {})
    assert (checkout / "demo" / "before_after.png").exists()
    assert {path.name for path in (checkout / "out").iterdir()} == {
        f"study_hndeface.{ending}" for ending in ("dicom.zip", "qa.html", "qa.json", "qa.png")
    }
