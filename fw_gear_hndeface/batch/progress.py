"""How far a batch is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from fw_gear_hndeface.batch.ledger import Entry
from fw_gear_hndeface.model import Verdict
from fw_gear_hndeface.vocabulary import FAILED, UNREADABLE

_WORTH_A_LINE = (FAILED, UNREADABLE, Verdict.REFUSED.value)


class Progress:
    """Counts what is done. Where nobody watches a bar, a line is said each time another tenth is done."""

    def __init__(self, total: int | None, unit: str, *, quiet: bool, say: Callable[[str], None]) -> None:
        self._total = total
        self._unit = unit
        self._quiet = quiet
        self._say = say
        self._counts: Counter[str] = Counter()
        self._done = 0
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bar = tqdm(total=self._total, unit=f" {self._unit}", file=sys.stderr, leave=False, smoothing=0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """One more."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(1)

    def ended(self, entry: Entry) -> None:
        """One more study, and how it ended; what a person must look at gets a line of its own."""
        self._counts[entry.verdict] += 1
        if self._bar is not None:
            self._bar.set_postfix(dict(self._counts), refresh=False)
        self.step()
        if not self._quiet and entry.verdict in _WORTH_A_LINE:
            self._line(f"{entry.stem}  {entry.verdict}: {entry.reason}")
        if not self._quiet and self._bar is None and self._total and self._is_another_tenth():
            told = ", ".join(f"{count} {verdict}" for verdict, count in self._counts.items())
            self._say(f"{self._done} of {self._total} {self._unit}: {told}")

    def _line(self, text: str) -> None:
        if self._bar is None:
            self._say(text)
        else:
            self._bar.write(text, file=sys.stdout)

    def _is_another_tenth(self) -> bool:
        total = self._total or 1
        return self._done * 10 // total > (self._done - 1) * 10 // total
