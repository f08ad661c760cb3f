"""What is in the image and what is not, and the build that ends in words where weights cannot be had."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tests.containers.engine import ENGINE, built, inside, inspected
from tests.e2e.jobs import MANIFEST

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = built


def test_labels_name_version_and_licence() -> None:
    found: Any = inspected()
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == MANIFEST["version"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"] == "hndeface"
    assert labels["hndeface.networks"] == ""


def test_it_is_small_and_starts() -> None:
    found: Any = inspected()
    assert found["Size"] < 1.3e9
    done = inside("hndeface", "--version")
    assert done.stdout.strip() == MANIFEST["version"]


def test_its_libraries_are_those_of_the_list_of_parts() -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    found = {(canonicalize_name(name), version) for name, version in json.loads(inside("python", "-c", code).stdout)}
    parts = json.loads(inside("cat", "/flywheel/v0/sbom.cdx.json").stdout)["components"]
    listed = {(canonicalize_name(one["name"]), one["version"]) for one in parts if one["scope"] == "required"}
    assert found - {("fw-gear-hndeface", MANIFEST["version"])} == listed


def test_what_it_does_not_need_is_not_there() -> None:
    for module in ("torch", "totalsegmentator", "pip", "setuptools", "rfc3987", "pytest"):
        done = inside("/opt/venv/bin/python", "-c", f"import {module}")
        assert done.returncode == 1, module
        assert f"No module named '{module}'" in done.stderr


def test_manifest_and_licences_lie_beside_the_gear() -> None:
    assert json.loads(inside("cat", "/flywheel/v0/manifest.json").stdout) == MANIFEST
    assert inside("cat", "/flywheel/v0/licences.md").stdout == (REPOSITORY / "docs" / "licences.md").read_text(encoding="utf-8")
    assert "Apache License" in inside("cat", "/flywheel/v0/LICENSE").stdout


def test_a_build_with_networks_whose_weights_cannot_be_reached_ends_in_words() -> None:
    arguments = ["--build-arg", "NETWORKS=head_glands_cavities", "--build-arg", "WEIGHTS_SOURCE=http://127.0.0.1:9"]
    done = subprocess.run(
        [ENGINE, "build", "--tag", "localhost/hndeface:never", *arguments, REPOSITORY],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    assert (
        "TotalSegmentator's weights v2.0.0-weights/Dataset298_TotalSegmentator_total_6mm_1559subj.zip cannot be fetched" in told
    )
    assert "pip install" not in told, "it ends before gigabytes of libraries are installed"
