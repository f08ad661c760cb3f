"""What `hndeface audit` and `hndeface compare` do, without a command line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fw_gear_hndeface import __version__
from fw_gear_hndeface.errors import InputError, PrivacyError, SettingsError
from fw_gear_hndeface.evaluate.audit import NO_FACE, Audit
from fw_gear_hndeface.evaluate.audit import audit as look_at_study
from fw_gear_hndeface.evaluate.cases import cases_page
from fw_gear_hndeface.evaluate.compare import Record, checked_methods, run_cohort, tasks_of
from fw_gear_hndeface.evaluate.tables import SKIN_ATTACKS, Table, done, rankings, shape_ranking, tables_of
from fw_gear_hndeface.evaluate.trial import UNTOUCHED
from fw_gear_hndeface.files import PRIVATE, write_whole
from fw_gear_hndeface.ops.render import Pose
from fw_gear_hndeface.privacy.views import pictures
from fw_gear_hndeface.report.charts import Point, Tile, picture_sheet, privacy_chart

Say = Callable[[str], None]
#: How the pictures of an audit look at the head: from a little below and to one side.
SHEET_POSE = Pose(-12.0, 18.0)


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
        write_whole(output / f"{table.name}.csv", table.csv().encode(), mode=PRIVATE)
    write_whole(output / "comparison.md", page(tables, records).encode(), mode=PRIVATE)
    write_whole(output / "comparison.html", cases_page(records).encode(), mode=PRIVATE)
    (output / "privacy.png").write_bytes(chart(records, names))
    say(f"Look at {output}: comparison.md, .html, privacy.png, a CSV per table. The folder records/ identifies the heads.")
    return 0


def audit(paths: Sequence[Path], originals: Sequence[Path], output: Path | None, *, say: Say) -> int:
    """Say whether a study is safe to share; 0 for safe, the privacy error's code for unsafe.

    Raises
    ------
    SettingsError, InputError
        An output that cannot be made, or input that cannot be read.
    """
    if output is not None:
        make_folder(output)
    with tempfile.TemporaryDirectory(prefix="hndeface-") as work:
        found = look_at_study(paths, originals, Path(work))
    for text in dict.fromkeys(sight.message for sight in found.sights):
        say(text)
    for head in found.heads:
        if head["face_placed_by"] == NO_FACE:
            say(f"{head['series']}: no face was found in it, under any disguise that was tried.")
    say("safe: nothing was found that shows the face." if found.is_safe else "unsafe: do not share this study.")
    if output is not None:
        text = json.dumps(found.measures(), indent=2, allow_nan=False) + "\n"
        write_whole(output / "audit.json", text.encode(), mode=PRIVATE)
        (output / "audit.png").write_bytes(picture_sheet(sheet_rows(found)))
        say(f"Look at {output}: audit.json, audit.png. The pictures show the face if it can be seen.")
    return 0 if found.is_safe else PrivacyError.exit_code


def sheet_rows(found: Audit) -> list[tuple[str, list[Tile]]]:
    """One row of pictures per series: the most telling guess of every attack."""
    rows: dict[str, dict[str, Tile]] = {}
    for where, one in found.exposures:
        tiles = rows.setdefault(where, {})
        if one.guess is None or one.attack in tiles:
            continue
        seen = pictures(one.guess.surface(), [SHEET_POSE])
        if seen:
            tiles[one.attack] = Tile(f"{one.attack}: {one.label}", seen[0].grey, alarm=bool(one.shows))
    return [(where, list(tiles.values())) for where, tiles in rows.items() if tiles]


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
    """Privacy against tissue kept; privacy is what is worst: pictures or shapes, the plain skin or every attack."""
    points, chance = [], (1.0, 1.0)
    for method in methods:
        changed = [record["removed_ml"] + record["added_ml"] + record["retextured_ml"] for record in done(records, method)]
        shapes = (shape_ranking(records, method, attacks) for attacks in ((), SKIN_ATTACKS))
        ranks = [found for found in (*rankings(records, method), *shapes) if found is not None]
        if not changed or not ranks:
            continue
        worst = min(ranks, key=lambda found: found.mean / (found.mean_gallery + 1.0))
        usual = (worst.mean_gallery + 1.0) / 2.0
        chance = worst.mean_chance[0] / usual, worst.mean_chance[1] / usual
        points.append(Point(method, worst.mean / usual, float(np.median(changed))))
    return privacy_chart(points, chance)
