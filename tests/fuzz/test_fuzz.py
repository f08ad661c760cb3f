"""A small helping of what `make fuzz` does at length: hostile input ends in a result or in an error that is ours."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import archive, damaged, misdescribed
from tests.fuzz.targets import TARGETS, attack, read_file, studies

pytestmark = pytest.mark.filterwarnings("ignore")
#: Inputs of each target in the quick suite.
COUNTS = {"containers": 120, "headers": 120, "pixels": 100, "labels": 100, "volumes": 25, "whole": 12, "companions": 12}
HANG_S = 5.0


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_taken_or_turned_away_in_time(name: str) -> None:
    @settings(max_examples=COUNTS[name], deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2**32))
    def throw(number: int) -> None:
        with TemporaryDirectory() as work:
            begun = time.monotonic()
            attack(name, str(number), Path(work))
            assert time.monotonic() - begun < HANG_S

    throw()


@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=600), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"\0" * 128 + b"DICM", b"\x08\0\5\0"]))
def test_any_bytes_are_taken_or_turned_away(data: bytes, head: bytes) -> None:
    with TemporaryDirectory() as work:
        read_file(head + data, Path(work))


def test_the_same_number_gives_the_same_input() -> None:
    (data, *_) = studies()[0].values()
    for make in (damaged, misdescribed):
        assert make(Random("7"), data) == make(Random("7"), data) != make(Random("8"), data)
    assert archive(Random("7"), {"a": data})


def test_the_targets_turn_most_inputs_away_and_take_some() -> None:
    ends = set()
    for number in range(60):
        with TemporaryDirectory() as work:
            ends.add(attack("headers", f"fixed.{number}", Path(work)))
    assert {"taken", "DicomError"} <= ends
