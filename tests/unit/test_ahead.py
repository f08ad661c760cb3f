"""Work ahead: order, errors where they belong, and no more at once than may wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fw_gear_hndeface.ahead import MOST_WAITING, in_order


def test_results_come_in_the_order_of_the_items_and_from_another_thread() -> None:
    def work(number: int) -> tuple[int, int]:
        return number**2, threading.get_ident()

    found = list(in_order(work, range(20)))
    assert [square for square, _ in found] == [number**2 for number in range(20)]
    assert threading.get_ident() not in {thread for _, thread in found}
    assert list(in_order(work, [])) == []


def test_an_error_comes_where_its_result_would_have_and_ends_the_work() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        done.append(number)
        return number

    results, before = in_order(work, range(100)), threading.active_count()
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 3 + MOST_WAITING + 1
    assert threading.active_count() <= before


def test_items_are_taken_no_sooner_than_results_may_wait() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items())
    assert next(results) == 0
    assert len(taken) == MOST_WAITING + 1
    results.close()  # type: ignore[attr-defined]  # in_order is a generator


def test_an_error_of_the_items_is_raised_as_it_is() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError, match="items"):
        list(in_order(lambda number: number, items()))
