"""TotalSegmentator, the real package: label maps of a head from weights that lie on this machine."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.label_tables import LABEL_TABLES, TOTALSEG_LICENSED, TOTALSEG_TASKS
from fw_gear_hndeface.model import Finding, Grid, LabelMap, Level, Volume
from fw_gear_hndeface.networks.runner import network_grid, read_numbers, run_child, write_image
from fw_gear_hndeface.ops.labels import label_of

NAME = "totalsegmentator"
#: What is run where nobody says otherwise: eyes, glands, palate and the bones of jaw and neck.
USUAL_TASKS = ("head_glands_cavities", "craniofacial_structures")
#: The coarse model by which most tasks find the head first.
CROP_TASK_ID = 298
INSTALL = "TotalSegmentator is not installed: pip install 'fw-gear-hndeface[totalseg]'."


def missing(tasks: Sequence[str] = USUAL_TASKS) -> str | None:
    """What must be done before the tasks can run here; None where they can."""
    for task in tasks:
        if task in TOTALSEG_LICENSED:
            return f"TotalSegmentator's task {task} needs a licence; the open tasks are {', '.join(TOTALSEG_TASKS)}."
        if task not in TOTALSEG_TASKS:
            return f"'{task}' is no task of TotalSegmentator that is used here; there are {', '.join(TOTALSEG_TASKS)}."
    if importlib.util.find_spec("totalsegmentator") is None or importlib.util.find_spec("torch") is None:
        return INSTALL
    for task in tasks:
        if any(not (_weights() / folder).is_dir() for folder in _folders(task)):
            return (
                f"TotalSegmentator's weights of task {task} are not here. Where there is a network run "
                f"`totalseg_download_weights -t {task}` and `-t total_fast`, and name their folder in TOTALSEG_WEIGHTS_PATH "
                "or its home in TOTALSEG_HOME_DIR."
            )
    return None


def segment(
    volume: Volume, around: Grid, tasks: Sequence[str], *, use_gpu: bool
) -> tuple[tuple[LabelMap, ...], tuple[Finding, ...]]:
    """One label map per task, on a 1 mm grid along the patient axes around a window of the scan.

    Raises
    ------
    HndefaceError
        Something is missing, or a task failed.
    """
    lacking = missing(tasks)
    if lacking is not None:
        raise HndefaceError(lacking)
    grid = network_grid(volume, around)
    maps: list[LabelMap] = []
    devices = set()
    with tempfile.TemporaryDirectory(prefix="totalseg-") as folder:
        work = Path(folder)
        write_image(volume, grid, work / "ct.nii.gz")
        for task in tasks:
            devices.add(_run(work, task, use_gpu))
            numbers = read_numbers(work / f"{task}.nii.gz", grid)
            labels = {number: label_of(number, name) for number, name in _names(task).items()}
            maps.append(LabelMap(grid, numbers, labels, NAME))
    return tuple(maps), _told(devices) if use_gpu else ()


def _told(devices: set[str]) -> tuple[Finding, ...]:
    if devices <= {"gpu"}:
        return ()
    text = "TotalSegmentator found no GPU it can use and ran on the CPU, which takes minutes instead of seconds."
    return (Finding(Level.WARNING, "network_on_cpu", text, NAME),)


def _run(work: Path, task: str, use_gpu: bool) -> str:
    """Run one task; what it ran on: gpu or cpu."""
    home = work / "home"
    home.mkdir(exist_ok=True)
    # a home of its own: the package counts its runs there and would otherwise ask whether it may report them
    quiet = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0, "statistics_disclaimer_shown": True}
    (home / "config.json").write_text(json.dumps(quiet), encoding="utf-8")
    report = work / f"{task}.json"
    arguments = ["-i", str(work / "ct.nii.gz"), "-o", str(work / f"{task}.nii.gz"), "--ml", "--task", task]
    arguments += ["--device", "gpu" if use_gpu else "cpu", "--nr_thr_saving", "1", "--quiet", "--report", str(report)]
    variables = {"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": str(_weights())}
    run_child("totalsegmentator.bin.TotalSegmentator:main", arguments, variables, f"TotalSegmentator task {task}")
    try:
        return str(json.loads(report.read_text(encoding="utf-8"))["device"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def _weights() -> Path:
    """Where the package looks for weights."""
    if path := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(path)
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def _names(task: str) -> Mapping[int, str]:
    """Names of a task's labels as the installed package has them."""
    found: Mapping[int, str] = _table("map_to_binary", "class_map").get(task) or LABEL_TABLES[f"totalseg_{task}"]
    return found


def _folders(task: str) -> list[str]:
    """Folders of weights that a task needs, as the installed package names them."""
    raw = _table("map_tasks_config", "TASK_CONFIGS").get(task, {})
    config = {**raw, **raw.get("sub_modes", {}).get("default", {})}
    ids = config.get("task_id", [])
    wanted = list(ids) if isinstance(ids, list) else [ids]
    if config.get("crop") and not config.get("crop_model"):
        wanted.append(CROP_TASK_ID)
    folders = _table("map_tasks_config", "TASK_ID_WEIGHTS_CONFIGS")
    return [folders[number]["foldername"] for number in wanted if "foldername" in folders.get(number, {})]


def _table(module: str, name: str) -> dict[Any, Any]:
    """A table of the installed package; empty where another version has none."""
    try:
        return dict(getattr(importlib.import_module(f"totalsegmentator.{module}"), name))
    except (ImportError, AttributeError):
        return {}
