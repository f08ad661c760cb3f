"""The ledger: one row per study, written once its outputs are in place. It holds no path, no UID and no name.

The outputs come first: a study is done when its folder, with a receipt in it, has been renamed into place. The ledger is
written after that and can be lost: it is made again from the receipts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fw_gear_hndeface.errors import HndefaceError

RECEIPT = "receipt.json"
_TABLE = """
CREATE TABLE IF NOT EXISTS studies (
    stem TEXT PRIMARY KEY, quick TEXT NOT NULL, rules TEXT NOT NULL, fingerprint TEXT NOT NULL, verdict TEXT NOT NULL,
    code INTEGER NOT NULL, reason TEXT NOT NULL, seconds REAL NOT NULL, outputs TEXT NOT NULL, recorded TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Output:
    """A file of a study's folder, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """How a study ended.

    Parameters
    ----------
    quick : mark of the input files' names, sizes and times
    rules : mark of the settings, the version and the key
    fingerprint : mark of the input's bytes and the rules; '' when the input could not be read to its end
    verdict : a value of `Verdict`, 'unreadable' or 'failed'
    code : exit code that `hndeface run` would have ended with
    reason : a sentence that is safe to print; '' where the verdict says all
    seconds : how long it took
    """

    stem: str
    quick: str
    rules: str
    fingerprint: str
    verdict: str
    code: int
    reason: str = ""
    seconds: float = 0.0
    outputs: tuple[Output, ...] = ()

    def receipt(self) -> dict[str, Any]:
        """What lies beside the outputs: the same for every run that gives the same outputs."""
        told = asdict(self)
        for name in ("quick", "seconds"):
            told.pop(name)
        return told

    @classmethod
    def of_receipt(cls, told: dict[str, Any], quick: str) -> Entry:
        """The entry that a receipt was written from; ValueError when it is no receipt."""
        try:
            outputs = tuple(Output(**one) for one in told.pop("outputs"))
            return cls(**told, quick=quick, outputs=outputs)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("not a receipt") from error


class Ledger:
    """The rows of a cohort in a SQLite file. One process writes: whoever holds the lock of the output folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Entry] = []
        self._link: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._link = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            self._link.execute("PRAGMA synchronous=FULL")
            self._link.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._link is not None:
            with suppress(sqlite3.Error):
                self._flush()
            self._link.close()

    def record(self, entry: Entry) -> None:
        """Put a study's end into its row. What the disk does not take waits for the next call and for `settle`."""
        self._waiting.append(entry)
        with suppress(sqlite3.Error):
            self._flush()

    def settle(self) -> None:
        """Write what waits.

        Raises
        ------
        HndefaceError
            The file still takes nothing.
        """
        try:
            self._flush()
        except sqlite3.Error as error:
            raise HndefaceError(
                f"The ledger cannot be written ({_word(error)}); {len(self._waiting)} studies are not in it. Their outputs are "
                "whole: make room and start again, and they are taken up from their receipts."
            ) from error

    def rows(self) -> dict[str, Entry]:
        """Every study by its name."""
        if self._link is None:
            raise ValueError("the ledger is not open")
        try:
            found = {row.stem: row for row in _rows(self._link)}
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error
        return found | {entry.stem: entry for entry in self._waiting}

    def _flush(self) -> None:
        while self._waiting and self._link is not None:
            entry = self._waiting[0]
            row = asdict(entry) | {"outputs": json.dumps([asdict(one) for one in entry.outputs])}
            row["recorded"] = datetime.now(UTC).isoformat(timespec="seconds")
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            self._link.execute(f"INSERT OR REPLACE INTO studies ({names}) VALUES ({marks})", row)
            self._waiting.pop(0)


def peek(path: Path) -> dict[str, Entry]:
    """The rows of a ledger that may not be there, without writing anything."""
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as link:
            return {row.stem: row for row in _rows(link)}
    except sqlite3.DatabaseError as error:
        raise _unusable(error) from error


def without_times(entry: Entry) -> Entry:
    """The entry less what differs between two runs that did the same."""
    return replace(entry, quick="", seconds=0.0)


def _rows(link: sqlite3.Connection) -> Iterator[Entry]:
    names = ("stem", "quick", "rules", "fingerprint", "verdict", "code", "reason", "seconds", "outputs")
    for row in link.execute(f"SELECT {', '.join(names)} FROM studies ORDER BY stem"):
        values = dict(zip(names, row, strict=True))
        yield Entry(**{**values, "outputs": tuple(Output(**one) for one in json.loads(values["outputs"]))})


def _unusable(error: sqlite3.Error) -> HndefaceError:
    return HndefaceError(
        f"The ledger cannot be used ({_word(error)}). Move it away and start again: it is made anew from the receipts beside "
        "the outputs."
    )


def _word(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
