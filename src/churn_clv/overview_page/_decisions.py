"""The report's sections on whom to act: the watch list, the plan, and what ledger and loyalty tell."""

from __future__ import annotations

from collections.abc import Callable

from churn_clv import wording
from churn_clv.overview_page._shown import Shown, shown, tables
from churn_clv.overview_page._words import NONE, Document, money, share, words
from churn_clv.report.html import paragraph, table

MOST_WATCHED = 25


def watch(document: Document, _: Shown) -> str:
    found = document["watch"]
    rows = found.get("customers", ())[:MOST_WATCHED]
    if not rows:
        return tables(found)
    out = paragraph(f"The customers with most value at risk, as `churn-clv watch` lists them; the first {len(rows)}.")
    out += _record(found.get("record") or {})
    return out + table(
        ("customer", "at risk", "risk", "listed since", "theme", "why", "what changed"),
        [(str(r["customer_id"]), money(r.get("value_at_risk")), share(r.get("churn_probability"), 0),
          str(r.get("since") or r.get("alert") or NONE), str(r.get("theme") or NONE), _why(r),
          str(r.get("changed") or NONE)) for r in rows],
        text=(0, 3, 4, 5, 6), wrapped=(5, 6),
    )  # fmt: skip


LISTS = {"watch": "such a list", "risk": "the likeliest to lapse", "recency": "the longest silent", "random": "chance"}


def _record(record: Document) -> str:
    """How often such a list was right, as far as it was measured."""
    if record.get("why"):
        return paragraph(f"Its own record is not measured: {record['why']}.", "small")
    lists = record.get("lists") or {}
    rows = [(LISTS.get(name, words(name)), share(one.get("precision")), share(one.get("value_caught")))
            for name, one in lists.items()]  # fmt: skip
    days = ", ".join(str(one["cutoff"]) for one in record.get("cutoffs", ()))
    heads = (f"as many named at {days} by", "of them lapsed", "of the value that lapsed")
    out = table(heads, rows) if rows else ""
    own = (record.get("lead") or {}).get("watch") or {}
    if own.get("median_days") is not None:
        out += paragraph(
            f"In the middle it named who lapsed {own['median_days']:+.0f} days earlier than a rule of "
            f"{own['silent_days']} silent days with about as many alerts; of all alerts {share(own['precision'], 0)} "
            f"ended in a lapse, of the rule's {share(own['rule_precision'], 0)}.", "small",
        )  # fmt: skip
    return out


def _why(row: Document) -> str:
    return next((str(r["text"]) for r in row.get("reasons") or () if r.get("direction") == "raises"), NONE)


def plan(document: Document, pictures: Shown) -> str:
    found, currency = document["plan"], document["currency"]
    curve = found["curve"]
    says = (f"Without limits {curve['best_contacts']:,} of {curve['candidates']:,} candidates pay; each contact beyond "
            "the peak costs more than it brings. The other panes show what the same contacts bring if the assumed "
            "rates are wrong.") if curve["candidates"] else "Nobody can be priced or contacted."  # fmt: skip
    out = shown(pictures, "plan", "Profit by contacts, and its sensitivity", says)
    out += paragraph(
        f"{found['treated']:,} treated and {found['holdout']:,} held out promise {money(found['promised_profit'])} "
        f"{currency} at an expected cost of {money(found['expected_cost'])}"
        + (f" of a budget of {money(found['budget'])}" if found["budget"] is not None else "") + "."
    )  # fmt: skip
    if found["assumed"]:
        examples = " Costs and rates are the shipped examples." if found["shipped_actions"] else ""
        out += paragraph(f"Assumed, not measured: the rates of {wording.listed(found['assumed'])}.{examples}")
    out += table(
        ("action", "channel", "treated", "held out", f"cost ({currency})", f"profit ({currency})", "save rate",
         "breaks even"),
        [(r["action"], r["channel"], f"{r['treated']:,}", f"{r['holdout']:,}", money(r["expected_cost"]),
          money(r["promised_profit"]),
          NONE if r["mean_save_rate"] is None else f"{share(r['mean_save_rate'])} {r['rates']}",
          share(r["mean_break_even"]))
         for r in found["actions"]], text=(0, 1),
    )  # fmt: skip
    left = [f"{words(why)} {n:,}" for why, n in found["left_out"].items()]
    out += paragraph("Left out: " + "; ".join(left) + ".", "small") if left else ""
    return out + "".join(paragraph(note, "small") for note in found["notes"])


def given(name: str) -> Callable[[Document, Shown], str]:
    """The maker of a section that another command's document tells."""
    return lambda document, _: tables(document[name])
