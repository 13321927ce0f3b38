"""Rates and room: hand-computed refusals, bounded memory."""

from __future__ import annotations

import pytest

from churn_clv.service import limits
from churn_clv.service.limits import Rate, Room


def test_a_burst_passes_then_one_each_interval() -> None:
    """Two a second, three at once: at 0 s three pass, and one more has to wait half a second."""
    rate = Rate(2.0, 3)
    assert [rate.wait("a", 0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert rate.wait("a", 0.4) == pytest.approx(0.1)
    assert [rate.wait("a", 0.5), rate.wait("a", 0.5)] == [0.0, pytest.approx(0.5)]
    assert [rate.wait("a", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.5)]


def test_callers_do_not_share_and_the_default_burst_is_two_seconds() -> None:
    rate = Rate(5.0)
    assert [rate.wait("a", 0.0) for _ in range(11)].count(0.0) == 10
    assert rate.wait("b", 0.0) == 0.0
    slow = Rate(0.1)
    assert [slow.wait("a", 0.0), slow.wait("a", 0.0)] == [0.0, pytest.approx(10.0)]


def test_a_sustained_caller_gets_its_rate_and_no_more() -> None:
    rate = Rate(100.0, 10)
    passed = sum(rate.wait("a", k / 1000) == 0.0 for k in range(10_000))
    assert 1000 <= passed <= 1010


def test_memory_is_bounded_and_the_longest_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLERS", 100)
    rate = Rate(1.0, 1)
    for k in range(1_000):
        rate.wait(f"c{k}", 0.0)
    assert len(rate) == 100
    assert rate.wait("c999", 0.0) > 0 and rate.wait("c0", 0.0) == 0.0


def test_room_is_taken_and_given_back() -> None:
    room = Room(10)
    assert [room.take(6), room.take(5), room.take(4), room.take()] == [True, False, True, False]
    room.give(6)
    assert room.take(6) and room.taken == 10
