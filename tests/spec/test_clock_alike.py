"""A time reads alike whatever stands beside it: other values may send the column another, slower way."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from churn_clv.clock import to_local

PLAIN = [
    "2024-03-05", "2024-03-05T14:30", "2024-03-05 14:30:07", "2024-03-05T23:59:59", "2024-03-05T24:00:00",
    "2024-02-30", "2024-02-30T10:00:00", "2024-03-05T25:00:00", "2024-03-05T10:61:00", "2024-03-05T10:00:61",
    " 2024-03-05 ",
    "2024-3-5", "2024-03-05T1:02:03", "+2024-03-05", "2024-03-05T", "2024-03-05Z", "1899-12-31", "2200-01-01T00:00:00",
    "0000-01-01T00:00:00", "9999-12-31T23:59:59", "2024-12-31T23:59:60", "", "x", None, "2024-03-10T02:30:00",
    "2024-03-05T14:30:00+01:00", "2024-03-05T14:30 -0530", "2024-03-05T14:30:00Z", "2024-03-05T14:30:00.25",
    "2024-03-05T14:30:00.123456789", "2024-03-05T14:30:00.", "2024-03-05T14:30:00\n", "2024-03-05 24:30:00",
]  # fmt: skip
NEIGHBOURS = [
    "2024-03-05T14:30:00.5",
    "2024-03-05T10:00:00",
    "2024-03-05",
    "2024-03-05T10:00:00Z",
    "2024-12-31T23:59:60",
]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("source", [None, "Europe/London"])
def test_alone_as_beside_others(zone: str, source: str | None) -> None:
    alone = [to_local(pl.Series("time", [t], dtype=pl.String), zone, source)[0].item() for t in PLAIN]
    for neighbour in NEIGHBOURS:
        together = to_local(pl.Series("time", [*PLAIN, neighbour], dtype=pl.String), zone, source)[0]
        assert together.to_list()[:-1] == alone
    assert alone[:3] == [dt.datetime(2024, 3, 5), to_local(pl.Series(["2024-03-05T14:30"]), zone, source)[0].item(),
                         to_local(pl.Series(["2024-03-05T14:30:07"]), zone, source)[0].item()]  # fmt: skip
    assert all(t is not None for t in alone[:4]) and alone[5:10] == [None] * 5
