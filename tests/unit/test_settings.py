"""Settings: conversion from text and JSON, bounds, and sentences that tell what was expected."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.settings import Settings


def test_defaults_are_valid_and_frozen() -> None:
    settings = Settings()
    assert (settings.method, settings.landmarks, settings.privacy, settings.on_qc_fail) == (
        "membrane",
        "auto",
        "enforce",
        "fail-job",
    )
    with pytest.raises(FrozenInstanceError):
        settings.method = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("image_type", "keep", "keep"),
        ("fill", "air", "air"),
        ("fill", "-120", "-120"),
        ("organ_margin_mm", "2.5", 2.5),
        ("organ_margin_mm", 3, 3.0),
        ("seed", "17", 17),
        ("seed", 17.0, 17),
        ("debug", "true", True),
        ("debug", "No", False),
        ("debug", False, False),
        ("use_gpu", "0", False),
    ],
)
def test_text_and_json_values_are_converted(name: str, given: Any, value: Any) -> None:
    got = getattr(Settings.from_mapping({name: given}), name)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("colour", "red", "is no setting"),
        ("image_type", "pointed", "expected one of derived, keep"),
        ("fill", "tissue", "expected auto, face, air, or HU"),
        ("fill", "-1025", "expected auto, face, air, or HU"),
        ("fill", "3072", "expected auto, face, air, or HU"),
        ("image_type", 1, "expected str"),
        ("organ_margin_mm", 30.5, "expected 0.0 to 30.0"),
        ("organ_margin_mm", -0.1, "expected 0.0 to 30.0"),
        ("organ_margin_mm", "wide", "expected float"),
        ("organ_margin_mm", float("nan"), "expected 0.0 to 30.0"),
        ("organ_margin_mm", True, "expected float"),
        ("seed", 1.5, "expected int"),
        ("seed", "1.5", "expected int"),
        ("seed", 2**31, "expected 0 to 2147483647"),
        ("seed", float("inf"), "expected int"),
        ("debug", "perhaps", "expected bool"),
        ("debug", 1, "expected bool"),
        ("max_nesting", 11, "expected 0 to 10"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(name: str, given: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        Settings.from_mapping({name: given})
    assert name in str(caught.value)
    assert caught.value.exit_code == 2


def test_bounds_hold_for_settings_made_in_code_too() -> None:
    with pytest.raises(SettingsError):
        Settings(max_uncertainty_mm=0.0)


def test_every_setting_explains_itself() -> None:
    for spec in fields(Settings):
        assert spec.metadata["help"].endswith("."), spec.name
        if spec.type in ("int", "float"):
            assert spec.metadata["low"] < spec.metadata["high"], spec.name
