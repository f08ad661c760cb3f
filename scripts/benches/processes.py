"""Processes and what they took."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1] / "bench"
#: `hndeface` of the environment that runs this.
HNDEFACE = (sys.executable, "-m", "fw_gear_hndeface.cli")


@dataclass(frozen=True)
class Taken:
    """What a process took: wall seconds, CPU seconds of all its threads, its peak of memory in MiB, its exit code."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    code: int


#: What is told of a process.
COLUMNS = ("seconds", "cpu_seconds", "peak_mb")


def medians(rows: Sequence[Taken]) -> dict[str, float]:
    """The median of each column over several processes."""
    return {column: statistics.median(getattr(one, column) for one in rows) for column in COLUMNS}


def compiled() -> dict[str, str]:
    """An environment in which Python keeps what it compiles, as it does wherever nobody forbids it: a second run has it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(BENCH.parents[1] / "build" / "bench" / "pycache")}


def measured(*command: str) -> Taken:
    """Run a command to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=compiled(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds, cpu = time.perf_counter() - begun, usage.ru_utime + usage.ru_stime
    return Taken(seconds, cpu, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))


def child(part: str, *given: object) -> list[str]:
    """The command that does one part in a process of its own: a child's peak memory counts what its parent held."""
    return [sys.executable, str(BENCH), "--child", part, *map(str, given)]


def memory_mb(name: str) -> float:
    """A memory figure of this process as Linux tells it, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Rows as a table that Markdown and people read."""
    told = [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(head), *told]) for n in range(len(head))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(list(head)), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, told)])
