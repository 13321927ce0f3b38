"""The report, section by section: each picture with a sentence that says what it means."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from churn_clv import wording
from churn_clv.overview_page._decisions import given, plan, watch
from churn_clv.overview_page._kpis import kpis_section
from churn_clv.overview_page._shown import Shown, shown
from churn_clv.overview_page._words import NONE, Document, missing, money, number, share, words
from churn_clv.report.html import facts, links, paragraph, section, table
from churn_clv.report.html import page as as_page

TITLES = {
    "kpis": "KPIs", "cohorts": "Cohorts", "segments": "Segments and value", "journey": "Journey",
    "drivers": "What drives the risk", "realised": "Said and realised", "reliability": "How far to trust it",
    "watch": "Watch list", "plan": "The plan", "loyalty": "Loyalty", "affinity": "What is bought next",
    "ledger": "Ledger",
}  # fmt: skip


def render(document: Document, pictures: Shown) -> str:
    """The whole page; ``pictures``: PNG bytes by name."""
    makers: dict[str, Callable[[Document, Shown], str]] = {
        "kpis": kpis_section, "cohorts": _cohorts, "segments": _segments, "journey": _journey, "drivers": _drivers,
        "realised": _realised, "reliability": _reliability, "watch": watch, "plan": plan,
        "loyalty": given("loyalty"), "affinity": _affinity, "ledger": given("ledger"),
    }  # fmt: skip
    parts = [_head(document), links(TITLES)]
    for name, make in makers.items():
        found = document[name]
        body = missing(found) + (make(document, pictures) if found["missing"] is None or name in _PARTLY else "")
        parts.append(section(TITLES[name], body, name))
    return as_page(f"{document['dataset']}: customers at {document['cutoff']}", parts)


# Sections that show something even where part of them is missing.
_PARTLY = {"kpis", "journey", "reliability"}


def _head(document: Document) -> str:
    currency = document["currency"]
    lines = [
        f"{document['customers']:,} customers known at {document['cutoff']}, {document['eligible']:,} of them active "
        f"(a purchase within {document['active_within_days']} days). Compared with {document['against']}. Log from "
        f"{document['log_from']} until {document['log_until']}; money in {currency}; the model looks "
        f"{document['horizon_days']} days ahead."
    ]
    out = f"<h1>{escape(document['dataset'])}: customers at {escape(document['cutoff'])}</h1>" + paragraph(lines[0])
    if document["in_sample"]:
        out += paragraph(f"In sample: the model has learnt from labels until {document['trained_through']}, after this "
                         "cutoff. Its scores look better here than they are.", "missing")  # fmt: skip
    return out + facts(_facts(document))


def _facts(document: Document) -> dict[str, str]:
    rows = {row["name"]: row for row in document["kpis"]["rows"]}
    wanted = {"retention": "retention", "revenue": f"revenue, {document['currency']}",
              "clv": f"mean CLV of {document['months']} months"}  # fmt: skip
    out = {title: number(rows[name]["value"], rows[name]["unit"]) for name, title in wanted.items()
           if rows[name]["value"] is not None}  # fmt: skip
    balance, plan, drivers = document["kpis"]["balance"], document["plan"], document["drivers"]
    if balance["missing"] is None:
        out["active customers"] = f"{balance['active_end']:,}"
    if drivers["missing"] is None:
        out[f"margin at risk in {document['horizon_days']} days"] = money(drivers["at_risk"])
    if plan["missing"] is None:
        out["profit the plan promises"] = money(plan["promised_profit"])
    return out


def _cohorts(document: Document, pictures: Shown) -> str:
    found, unit = document["cohorts"], document["cohorts"]["unit"]
    rows = [r for r in found["cohorts"] if len(r["retention"]) > 1 and r["retention"][1] is not None]
    later = [r for r in rows if not r["censored"]]
    says = f"Each row is a cohort of first-time buyers; a blank cell is a {unit} that is not over. "
    if later:
        back, n = sum(r["retention"][1] * r["n"] for r in later), sum(r["n"] for r in later)
        says += f"In the {unit} after their first purchase {back / n:.0%} of {n:,} came back. "
    if any(r["censored"] for r in found["cohorts"]):
        says += f"Cohorts with * began before {found['new_from']}: many of them were customers before the log starts."
    out = shown(pictures, "cohorts_retention", "Share of each cohort that bought, by age", says)
    says = f"Net spend per customer of the cohort, returns taken off in the {unit} in which they came."
    return out + shown(pictures, "cohorts_revenue", "Net spend per customer of each cohort, by age", says)


def _segments(document: Document, pictures: Shown) -> str:
    found, currency = document["segments"], document["currency"]
    says = f"Darker fields hold more CLV (of {found['months']} months). Protect what is valuable and leaving first."
    out = shown(pictures, "segments_matrix", "Value tier by risk: customers and CLV", says)
    for column, rows in found["segments"].items():
        held = [r for r in rows if r["customers"]]
        if held:
            out += f"<h3>{escape(words(column).capitalize())}</h3>"
            out += table(
                ("segment", "customers", "share", f"CLV ({currency})", "share of CLV", "expected spend"),
                [(words(r["segment"]), f"{r['customers']:,}", share(r["share"]), money(r["clv"]),
                  share(r["clv_share"]), money(r["expected_spend"])) for r in held],
            )  # fmt: skip
    if found["empty"]:
        out += paragraph("Empty: " + "; ".join(found["empty"]) + ".", "small")
    for note in found["notes"]:
        out += paragraph(note, "small")
    if not found["migration"]:
        return out + paragraph("Nobody was scored at the earlier date, so who moved is not known.", "missing")
    for column in ("lifecycle_stage", "value_tier"):
        moves = found["migration"][column]
        known = moves["stayed"] + moves["moved"]
        says = (f"{moves['moved']:,} of {known:,} customers are in another {words(column)} than at {found['against']}; "
                "orange and hatched: their CLV fell.") if known else ""  # fmt: skip
        out += shown(pictures, f"segments_flows_{column}", f"Who moved between {words(column)}s", says)
    return out


def _journey(document: Document, pictures: Shown) -> str:
    found = document["journey"]
    says = (f"Read a row: of all that follows an event of this type, how much is of each type within "
            f"{found['active_days']} days. Silence is what a lapse looks like.")  # fmt: skip
    out = shown(pictures, "transitions", "What follows each type of event", says)
    moments = found["moments"]
    differ = [words(r["event_type"]) for r in found["steps"] if r["differ"]]
    says = (f"{moments['lapse']:,} waits after a purchase ended in a lapse, {moments['repeat']:,} in another purchase. "
            + (f"Surely different: {wording.listed(differ)}. " if differ else "Nothing surely differs. ")
            + "Who buys often meets more: this is no effect.")  # fmt: skip
    out += shown(pictures, "steps", "Events in the days before a lapse and before a repeat purchase", says)
    for kind, title in (("lapse", "Last steps before a lapse"), ("repeat", "Last steps before buying again")):
        rows = found["paths"].get(kind)
        if rows:
            out += f"<h3>{title} (at most three, within {found['window_days']} days)</h3>"
            out += table(
                ("steps", "times", "share"), [(words(r["path"]), f"{r['n']:,}", share(r["share"])) for r in rows]
            )
    return out


def _drivers(document: Document, pictures: Shown) -> str:
    found, currency = document["drivers"], document["currency"]
    top = max(found["themes"], key=lambda r: r["raises"])
    says = (f"For each active customer the model's risk is split by theme and priced with the margin at stake. "
            f"{top['theme'].capitalize()} puts most at risk, {money(top['raises'])} {currency}. A driver is what the "
            "model goes by, not a cause.")  # fmt: skip
    out = shown(pictures, "drivers", "Margin at risk by theme", says)
    return out + table(
        ("theme", f"raises ({currency})", f"lowers ({currency})", "customers with it as strongest"),
        [(r["theme"], money(r["raises"]), money(r["lowers"]), f"{r['customers']:,}") for r in found["themes"]],
    )


def _realised(document: Document, pictures: Shown) -> str:
    rows = document["realised"]["scorings"]
    says = "Points on the dashed line came as they were said; bars are 95% intervals."
    if rows[-1]["in_sample"]:
        says += " In sample: this model had seen what came, so this is no test."
    out = shown(pictures, "realised", "Predicted and realised lapse and spend by tenths of risk", says)
    return out + table(
        ("scored", "customers", "said to lapse", "lapsed", "95%", "spend said", "spend came", "ratio", "in sample"),
        [(r["cutoff"], f"{r['n']:,}", share(r["predicted"]), share(r["lapsed"]),
          f"{share(r['low'])} to {share(r['high'])}",
          money(r["expected_spend"]), money(r["spend"]), NONE if r["ratio"] is None else f"{r['ratio']:.2f}",
          "yes" if r["in_sample"] else "no") for r in rows],
    )  # fmt: skip


def _reliability(document: Document, pictures: Shown) -> str:
    found = document["reliability"]
    metrics = {k: v for k, v in found["metrics"].items() if v is not None}
    says = "Ten groups of equal size, of customers that the tested model had not learnt from."
    out = shown(pictures, "reliability", "Predicted and observed lapse in the model's test", says)
    if metrics:
        out += paragraph(f"The model's own test at {found['test_cutoff']}, of customers it had not learnt from:")
        known = {k: v for k, v in metrics.items() if k in wording.METRICS}
        out += table(
            [wording.METRICS[k].title for k in known], [[wording.number(k, v) for k, v in known.items()]], text=()
        )
    returning = found["label_return_rate"]
    if isinstance(returning, int | float):
        out += paragraph(f"{returning:.0%} of those counted as lapsed buy again later: most pause.")
    if found["history"]:
        days = {"low": "1 purchase day", "medium": "2 or 3", "high": "4 or more"}
        told = ", ".join(f"{found['history'].get(name, 0):,} {name} ({what})" for name, what in days.items())
        out += paragraph(f"How much is known of the active customers: {told}.")
    return out


def _affinity(document: Document, pictures: Shown) -> str:
    found = document["affinity"]
    out = paragraph(f"{found['kept']:,} of {found['tested']:,} ordered pairs of {found['items']} items "
                    f"({words(found['column'])}) "
                    "come more often than chance within the same customers (5% false discoveries).")  # fmt: skip
    says = "After the first the second follows so many times as often as after the same customers' other purchases."
    out += shown(pictures, "affinity", "Which item follows which", says)
    told = found["next"]
    if told["missing"]:
        return out + paragraph(f"The next one is not guessed: {told['missing']}.", "missing")
    names = {"popularity": "what everyone buys most", "own": "what the customer buys most",
             "affinity": "that, and what follows the last purchase"}  # fmt: skip
    out += "<h3>Guessing the next purchase, tested out of time</h3>"
    out += table(
        ("three guesses by", "one of them bought", "95%"),
        [(names[n], share(r["hit"]), f"{share(r['low'])} to {share(r['high'])}") for n, r in told["rules"].items()],
    )
    p = told["p"]
    sure = "which chance may explain" if p is None or p >= 0.05 else f"which chance hardly explains (p = {p:.2g})"
    return out + paragraph(
        f"{told['n']:,} customers who bought again from {told['split']} on. Best: {names[told['best']]}; its lead over "
        f"{names[told['next_best']]} is one {sure}."
    )
