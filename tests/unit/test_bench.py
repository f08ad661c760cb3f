"""scripts/bench: its studies are what they say, and its ratios are worked out by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.e2e import studies as read

Part = Callable[[str], ModuleType]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Iterator[Part]:
    """A module of scripts/benches by name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def named(name: str) -> ModuleType:
        return import_module(f"benches.{name}")

    yield named
    for name in [name for name in sys.modules if name.split(".")[0] == "benches"]:
        del sys.modules[name]


def test_more_slices_are_the_same_head_on_more_body(part: Part, tmp_path: Path) -> None:
    make = part("studies").make_grown
    whole = []
    for count in (50, 60):
        make(tmp_path / f"{count}.zip", count, 32)
        whole.append(read.hu_of(read.slices_of(tmp_path / f"{count}.zip")))
    (short, low), (long, deep) = whole
    assert (len(short), len(long)) == (50, 60)
    assert np.array_equal(long[10:], short)
    assert np.allclose(deep[10:], low), "the head lies where it lay"
    assert np.abs(long[:10] - short[0]).max() < 50
    assert not np.array_equal(long[0], long[1])


def test_copies_have_uids_of_their_own_and_may_lack_the_face(part: Part, tmp_path: Path) -> None:
    studies = part("studies")
    studies.make_study(tmp_path / "one.zip", (16, 24, 24), structures=False)
    for number, lowest in ((1, False), (2, True)):
        studies.renamed(tmp_path / "one.zip", tmp_path / f"{number}.zip", number, lowest=lowest)
    first, second = (list(read.slices_of(tmp_path / f"{number}.zip").values()) for number in (1, 2))
    assert (len(first), len(second)) == (16, 5)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert not {getattr(ds, name) for ds in first} & {getattr(ds, name) for ds in second}


def test_two_workers_over_twice_one(part: Part) -> None:
    one = {"workers": 1, "per_minute": 6.0, "cpu_per_study": 8.0, "busy": 1.0}
    two = {"workers": 2, "per_minute": 9.0, "cpu_per_study": 10.0, "busy": 0.9}
    assert part("throughput").ratios([one, two]) == {"by the clock": 0.75, "on free cores": 0.72}


def test_the_slope_is_told_per_slice(part: Part) -> None:
    rows = [
        {"slices": count, "seconds": 1.0, "cpu_seconds": cpu, "peak_mb": mb, "verdict": "defaced"}
        for count, cpu, mb in ((50, 4.0, 500.0), (100, 5.0, 600.0))
    ]
    last = part("growth").told(rows).splitlines()[-1]
    assert [cell.strip() for cell in last.strip("|").split("|")] == ["100", "1.00", "5.00", "600", "20.0", "2.00", "defaced"]
