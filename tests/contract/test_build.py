"""What the image and the virtual environment are built from agrees with what the code asks for."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
#: Locked without what they need to be imported: only a file of them is read.
BARE = {"ipyniivue"}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    """Canonical name -> exact version of a lock file."""
    lines = [line for line in (REPOSITORY / name).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line) for line in lines]
    assert all(pairs), "every line is name==version"
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (("requirements.lock",), PROJECT["dependencies"]),
        (("requirements.lock", "requirements-dev.lock"), PROJECT["optional-dependencies"]["dev"]),
        (("requirements.lock",), PROJECT["optional-dependencies"]["view"]),
    ],
)
def test_the_locks_hold_every_requirement_at_a_version_it_allows(lock: tuple[str, ...], wanted: list[str]) -> None:
    locked = {name: version for file in lock for name, version in pins(file).items()}
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_locks_are_closed_under_what_their_packages_require() -> None:
    runtime = pins("requirements.lock")
    for name in runtime.keys() - BARE:
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in runtime, f"{name} needs {requirement}"


def test_a_package_that_is_only_read_is_imported_nowhere() -> None:
    for path in (REPOSITORY / "fw_gear_hndeface").rglob("*.py"):
        assert not re.search(rf"^\s*(?:import|from) (?:{'|'.join(BARE)})\b", path.read_text(), re.MULTILINE), path.name


def test_no_package_is_locked_twice() -> None:
    assert not set(pins("requirements.lock")) & set(pins("requirements-dev.lock"))


def test_the_image_is_given_what_its_recipe_copies_and_holds_no_heavy_extra() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in (REPOSITORY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    assert copied <= allowed
    assert all((REPOSITORY / name).exists() for name in copied)
    assert not {"torch", "totalsegmentator"} & set(pins("requirements.lock"))


@pytest.mark.parametrize("name", [".ci/run", "scripts/check", "scripts/manifest", "scripts/lock", "scripts/bench"])
def test_scripts_can_be_started(name: str) -> None:
    path = REPOSITORY / name
    assert os.access(path, os.X_OK)
    first = path.read_text().splitlines()[0]
    assert first in ("#!/usr/bin/env bash", "#!/usr/bin/env python3")
    if first.endswith("bash"):
        subprocess.run(["bash", "-n", path], check=True)


def test_every_make_target_that_the_guides_name_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    guides = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / ".ci" / "run"]
    named = {
        word
        for guide in guides
        for word in re.findall(r"^\s*(?:\$ |limit=\d+ step )?make ([a-z]+)", guide.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "check"} <= named
    assert named <= targets


def test_links_between_the_guides_lead_somewhere() -> None:
    for guide in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", guide.read_text()):
            if not target.startswith("http"):
                assert (guide.parent / target).exists(), f"{guide.name}: {target}"
