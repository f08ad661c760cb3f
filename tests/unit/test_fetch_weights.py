"""scripts/fetch_weights: weights for an image's networks, or a build that ends in words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_weights"
CROP, GLANDS = "Dataset298_TotalSegmentator_total_6mm_1559subj", "Dataset775_head_glands_cavities_492subj"


def place(source: Path, version: str, name: str, member: str = "nnUNetTrainer__p__3d/fold_0/checkpoint_final.pth") -> Path:
    """An archive as it lies at the makers'."""
    path = source / version / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/{member}", b"weights")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The makers' address, as a folder."""
    place(tmp_path / "source", "v2.0.0-weights", CROP)
    place(tmp_path / "source", "v2.3.0-weights", GLANDS)
    return tmp_path / "source"


def fetch(folder: Path, source: str, *tasks: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, folder, *tasks], env={"WEIGHTS_SOURCE": source}, capture_output=True, text=True, check=False
    )


def test_a_task_and_the_model_that_finds_the_head_are_fetched_and_listed(source: Path, tmp_path: Path) -> None:
    done = fetch(tmp_path / "to", source.as_uri(), "head_glands_cavities", "head_glands_cavities")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "to").iterdir()} == {CROP, GLANDS, "SHA256SUMS"}
    archives = (source / "v2.0.0-weights" / f"{CROP}.zip", source / "v2.3.0-weights" / f"{GLANDS}.zip")
    sums = (tmp_path / "to" / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[0] for line in sums] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in archives]


def test_weights_that_cannot_be_reached_end_the_build_in_words(tmp_path: Path) -> None:
    done = fetch(tmp_path / "to", "http://127.0.0.1:9", "head_glands_cavities")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be fetched from http://127.0.0.1:9" in line
    assert "No image was built" in line
    assert "WEIGHTS_SOURCE" in line
    assert "without NETWORKS" in line


def test_a_page_instead_of_an_archive_ends_the_build(source: Path, tmp_path: Path) -> None:
    (source / "v2.3.0-weights" / f"{GLANDS}.zip").write_text("<html>Sign in</html>")
    done = fetch(tmp_path / "to", source.as_uri(), "head_glands_cavities")
    assert (done.returncode, "is no zip archive (20 bytes)" in done.stderr) == (1, True)


def test_an_archive_without_a_model_ends_the_build(source: Path, tmp_path: Path) -> None:
    place(source, "v2.3.0-weights", GLANDS, "readme.txt")
    done = fetch(tmp_path / "to", source.as_uri(), "head_glands_cavities")
    assert (done.returncode, "holds no checkpoint_final.pth" in done.stderr) == (1, True)


def test_a_task_that_needs_a_licence_or_does_not_exist_is_refused(source: Path, tmp_path: Path) -> None:
    done = fetch(tmp_path / "to", source.as_uri(), "face")
    assert (done.returncode, "No open task of that name: face" in done.stderr) == (1, True)
    assert not (tmp_path / "to").exists()
