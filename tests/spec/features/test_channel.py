"""Channel, by hand."""

from __future__ import annotations

from written import back, buy, event, part

NAMES = ("channels_distinct", "channel_top_share", "days_since_last_top_channel", "days_since_new_channel")


def test_channels() -> None:
    """Web on three days, store on one of them too: 3 of 4 channel-days; the store was new 20 days ago."""
    events = [buy(40, channel="web"), buy(20, channel="web"), buy(20, channel="store"), buy(10, channel="web")]
    assert part(events, *NAMES) == [2, 0.75, 10, 20]
    assert part(events, "channels_distinct_last_28d", "channels_distinct_last_112d") == [2, 2]
    assert part(events[:1] + events[3:], "channels_distinct_last_28d") == [1]


def test_the_nearest_of_channels_that_tie() -> None:
    assert part([buy(40, channel="web"), buy(20, channel="store")], *NAMES) == [2, 0.5, 20, 20]


def test_two_lines_of_one_day_are_one_channel_day() -> None:
    assert part([buy(9, channel="web"), buy(9, channel="web"), buy(8, channel="store")], *NAMES) == [2, 0.5, 8, 8]


def test_only_purchases_count() -> None:
    assert part([buy(9, channel="web"), back(5, channel="store"), event("visit", 3, channel="app")], *NAMES) == [
        1,
        1,
        9,
        9,
    ]
    assert part([buy(9), event("visit", 3, channel="app")], *NAMES) == [0, None, None, None]
