"""`hndeface batch` as it is typed."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import pytest

from fw_gear_hndeface.batch import drive
from fw_gear_hndeface.batch.drive import Job
from fw_gear_hndeface.cli import main
from tests.batch import cohort


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What the command would do."""
    found: list[Job] = []

    def remember(job: Job, say: object) -> int:
        found.append(job)
        return 5

    monkeypatch.setattr(drive, "run_batch", remember)
    return found


def test_options_become_a_job(jobs: list[Job], tmp_path: Path) -> None:
    words = "--scheduler tls://h:1 -j 3 --memory 2000 --timeout 60 --only refused --only new --since 2026-01-31 --dry-run -q"
    code = main(["batch", "in", "-o", str(tmp_path), *words.split(), "-m", "blur", "-s", "seed=4", "--crosswalk", "list"])
    (job,) = jobs
    assert code == 5
    assert (job.source, job.dest, job.scheduler, job.workers) == ("in", tmp_path, "tls://h:1", 3)
    assert (job.memory_mb, job.timeout_s, job.only) == (2000, 60, ("refused", "new"))
    assert job.since == datetime(2026, 1, 31).timestamp()
    assert (job.settings.method, job.settings.seed, job.crosswalk) == ("blur", 4, Path("list"))
    assert job.dry_run
    assert job.quiet


def test_a_dash_reads_the_list_from_stdin(jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    main(["batch", "-", "-o", str(tmp_path)])
    assert list(jobs[0].listed) == ["a\n", "b\n"]
    main(["batch", "in", "-o", str(tmp_path)])
    assert list(jobs[1].listed) == []


@pytest.mark.parametrize(
    "words", ["--since yesterday", "--only fine", "-j 0", "--memory -5", "--timeout 1.5", "-s nothing=1", "--since 99999-01-01"]
)
def test_what_cannot_be_understood_ends_with_2_and_names_no_file(
    words: str, jobs: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "DOE^JANE", "-o", str(tmp_path / "DOE"), *words.split()]) == 2
    assert jobs == []
    assert "DOE" not in capsys.readouterr().err


def test_the_key_comes_from_its_file(jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"a key that is long enough")
    monkeypatch.setenv("HNDEFACE_KEY_FILE", str(tmp_path / "key"))
    main(["batch", "in", "-o", str(tmp_path)])
    assert jobs[0].key == b"a key that is long enough"


def test_a_dry_run_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = cohort.write_studies(tmp_path / "in", 2)
    assert main(["batch", str(root), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "2 studies, 0 done already, 2 to do" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
