"""One study on a worker: whatever goes wrong, its end is told and its folder is there in full or not at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fw_gear_hndeface.batch import work
from fw_gear_hndeface.batch.discover import Found
from fw_gear_hndeface.batch.work import Task, work_off
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.pipeline import Staged
from fw_gear_hndeface.settings import Settings
from tests.batch import cohort
from tests.e2e import studies

Deface = Callable[..., Staged]


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def study(tmp_path: Path, dest: Path) -> Found:
    return cohort.search(cohort.write_studies(tmp_path / "in", 1), dest).studies[0]


def stand_in(verdict: Verdict = Verdict.DEFACED, text: str = "image") -> Deface:
    """A run that stages an image and a record."""

    def deface(inputs: object, folder: Path, stem: str, settings: Settings, **_: object) -> Staged:
        files = [folder / f"{stem}_hndeface.qa.json"]
        files[0].write_text("{}")
        if verdict is Verdict.DEFACED:
            files.append(folder / f"{stem}_hndeface.dicom.zip")
            files[1].write_text(f"{text} {settings.seed}")
        told = (Finding(Level.ERROR, "privacy", "Too near."),) if verdict is Verdict.REFUSED else ()
        return Staged(Result(verdict, None, told, {}), tuple(files), 7 if verdict is Verdict.REFUSED else 0)

    return deface


def failing(error: BaseException) -> Deface:
    def deface(inputs: object, folder: Path, stem: str, *_: object, **__: object) -> Staged:
        (folder / f"{stem}_hndeface.dicom.zip").write_text("half")
        raise error

    return deface


def names(dest: Path) -> set[str]:
    return {Path(name).name for name in cohort.tree(dest)}


def test_outputs_lie_in_a_folder_of_the_studys_name_with_a_receipt(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "defaced"
    assert entry.code == 0
    receipt = json.loads((dest / study.stem / "receipt.json").read_text())
    assert receipt["fingerprint"] == entry.fingerprint
    assert {one["name"]: one["size"] for one in receipt["outputs"]} == {
        f"{study.stem}_hndeface.qa.json": 2,
        f"{study.stem}_hndeface.dicom.zip": len("image 5"),
    }
    assert not list((dest / work.HIDDEN / "work").iterdir()), "unfinished work stays behind"


def test_a_real_study_goes_through_and_its_inputs_name_is_nowhere(study: Found, dest: Path) -> None:
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "no_face"
    assert names(dest) == {f"{study.stem}_hndeface.qa.json", f"{study.stem}_hndeface.qa.html", "receipt.json"}
    for name, data in cohort.tree(dest).items():
        for secret in studies.SECRETS:
            assert secret not in name
            assert secret.encode() not in data


def test_what_was_done_is_taken_up_and_not_done_again(study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    first = work_off(cohort.task(study, dest))
    monkeypatch.setattr(work, "deface", failing(AssertionError("done twice")))
    again = work_off(cohort.task(study, dest))
    assert replace(again, seconds=0) == replace(first, seconds=0)


@pytest.mark.parametrize("spoil", ["image", "receipt", "missing", "settings", "input"])
def test_what_was_done_otherwise_or_was_spoilt_is_done_again(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    work_off(cohort.task(study, dest))
    folder, settings = dest / study.stem, Settings(seed=5)
    if spoil == "image":
        (folder / f"{study.stem}_hndeface.dicom.zip").write_text("IMAGE 5")
    elif spoil == "receipt":
        (folder / "receipt.json").write_text('{"verdict": "defaced"}')
    elif spoil == "missing":
        (folder / f"{study.stem}_hndeface.qa.json").unlink()
    elif spoil == "settings":
        settings = Settings(seed=6)
    else:
        with zipfile.ZipFile(study.paths[0], "a") as archive:
            archive.writestr("more.txt", "x")
        study = cohort.search(study.paths[0].parent, dest).studies[0]
    monkeypatch.setattr(work, "deface", stand_in(text="again"))
    work_off(cohort.task(study, dest, settings))
    assert (folder / f"{study.stem}_hndeface.dicom.zip").read_text() == f"again {settings.seed}"


def test_the_image_of_an_earlier_run_does_not_stay_beside_a_refusal(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    work_off(cohort.task(study, dest))
    monkeypatch.setattr(work, "deface", stand_in(Verdict.REFUSED))
    entry = work_off(cohort.task(study, dest, Settings(seed=6)))
    assert (entry.verdict, entry.code, entry.reason) == ("refused", 7, "Too near.")
    assert names(dest) == {f"{study.stem}_hndeface.qa.json", "receipt.json"}


def test_input_that_cannot_be_read_leaves_no_folder_and_takes_an_earlier_one_away(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    work_off(cohort.task(study, dest))
    monkeypatch.setattr(work, "deface", failing(InputError("input 1: damaged.")))
    entry = work_off(cohort.task(study, dest, Settings(seed=6)))
    assert (entry.verdict, entry.code, entry.reason) == ("unreadable", 3, "input 1: damaged.")
    assert entry.fingerprint
    assert names(dest) == set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x", "/secret"), "The disk is full"),
        (OSError(errno.EDQUOT, "x", "/secret"), "quota"),
        (PermissionError(errno.EACCES, "x", "/secret"), "permissions"),
        (FileNotFoundError(errno.ENOENT, "x", "/secret"), "is gone"),
        (OSError(errno.EIO, "x", "/secret"), "disk reports an error"),
        (MemoryError(), "Out of memory"),
        (ValueError("secret"), "Unexpected ValueError"),
        (RecursionError("secret"), "Unexpected RecursionError"),
    ],
)
def test_every_failure_is_told_in_words_and_leaves_nothing(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(work, "deface", failing(error))
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "failed"
    assert entry.code == 1
    assert words in entry.reason
    assert "secret" not in entry.reason
    assert names(dest) == set()
    assert not list((dest / work.HIDDEN / "work").iterdir())


def test_a_failure_leaves_the_outputs_of_an_earlier_run_alone(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    work_off(cohort.task(study, dest))
    before = cohort.tree(dest)
    monkeypatch.setattr(work, "deface", failing(OSError(errno.ENOSPC, "x")))
    assert work_off(cohort.task(study, dest, Settings(seed=6))).verdict == "failed"
    assert cohort.tree(dest) == before


@pytest.mark.parametrize("place", ["write_whole", "sync_file"])
def test_a_disk_that_fills_while_outputs_are_put_in_place_leaves_nothing(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(work, "deface", stand_in())
    monkeypatch.setattr(work, place, full)
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "failed"
    assert "The disk is full" in entry.reason
    assert names(dest) == set()


def test_an_input_that_vanishes_is_a_failure_not_a_bad_input(study: Found, dest: Path) -> None:
    study.paths[0].unlink()
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "failed"
    assert "gone" in entry.reason


@pytest.mark.parametrize("verdict", [Verdict.DEFACED, None])
def test_an_input_that_changes_while_it_is_read_is_not_taken(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None
) -> None:
    made = stand_in(verdict) if verdict else failing(InputError("half of it"))

    def deface(*args: object, **options: object) -> Staged:
        study.paths[0].write_bytes(b"still arriving")
        return made(*args, **options)

    monkeypatch.setattr(work, "deface", deface)
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "failed"
    assert "changed while it was read" in entry.reason
    assert names(dest) == set()


def test_clocks_that_jump_change_nothing(study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "deface", stand_in())
    jumps = iter(range(2_000_000_000, 0, -1_000_000))
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    os.utime(study.paths[0], (4e9, 4e9))
    study = cohort.search(study.paths[0].parent, dest).studies[0]
    entry = work_off(cohort.task(study, dest))
    assert entry.verdict == "defaced"
    assert 0 <= entry.seconds < 60


def test_a_worker_with_another_key_or_version_does_nothing(
    study: Found, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = cohort.task(study, dest)
    assert "version" in work_off(replace(told, version="0.0.0")).reason
    (tmp_path / "key").write_bytes(b"another key, long enough")
    monkeypatch.setenv("HNDEFACE_KEY_FILE", str(tmp_path / "key"))
    entry = work_off(told)
    assert entry.verdict == "failed"
    assert "key is not the driver's" in entry.reason
    assert names(dest) == set()


def test_nothing_that_travels_to_a_worker_prints_a_path_or_the_key(study: Found, dest: Path) -> None:
    told = repr(cohort.task(study, dest))
    assert studies.NAME not in told
    assert str(dest) not in told
    assert repr(cohort.job("x", dest)).count("key") == 0


def test_memory_beyond_the_limit_is_a_failure_and_the_limit_is_lifted_again(
    study: Found, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object, **__: object) -> Staged:
        raise AssertionError(len(bytearray(20_000_000_000)))

    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(work, "deface", greedy)
    entry = work_off(cohort.task(study, dest, memory_mb=15_000))
    assert entry.verdict == "failed"
    assert "Out of memory" in entry.reason
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


SCRIPT = """
import os, pickle, signal, sys, time
from fw_gear_hndeface.batch import work
from tests.batch.test_work import stand_in
work.deface = stand_in()
def stuck(*_, **__):
    time.sleep(60)
if sys.argv[2] == "stuck":
    work.deface = stuck
elif sys.argv[2] == "full":
    import resource
    from fw_gear_hndeface.pipeline import deface
    work.deface = deface
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
else:
    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "rename":
        work.Path.rename = die
    else:
        work.os.replace = die
with open(sys.argv[1], "rb") as stream:
    said = work.work_off(pickle.load(stream)).reason
with open(os.path.join(os.path.dirname(sys.argv[1]), "said"), "w") as stream:
    stream.write(said)
"""


def in_a_process(told: Task, where: str, tmp_path: Path) -> int:
    """Do a task in a process of its own that dies on the way; its exit code."""
    import pickle

    (tmp_path / "task").write_bytes(pickle.dumps(told))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "task"), where]
    return subprocess.run(command, check=False, timeout=60, capture_output=True, cwd=Path(__file__).parents[2]).returncode


@pytest.mark.parametrize("where", ["replace", "rename"])
def test_a_worker_killed_while_outputs_are_put_in_place_leaves_no_half_and_the_next_one_does_it(
    study: Found, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "rename":  # an earlier run's outputs are taken away first
        monkeypatch.setattr(work, "deface", stand_in(text="old"))
        work_off(cohort.task(study, dest, Settings(seed=1)))
    before = cohort.tree(dest)
    assert in_a_process(cohort.task(study, dest), where, tmp_path) == -signal.SIGKILL
    assert cohort.tree(dest) == before, "half of the outputs were put in place"
    monkeypatch.setattr(work, "deface", stand_in())
    assert work_off(cohort.task(study, dest)).verdict == "defaced"
    assert (dest / study.stem / f"{study.stem}_hndeface.dicom.zip").read_text() == "image 5"


def test_a_real_disk_that_takes_no_more_is_told_and_leaves_nothing(study: Found, dest: Path, tmp_path: Path) -> None:
    told = cohort.task(study, dest)
    assert in_a_process(told, "full", tmp_path) == 0
    assert "beyond what the system allows" in (tmp_path / "said").read_text()
    assert names(dest) == set()
    assert not list((dest / work.HIDDEN / "work").iterdir())


def test_a_study_that_is_stuck_ends_its_worker_and_is_not_tried_again(study: Found, dest: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    assert in_a_process(cohort.task(study, dest, timeout_s=1.0), "stuck", tmp_path) != 0
    assert time.monotonic() - started < 30
    entry = work_off(cohort.task(study, dest, timeout_s=1.0))
    assert entry.verdict == "failed"
    assert "longer than the time limit" in entry.reason
    assert names(dest) == set()
