"""The desk: what waits is answered together, in order, and nobody fails for a neighbour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from churn_clv.service import desk as module
from churn_clv.service.desk import Desk, Full

THREADS = ThreadPoolExecutor(4)


class Clerk:
    """Answers numbers with their doubles, keeps what was asked together, and waits until it may."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.calls: list[list[int]] = []
        self.fails = set(fails)
        self.may = threading.Event()
        self.began = threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int]:
        self.began.set()
        assert self.may.wait(10)
        self.calls.append(list(asked))
        if self.fails & set(asked):
            raise ValueError("one of them is bad")
        return [2 * n for n in asked]


def desk(clerk: Clerk, threads: int = 1, at_once: int = 100, most: int = 1_000) -> Desk[int, int]:
    return Desk(clerk, THREADS, threads=threads, at_once=at_once, most_waiting=most)


async def ask_all(clerk: Clerk, asked: Desk[int, int], numbers: Sequence[int], weight: int = 1) -> list[object]:
    """The first alone; the others come while it is answered."""
    first = asyncio.create_task(asked.ask(numbers[0], weight))
    await asyncio.to_thread(clerk.began.wait, 10)
    others = [asyncio.create_task(asked.ask(n, weight)) for n in numbers[1:]]
    await asyncio.sleep(0.01)
    clerk.may.set()
    return list(await asyncio.gather(first, *others, return_exceptions=True))


def test_what_waits_is_answered_by_one_call() -> None:
    clerk = Clerk()
    assert asyncio.run(ask_all(clerk, desk(clerk), range(6))) == [0, 2, 4, 6, 8, 10]
    assert clerk.calls == [[0], [1, 2, 3, 4, 5]]


def test_a_call_takes_no_more_than_it_should_but_one_giant() -> None:
    clerk = Clerk()
    asyncio.run(ask_all(clerk, desk(clerk, at_once=7), range(6), weight=3))
    assert clerk.calls == [[0], [1, 2], [3, 4], [5]]
    clerk = Clerk()
    asyncio.run(ask_all(clerk, desk(clerk, at_once=7), range(3), weight=50))
    assert clerk.calls == [[0], [1], [2]]


def test_nobody_fails_for_a_neighbour() -> None:
    clerk = Clerk(fails=[3])
    found = asyncio.run(ask_all(clerk, desk(clerk), range(6)))
    assert found[:3] + found[4:] == [0, 2, 4, 8, 10] and isinstance(found[3], ValueError)
    assert clerk.calls == [[0], [1, 2, 3, 4, 5], [1], [2], [3], [4], [5]]


def test_too_much_that_waits_is_turned_away_but_a_giant_alone_is_not() -> None:
    clerk = Clerk()
    found = asyncio.run(ask_all(clerk, desk(clerk, most=10), range(6), weight=4))
    assert [isinstance(one, Full) for one in found] == [False, False, False, True, True, True]
    clerk = Clerk()
    clerk.may.set()
    assert asyncio.run(ask_all(clerk, desk(clerk, most=10), [7], weight=400)) == [14]


def test_who_gives_up_is_not_answered_and_the_desk_goes_on() -> None:
    clerk = Clerk()
    asked = desk(clerk)

    async def some_leave() -> list[int]:
        first = asyncio.create_task(asked.ask(1, 1))
        await asyncio.to_thread(clerk.began.wait, 10)
        leaving, staying = asyncio.create_task(asked.ask(2, 1)), asyncio.create_task(asked.ask(3, 1))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.sleep(0.01)
        clerk.may.set()
        return [await first, await staying, await asked.ask(4, 1)]

    assert asyncio.run(some_leave()) == [2, 6, 8]
    assert clerk.calls == [[1], [3], [4]]


def test_callers_who_ask_again_are_answered_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in two halves that wait for each other; the first, who meets nobody, does not wait for them."""
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    clerk = Clerk()
    asked = desk(clerk)

    async def caller(number: int) -> None:
        for _ in range(5):
            await asked.ask(number, 1)

    async def all_of_them() -> None:
        first = asyncio.create_task(caller(0))
        await asyncio.to_thread(clerk.began.wait, 10)
        others = [asyncio.create_task(caller(n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        clerk.may.set()
        await asyncio.gather(first, *others)

    asyncio.run(all_of_them())
    assert [len(call) for call in clerk.calls] == [1, 4, 4, 4, 4, 3]


def test_it_waits_for_callers_as_long_as_a_call_takes_within_bounds() -> None:
    assert [module.patience(took) for took in (0.001, 0.05, 5.0)] == [0.02, 0.05, 0.1]


def test_a_call_that_answers_too_few_is_an_error() -> None:
    short: Desk[int, int] = Desk(lambda asked: [], THREADS, threads=1, at_once=9, most_waiting=9)
    with pytest.raises(ValueError, match="as many answers"):
        asyncio.run(short.ask(1, 1))
