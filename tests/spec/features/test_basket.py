"""Basket, by hand."""

from __future__ import annotations

from typing import Any

import drawn
from written import back, buy, event, part

from churn_clv import features


def line(days_ago: int, product: str | None, amount: float = 1.0, **columns: Any) -> dict[str, Any]:
    return buy(days_ago, amount, product_id=product, **columns)


def test_lines() -> None:
    names = ("purchase_lines", "lines_per_purchase_day", "lines_last", "purchase_lines_last_28d")
    events = [buy(40), buy(40), buy(40), buy(10), buy(10), back(9)]
    assert part(events, *names) == [5, 2.5, 2, 2]
    assert part([event("visit", 3)], *names) == [0, None, None, 0]
    # a voided day's lines were in a basket; its day was no purchase day
    assert part([buy(40), buy(10, 5), back(10, 5)], *names) == [2, 2.0, 1, 1]


def test_units_and_price_level() -> None:
    names = ("units", "units_last_28d", "units_per_line", "price_per_unit", "price_per_line")
    events = [buy(40, 10, quantity=2), buy(10, 5, quantity=0.5), buy(10, 9), back(5, 3, quantity=-1)]
    assert part(events, *names) == [2.5, 0.5, 2.5 / 3, 24 / 2.5, 24 / 3]
    assert part([buy(5, 3)], *names) == [0, 0, 0, None, 3.0]
    assert part([event("visit", 3)], *names) == [0, 0, None, None, None]


def test_breadth_and_loyalty() -> None:
    """Tea on two days (three lines), cups on one: half of the products repeated, 3 of 4 lines are tea."""
    events = [line(40, "tea", 2), line(40, "tea", 2), line(10, "tea", 1), line(10, "cups", 15), buy(9, 100)]
    names = ("products_distinct", "products_repeated_share", "products_per_purchase_day", "product_top_share",
             "product_top_spend_share")  # fmt: skip
    assert part(events, *names) == [2, 0.5, 2 / 3, 0.75, 15 / 20]
    assert part([buy(9)], *names) == [0, None, 0.0, None, None]
    assert part([line(9, "tea", 0)], *names) == [1, 0.0, 1.0, 1.0, None]
    assert part([event("visit", 3)], *names) == [0, None, None, None, None]


def test_new_and_repeated_items_by_window() -> None:
    """Tea is known since 60 days; cups are new at 28; books, last bought 57 days ago, are outside 56."""
    events = [line(60, "tea"), line(57, "books"), line(28, "cups"), line(5, "tea")]
    names = [f"products_{what}_last_{w}d" for w in (28, 56, 112) for what in ("distinct", "new")]
    assert part(events, *names) == [2, 1, 2, 1, 3, 3]


def test_returned_products_are_not_bought() -> None:
    assert part([back(3, product_id="tea", category="drinks")], "products_distinct", "categories_distinct") == [0, 0]


def test_categories_are_counted_alike() -> None:
    events = [buy(40, 1, category="a"), buy(10, 3, category="a"), buy(10, 4, category="b")]
    names = ("categories_distinct", "categories_repeated_share", "category_top_share", "category_top_spend_share")
    assert part(events, *names, "categories_new_last_28d") == [2, 0.5, 2 / 3, 0.5, 1]


def test_only_what_the_log_has() -> None:
    only = features.names(drawn.definitions(columns=("quantity",)))
    assert "units" in only and "purchase_lines" in only
    assert not [n for n in only if n.startswith(("product", "categor", "price_per"))]
    assert "basket" in features.left_out(drawn.definitions(columns=("amount",)))
