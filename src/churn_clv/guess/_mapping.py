"""The map of one source: each part of the log with its mapping and the evidence for it."""

from __future__ import annotations

from typing import Any

import polars as pl

from churn_clv.guess._columns import Column
from churn_clv.guess._margin import margin
from churn_clv.guess._roles import (
    EXACT,
    PURCHASE_WORDS,
    RETURN_WORDS,
    VOID_WORDS,
    Part,
    cancel_marker,
    one_customer_each,
    words_in,
)
from churn_clv.guess._write import entry, listed, scalar

# From this share of the lines on, a column is said to be quantity x price.
AGREES = 0.95
FEW_ORDERS = 10
YES = ("true", "yes", "y", "1")


def lines(parts: dict[str, Part], columns: list[Column], kind: str | None) -> tuple[list[str], set[str]]:
    """The entries of ``map`` and the source columns that they use.

    ``kind`` is the event type of a source that holds no purchases.
    """
    out = [_plain(role, parts) for role in ("customer_id", "time")]
    event_type, why = _event_type(parts, kind)
    out.append(entry(0, "event_type", event_type, why))
    amount, evidence, used = _amount(parts)
    if amount is not None:
        out.append(entry(0, "amount", amount, evidence))
        if (told := margin(parts, amount)) is not None:
            out.append(entry(0, *told))
            used |= _columns_of(told[1])
    out += [_plain(role, parts) for role in ("order_id", "product_id", "category", "quantity", "discount", "channel")
            if role in parts]  # fmt: skip
    apart = ("amount", "unit_price", "event_type", *EXACT)
    written = {p.column.name for role, p in parts.items() if role not in apart}
    return out, written | used | _columns_of(event_type)


def currency_column(columns: list[Column]) -> str | None:
    """The column of currency codes, if there is one."""
    named = [c for c in columns if c.key in ("currency", "currencycode", "ordercurrency") and c.kind == "text"]
    return named[0].name if named else None


def currency(columns: list[Column]) -> str | None:
    """The one code in the column of currencies; None where there is none or more than one."""
    name = currency_column(columns)
    codes = next((c.series.drop_nulls().unique().to_list() for c in columns if c.name == name), []) if name else []
    one = codes[0] if len(codes) == 1 else ""
    return one if len(one) == 3 and one.isascii() and one.isalpha() and one.isupper() else None


def currency_comment(code: str | None) -> str:
    """What to say beside events.currency."""
    return (
        "the only code in the lines read" if code else "the log has one currency; JPY and such also need minor_units: 0"
    )


def _plain(role: str, parts: dict[str, Part]) -> str:
    """A part that is one column."""
    part = parts[role]
    column, said = part.column, [part.column.evidence]
    if part.by_content:
        said.insert(0, "CHECK: told by its values, not its name")
    if role == "customer_id" and "mail" in column.key:
        said.insert(0, "CHECK: an address is personal data; prefer an id")
    if role == "customer_id" and column.unique:
        said.insert(0, "CHECK: no customer has two lines, so perhaps this is not the customer")
    if role == "order_id":
        said.append(f"{one_customer_each(column, parts['customer_id'].column):.0%} of them belong to one customer")
    if role == "discount" and part.others:
        said.append(f"CHECK: {listed(part.others)} cannot be added here; add them to one column beforehand")
        part = Part(column)
    return entry(0, role, column.name, "; ".join(said + _doubts(part)))


def _doubts(part: Part) -> list[str]:
    problem = part.column.problem
    said = [f"CHECK: the values have {problem}; the log reads 1234.56 only, so rewrite them"] if problem else []
    if part.others:
        said.append(f"or {listed(part.others)}")
    return said


def _amount(parts: dict[str, Part]) -> tuple[Any, str, set[str]]:
    """The mapping of the amount, the evidence, and the columns it uses; None where the source has no money."""
    total, price, quantity = (parts.get(role) for role in ("amount", "unit_price", "quantity"))
    if total is None and price is None:
        return None, "", set()
    order = parts.get("order_id")
    if total is not None and not (price and quantity and order and repeats_total(total.column, order.column)):
        said = ["CHECK: told by its values, not its name"] if total.by_content else []
        said += [_range(total.column), *_doubts(total)]
        if price and quantity:
            agree = _product_share(total.column, price.column, quantity.column)
            also = f"{scalar(quantity.column.name)} x {scalar(price.column.name)}"
            said.append(f"equals {also} on {agree:.0%} of the lines" if agree >= AGREES else
                        f"CHECK: differs from {also} on {1 - agree:.0%} of the lines")  # fmt: skip
        elif order and repeats_total(total.column, order.column):
            said.append(
                "CHECK: the same on every line of an order, so it may be the order's total, counted once a line"
            )
        return total.column.name, "; ".join(said), {total.column.name}
    assert price is not None
    if quantity is None:
        said = ["CHECK: no quantity beside it, so taken as what was paid", _range(price.column), *_doubts(price)]
        return price.column.name, "; ".join(said), {price.column.name}
    names = [quantity.column.name, price.column.name]
    said = [f"{scalar(price.column.name)}: {_range(price.column)}", *_doubts(price), *_doubts(Part(quantity.column))]
    if total is not None:
        said.append(f"{scalar(total.column.name)} is the same on every line of an order, so it is not used")
    elif price.column.key == "price":
        said.insert(0, "CHECK: the price of one unit? If it is the line's total, write its name alone")
    return {"multiply": names}, "; ".join(said), set(names)


def _range(column: Column) -> str:
    """Counts of decimals and signs, without any value."""
    assert column.numbers is not None
    zero = int((column.numbers == 0).sum())
    below = column.below_zero()
    signs = [f"{zero:,} zero"] * (zero > 0) + [f"{below:,} below zero"] * (below > 0)
    return ", ".join([column.evidence, *signs])


def _product_share(total: Column, price: Column, quantity: Column) -> float:
    assert total.numbers is not None and price.numbers is not None and quantity.numbers is not None
    off = (total.numbers - price.numbers * quantity.numbers).abs()
    return float((off < 0.015).sum()) / max(off.count(), 1)


def repeats_total(total: Column, order: Column) -> bool:
    """Whether orders of several lines repeat one number on each: an order's total."""
    both = pl.DataFrame({"order": order.series, "total": total.numbers}).drop_nulls()
    orders = both.group_by("order").agg(lines=pl.len(), values=pl.col("total").n_unique()).filter(pl.col("lines") > 1)
    return orders.height >= FEW_ORDERS and orders.filter(pl.col("values") == 1).height >= AGREES * orders.height


# A table whose money or time is named so holds returns only.
RETURN_NAMES = ("refund", "return", "credit_note", "retour", "gutschrift", "rembours", "devoluc")


def _event_type(parts: dict[str, Part], kind: str | None) -> tuple[Any, str]:
    """How an event's type is told, and why."""
    if kind is not None and "event_type" not in parts:
        return {"constant": kind}, "CHECK: these are no purchases, so they are named after the file"
    order, signs = parts.get("order_id"), parts.get("quantity") or parts.get("amount")
    marker = cancel_marker(order.column, signs.column if signs else None) if order else None
    if "event_type" in parts:
        return _by_column(parts["event_type"].column)
    if order and marker:
        when = {"column": order.column.name, "starts_with": "C"}
        said = f"{marker[0]:,} lines have an id of C and digits, {marker[1]:,} of them negative: cancellations"
        return {"when": when, "then": {"constant": "return"}, "else": {"constant": "purchase"}}, said
    named = [parts[r].column.name for r in ("amount", "time") if r in parts]
    if told := [name for name in named if any(word in name.lower() for word in RETURN_NAMES)]:
        return {"constant": "return"}, f"CHECK: by the name of {', '.join(told)} these are returns"
    negative = max(
        (parts[r].column.below_zero() for r in ("amount", "quantity", "unit_price") if r in parts), default=0
    )
    said = f"{negative:,} lines are negative and become returns (events.negative_amount)" if negative else (
        "no column tells returns apart"
    )  # fmt: skip
    return {"constant": "purchase"}, said


def _by_column(column: Column) -> tuple[Any, str]:
    """A column of event types, a flag of returns, or a status."""
    purchase, returned = {"constant": "purchase"}, {"constant": "return"}
    if column.kind in ("yes/no", "integer"):
        value = _yes(column)
        when = {"column": column.name, "equals": value}
        return {"when": when, "then": returned, "else": purchase}, f"{column.evidence}; CHECK: it marks returns"
    status = "status" in column.key
    back = words_in(column, (*RETURN_WORDS, *VOID_WORDS) if status else RETURN_WORDS)
    bought = [] if status else words_in(column, PURCHASE_WORDS)
    result: Any = purchase if status else column.name
    for words, becomes in ((bought, purchase), (back, returned)):
        for word in words:
            if status or word != becomes["constant"]:
                result = {"when": {"column": column.name, "equals": word}, "then": becomes, "else": result}
    said = column.evidence
    if status:
        said += "; CHECK: every other status counts as a purchase"
    elif not bought:
        said += "; CHECK: no value reads as purchase, and the log needs that word"
    else:
        said += "; values other than purchase and return keep their name"
    return result, said


def _yes(column: Column) -> str | int | bool:
    """The flag's value for yes, as the condition must state it."""
    if column.kind == "integer":
        return 1
    if column.series.dtype == pl.Boolean:
        return True
    values = column.series.drop_nulls().unique().sort().to_list()  # which of two words for yes must not be chance
    found = next((v for v in values if v.lower() in YES), "true")
    return True if found.lower() == "true" else str(found)


def _columns_of(mapping: Any) -> set[str]:
    if isinstance(mapping, str):
        return {mapping}
    if "multiply" in mapping:
        return set(mapping["multiply"])
    if "when" not in mapping:
        return set()
    return {mapping["when"]["column"]} | _columns_of(mapping["else"])
