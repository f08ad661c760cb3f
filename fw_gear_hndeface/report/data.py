"""The content of a report as plain data: strictly valid JSON, keys promised by `qa.schema.json`."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from fw_gear_hndeface import __version__
from fw_gear_hndeface.model import Finding, Result
from fw_gear_hndeface.report.exhibit import Exhibit
from fw_gear_hndeface.settings import Settings

#: Raised by one before the point when a promised key changes its meaning or goes.
SCHEMA_VERSION = "1.2"
#: Settings whose values stay in the job.
SECRET = ("seed",)

_VERSIONS_OF = ("numpy", "scipy", "scikit-image", "SimpleITK", "pydicom", "python-gdcm", "dlib-bin", "face-recognition-models")
_NOTHING = Exhibit()
_DEFAULTS: dict[str, Any] = {
    "method": None,
    "landmarks": {},
    "removed_ml": None,
    "added_ml": None,
    "retextured_ml": None,
    "rois": [],
    "labelled": [],
    "objects": [],
    "privacy": {},
    "pictures": [],
    "scene": None,
    "seconds": {},
    "peak_mb": None,
    "disk_mb": None,
}


def report_data(result: Result, settings: Settings, exhibit: Exhibit = _NOTHING) -> dict[str, Any]:
    """Everything a report says. Measures this version does not know go in as they are."""
    head = {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "hndeface", "version": __version__},
        "verdict": result.verdict.value,
    }
    tail = {
        "findings": [_finding(finding) for finding in result.findings],
        "settings": told_settings(settings),
        "pictures": [{"name": one.name, "group": one.group, "caption": one.caption} for one in exhibit.pictures],
        "scene": _scene(exhibit),
        "versions": {"python": platform.python_version(), **{name: _version_of(name) for name in _VERSIONS_OF}},
    }
    data: dict[str, Any] = plain({**head, **_DEFAULTS, **result.measures, **head, **tail})
    return data


def told_settings(settings: Settings) -> dict[str, Any]:
    """Settings by name; what would undo the defacing if it were known is not told.

    Whoever knows the seed can compute the random part of the new surface and take it away. Of a path only the last part is
    told: folders are named after people and projects.
    """
    told = {name: _last_part(value) if isinstance(value, str) else value for name, value in asdict(settings).items()}
    for name in SECRET:
        told[name] = "given, not told" if told[name] else "drawn for this run"
    return told


def _last_part(text: str) -> str:
    return PureWindowsPath(text).name or text if re.search(r"[/\\]", text) else text


def plain(value: Any) -> Any:
    """A value made of what JSON knows: arrays and tuples become lists, numbers that are not finite become null.

    Raises
    ------
    TypeError
        Something that is no data.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise TypeError(f"a report holds plain data only, got {type(value).__name__}")


def schema() -> dict[str, Any]:
    """The JSON Schema of `.qa.json`."""
    text = importlib.resources.files(__package__).joinpath("qa.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _scene(exhibit: Exhibit) -> dict[str, Any] | None:
    """The structures of the interactive view, label 1 first."""
    if exhibit.scene is None:
        return None
    return {"structures": [{"name": name, "colour": colour} for name, colour in exhibit.scene.structures]}


def _finding(finding: Finding) -> dict[str, str]:
    return {"level": finding.level.value, "code": finding.code, "message": finding.message, "where": finding.where}


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
