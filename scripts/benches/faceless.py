"""What a run takes that finds no face: a platform's rule runs the gear on every CT that comes in."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benches.processes import HNDEFACE, child, measured, medians, table

HEAD = ("command", "wall, s", "CPU, s", "peak, MiB", "verdict")


def run(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Medians of a default run over a chest of 300 slices of 512 x 512, and of a start, each in a process of its own."""
    study = folder / "chest.dicom.zip"
    if not study.exists():
        subprocess.run(child("chest", study), check=True)
    with tempfile.TemporaryDirectory() as out:
        rows = [_medians("start", rounds, "--version"), _medians("chest", rounds, "run", str(study), "-o", out)]
        rows[1]["verdict"] = json.loads(next(Path(out).glob("*.qa.json")).read_text(encoding="utf-8"))["verdict"]
    return rows


def _medians(name: str, rounds: int, *command: str) -> dict[str, Any]:
    return {"command": name, **medians([measured(*HNDEFACE, *command) for _ in range(rounds)]), "verdict": ""}


def told(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    return table(HEAD, [(r["command"], r["seconds"], r["cpu_seconds"], round(r["peak_mb"]), r["verdict"]) for r in rows])
