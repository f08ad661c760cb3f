"""The ledger keeps what is told to it, and can be lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fw_gear_hndeface.batch.ledger import Entry, Ledger, Output, peek
from fw_gear_hndeface.errors import HndefaceError

ENTRY = Entry("a" * 20, "q", "r", "f", "defaced", 0, "fine", 1.5, (Output("x.zip", 3, "00"), Output("x.json", 4, "11")))


def test_rows_come_back_as_they_were_told(tmp_path: Path) -> None:
    path = tmp_path / "hidden" / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.record(ENTRY)
        ledger.record(Entry("b" * 20, "q", "r", "", "failed", 1, "disk"))
        ledger.record(Entry("b" * 20, "q", "r", "f2", "no_face", 0))
    assert peek(path) == {"a" * 20: ENTRY, "b" * 20: Entry("b" * 20, "q", "r", "f2", "no_face", 0)}


def test_a_row_is_on_the_disk_as_soon_as_it_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.record(ENTRY)
        assert set(peek(tmp_path / "l")) == {ENTRY.stem}


def test_looking_at_a_ledger_that_is_not_there_makes_none(tmp_path: Path) -> None:
    assert peek(tmp_path / "l") == {}
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize("data", [b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_spoilt_ledger_is_an_error_that_says_what_to_do(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "l").write_bytes(data)
    with pytest.raises(HndefaceError, match="made anew from the receipts"), Ledger(tmp_path / "l") as ledger:
        ledger.rows()
    with pytest.raises(HndefaceError, match="made anew from the receipts"):
        peek(tmp_path / "l")


class Full:
    """A connection to a disk that is full until somebody makes room."""

    def __init__(self, link: sqlite3.Connection) -> None:
        self.link = link
        self.is_full = True

    def execute(self, text: str, *more: object) -> sqlite3.Cursor:
        if self.is_full and text.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.link.execute(text, *more)  # type: ignore[arg-type]

    def close(self) -> None:
        self.link.close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Ledger, Full]]:
    with Ledger(tmp_path / "l") as ledger:
        assert ledger._link is not None
        disk = Full(ledger._link)
        ledger._link = disk  # type: ignore[assignment]
        yield ledger, disk


def test_what_a_full_disk_does_not_take_waits_and_is_written_later(full: tuple[Ledger, Full], tmp_path: Path) -> None:
    ledger, disk = full
    ledger.record(ENTRY)
    assert peek(tmp_path / "l") == {}
    assert ledger.rows() == {ENTRY.stem: ENTRY}
    disk.is_full = False
    ledger.record(Entry("b" * 20, "q", "r", "", "no_face", 0))
    assert set(peek(tmp_path / "l")) == {ENTRY.stem, "b" * 20}


def test_what_is_never_written_is_told(full: tuple[Ledger, Full]) -> None:
    ledger, _ = full
    ledger.record(ENTRY)
    with pytest.raises(HndefaceError, match="1 studies are not in it"):
        ledger.settle()


@pytest.mark.parametrize("told", [{}, {"outputs": 3}, {"outputs": [{"name": "x"}]}, {"stem": "x", "outputs": []}])
def test_what_is_no_receipt_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a receipt"):
        Entry.of_receipt(told, "q")


def test_a_receipt_gives_the_entry_back_without_what_differs_between_runs() -> None:
    told = ENTRY.receipt()
    assert "seconds" not in told
    assert "quick" not in told
    back = Entry.of_receipt(told, "other mark")
    assert (back.outputs, back.verdict, back.quick, back.seconds) == (ENTRY.outputs, "defaced", "other mark", 0.0)
