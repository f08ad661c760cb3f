"""manifest.json: valid for the platform's own validators, and the same as Settings, the package and the licence say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flywheel_gear_toolkit.utils.manifest import Manifest
from gears.generator import derive_invocation_schema

from fw_gear_hndeface import __version__
from fw_gear_hndeface.gear import INPUT_NAMES
from fw_gear_hndeface.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST: dict[str, Any] = json.loads((REPOSITORY / "manifest.json").read_text())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
GEAR_FIELDS = {spec.name: spec for spec in fields(Settings) if spec.metadata["platform"]}


def test_the_toolkit_accepts_it() -> None:
    Manifest(REPOSITORY / "manifest.json").validate()


def test_every_platform_setting_is_an_option_and_no_other() -> None:
    assert list(MANIFEST["config"]) == list(GEAR_FIELDS)


@pytest.mark.parametrize("name", GEAR_FIELDS)
def test_default_bounds_choices_and_words_are_those_of_settings(name: str) -> None:
    option, spec = MANIFEST["config"][name], GEAR_FIELDS[name]
    assert option["default"] == spec.default
    assert option["description"] == spec.metadata["help"]
    assert tuple(option.get("enum", ())) == spec.metadata["choices"]
    assert (option.get("minimum"), option.get("maximum")) == (spec.metadata["low"], spec.metadata["high"])
    assert option["type"] == {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}[spec.type]


def test_the_defaults_of_the_manifest_are_settings() -> None:
    assert Settings.from_mapping({name: option["default"] for name, option in MANIFEST["config"].items()}) == Settings()


def test_the_platform_accepts_a_usual_job_and_rejects_a_wrong_one() -> None:
    schema = derive_invocation_schema(MANIFEST)
    file = {"base": "file", "type": "dicom", "name": "CT.dicom.zip", "modality": "CT", "size": 1, "tags": []}
    defaults = {name: option["default"] for name, option in MANIFEST["config"].items()}
    jsonschema.validate(
        {"config": {**defaults, "image_type": "keep", "organ_margin_mm": 3.5}, "inputs": {"dicom": file}}, schema
    )
    for bad in ({"image_type": "pointed"}, {"seed": -1}, {"debug": "yes"}, {"colour": "red"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"config": {**defaults, **bad}, "inputs": {"dicom": file}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"config": defaults, "inputs": {}}, schema)


def test_versions_licence_and_name_agree_with_the_package() -> None:
    assert MANIFEST["version"] == PROJECT["version"] == __version__
    assert MANIFEST["custom"]["gear-builder"]["image"].rpartition(":")[2] == PROJECT["version"]
    assert ":" not in MANIFEST["custom"]["gear-builder"]["image"].rpartition(":")[0], "the validator stumbles over a port"
    assert MANIFEST["license"] == PROJECT["license"] == "Apache-2.0"
    assert re.fullmatch(r"[a-z0-9-]+", MANIFEST["name"])
    assert PROJECT["version"] in (REPOSITORY / "Dockerfile").read_text()


def test_inputs_are_those_the_gear_reads_and_only_the_archive_is_required() -> None:
    assert tuple(MANIFEST["inputs"]) == INPUT_NAMES
    assert [name for name, entry in MANIFEST["inputs"].items() if not entry["optional"]] == ["dicom"]
    assert all(entry["description"] for entry in MANIFEST["inputs"].values())
    assert not any(entry["base"] == "api-key" for entry in MANIFEST["inputs"].values())


def test_the_command_needs_no_variable_of_the_image() -> None:
    interpreter, script = MANIFEST["command"].split()
    assert interpreter.startswith("/")
    assert script == MANIFEST["environment"]["FLYWHEEL"] + "/run.py"
    assert all(isinstance(value, str) for value in MANIFEST["environment"].values())
    assert "capabilities" not in MANIFEST


def test_job_information_is_asked_for_so_that_no_site_is_looked_up() -> None:
    assert MANIFEST["custom"]["flywheel"]["show-job"] is True
    assert MANIFEST["output_configuration"]["enforce_file_version_match"] is True


def test_the_script_that_writes_it_has_nothing_to_do() -> None:
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "manifest", "--check"], check=True)
