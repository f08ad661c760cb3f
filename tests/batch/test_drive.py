"""The order of a batch: what is done, what is passed over, what is told. Workers are stood in for, the work is real or not."""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fw_gear_hndeface.batch import cluster, drive, work
from fw_gear_hndeface.batch.drive import Job, run_batch
from fw_gear_hndeface.batch.ledger import Entry, peek
from fw_gear_hndeface.batch.summary import counts_of, exit_code
from fw_gear_hndeface.batch.work import HIDDEN, Task, work_off
from fw_gear_hndeface.errors import HndefaceError, InputError, SettingsError
from fw_gear_hndeface.settings import Settings
from tests.batch import cohort
from tests.batch.test_work import stand_in
from tests.e2e import studies


@dataclass
class Crew:
    """Workers of this very process that may be stopped after some studies."""

    does: Callable[[Task], Entry] = work_off
    stops_after: int = 1_000
    tasks: list[Task] = field(default_factory=list)
    is_local: bool = True
    dashboard: str = "http://127.0.0.1:1/status"

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Entry]:
        for number, one in enumerate(tasks):
            if number >= self.stops_after:
                raise KeyboardInterrupt
            self.tasks.append(one)
            yield self.does(one)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    made = Crew()

    @contextmanager
    def hire(*_: object) -> Iterator[Crew]:
        made.tasks.clear()
        yield made

    monkeypatch.setattr(cluster, "hire", hire)
    monkeypatch.setattr(work, "deface", stand_in())
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return cohort.job(cohort.write_studies(tmp_path / "in", 4), tmp_path / "out")


def ends(dest: Path) -> dict[str, int]:
    return counts_of(peek(dest / HIDDEN / "ledger.sqlite").values())


def test_every_study_is_done_and_summed_up(crew: Crew, job: Job, said: list[str]) -> None:
    assert run_batch(job, said.append) == 0
    assert ends(job.dest) == {"defaced": 4}
    told = json.loads((job.dest / "cohort.json").read_text())
    assert told["counts"] == {"defaced": 4}
    with (job.dest / "cohort.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert (
        [row["study"] for row in rows] == [one["study"] for one in told["studies"]] == sorted(t.study.stem for t in crew.tasks)
    )
    assert all((job.dest / name).is_file() for one in told["studies"] for name in one["outputs"])
    assert (job.dest / "cohort.html").is_file()
    assert "4 studies: 4 defaced." in said
    assert not (job.dest / HIDDEN / "work").exists()


def test_a_second_start_does_nothing(crew: Crew, job: Job, said: list[str]) -> None:
    run_batch(job, said.append)
    before = cohort.tree(job.dest)
    crew.tasks.clear()
    assert run_batch(job, said.append) == 0
    assert crew.tasks == []
    assert cohort.tree(job.dest) == before


def test_a_stopped_batch_goes_on_where_it_was(crew: Crew, job: Job, said: list[str]) -> None:
    crew.stops_after = 2
    with pytest.raises(KeyboardInterrupt):
        run_batch(job, said.append)
    assert ends(job.dest) == {"defaced": 2}
    done = {task.study.stem for task in crew.tasks}
    crew.stops_after = 1_000
    assert run_batch(job, said.append) == 0
    assert done.isdisjoint({task.study.stem for task in crew.tasks})
    assert ends(job.dest) == {"defaced": 4}


def test_a_lost_ledger_is_made_again_without_doing_anything_twice(
    crew: Crew, job: Job, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_batch(job, said.append)
    before = cohort.tree(job.dest)
    shutil.rmtree(job.dest / HIDDEN)
    monkeypatch.setattr(work, "deface", stand_in(text="done twice"))
    assert run_batch(job, said.append) == 0
    assert {name: data for name, data in cohort.tree(job.dest).items() if "/" in name} == {
        name: data for name, data in before.items() if "/" in name
    }
    assert ends(job.dest) == {"defaced": 4}


def test_outputs_that_are_gone_are_made_again(crew: Crew, job: Job, said: list[str]) -> None:
    run_batch(job, said.append)
    before = cohort.tree(job.dest)
    stem = crew.tasks[1].study.stem
    (job.dest / stem / f"{stem}_hndeface.dicom.zip").unlink()
    run_batch(job, said.append)
    assert [task.study.stem for task in crew.tasks] == [stem]
    assert set(cohort.tree(job.dest)) == set(before)


def test_other_settings_do_every_study_again(crew: Crew, job: Job, said: list[str]) -> None:
    run_batch(job, said.append)
    run_batch(replace(job, settings=Settings(seed=9)), said.append)
    assert len(crew.tasks) == 4


def test_failures_are_tried_again_and_refusals_and_bad_inputs_are_not(crew: Crew, job: Job, said: list[str]) -> None:
    def ended(told: Task) -> Entry:
        number = len(crew.tasks)
        verdict, code = [("failed", 1), ("refused", 7), ("unreadable", 3), ("no_face", 0)][number - 1]
        return Entry(told.study.stem, told.study.quick, told.rules, "f", verdict, code, "why")

    crew.does = ended
    assert run_batch(job, said.append) == 1
    failed = crew.tasks[0].study.stem
    crew.does = work_off
    assert run_batch(job, said.append) == 3
    assert [task.study.stem for task in crew.tasks] == [failed]
    assert ends(job.dest) == {"defaced": 1, "no_face": 1, "refused": 1, "unreadable": 1}
    assert any(line.startswith("failed 1 times: why") for line in said)


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ([("defaced", 0), ("partial", 0), ("no_face", 0), ("already_defaced", 0)], 0),
        ([("defaced", 0), ("refused", 7), ("refused", 4)], 4),
        ([("refused", 4), ("unreadable", 3)], 3),
        ([("unreadable", 3), ("failed", 5)], 1),
        ([("defaced", 7)], 7),
        ([], 0),
    ],
)
def test_the_exit_code_is_of_what_most_needs_a_person(ended: list[tuple[str, int]], code: int) -> None:
    assert exit_code([Entry("s", "q", "r", "f", verdict, number) for verdict, number in ended]) == code


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(crew: Crew, job: Job, said: list[str], tmp_path: Path) -> None:
    assert run_batch(replace(job, dry_run=True), said.append) == 0
    assert not job.dest.exists()
    assert crew.tasks == []
    assert "4 to do" in said[-1]
    run_batch(job, said.append)
    before = cohort.tree(job.dest)
    studies.write_zip(tmp_path / "in" / "more.zip", cohort.members(99))
    run_batch(replace(job, dry_run=True), said.append)
    assert "4 done already, 1 to do" in said[-1]
    assert cohort.tree(job.dest) == before


def test_only_and_since_narrow_the_choice(crew: Crew, job: Job, said: list[str]) -> None:
    crew.stops_after = 1
    with pytest.raises(KeyboardInterrupt):
        run_batch(job, said.append)
    crew.stops_after = 1_000
    other = Settings(seed=8)
    run_batch(replace(job, only=("defaced",), settings=other), said.append)
    assert len(crew.tasks) == 1
    run_batch(replace(job, only=("new",), settings=other), said.append)
    assert len(crew.tasks) == 3
    for path in Path(job.source).iterdir():
        os.utime(path, (1_000, 1_000))
    os.utime(path, (3_000, 3_000))
    run_batch(replace(job, since=2_000.0), said.append)
    assert [task.study.paths for task in crew.tasks] == [(path,)]


def test_two_batches_do_not_share_an_output_folder(crew: Crew, job: Job, said: list[str]) -> None:
    def second(told: Task) -> Entry:
        with pytest.raises(SettingsError, match="another run"):
            run_batch(job, said.append)
        return work_off(told)

    crew.does = second
    assert run_batch(job, said.append) == 0


def test_what_a_killed_run_left_unfinished_is_cleared(crew: Crew, job: Job, said: list[str]) -> None:
    left = job.dest / HIDDEN / "work" / "x" / "staged"
    left.mkdir(parents=True)
    (left / "half.zip").write_text("half")
    (job.dest / HIDDEN / "marks").mkdir()
    run_batch(job, said.append)
    assert {path.name for path in (job.dest / HIDDEN).iterdir()} == {"ledger.sqlite", "lock"}


def test_the_crosswalk_is_for_the_user_alone_and_not_beside_the_outputs(
    crew: Crew, job: Job, said: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="names patients"):
        run_batch(replace(job, crosswalk=job.dest / "list.txt"), said.append)
    run_batch(replace(job, crosswalk=tmp_path / "list.txt"), said.append)
    rows = [line.split("\t") for line in (tmp_path / "list.txt").read_text().splitlines()]
    assert {stem for stem, _ in rows} == {path.name for path in job.dest.iterdir() if path.is_dir() and path.name != HIDDEN}
    assert all(Path(path).is_file() for _, path in rows)
    assert stat.S_IMODE((tmp_path / "list.txt").stat().st_mode) == 0o600


def test_nothing_that_is_said_or_written_names_a_patient(crew: Crew, job: Job, said: list[str]) -> None:
    crew.does = lambda told: replace(work_off(told), verdict="failed", code=1, reason="x")
    run_batch(job, said.append)
    run_batch(replace(job, dry_run=True), said.append)
    texts = ["\n".join(said).encode(), *cohort.tree(job.dest).values(), (job.dest / HIDDEN / "ledger.sqlite").read_bytes()]
    for secret in (*studies.SECRETS, str(job.source)):
        assert not any(secret.encode() in text for text in texts), secret


def test_a_list_on_stdin_is_a_source(crew: Crew, job: Job, said: list[str]) -> None:
    lines = [f"{path}\n" for path in sorted(Path(job.source).iterdir())[:2]]
    assert run_batch(replace(job, source="-", listed=lines), said.append) == 0
    assert len(crew.tasks) == 2


def test_a_source_without_studies_is_an_error(crew: Crew, job: Job, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.txt").write_text("x")
    with pytest.raises(InputError, match="holds no study"):
        run_batch(replace(job, source=str(tmp_path / "empty")), said.append)


def test_an_output_that_is_a_file_is_an_error(crew: Crew, job: Job, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="--output"):
        run_batch(replace(job, dest=tmp_path / "file"), said.append)


def test_a_ledger_that_takes_nothing_does_not_stop_the_others(
    crew: Crew, job: Job, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    def full(self: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(drive.Ledger, "_flush", full)
        with pytest.raises(HndefaceError, match="4 studies are not in it"):
            run_batch(job, said.append)
    assert len(crew.tasks) == 4
    monkeypatch.setattr(work, "deface", stand_in(text="done twice"))
    run_batch(job, said.append)
    assert ends(job.dest) == {"defaced": 4}
    assert not any(b"done twice" in data for data in cohort.tree(job.dest).values())


@pytest.mark.parametrize(
    ("workers", "memory", "cores", "machine", "expected"),
    [
        (None, None, 8, 64e9, (8, 4096)),
        (None, None, 8, 16e9, (3, 4096)),
        (None, None, 2, 2e9, (1, 1800)),
        (4, None, 2, 8e9, (4, 1800)),
        (None, 1000, 8, 4e9, (3, 1000)),
        (5, 9000, 1, 1e9, (5, 9000)),
    ],
)
def test_workers_fit_the_cores_and_the_memory(
    workers: int | None, memory: int | None, cores: int, machine: float, expected: tuple[int, int]
) -> None:
    size = cluster.size_of(workers, memory, cores=cores, machine=machine)
    assert (size.workers, size.memory_mb) == expected


def test_the_page_shows_each_defaced_study_with_its_picture(job: Job, said: list[str], tmp_path: Path, crew: Crew) -> None:
    from PIL import Image

    qa = {
        "verdict": "defaced", "method": "membrane", "rois": [], "privacy": {"stranger_share": 0.4}, "findings": [],
        "removed_ml": 1.5, "added_ml": 2.5, "retextured_ml": 3.5, "seconds": {"total": 9.0}, "landmarks": {},
    }  # fmt: skip

    def with_picture(told: Task) -> Entry:
        entry = work_off(told)
        folder = job.dest / entry.stem
        (folder / f"{entry.stem}_hndeface.qa.json").write_text(json.dumps(qa))
        Image.new("L", (40, 30)).save(folder / f"{entry.stem}_hndeface.qa.png")
        names = [*(output.name for output in entry.outputs), f"{entry.stem}_hndeface.qa.png"]
        return replace(entry, outputs=tuple(work._output(folder / name) for name in names))

    crew.does = with_picture
    run_batch(job, said.append)
    page = (job.dest / "cohort.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert all(task.study.stem in page for task in crew.tasks)
    with (job.dest / "cohort.csv").open() as stream:
        assert [row["removed_ml"] for row in csv.DictReader(stream)] == ["1.5"] * 4
