"""Time and peak memory of `hndeface run` against the floor: unzip, decode, patch and zip the same file."""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.processes import COLUMNS, HNDEFACE, Taken, child, measured, medians, memory_mb


def floor(source: Path, target: Path) -> None:
    """The least that any tool must do which reads and writes the file: with the product's own archives, and pydicom."""
    import pydicom

    from fw_gear_hndeface.dicom.archive import ArchiveWriter, open_inputs
    from fw_gear_hndeface.dicom.limits import Limits
    from fw_gear_hndeface.settings import Settings

    with (
        tempfile.TemporaryDirectory() as work,
        open_inputs([source], Limits.of(Settings()), Path(work)) as archive,
        ArchiveWriter(target) as writer,
    ):
        for member in archive.members:
            dataset = pydicom.dcmread(io.BytesIO(member.read()))
            if "PixelData" in dataset:
                pixels = dataset.pixel_array.copy()
                pixels[: pixels.shape[0] // 3] = 0
                dataset.PixelData = pixels.tobytes()
            data = io.BytesIO()
            dataset.save_as(data)
            writer.write(member.name, data.getvalue())


def report_cost(study: Path) -> dict[str, float]:
    """What the report costs on top of a job that is done: seconds, MB above what the job holds, and the page's size.

    The high-water mark of memory is reset before, so that the job's own peak does not hide the report's.
    """
    from fw_gear_hndeface import casework, pipeline

    cost = {"seconds": 0.0, "mb_on_top": 0.0}

    def watched(work: Any) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            before, begun = memory_mb("VmRSS"), time.perf_counter()
            made = work(*given, **named)
            cost["seconds"] += time.perf_counter() - begun
            cost["mb_on_top"] = max(cost["mb_on_top"], memory_mb("VmHWM") - before)
            return made

        return run

    casework.make_exhibit = watched(casework.make_exhibit)
    pipeline.write_report = watched(pipeline.write_report)
    with tempfile.TemporaryDirectory() as work:
        staged = pipeline.deface(
            [study], Path(work), "x", pipeline.Settings(), key=bytes(range(16)), on_progress=lambda *_: None
        )
        page = next(path for path in staged.files if path.name.endswith(".qa.html"))
        return {name: round(value, 2) for name, value in cost.items()} | {"page_mb": round(page.stat().st_size / 1e6, 2)}


def compare(study: Path, rounds: int, options: Sequence[str]) -> dict[str, Any]:
    """Medians of product and floor over alternating rounds, and what the report costs."""
    rows: dict[str, list[Taken]] = {"product": [], "floor": []}
    record: dict[str, Any] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as out:
            rows["floor"].append(measured(*child("floor", study, f"{out}/floor.zip")))
            rows["product"].append(measured(*HNDEFACE, "run", str(study), "-o", out, *options))
            written = next(Path(out).glob("*.qa.json"), None)
            record = json.loads(written.read_text(encoding="utf-8")) if written else {}
    told = subprocess.run(child("report", study), capture_output=True, text=True, check=False)
    product, least = medians(rows["product"]), medians(rows["floor"])
    return {
        **{column: {"product": round(product[column], 2), "floor": round(least[column], 2)} for column in COLUMNS},
        "time_over_floor": round(product["seconds"] / least["seconds"], 2),
        "cpu_over_floor": round(product["cpu_seconds"] / least["cpu_seconds"], 2),
        "exit_codes": sorted({one.code for row in rows.values() for one in row}),
        "verdict": record.get("verdict"),
        "stages": record.get("seconds"),
        "report": json.loads(told.stdout or "null"),
        "study_mb": round(study.stat().st_size / 1e6, 1),
    }
