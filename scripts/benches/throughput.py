"""Studies per minute of `hndeface batch` with one worker and with one per core.

On a machine that others use, too, the clock tells more of them than of us. So beside the measured ratio stands what free cores
would give: a worker's CPU seconds per study alone over those among others (memory and caches are shared), times the share of
time in which the workers were busy (the driver may keep them waiting). That is too kind where others slow the one worker, too,
or where one worker alone uses more than a core (see the column): then only the clock on a free machine can tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.processes import HNDEFACE, child, table

STUDIES = 12
SHAPE = (128, 256, 256)
HEAD = ("workers", "wall, s", "start and end, s", "studies per minute", "CPU s per study", "cores per worker", "busy")


@dataclass
class Watch:
    """CPU seconds of a driver's workers over time."""

    driver: int
    times: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def look(self, ended: threading.Event) -> None:
        """Until the driver has ended, five times a second."""
        import psutil

        spent: dict[int, float] = {}
        while not ended.wait(0.2):
            try:
                for one in psutil.Process(self.driver).children(recursive=True):
                    used = one.cpu_times()
                    spent[one.pid] = used.user + used.system
            except psutil.Error:
                continue
            self.times.append(time.time())
            self.seconds.append(sum(spent.values()))

    def at(self, moment: float) -> float:
        """CPU seconds spent until then."""
        return self.seconds[min(bisect_left(self.times, moment), len(self.times) - 1)]


def run(folder: Path, workers: tuple[int, ...] = (), studies: int = STUDIES) -> list[dict[str, Any]]:
    """One row per number of workers: 1, and as many as there are cores."""
    source = folder / f"cohort_{studies}_{'x'.join(map(str, SHAPE))}"
    if not source.exists():
        subprocess.run(child("cohort", source, studies), check=True)
    rows = [_batch(source, folder / "batch", count, studies) for count in workers or (1, len(os.sched_getaffinity(0)))]
    shutil.rmtree(folder / "batch")
    return rows


def make_cohort(folder: Path, count: int) -> None:
    """So many copies of one study under UIDs of their own."""
    from benches.studies import make_study, renamed

    half, one = folder.with_suffix(".part"), folder.parent / f"synthetic_{'x'.join(map(str, SHAPE))}_alone.dicom.zip"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    if not one.exists():
        make_study(one, SHAPE, structures=False)
    for number in range(count):
        renamed(one, half / f"study_{number:02d}.zip", number)
    half.rename(folder)


def _batch(source: Path, dest: Path, workers: int, studies: int) -> dict[str, Any]:
    from fw_gear_hndeface.batch.ledger import peek

    shutil.rmtree(dest, ignore_errors=True)
    begun = time.perf_counter()
    driver = subprocess.Popen([*HNDEFACE, "batch", str(source), "-o", str(dest), "-j", str(workers), "-q"])
    watch, ended = Watch(driver.pid), threading.Event()
    looker = threading.Thread(target=watch.look, args=(ended,))
    looker.start()
    code = driver.wait()
    wall = time.perf_counter() - begun
    ended.set()
    looker.join()
    ends = {stem: (dest / stem / "receipt.json").stat().st_mtime for stem in peek(dest / ".hndeface" / "ledger.sqlite")}
    rows = peek(dest / ".hndeface" / "ledger.sqlite")
    first, last = min(end - rows[stem].seconds for stem, end in ends.items()), max(ends.values())
    span, worked = last - first, sum(row.seconds for row in rows.values())
    cpu = watch.at(last) - watch.at(first)
    return {
        "workers": workers,
        "wall": wall,
        "around": wall - span,
        "per_minute": 60 * studies / span,
        "cpu_per_study": cpu / studies,
        "cores_per_worker": cpu / worked,
        "busy": worked / (workers * span),
        "code": code,
        "verdicts": sorted({row.verdict for row in rows.values()}),
    }


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Many workers over as many times one: by the clock, and as free cores would give it."""
    one, many = rows[0], rows[-1]
    return {
        "by the clock": round(many["per_minute"] / (many["workers"] * one["per_minute"]), 3),
        "on free cores": round(one["cpu_per_study"] / many["cpu_per_study"] * many["busy"] / one["busy"], 3),
    }


def told(rows: list[dict[str, Any]]) -> str:
    """The rows as a table, and the ratios."""
    columns = ("workers", "wall", "around", "per_minute", "cpu_per_study", "cores_per_worker", "busy")
    text = table(HEAD, [tuple(row[name] for name in columns) for row in rows])
    return (
        text
        + "\n"
        + "".join(f"\n{rows[-1]['workers']} workers over as many times one, {k}: {v}" for k, v in ratios(rows).items())
    )
