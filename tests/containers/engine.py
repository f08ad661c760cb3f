"""The engine's part: a job's folder mounted into the image, the manifest's command under bash, and nothing else let in.

Stricter than the platform in three things: the root file system is read-only without any writable corner, the user is nobody in
particular, and no capability is left.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.jobs import MANIFEST, Done

IMAGE = os.environ.get("HNDEFACE_IMAGE", "")
ENGINE = os.environ.get("HNDEFACE_ENGINE", "podman")
DATA = Path(os.environ.get("HNDEFACE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data"

built = [pytest.mark.slow, pytest.mark.skipif(not IMAGE, reason="HNDEFACE_IMAGE names no image: run make containers")]
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real data: HNDEFACE_SHARED names no folder with data/")

GEAR = "/flywheel/v0"
STRICT = ("--read-only", "--user", "4321:4321", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
#: podman lays writable tmpfs over /tmp and /run of a read-only root unless told not to; docker does not.
BARE = ("--read-only-tmpfs=false",) if Path(ENGINE).name == "podman" else ()


@dataclass
class Container:
    """One run of the image on a job's folder; places in `small` are file systems of a megabyte that vanish with it."""

    folder: Path
    small: tuple[str, ...] = ()
    name: str = ""
    limits: tuple[str, ...] = ("--memory", "8g")
    after: str = ""
    environment: dict[str, str] = field(default_factory=lambda: dict(MANIFEST["environment"]))

    @property
    def command(self) -> list[str]:
        """What is typed to run it."""
        mounts = [f"{self.folder}/input:{GEAR}/input:ro", f"{self.folder}/config.json:{GEAR}/config.json:ro"]
        for place in ("output", "work"):
            if place not in self.small:
                (self.folder / place).mkdir(exist_ok=True)
                (self.folder / place).chmod(0o777)
                mounts.append(f"{self.folder}/{place}:{GEAR}/{place}")
        options = [part for mount in mounts for part in ("--volume", mount)]
        options += [part for place in self.small for part in ("--tmpfs", f"{GEAR}/{place}:size=1m,mode=1777")]
        if self.name:
            options += ["--name", self.name]
        inside = f"cd {GEAR} && {MANIFEST['command']}" + (f"; code=$?; {self.after}; exit $code" if self.after else "")
        variables = [f"{key}={value}" for key, value in self.environment.items()]
        return [
            *(ENGINE, "run", "--rm", "--network", "none", *self.limits, *STRICT, *BARE, *options),
            *("--entrypoint", "/usr/bin/env", IMAGE, "-i", *variables, "/bin/bash", "-c", inside),
        ]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, limit_s: float = 300.0) -> Done:
        """From start to end."""
        process = self.start()
        told, _ = process.communicate(timeout=limit_s)
        return Done(process.returncode, told, self.folder)


def inside(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A command in the image, with the image's own environment."""
    line = [ENGINE, "run", "--rm", "--network", "none", *STRICT, *BARE, *options, IMAGE, *command]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def inspected() -> dict[str, object]:
    """What the engine says about the image."""
    done = subprocess.run([ENGINE, "image", "inspect", IMAGE], capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    return dict(found)
