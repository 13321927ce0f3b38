"""The service's answer equals the batch's to the bit: JSON in, JSON out, against one call on the whole frame."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import TRAINED_THROUGH, Client

from churn_clv import explain, timeline
from churn_clv.bundle import Bundle
from churn_clv.canonical import canonical
from churn_clv.service import reading
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded

NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
SHARED = ("eligible", "reason", "churn_probability", "percentile_in_reference", "churn_band", "loss_probability",
          "reliability", "base_rate", "expected_spend", "expected_spend_low", "expected_spend_high", "currency",
          "horizon_days", "model_version", "churn_probability_by_days", "clv_extrapolated_share",
          "margin_rate", "historic_value", "total_value", "clv_by_months", "clv_low_by_months", "clv_high_by_months",
          "expected_orders", "expected_order_value", "next_order_within_days", "next_order_learnt_days",
          "active_probability_by_months", "targets", "score_valid_until", "reasons")  # fmt: skip
CUTOFFS = tuple(TRAINED_THROUGH + dt.timedelta(days=d) for d in (-28, -1, 0, 1, 27))
Histories = dict[str, tuple[dt.date, list[dict[str, Any]]]]
Row = dict[str, Any]


MATRICES: list[pl.DataFrame] = []  # what Bundle.predict was given, newest last


@pytest.fixture(scope="module", autouse=True)
def watched() -> Iterator[None]:
    """Keep every matrix that is predicted: five trees would not tell most features' last bits apart."""
    real = Bundle.predict

    def watching(self: Bundle, rows: pl.DataFrame, frame: pl.DataFrame | None = None) -> pl.DataFrame:
        MATRICES.append(rows)
        return real(self, rows, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, "predict", watching)
        yield


def features(cutoffs: dict[str, dt.date], *, by_position: bool = False) -> dict[str, Row]:
    """Customer -> every column of the newest matrix, for the customers that it holds at their own cutoff.

    The service names customers by their position.
    """
    rows = MATRICES[-1].to_dicts()
    if by_position:
        rows = [row | {"customer_id": list(cutoffs)[reading.position(row["customer_id"])]} for row in rows]
    return {row["customer_id"]: row for row in rows if cutoffs.get(row["customer_id"]) == row["cutoff"]}


@pytest.fixture(scope="module")
def client(tiny_bundle: Bundle) -> Client:
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(tiny_bundle, NOW)
    return Client(gated(create_app(held, lambda: NOW)))


def served(client: Client, histories: Histories, language: str = "en") -> dict[str, Row]:
    """Customer -> what the service says, of all customers in one request; every reason it can give."""
    customers = [{"customer_id": n, "cutoff": c.isoformat(), "events": e} for n, (c, e) in histories.items()]
    answer = client.post("/predict", {"customers": customers, "explain": 10, "language": language})
    assert answer.status_code == 200, answer.text
    rows = json.loads(answer.content)["predictions"]
    assert [(row["customer_id"], row["cutoff"]) for row in rows] == [
        (n, c.isoformat()) for n, (c, _) in histories.items()
    ]
    found = features({name: cutoff for name, (cutoff, _) in histories.items()}, by_position=True)
    return {
        row["customer_id"]: {name: row[name] for name in SHARED} | {"features": found.get(row["customer_id"])}
        for row in rows
    }


def batch(bundle: Bundle, frame: pl.DataFrame, cutoffs: dict[str, dt.date], language: str = "en") -> dict[str, Row]:
    """Customer -> what the batch says at the customer's cutoff, everyone scored at every cutoff."""
    found: dict[str, Row] = {}
    for cutoff in sorted(set(cutoffs.values())):
        scored = bundle.score(frame, cutoff)
        assert isinstance(scored, pl.DataFrame)
        there = features(cutoffs)
        rows = [row for row in scored.iter_rows(named=True) if row["customer_id"] in there]
        why = reasons(bundle, language)
        whys = {head.target: reasons(bundle, language, head.target) for head in bundle.own_heads}
        rows = [
            row | nested(row) | {"targets": own(bundle, row, whys), "reasons": why.get(row["customer_id"])}
            for row in rows
        ]
        found |= {r["customer_id"]: {n: r[n] for n in SHARED} | {"features": there[r["customer_id"]]} for r in rows}
    nothing: Row = dict.fromkeys((*SHARED, "features")) | {
        "eligible": False, "reason": "unknown", "base_rate": bundle.base_rate, "currency": "USD", "horizon_days": 28,
        "model_version": bundle.version, "next_order_learnt_days": 84, "targets": own(bundle, {}),
    }  # fmt: skip
    return {name: found.get(name, nothing) for name in cutoffs}


def reasons(bundle: Bundle, language: str, target: str | None = None) -> dict[str, list[Row]]:
    """Customer -> reasons of the newest matrix as columns hold them."""
    found = explain.of_matrix(bundle, MATRICES[-1], 10, language, target)
    return {row["customer_id"]: row["reasons"] for row in found.iter_rows(named=True)}


def own(bundle: Bundle, row: Row, whys: dict[str, dict[str, list[Row]]] | None = None) -> Row:
    """The batch's columns of the user's own targets, and their reasons, as the service's answer holds them."""
    out: Row = {}
    for name, days in (("back", 14), ("visits", 28), ("tea", 28), ("ended", 28)):
        event = name in ("back", "ended")
        number = row.get(f"{name}_probability" if event else f"expected_{name}")
        base = bundle.reference.targets[name].base
        assert not event or row.get(f"{name}_base_rate", base) == base
        out[name] = {
            "horizon_days": days, "eligible": number is not None, "probability": number if event else None,
            "expected": None if event else number, "base": base, "band": row.get(f"{name}_band"),
            "percentile_in_reference": row.get(f"{name}_percentile_in_reference"),
            "reasons": (whys or {}).get(name, {}).get(row.get("customer_id", "")),
        }  # fmt: skip
    return out


def nested(row: Row) -> Row:
    """The batch's columns that the service's answer holds by days and by months."""
    clv = by(row, "clv_{}m", (3, 6, 12, 24))
    return {
        "churn_probability_by_days": by_days(row),
        "clv_by_months": clv,
        "clv_low_by_months": clv and {m: row[f"clv_{m}m_low"] for m in clv},
        "clv_high_by_months": clv and {m: row[f"clv_{m}m_high"] for m in clv},
        "next_order_within_days": by(row, "next_order_within_{}d", (7, 14, 30, 60, 90)),
        "active_probability_by_months": by(row, "active_probability_{}m", (1, 3, 6, 12)),
        "score_valid_until": row["score_valid_until"] and row["score_valid_until"].isoformat(),
    }


def by(row: Row, column: str, keys: tuple[int, ...]) -> dict[str, float] | None:
    """A column of each number of months or days; None where it is null."""
    found = {str(key): row[column.format(key)] for key in keys}
    return None if None in found.values() else found


def by_days(row: Row) -> dict[str, float] | None:
    """The batch's columns of the horizon's parts as the service's answer holds them."""
    days = sorted(int(n.split("_")[-1][:-1]) for n in row if n.startswith("churn_probability_") and n.endswith("d"))
    if row["churn_probability"] is None:
        return None
    return {str(d): row[f"churn_probability_{d}d"] for d in days} | {"28": row["churn_probability"]}


def times() -> st.SearchStrategy[str]:
    """Around the edges of every window and the cutoffs, to the microsecond; some with an offset, some dates."""
    ages = st.sampled_from((*tiny.definitions().windows_days, *range(1, 57), 0, -1, 363, 516))
    within = st.sampled_from((-1, 0, 1, 9 * 3_600_000_000, 86_399_999_999)).map(
        lambda us: dt.timedelta(microseconds=us)
    )
    moments = st.builds(
        lambda c, age, us: dt.datetime.combine(c, dt.time()) - dt.timedelta(days=age) + us,
        st.sampled_from(CUTOFFS), ages, within,
    )  # fmt: skip
    ways = st.sampled_from(("{}", "{}Z", "{}+02:00", "{}-04:00", "date"))
    return st.builds(lambda t, way: t.date().isoformat() if way == "date" else way.format(t.isoformat()), moments, ways)


def events() -> st.SearchStrategy[dict[str, Any]]:
    cents = st.integers(-50_000, 500_000).map(lambda n: n / 100)
    required = {"time": times(), "event_type": st.sampled_from((*tiny.TYPES, "purchase", "purchase"))}
    optional = {
        "amount": st.one_of(cents, st.floats(-1e6, 1e6), st.integers(0, 10**9)),
        "order_id": st.sampled_from(("o1", "o2", " o2", "")),
        "product_id": st.sampled_from(("p1", "p2", "p3")),
        "category": st.sampled_from(("tea", "cups", "")),
        "quantity": st.one_of(st.integers(0, 9), st.floats(-10, 10)),
        "discount": cents,
        "channel": st.sampled_from(("web", "store")),
        "value": st.floats(-100, 100),
        "known_at": times(),
    }
    return st.fixed_dictionaries(required, optional=optional)


def histories() -> st.SearchStrategy[Histories]:
    names = st.sampled_from(("a", "b", "Zoë", "10", "9", "a b"))
    return st.dictionaries(names, st.tuples(st.sampled_from(CUTOFFS), st.lists(events(), max_size=12)), min_size=1)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(asked=histories())
def test_service_equals_batch(client: Client, tiny_bundle: Bundle, asked: Histories) -> None:
    plain = {name: [e.get(name) for _, es in asked.values() for e in es] for name in ("time", "event_type", "known_at")}
    numbers = ("amount", "quantity", "discount", "value")
    texts = ("order_id", "product_id", "category", "channel")
    more = {name: [e.get(name) for _, es in asked.values() for e in es] for name in (*numbers, *texts)}
    kinds = dict.fromkeys(numbers, pl.Float64) | dict.fromkeys((*texts, *plain, "customer_id"), pl.String)
    ids = [name for name, (_, es) in asked.items() for _ in es]
    frame = pl.DataFrame({"customer_id": ids, **plain, **more}, schema_overrides=kinds, strict=False)
    assert served(client, asked) == batch(tiny_bundle, frame, {name: cutoff for name, (cutoff, _) in asked.items()})


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """Forty customers as a batch reads them: typed columns, local times, everything in one frame."""
    return tiny.plain_log(customers=40, seed=11)


def as_request(log: pl.DataFrame, cutoff: dt.date) -> Histories:
    asked: Histories = {}
    for row in log.with_columns(pl.col("time").dt.to_string("iso:strict")).iter_rows(named=True):
        event = {name: value for name, value in row.items() if name != "customer_id" and value is not None}
        asked.setdefault(row["customer_id"], (cutoff, []))[1].append(event)
    return asked


@pytest.mark.parametrize("cutoff", [CUTOFFS[0], CUTOFFS[2]])
def test_a_whole_log_through_the_service_equals_the_batch(
    client: Client, tiny_bundle: Bundle, log: pl.DataFrame, cutoff: dt.date
) -> None:
    asked = as_request(log, cutoff)
    there = batch(tiny_bundle, log, dict.fromkeys(asked, cutoff))
    assert served(client, asked) == there
    assert {row["eligible"] for row in there.values()} == {True, False}
    assert len({row["churn_probability"] for row in there.values()}) > 5
    assert {row["targets"]["ended"]["eligible"] for row in there.values()} == {True, False}
    assert {len(row["reasons"]) for row in there.values() if row["eligible"]} == {10}
    ended = [row["targets"]["ended"] for row in there.values()]
    assert all(bool(one["reasons"]) == one["eligible"] for one in ended)
    known = canonical(log, tiny_bundle.definitions.rules)
    found = explain.frame(tiny_bundle, known, timeline.pairs_of(list(there), [cutoff]), 10)
    assert dict(found.select("customer_id", "reasons").iter_rows()) == {
        name: row["reasons"] for name, row in there.items() if row["eligible"]
    }


def test_every_kind_of_history_in_one_request(client: Client, tiny_bundle: Bundle) -> None:
    """Ties to the microsecond, returns, what became known late, prospects, the lapsed, nothing at all; in Chinese."""
    cutoff = CUTOFFS[3]
    day = (cutoff - dt.timedelta(days=10)).isoformat()
    buys = {"time": f"{day}T10:00:00", "event_type": "purchase", "amount": 20.0}
    old = {"time": (cutoff - dt.timedelta(days=90)).isoformat(), "event_type": "purchase", "amount": 9.5}
    back = {"time": f"{day}T10:00:00", "event_type": "return", "amount": -5.0}
    late = {"time": f"{day}T11:00:00", "event_type": "purchase", "amount": 3.0}
    asked: Histories = {
        "tie": (cutoff, [buys, buys, back, old]),
        "voided": (cutoff, [old, buys, back | {"amount": -20.0}]),
        "known late": (cutoff, [old, buys, late | {"known_at": cutoff.isoformat()}]),
        "known in time": (cutoff, [old, buys, late | {"known_at": f"{day}T12:00:00"}]),
        "prospect": (cutoff, [{"time": day, "event_type": "visit"}]),
        "lapsed": (cutoff, [old]),
        "nothing": (cutoff, []),
    }
    rows = [{"customer_id": name, **event} for name, (_, events) in asked.items() for event in events]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    got = served(client, asked, "zh")
    assert got == batch(tiny_bundle, frame, dict.fromkeys(asked, cutoff), "zh")
    assert [row["reason"] for row in got.values()] == [None, "lapsed", None, None, "prospect", "lapsed", "unknown"]
    assert got["known late"]["features"] != got["known in time"]["features"]
    assert [row["score_valid_until"] is None for row in got.values()] == [False] * 6 + [True]
    assert "购买" in got["tie"]["reasons"][0]["text"] and got["lapsed"]["reasons"] is None


def test_one_customer_alone_equals_the_customer_among_many(client: Client, log: pl.DataFrame) -> None:
    asked = as_request(log, CUTOFFS[2])
    together = served(client, asked)
    for name in list(asked)[:8]:
        assert served(client, {name: asked[name]}) == {name: together[name]}


def test_a_pandas_frame_gives_the_same_numbers(client: Client, tiny_bundle: Bundle, log: pl.DataFrame) -> None:
    cutoff = CUTOFFS[2]
    scored = tiny_bundle.score(log.to_pandas(), cutoff)
    theirs = dict(zip(scored["customer_id"], scored["churn_probability"], strict=True))
    ours = served(client, as_request(log, cutoff))
    eligible = [name for name, row in ours.items() if row["eligible"]]
    assert [ours[name]["churn_probability"] for name in eligible] == [theirs[name] for name in eligible]


def test_both_ignore_event_types_that_the_model_has_never_met(
    client: Client, tiny_bundle: Bundle, log: pl.DataFrame
) -> None:
    cutoff = CUTOFFS[2]
    strange = log.with_columns(event_type=pl.lit("teleport"), amount=pl.lit(None, pl.Float64))
    without = batch(tiny_bundle, log, dict.fromkeys(log["customer_id"].unique(), cutoff))
    both = pl.concat([log, strange])
    assert batch(tiny_bundle, both, dict.fromkeys(without, cutoff)) == without
    assert served(client, as_request(both, cutoff)) == without
