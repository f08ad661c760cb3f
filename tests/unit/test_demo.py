"""The demo's folder and picture; the whole demo is run in the end-to-end tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface import demo
from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.ops.render import Picture


def picture(origin: tuple[float, float], shape: tuple[int, int], value: int) -> Picture:
    grey = np.full(shape, value, np.uint8)
    return Picture(grey, np.zeros(shape, np.float32), np.eye(3), np.array([*origin, 0.0]), 0.9)


def test_a_folder_that_is_none_of_the_demos_is_not_deleted(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "thesis.txt").write_text("years")
    with pytest.raises(SettingsError, match="Choose another folder"):
        demo._fresh(job)
    assert (job / "thesis.txt").read_text() == "years"


def test_a_folder_of_an_earlier_demo_is_made_anew(tmp_path: Path) -> None:
    job = demo._fresh(tmp_path / "job")
    study = job / "input" / "dicom" / "x.dicom.zip"
    study.write_bytes(b"")
    demo._lay_out(job, study)
    (job / "output").mkdir()
    (job / "output" / "old.zip").write_bytes(b"")
    assert not (demo._fresh(job) / "output").exists()


def test_the_job_is_laid_out_as_the_platform_does(tmp_path: Path) -> None:
    job = demo._fresh(tmp_path / "job")
    study = job / "input" / "dicom" / "x.dicom.zip"
    study.write_bytes(b"")
    demo._lay_out(job, study)
    config = json.loads((job / "config.json").read_text())
    assert Path(config["inputs"]["dicom"]["location"]["path"]) == study.resolve()
    assert config["destination"]["type"] == "acquisition"
    assert json.loads((job / "manifest.json").read_text())["name"] == "hndeface"


def test_before_and_after_lie_on_one_canvas_with_the_same_place_at_the_same_pixel() -> None:
    first, second = demo._aligned([picture((-9.0, 0.0), (10, 20), 100), picture((0.0, 4.5), (9, 12), 200)])
    assert first.shape == second.shape == (14, 22)
    assert np.array_equal(np.argwhere(first)[[0, -1]], [[0, 0], [9, 19]])
    assert np.array_equal(np.argwhere(second)[[0, -1]], [[5, 10], [13, 21]])
