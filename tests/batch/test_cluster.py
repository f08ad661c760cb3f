"""Real workers: what becomes of studies whose workers or whose driver are killed, and of workers somewhere else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from fw_gear_hndeface.batch import cluster
from fw_gear_hndeface.batch.drive import run_batch
from fw_gear_hndeface.batch.ledger import peek
from fw_gear_hndeface.batch.summary import counts_of
from fw_gear_hndeface.batch.work import HIDDEN
from fw_gear_hndeface.errors import HndefaceError, SettingsError
from tests.batch import cohort
from tests.e2e import studies

COUNT = 6
ROOT = Path(__file__).parents[2]


def ends(dest: Path) -> dict[str, int]:
    return counts_of(peek(dest / HIDDEN / "ledger.sqlite").values())


def start(root: Path, dest: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fw_gear_hndeface.cli", "batch", str(root), "-o", str(dest), "-s", "seed=5", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def wait_for(found: object, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def done(dest: Path) -> int:
    return len(list(dest.glob("*/receipt.json"))) if dest.exists() else 0


def workers_of(pid: int) -> list[psutil.Process]:
    found = psutil.Process(pid).children(recursive=True)
    return [child for child in found if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_workers_and_a_driver_that_are_killed_cost_nothing_but_time(tmp_path: Path) -> None:
    root, dest = cohort.write_studies(tmp_path / "in", COUNT), tmp_path / "out"
    driver = start(root, dest, "-j", "2")
    wait_for(lambda: done(dest) >= 1)
    victim = workers_of(driver.pid)[0]
    victim.send_signal(signal.SIGKILL)
    wait_for(lambda: done(dest) >= 3)
    orphans = workers_of(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not any(orphan.is_running() and orphan.status() != "zombie" for orphan in orphans))
    before = {name: data for name, data in cohort.tree(dest).items() if "/" in name}
    again = start(root, dest, "-j", "2")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert ends(dest) == {"no_face": COUNT}
    after = cohort.tree(dest)
    assert {name: after[name] for name in before} == before, "a study was done twice"
    assert len([name for name in after if name.endswith("receipt.json")]) == COUNT
    assert not any(".part" in name for name in after)
    for secret in (*studies.SECRETS, str(root)):
        assert secret not in said


@pytest.mark.slow
def test_workers_that_are_killed_while_they_start_are_started_again(tmp_path: Path) -> None:
    root, dest = cohort.write_studies(tmp_path / "in", 2), tmp_path / "out"
    driver = start(root, dest, "-j", "1")
    for _ in range(2):
        wait_for(lambda: driver.poll() is not None or workers_of(driver.pid))
        for worker in workers_of(driver.pid):
            worker.kill()
            worker.wait()
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert ends(dest) == {"no_face": 2}


def test_workers_that_never_start_are_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(cluster, "LocalCluster", fail)
    root = cohort.write_studies(tmp_path / "in", 1)
    with pytest.raises(HndefaceError, match="workers cannot be started"):
        run_batch(cohort.job(root, tmp_path / "out"), lambda _: None)


@pytest.mark.slow
def test_a_worker_that_is_missing_for_good_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_S", 1)
    studies_found = cohort.search(cohort.write_studies(tmp_path / "in", 1), tmp_path / "out").studies
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}), cluster.hire(None, cluster.Size(1, 2000)) as crew:
        assert crew.cluster is not None
        (nanny,) = crew.cluster.workers.values()
        crew.cluster.sync(nanny.close)
        told = cohort.task(studies_found[0], tmp_path / "out")
        assert [entry.verdict for entry in crew.outcomes([told])] == ["no_face"]


def test_a_stopped_driver_takes_its_workers_along(tmp_path: Path) -> None:
    root, dest = cohort.write_studies(tmp_path / "in", COUNT), tmp_path / "out"
    driver = start(root, dest, "-j", "1")
    wait_for(lambda: done(dest) >= 1)
    workers = workers_of(driver.pid)
    driver.send_signal(signal.SIGTERM)
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode == 143, said
    assert "Unexpected" not in said
    wait_for(lambda: not any(worker.is_running() for worker in workers))


def test_workers_of_a_given_scheduler_do_the_work(tmp_path: Path) -> None:
    root, dest = cohort.write_studies(tmp_path / "in", 3), tmp_path / "out"
    said: list[str] = []
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, host="127.0.0.1", dashboard_address=None, protocol="tcp"
    ) as elsewhere:
        code = run_batch(cohort.job(root, dest, scheduler=elsewhere.scheduler_address, quiet=True), said.append)
    assert code == 0
    assert ends(dest) == {"no_face": 3}


def test_a_scheduler_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1)
    root = cohort.write_studies(tmp_path / "in", 1)
    with pytest.raises(SettingsError, match="--scheduler: nothing answers"):
        run_batch(cohort.job(root, tmp_path / "out", scheduler="tcp://127.0.0.1:9"), lambda _: None)


def test_the_command_line_does_not_load_dask() -> None:
    look = "print(sorted(name for name in sys.modules if name in ('dask', 'distributed')))"
    code = f"import sys, fw_gear_hndeface.cli as c; c._parser(); {look}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
