"""The guides' commands that need docker, typed in word for word; podman answers to that name where docker is not the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fw_gear_hndeface.dicom.synthesize import write_study
from fw_gear_hndeface.synthetic.head import make_head
from tests.containers.engine import ENGINE, built
from tests.guides import REPOSITORY, console, follow

pytestmark = built
PAGES = console("docker")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which `docker` is the engine of these tests."""
    folder = tmp_path_factory.mktemp("bin")
    engine = shutil.which(ENGINE)
    assert engine is not None
    (folder / "docker").write_text(f'#!/bin/sh\nexec "{engine}" "$@"\n')
    (folder / "docker").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_containers_work_from_a_fresh_checkout(page: str, path: str, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, tmp_path / "here"], check=True)
    write_study(make_head(11, spacing_mm=(3.0, 1.5, 1.5), with_dose=False), tmp_path / "here" / "study.zip", seed=11)
    follow(PAGES[page], tmp_path / "here", {"PATH": path})
