"""What a whole run takes for the same head on more and more slices: time must grow no faster than the slices do."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.processes import HNDEFACE, child, measured, table

COUNTS = (50, 100, 250, 500, 1000)
SIZE = 512
HEAD = ("slices", "wall, s", "CPU, s", "peak, MiB", "CPU, ms per further slice", "MiB per further slice", "verdict")


def run(folder: Path, counts: Sequence[int] = COUNTS, size: int = SIZE) -> list[dict[str, Any]]:
    """Wall and CPU seconds and peak memory of a default run over so many slices, each in a process of its own."""
    rows = []
    for count in counts:
        study = folder / f"grown_{count}x{size}x{size}.dicom.zip"
        if not study.exists():
            subprocess.run(child("grow", study, count, size), check=True)
        with tempfile.TemporaryDirectory() as out:
            taken = measured(*HNDEFACE, "run", str(study), "-o", out)
            written = next(Path(out).glob("*.qa.json"), None)
            record = json.loads(written.read_text(encoding="utf-8")) if written else {}
        rows.append(
            {
                "slices": count,
                "seconds": taken.seconds,
                "cpu_seconds": taken.cpu_seconds,
                "peak_mb": taken.peak_mb,
                "verdict": record.get("verdict", f"exit code {taken.code}"),
                "stages": record.get("seconds"),
            }
        )
    return rows


def told(rows: list[dict[str, Any]]) -> str:
    """The rows as a table, with what each further slice took since the row before."""
    lines: list[tuple[object, ...]] = []
    for before, row in zip([None, *rows], rows, strict=False):
        slopes = ["", ""]
        if before is not None:
            more = row["slices"] - before["slices"]
            slopes[0] = f"{1000 * (row['cpu_seconds'] - before['cpu_seconds']) / more:.1f}"
            slopes[1] = f"{(row['peak_mb'] - before['peak_mb']) / more:.2f}"
        lines.append((row["slices"], row["seconds"], row["cpu_seconds"], round(row["peak_mb"]), *slopes, row["verdict"]))
    return table(HEAD, lines)
