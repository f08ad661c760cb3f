"""What `hndeface audit` and `hndeface compare` do, without a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fw_gear_hndeface import __version__
from fw_gear_hndeface.errors import InputError, SettingsError
from fw_gear_hndeface.evaluate.compare import Record, checked_methods, run_cohort, tasks_of, write_whole
from fw_gear_hndeface.evaluate.tables import Table, done, rankings, tables_of
from fw_gear_hndeface.evaluate.trial import UNTOUCHED
from fw_gear_hndeface.report.charts import Point, privacy_chart

Say = Callable[[str], None]


def compare(studies: Sequence[Path], methods: Sequence[str], output: Path, *, workers: int, say: Say) -> int:
    """Compare methods over a cohort and write tables and a chart; records of earlier runs are used again.

    Raises
    ------
    SettingsError, InputError
        An unknown method, an output that cannot be made, or a cohort without a single face.
    """
    names = checked_methods(methods)
    make_folder(output)
    records = run_cohort(tasks_of(studies), names, output, workers=workers, say=say)
    if not done(records, UNTOUCHED):
        raise InputError("No study shows a face, so there is nothing to compare. Give planning CTs with the face in view.")
    tables = tables_of(records, names)
    for table in tables:
        write_whole(output / f"{table.name}.csv", table.csv())
    write_whole(output / "comparison.md", page(tables, records))
    (output / "privacy.png").write_bytes(chart(records, names))
    say(f"Look at {output}: comparison.md, privacy.png and one CSV per table. The folder records/ identifies the heads.")
    return 0


def make_folder(folder: Path) -> None:
    """The output folder, made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output: the folder cannot be made ({error.strerror}).") from error


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def page(tables: Sequence[Table], records: Sequence[Record]) -> str:
    """The comparison as Markdown."""
    studies = {record["study"] for record in records}
    faces = {record["study"] for record in records if record["status"] != "no face" and record["status"] != "unreadable"}
    head = [
        "# Methods compared",
        "",
        f"Made by `hndeface compare` {__version__} on {len(studies)} studies, {len(faces)} of them with a face in view.",
        "",
        "![Privacy against tissue kept](privacy.png)",
        "",
    ]
    return "\n".join(head) + "\n" + "\n".join(table.markdown() for table in tables)


def chart(records: Sequence[Record], methods: Sequence[str]) -> bytes:
    """Privacy against tissue kept."""
    points, chance = [], (1.0, 1.0)
    for method in methods:
        found, (_, attacked) = done(records, method), rankings(records, method)
        if attacked is None or not found:
            continue
        usual = (attacked.mean_gallery + 1.0) / 2.0
        chance = attacked.mean_chance[0] / usual, attacked.mean_chance[1] / usual
        changed = [record["removed_ml"] + record["added_ml"] + record["retextured_ml"] for record in found]
        points.append(Point(method, attacked.mean / usual, float(np.median(changed))))
    return privacy_chart(points, chance)
