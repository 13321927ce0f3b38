"""Work in threads beside other work: in order, so many at a time, and an error ends it."""

from __future__ import annotations

import threading
import time

import pytest

from churn_clv.beside import together


def test_so_many_are_at_work_and_results_keep_the_order() -> None:
    met = threading.Barrier(3, timeout=30)  # broken unless three wait at once

    def work(item: int) -> int:
        met.wait()
        return item * item

    assert together(work, range(6), 3) == [0, 1, 4, 9, 16, 25]
    assert together(work, [], 3) == []


def test_one_at_a_time_is_this_thread_alone() -> None:
    own = threading.get_ident()
    assert together(lambda _: threading.get_ident(), range(4), 1) == [own] * 4


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_in_either_lane_begins_nothing_else(bad: int, error: BaseException) -> None:
    begun: list[int] = []
    both = threading.Barrier(2, timeout=30)
    raised = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item < 2:
            both.wait()
        if item == bad:
            raised.set()
            raise error
        raised.wait(30)
        time.sleep(0.02)  # so that an end that comes a little late still comes long before the last item
        return item

    with pytest.raises(type(error)):
        together(work, range(100), 2)
    assert len(begun) < 60
