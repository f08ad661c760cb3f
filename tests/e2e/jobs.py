"""Jobs as the platform runs them: its folder, only the manifest's environment, a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST: dict[str, Any] = json.loads((REPOSITORY / "manifest.json").read_text())
INFO = {"header": {"dicom": {"PatientName": "ZZDOE^QQJANE", "SliceThickness": 3}}, "note": [1.5, None]}


@dataclass(frozen=True)
class Done:
    """What a process left behind."""

    code: int
    told: str
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.output.iterdir()}

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(json.loads((self.output / ".metadata.json").read_text(), parse_constant=refuse))

    def files(self, container: str = "acquisition") -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.metadata[container]["files"]}

    @property
    def record(self) -> dict[str, Any]:
        (path,) = self.output.glob("*.qa.json")
        return dict(json.loads(path.read_text(), parse_constant=refuse))

    @property
    def image(self) -> Path:
        (path,) = self.output.glob("*.dicom.zip")
        return path


def refuse(constant: str) -> None:
    """JSON knows no NaN and no Infinity."""
    raise ValueError(constant)


def lay_out(folder: Path, source: Path, *, name: str, destination: str = "acquisition", **config: Any) -> Path:
    """The folder of a job for one archive."""
    place = folder / "input" / "dicom" / name
    place.parent.mkdir(parents=True)
    shutil.copyfile(source, place)
    entry = {
        "base": "file",
        "hierarchy": {"type": "acquisition", "id": "a1"},
        "location": {"name": name, "path": str(place)},
        "object": {
            "type": "dicom",
            "modality": "CT",
            "classification": {"Intent": ["Structural"]},
            "tags": ["seen"],
            "info": INFO,
        },
    }
    job = {"config": config, "inputs": {"dicom": entry}, "destination": {"type": destination, "id": "d1"}, "job": {"id": "j1"}}
    (folder / "config.json").write_text(json.dumps(job))
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    """Begin a job as the engine does: bash, an empty environment, and what the manifest says."""
    interpreter, script = shlex.split(MANIFEST["command"])
    assert Path(interpreter).name == "python"
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(REPOSITORY / Path(script).name))}"
    environment = {**MANIFEST["environment"], "FLYWHEEL": str(folder)}
    return subprocess.Popen(
        ["/bin/bash", "-c", f"cd {shlex.quote(str(folder))} && exec {command}"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run_job(folder: Path, limit_s: float = 300.0) -> Done:
    """A job from start to end."""
    process = start(folder)
    told, _ = process.communicate(timeout=limit_s)
    return Done(process.returncode, told, folder)


def run_cli(arguments: list[str], folder: Path, limit_s: float = 300.0) -> Done:
    """`hndeface` in a process of its own; `folder` is where it runs."""
    process = subprocess.run(
        [sys.executable, "-m", "fw_gear_hndeface.cli", *arguments],
        cwd=folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
    return Done(process.returncode, process.stdout, folder)
