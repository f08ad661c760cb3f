"""Every method on every head of a cohort: one record per pair, made in parallel, kept on disk, never made twice."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fw_gear_hndeface import __version__
from fw_gear_hndeface.errors import HndefaceError, SettingsError
from fw_gear_hndeface.evaluate.studies import Head, first_head
from fw_gear_hndeface.evaluate.trial import UNTOUCHED, prepare, settings_of, try_method
from fw_gear_hndeface.files import PRIVATE, write_whole
from fw_gear_hndeface.methods import REGISTRY

Say = Callable[[str], None]
#: What a record holds; those of another number are made again.
FORMAT = 2
Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One study of a cohort. `cohort` is the number of its folder: ranks are only asked among heads of one cohort."""

    path: Path
    number: int
    cohort: int


def tasks_of(studies: Sequence[Path]) -> tuple[Task, ...]:
    """Studies in a fixed order; those of one folder make one cohort, for a scanner's looks must not give a head away."""
    folders = {path.resolve().parent: 0 for path in studies}
    numbers = {folder: n for n, folder in enumerate(folders)}
    return tuple(Task(path, n, numbers[path.resolve().parent]) for n, path in enumerate(studies, 1))


def checked_methods(names: Iterable[str]) -> tuple[str, ...]:
    """Names of methods to compare, the untouched head first.

    Raises
    ------
    SettingsError
        A name that no method has, or a method whose software is missing.
    """
    wanted = [name for name in dict.fromkeys(names) if name != UNTOUCHED]
    for name in wanted:
        bare = name.partition(":")[0]
        if bare not in REGISTRY:
            raise SettingsError(f"'{bare}' is no method; the methods are {', '.join(REGISTRY)}.")
        settings_of(name)
        lacking = REGISTRY[bare].missing()
        if lacking:
            raise SettingsError(f"Method {name} is not available: {lacking}")
    return (UNTOUCHED, *wanted)


def run_cohort(tasks: Sequence[Task], methods: Sequence[str], folder: Path, *, workers: int, say: Say) -> list[Record]:
    """Records of every method on every head; those in `folder/records` already are not made again.

    Parameters
    ----------
    folder : output folder of the comparison; its records hold face embeddings and are as identifiable as the heads.
    """
    (folder / "records").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max(workers, 1)) as pool:
        open_tasks: dict[Future[list[Record]], Task] = {
            pool.submit(run_study, task, tuple(methods), folder / "records"): task for task in tasks
        }
        records: list[Record] = []
        while open_tasks:
            done, _ = wait(open_tasks, return_when=FIRST_COMPLETED)
            for future in done:
                task = open_tasks.pop(future)
                found = future.result()
                records += found
                say(f"study {task.number} of {len(tasks)}: {_summary(found)}")
    return sorted(records, key=lambda record: (record["study"], methods.index(record["method"])))


def _summary(records: Sequence[Record]) -> str:
    done = sum(record["status"] == "done" for record in records)
    other = [f"{r['method']} {r['status']}" for r in records if r["status"] != "done"]
    return f"{done} of {len(records)} records" + (f" ({', '.join(other)})" if other else "")


def run_study(task: Task, methods: Sequence[str], folder: Path) -> list[Record]:
    """Records of every method on one study: read from `folder` where they are, made and written where not."""
    marks = {"study": task.number, "cohort": task.cohort, "version": __version__}
    try:
        with tempfile.TemporaryDirectory(prefix="hndeface-") as work:
            head = first_head([task.path], Path(work))
    except HndefaceError as error:
        return [{**marks, "method": m, "status": "unreadable", "reason": type(error).__name__} for m in methods]
    if head is None:
        return [{**marks, "method": m, "status": "no face"} for m in methods]
    return [{**record, **marks} for record in _records(head, methods, folder)]


def _records(head: Head, methods: Sequence[str], folder: Path) -> list[Record]:
    kept = {method: read_record(record_path(folder, head.name, method)) for method in methods}
    if all(record is not None for record in kept.values()):
        return [record for record in kept.values() if record is not None]
    ground = prepare(head)
    records = []
    for method in methods:
        record = kept[method]
        if record is None:
            record = {"version": __version__, "format": FORMAT, **try_method(ground, method, seed=1)}
            text = json.dumps(record, allow_nan=False)
            write_whole(record_path(folder, head.name, method), text.encode(), mode=PRIVATE)
        records.append(record)
    return records


def record_path(folder: Path, head: str, method: str) -> Path:
    """Where the record of a method on a head is kept."""
    return folder / f"{head}_{method.replace(':', '_')}.json"


def read_record(path: Path) -> Record | None:
    """A record made by this version, in this format; None where there is none or it cannot be used."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("version") != __version__ or record.get("format") != FORMAT:
        return None
    return record
