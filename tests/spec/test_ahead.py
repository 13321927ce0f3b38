"""Two at once: in order, no more than asked, and an error ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from churn_clv.ahead import Beside, BrokenOff, ahead, side_by_side


def test_two_are_at_work_and_results_keep_the_order() -> None:
    together = threading.Barrier(2, timeout=30)  # broken unless two wait at once

    def work(item: int) -> int:
        together.wait()
        return item * item

    assert list(side_by_side(work, range(6))) == [0, 1, 4, 9, 16, 25]
    assert list(side_by_side(work, [])) == []


def test_an_error_ends_it_and_nothing_else_begins() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise OSError(28, "full")
        return item

    found = side_by_side(work, range(100))
    assert next(found) == 0
    with pytest.raises(OSError, match="full"):
        list(found)
    assert len(begun) <= 4  # the two at work, and one in place of each that was handed on


def test_the_next_is_made_meanwhile_and_no_more() -> None:
    made = [threading.Event() for _ in range(9)]

    def items() -> Iterator[int]:
        for i in range(9):
            made[i].set()
            yield i

    for item in ahead(items()):
        assert item == 8 or made[item + 1].wait(30)
        assert not any(event.is_set() for event in made[item + 2 :])
    assert all(event.is_set() for event in made)


def test_an_error_of_the_items_is_told() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="torn"):
        next(found)


def test_who_stops_early_leaves_no_thread() -> None:
    at_work: set[threading.Thread] = set()

    def items() -> Iterator[int]:
        for i in range(10**9):
            at_work.add(threading.current_thread())
            yield i

    for item in ahead(items()):
        if item == 3:
            break
    assert len(at_work) == 1 and not any(thread.is_alive() for thread in at_work)


# --- work that takes items while they are made ----------------------------------------------------


def test_work_goes_on_beside_the_making() -> None:
    taken = [threading.Event() for _ in range(9)]

    def work(items: Iterator[int]) -> int:
        total = 0
        for item in items:
            taken[item].set()
            total += item
        return total

    with Beside(work) as beside:
        for i in range(9):
            beside.give(i)
            assert i < 2 or taken[i - 2].wait(30)  # long before the last one is there
        assert beside.result() == 36
        beside.give(9)  # too late: nobody waits for it, and nobody hangs


def test_an_error_of_the_work_is_told_at_the_end() -> None:
    """And whoever makes the items is not held up by it."""

    def work(items: Iterator[int]) -> int:
        raise OSError(28, f"full at {next(items)}")

    with Beside(work) as beside:
        for i in range(99):
            beside.give(i)
        with pytest.raises(OSError, match="full at 0"):
            beside.result()


def test_work_without_an_end_is_broken_off() -> None:
    found: list[BaseException] = []

    def work(items: Iterator[int]) -> None:
        try:
            list(items)
        except BrokenOff as error:
            found.append(error)
            raise

    with pytest.raises(ValueError, match="torn"), Beside(work) as beside:
        beside.give(1)
        raise ValueError("torn")
    assert len(found) == 1
