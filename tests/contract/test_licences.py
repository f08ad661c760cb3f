"""docs/licences.md and sbom.cdx.json hold every locked part, and the check notices when one changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "licences.md").read_text(encoding="utf-8")
PARTS: dict[str, Any] = json.loads((REPOSITORY / "sbom.cdx.json").read_text(encoding="utf-8"))
COPIED = ("scripts/licences", "scripts/licences.json", "pyproject.toml", "docs/licences.md", "sbom.cdx.json",
          "requirements.lock", "requirements-networks.lock")  # fmt: skip


def locked(name: str) -> set[tuple[str, str]]:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return {tuple(line.split("==")) for line in lines if "==" in line}  # type: ignore[misc]


def check(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "scripts" / "licences", "--check"], capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the script reads and writes, to be spoilt."""
    for name in COPIED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_both_are_what_the_locks_say(copy: Path) -> None:
    assert check(REPOSITORY).returncode == 0
    assert check(copy).returncode == 0


@pytest.mark.parametrize("name", ["docs/licences.md", "sbom.cdx.json"])
def test_the_check_notices_an_edit_by_hand(copy: Path, name: str) -> None:
    path = copy / name
    path.write_text(path.read_text(encoding="utf-8").replace("BSD-3-Clause", "MIT", 1), encoding="utf-8")
    done = check(copy)
    assert done.returncode == 1
    assert f"{path.name}: not what the locks say; run make licences" in done.stderr


def test_the_check_notices_a_part_that_is_locked_and_not_listed(copy: Path) -> None:
    with (copy / "requirements-networks.lock").open("a") as lock:
        lock.write("something-new==1.0\n")
    assert "something-new" in check(copy).stderr
    assert check(copy).returncode == 1


def test_the_page_lists_every_part_with_its_version_and_a_licence() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    listed = {(row[0].removeprefix("| "), row[1]): row[2] for row in rows}
    for part in locked("requirements.lock") | locked("requirements-networks.lock"):
        assert listed[part].strip(), part


def test_the_list_of_parts_is_read_by_its_own_library_and_complete() -> None:
    bom = Bom.from_json(PARTS)
    assert bom is not None
    found = {(canonicalize_name(one.name), one.version): one for one in bom.components}
    wanted = {(canonicalize_name(name), version) for name, version in locked("requirements.lock")}
    optional = {(canonicalize_name(name), version) for name, version in locked("requirements-networks.lock")}
    assert set(found) == (wanted | optional) - {("rfc3987", "1.3.8")}
    assert all(one.licenses for one in found.values())
    assert found["numpy", "2.4.6"].purl.to_string() == "pkg:pypi/numpy@2.4.6"
    assert {str(found[key].scope.value) for key in optional} == {"optional"}


def test_what_forbids_commercial_use_is_said_first() -> None:
    first = PAGE.split("## Libraries")[0]
    assert "iBUG 300-W: **no commercial use**" in first
    assert "TotalSegmentator, licensed tasks" in first


def test_copyleft_is_named_beside_each_part_that_has_it() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5]
    copyleft = [row for row in rows if "GPL" in row[3] or "MPL" in row[3]]
    assert len(copyleft) >= 4
    assert all(len(row[4].strip()) > 20 for row in copyleft)


def test_the_image_leaves_out_what_the_list_leaves_out() -> None:
    assert "pip uninstall --yes --quiet pip rfc3987" in (REPOSITORY / "Dockerfile").read_text()
