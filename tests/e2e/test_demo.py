"""`make demo` as a newcomer meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.jobs import REPOSITORY, run_cli


@pytest.mark.slow
def test_the_demo_ends_with_a_verdict_a_picture_and_the_way_to_the_report(tmp_path: Path) -> None:
    done = run_cli(["demo", "-o", "shown"], tmp_path)
    assert done.code == 0, done.told
    assert "\ndefaced: " in done.told
    for label in ("picture", "study", "report", "record", "job"):
        (path,) = [line.split(maxsplit=1)[1] for line in done.told.splitlines() if line.startswith(f"{label} ")]
        assert (tmp_path / path).exists()
    picture = tmp_path / "shown" / "before_after.png"
    assert picture.stat().st_size < 300_000
    rows = np.array_split(np.asarray(Image.open(picture)).astype(int), 2)
    height = min(len(row) for row in rows)
    changed = np.abs(rows[0][:height] - rows[1][:height]) > 20
    assert 0.02 < changed.mean() < 0.5, "the face differs, the head does not"
    assert json.loads((tmp_path / "shown" / "job" / "config.json").read_text())["inputs"]["dicom"]
    again = run_cli(["demo", "-o", "shown"], tmp_path)
    assert again.code == 0, "a second demo replaces the first"


def test_the_picture_of_the_readme_is_small() -> None:
    assert (REPOSITORY / "docs" / "images" / "before_after.png").stat().st_size < 300_000
