"""Work done by a second thread ahead of whoever needs it; for what lets other threads run meanwhile, such as (in)flating."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: How many results may wait: they are as large as a slice.
MOST_WAITING = 4

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_order(work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `work` makes of each item, in the order of the items, a few of them ahead of the one that is asked for.

    The items themselves are taken in the caller's thread. An error is raised where the result would have come; nothing goes
    on in the background after that, nor after the last result.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > MOST_WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
