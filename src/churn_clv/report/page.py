"""The page of a backtest, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from churn_clv import wording
from churn_clv.report.html import page as as_page
from churn_clv.report.html import paragraph, picture, section, table

Document = Mapping[str, Any]

PICTURES = {
    "ladder": "Every rung: a small dot per cutoff, a large mark at the mean",
    "reliability": "Predicted and observed shares in ten groups, with 95% bars",
    "gains": "Who is found among the riskiest, against chance and rungs",
    "deciles": "Expected and actual spend per tenth of customers",
    "targets": "How much of the base rate's loss each rung saves, by target",
    "clv": "Predicted and actual money of everyone known, window by window",
    "forecast": "Money by window with the forecast last, and how far it was off at earlier origins",
    "totals": "The predicted total over the actual at each cutoff, with its band",
    "strata": "Skill by number of orders, own rhythm and attributes",
}
# On a phone these scroll: made to fit, their letters would be too small.
BROAD = {"ladder", "totals", "strata", "clv", "targets", "forecast"}
MAIN = (*wording.LADDER, "churn_empc")
PER_CUTOFF = ("n", "churn_rate", *wording.LADDER[:3], "churn_ece_floor", *wording.LADDER[3:7], "spend_total_ratio")
CHOICES = {
    "churn trees": "churn_trees", "spend trees": "spend_trees", "newest parts": "fresh", "logistic's C": "linear_c",
    "logistic": "linear_weight", "renewal": "renewal_weight", "two-part spend": "two_part_weight",
    "orders x value": "priced_weight", "intercept": "intercept", "slope": "slope", "origins": "validation_origins",
}  # fmt: skip


def render(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The whole page; ``pictures``: PNG bytes by name, each shown in its section where given."""
    shown = {name: picture(PICTURES[name], png, name in BROAD) for name, png in pictures.items()}
    parts = (
        _head(document), _facts(document), _verdicts(document), _weak(document), _ladder(document, shown),
        _churn(document, shown), _spend(document, shown), _strata(document, shown), _cutoffs(document, shown),
        _intervals(document), _orders(document), _clv(document, shown), _forecast(document, shown),
        _targets(document, shown), _plan(document), _data(document), _glossary(),
    )  # fmt: skip
    return as_page(f"Backtest of {document['dataset']}, {document['horizon_days']} days", parts)


def _head(document: Document) -> str:
    said = (wording.question, wording.look, wording.returning, wording.season)
    lines = [sentence(document) for sentence in said]
    title = f"{document['dataset']}: {wording.noun(document)} and spend over {document['horizon_days']} days"
    return f"<h1>{escape(title)}</h1>\n" + "\n".join(paragraph(line) for line in lines if line)


def _facts(document: Document) -> str:
    """The four numbers that most people look for, as far as they apply."""
    own = wording.ladder(document)[0]
    facts = {
        f"AUC, {wording.noun(document)}": wording.number("churn_auroc", own.get("churn_auroc")),
        "calibration error above pure chance": wording.number("ece_above_floor", own["ece_above_floor"]),
        "Gini, spend": wording.number("spend_gini", own.get("spend_gini")),
        "total at the worst cutoff, over the actual": wording.number("total_worst", own["total_worst"]),
    }
    graded = document.get("grade")
    if graded:
        facts["grade"] = graded["letter"]
    cells = [f"<div><b>{v}</b>{escape(k)}</div>" for k, v in facts.items() if v != wording.NONE]
    return f'<div class="facts">{"".join(cells)}</div>' + (paragraph(graded["why"]) if graded else "")


def _verdicts(document: Document) -> str:
    lines = [f'<li class="{f["verdict"]}">{escape(text)}</li>' for _, text, f in wording.verdicts(document)]
    return section("Against the best rung", f'<ul class="plain">{"".join(lines)}</ul>') if lines else ""


def _weak(document: Document) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in wording.where_it_does_not_win(document))
    return section("Where it does not win", f"<ul>{lines}</ul>")


def _ladder(document: Document, shown: Mapping[str, str]) -> str:
    rows = wording.ladder(document)
    body = _rungs(rows, MAIN)
    notes = [f"{wording.rung(r['rung'])}: {r['note']}" for r in rows if r["note"]]
    rest = [k for k in wording.METRICS if k not in MAIN]
    body += "".join(paragraph(note, "small") for note in notes) + shown.get("ladder", "")
    body += paragraph("The other measures, means over the cutoffs:") + _rungs(rows, rest)
    value = document["value"]
    if value:
        sums = {"keeps": value["value"], "offer": value["offer"], "contact": value["contact"]}
        said = ", ".join(f"{k} {float(v):,.2f}" for k, v in sums.items() if v is not None)
        body += paragraph(f"EMPC prices a campaign with ({document['currency']}): a saved customer {said}.", "small")
    return section("The ladder: means over the cutoffs", body)


def _rungs(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    known = [k for k in keys if any(r.get(k) is not None for r in rows)]
    heads = ["rung", *(wording.METRICS[k].title for k in known)]
    cells = [[wording.rung(r["rung"]), *(wording.number(k, r.get(k)) for k in known)] for r in rows]
    return table(heads, cells, own=0)


def _churn(document: Document, shown: Mapping[str, str]) -> str:
    names = ("reliability", "gains")
    body = "".join(shown.get(name, "") for name in names)
    rows = document["reliability"]
    if rows:
        heads = ["tenth", "customers", "predicted", "observed", "95% from", "to"]
        keys = ("mean_probability", "churn_rate", "low", "high")
        cells = [[str(i), f"{r['n']:,.0f}", *(wording.percent(r[k]) for k in keys)] for i, r in enumerate(rows, 1)]
        body += table(heads, cells)
    return section(f"Probabilities of {wording.noun(document)}", body) if body else ""


def _spend(document: Document, shown: Mapping[str, str]) -> str:
    body = shown.get("deciles", "")
    rows = [r for r in document["deciles"] if r["expected_spend"] is not None]
    if rows:
        noun, currency = wording.noun(document), document["currency"]
        heads = ["tenth", "customers", f"expected ({currency})", f"spent ({currency})", f"P({noun})", f"did {noun}"]
        body += table(
            heads,
            [
                [str(r["decile"]), f"{r['n']:,.0f}", wording.number("spend_mae", r["expected_spend"]),
                 wording.number("spend_mae", r["spend"]), wording.percent(r["churn_probability"]),
                 wording.percent(r["churn_rate"])]
                for r in sorted(rows, key=lambda r: -r["decile"])
            ],
        )  # fmt: skip
        body += paragraph("Means per customer; tenth 10 is the one with the highest expected spend.", "small")
    return section("Spend by tenth of expected spend", body) if body else ""


def _strata(document: Document, shown: Mapping[str, str]) -> str:
    if not document["strata"]:
        return ""
    heads = ["group", "customers", "base rate", "predicted", "AUC", "churn skill", "spend skill"]
    cells = [
        [wording.stratum(r), f"{r['n']:,.0f}", wording.percent(r["churn_rate"]),
         wording.percent(r["mean_churn_probability"]), wording.number("churn_auroc", r["churn_auroc"]),
         wording.percent(r["churn_skill"], "+.3f"), wording.percent(r["spend_skill"], "+.3f")]
        for r in document["strata"]
    ]  # fmt: skip
    note = "Skill is 1 - loss / loss of the group's own base rate or mean: 0 is no better than that, 1 is perfect."
    return section("Groups of customers", shown.get("strata", "") + table(heads, cells) + paragraph(note, "small"))


def _cutoffs(document: Document, shown: Mapping[str, str]) -> str:
    rows = document["ladder"][0]["by_cutoff"]
    heads = ["cutoff", *(wording.METRICS[k].title for k in PER_CUTOFF), "band", "in band"]
    cells = []
    for r in rows:
        values = r | {"ece_above_floor": wording.above_floor(r)}
        inside = {True: "yes", False: "no", None: wording.NONE}[wording.in_band(r)]
        cells.append(
            [str(r["cutoff"]), *(wording.number(k, values.get(k)) for k in PER_CUTOFF), wording.band(r), inside]
        )
    return section("This model at each cutoff", shown.get("totals", "") + table(heads, cells))


def _intervals(document: Document) -> str:
    """How often spend lay outside its interval, the two tails apart (definition D20)."""
    rows = [r for r in document["intervals"] if r["miss_above"] is not None]
    if not rows:
        return ""
    heads = ["cutoff", "above the upper", "below the lower", "above, in the worst tenth"]
    keys = ("miss_above", "miss_below", "worst_decile")
    cells = [[str(r["cutoff"]), *(wording.percent(r[k]) for k in keys)] for r in rows]
    note = "Meant: 10% above the upper end, at most 10% below the lower."
    return section("Intervals of spend: how often they miss", table(heads, cells) + paragraph(note, "small"))


def _orders(document: Document) -> str:
    return section("Orders in the horizon", paragraph(wording.orders(document)))


def _clv(document: Document, shown: Mapping[str, str]) -> str:
    if not document["clv"]:
        return ""
    rows = wording.clv_rows(document["clv"])
    body = paragraph(wording.clv(document["clv"])) + shown.get("clv", "")
    body += table(list(rows[0]), [list(r.values()) for r in rows], own=0)
    if tenths := wording.clv_deciles(document["clv"]):
        body += paragraph("Mean CLV by tenths of it, the lowest first:")
        body += table(list(tenths[0]), [list(r.values()) for r in tenths])
    return section("Beyond the horizon: CLV", body)


def _forecast(document: Document, shown: Mapping[str, str]) -> str:
    found = document.get("forecast")
    if not found:
        return ""
    rows = wording.forecast_rows(found)
    body = paragraph(wording.forecast(found)) + shown.get("forecast", "")
    return section("Sales of the next horizon", body + table(list(rows[0]), [list(r.values()) for r in rows]))


def _targets(document: Document, shown: Mapping[str, str]) -> str:
    """The user's own targets, each with its ladder."""
    found = document["targets"].values()
    parts = [shown.get("targets", "")] if found else []
    for one in found:
        rows = wording.target_rows(one)
        lines = "".join(f"<li>{escape(wording.target_verdict(m, v))}</li>" for m, v in one["minus_best"].items())
        parts.append(paragraph(f"{wording.target(one)}."))
        parts.append(table(list(rows[0]), [list(r.values()) for r in rows], own=0) + f'<ul class="plain">{lines}</ul>')
    parts += [paragraph(f"{name} was refused: {why}.") for name, why in document["targets_refused"].items()]
    return section("Other targets", "".join(parts)) if parts else ""


def _plan(document: Document) -> str:
    line, looks = document["development_until"], document["looks"]
    lines = [
        f"The log ends before {document['ends']}{f', cut at the development line {line}' if line else ''}.",
        f"Looks at the final windows that were logged: {len(looks)}"
        + (f", the last at {looks[-1]['at']} by recipe {looks[-1]['recipe_hash']}." if looks else "."),
        f"Recipe {document['recipe_hash']}; the run took {float(document['seconds']):,.0f} seconds.",
    ]
    cells = [[str(c["cutoff"]), *(_plain(c.get(k)) for k in CHOICES.values())] for c in document["choices"]]
    note = (
        "Origins: earlier cutoffs, which chose the rest: trees, shares of the models, and the map (intercept and slope "
        "on the logit). Newest parts: whether complete parts of label windows that were still open were learnt from."
    )
    chosen = table(["cutoff", *CHOICES], cells) + paragraph(note, "small") if cells else ""
    return section("How it was judged", "".join(paragraph(text) for text in lines) + chosen)


def _plain(value: Any) -> str:
    if value is None:
        return wording.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _data(document: Document) -> str:
    heads, rows = ["policy", "source", "rows", "what was done"], document["policies"]
    if not rows:
        why = "No line met a policy." if document["final"] else "Not told in development: the counts hold later lines."
        return section("What was done to the data", paragraph(why))
    cells = [[str(r["policy"]).replace("_", " "), str(r["source"]), f"{r['rows']:,}", str(r["action"])] for r in rows]
    return section("What was done to the data", table(heads, cells, text=(0, 1, 3)))


def _glossary() -> str:
    items = [f"<dt>{escape(m.title)}</dt><dd>{escape(m.meaning)}{_direction(m)}</dd>" for m in wording.METRICS.values()]
    return section("Words", f"<dl>{''.join(items)}</dl>")


def _direction(shown: wording.Shown) -> str:
    return {True: " (higher is better)", False: " (lower is better)", None: ""}[shown.higher]
