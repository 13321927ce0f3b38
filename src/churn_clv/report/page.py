"""The page of a backtest: HTML with its pictures inside, no scripts and no outside addresses."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from churn_clv import wording

Document = Mapping[str, Any]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; } td.t, th.t { text-align: left; }
td.s { white-space: normal; min-width: 14rem; } tr.own { background: #eaf3fa; font-weight: 600; }
figure { margin: 1rem 0; overflow-x: auto; } img { max-width: 100%; height: auto; display: block; }
figure.broad img { min-width: 36rem; }
.small { font-size: .85rem; color: #555; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; margin: 1rem 0; }
.facts div { flex: 1 1 9rem; border: 1px solid #ccc; border-radius: .4rem; padding: .5rem .8rem; }
.facts b { display: block; font-size: 1.4rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
.ahead::before { content: "\\25B2  "; color: #0072B2; } .level::before { content: "=  "; color: #767676; }
.behind::before { content: "\\25BC  "; color: #D55E00; }
li { margin: .2rem 0; } ul.plain { list-style: none; padding: 0; }
@media print { body { font-size: 10.5pt; max-width: none; padding: 0; } .wide { overflow: visible; }
  table { font-size: 7.5pt; } th, td { padding: 2pt 4pt; } figure, tr, .facts { break-inside: avoid; }
  h2 { break-after: avoid; } img, figure.broad img { min-width: 0; max-height: 12cm; } }
"""
PICTURES = {
    "ladder": "Every rung: a small dot per cutoff, a large mark at the mean",
    "reliability": "Predicted and observed shares in ten groups, with 95% bars",
    "gains": "Who is found among the riskiest, against chance and rungs",
    "deciles": "Expected and actual spend per tenth of customers",
    "targets": "How much of the base rate's loss each rung saves, by target",
    "clv": "Predicted and actual money of everyone known, window by window",
    "totals": "The predicted total over the actual at each cutoff, with its band",
    "strata": "Skill by number of orders, own rhythm and attributes",
}
BROAD = {
    "ladder",
    "totals",
    "strata",
    "clv",
    "targets",
}  # on a phone these scroll: made to fit, their letters would be too small
MAIN = (*wording.LADDER, "churn_empc")
PER_CUTOFF = ("n", "churn_rate", *wording.LADDER[:3], "churn_ece_floor", *wording.LADDER[3:7], "spend_total_ratio")
CHOICES = {
    "churn trees": "churn_trees", "spend trees": "spend_trees", "newest parts": "fresh", "logistic": "linear_weight",
    "renewal": "renewal_weight", "two-part spend": "two_part_weight", "intercept": "intercept", "slope": "slope",
    "origins": "validation_origins",
}  # fmt: skip


def render(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The whole page; ``pictures``: PNG bytes by name, each shown in its section where given."""
    shown = {name: _picture(name, png) for name, png in pictures.items()}
    parts = (
        _head(document), _facts(document), _verdicts(document), _weak(document), _ladder(document, shown),
        _churn(document, shown), _spend(document, shown), _strata(document, shown), _cutoffs(document, shown),
        _intervals(document), _orders(document), _clv(document, shown), _targets(document, shown), _plan(document),
        _data(document), _glossary(),
    )  # fmt: skip
    title = escape(f"Backtest of {document['dataset']}, {document['horizon_days']} days")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(p for p in parts if p) + "\n</body>\n</html>\n"
    )


def _head(document: Document) -> str:
    said = (wording.question, wording.look, wording.returning, wording.season)
    lines = [sentence(document) for sentence in said]
    title = f"{document['dataset']}: {wording.noun(document)} and spend over {document['horizon_days']} days"
    return f"<h1>{escape(title)}</h1>\n" + "\n".join(_paragraph(line) for line in lines if line)


def _facts(document: Document) -> str:
    """The four numbers that most people look for, as far as they apply."""
    own = wording.ladder(document)[0]
    facts = {
        f"AUC, {wording.noun(document)}": wording.number("churn_auroc", own.get("churn_auroc")),
        "calibration error above pure chance": wording.number("ece_above_floor", own["ece_above_floor"]),
        "Gini, spend": wording.number("spend_gini", own.get("spend_gini")),
        "total at the worst cutoff, over the actual": wording.number("total_worst", own["total_worst"]),
    }
    cells = [f"<div><b>{v}</b>{escape(k)}</div>" for k, v in facts.items() if v != wording.NONE]
    return f'<div class="facts">{"".join(cells)}</div>'


def _verdicts(document: Document) -> str:
    lines = [f'<li class="{f["verdict"]}">{escape(text)}</li>' for _, text, f in wording.verdicts(document)]
    return _section("Against the best rung", f'<ul class="plain">{"".join(lines)}</ul>') if lines else ""


def _weak(document: Document) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in wording.where_it_does_not_win(document))
    return _section("Where it does not win", f"<ul>{lines}</ul>")


def _ladder(document: Document, shown: Mapping[str, str]) -> str:
    rows = wording.ladder(document)
    body = _rungs(rows, MAIN)
    notes = [f"{wording.rung(r['rung'])}: {r['note']}" for r in rows if r["note"]]
    rest = [k for k in wording.METRICS if k not in MAIN]
    body += "".join(_paragraph(note, "small") for note in notes) + shown.get("ladder", "")
    body += _paragraph("The other measures, means over the cutoffs:") + _rungs(rows, rest)
    value = document["value"]
    if value:
        sums = {"keeps": value["value"], "offer": value["offer"], "contact": value["contact"]}
        said = ", ".join(f"{k} {float(v):,.2f}" for k, v in sums.items() if v is not None)
        body += _paragraph(f"EMPC prices a campaign with ({document['currency']}): a saved customer {said}.", "small")
    return _section("The ladder: means over the cutoffs", body)


def _rungs(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    known = [k for k in keys if any(r.get(k) is not None for r in rows)]
    heads = ["rung", *(wording.METRICS[k].title for k in known)]
    cells = [[wording.rung(r["rung"]), *(wording.number(k, r.get(k)) for k in known)] for r in rows]
    return _table(heads, cells, own=0)


def _churn(document: Document, shown: Mapping[str, str]) -> str:
    names = ("reliability", "gains")
    body = "".join(shown.get(name, "") for name in names)
    rows = document["reliability"]
    if rows:
        heads = ["tenth", "customers", "predicted", "observed", "95% from", "to"]
        keys = ("mean_probability", "churn_rate", "low", "high")
        cells = [[str(i), f"{r['n']:,.0f}", *(wording.percent(r[k]) for k in keys)] for i, r in enumerate(rows, 1)]
        body += _table(heads, cells)
    return _section(f"Probabilities of {wording.noun(document)}", body) if body else ""


def _spend(document: Document, shown: Mapping[str, str]) -> str:
    body = shown.get("deciles", "")
    rows = [r for r in document["deciles"] if r["expected_spend"] is not None]
    if rows:
        noun, currency = wording.noun(document), document["currency"]
        heads = ["tenth", "customers", f"expected ({currency})", f"spent ({currency})", f"P({noun})", f"did {noun}"]
        body += _table(
            heads,
            [
                [str(r["decile"]), f"{r['n']:,.0f}", wording.number("spend_mae", r["expected_spend"]),
                 wording.number("spend_mae", r["spend"]), wording.percent(r["churn_probability"]),
                 wording.percent(r["churn_rate"])]
                for r in sorted(rows, key=lambda r: -r["decile"])
            ],
        )  # fmt: skip
        body += _paragraph("Means per customer; tenth 10 is the one with the highest expected spend.", "small")
    return _section("Spend by tenth of expected spend", body) if body else ""


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
    return _section("Groups of customers", shown.get("strata", "") + _table(heads, cells) + _paragraph(note, "small"))


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
    return _section("This model at each cutoff", shown.get("totals", "") + _table(heads, cells))


def _intervals(document: Document) -> str:
    """How often spend lay outside its interval, the two tails apart (definition D20)."""
    rows = [r for r in document["intervals"] if r["miss_above"] is not None]
    if not rows:
        return ""
    heads = ["cutoff", "above the upper", "below the lower", "above, in the worst tenth"]
    keys = ("miss_above", "miss_below", "worst_decile")
    cells = [[str(r["cutoff"]), *(wording.percent(r[k]) for k in keys)] for r in rows]
    note = "Meant: 10% above the upper end, at most 10% below the lower."
    return _section("Intervals of spend: how often they miss", _table(heads, cells) + _paragraph(note, "small"))


def _orders(document: Document) -> str:
    return _section("Orders in the horizon", _paragraph(wording.orders(document)))


def _clv(document: Document, shown: Mapping[str, str]) -> str:
    if not document["clv"]:
        return ""
    rows = wording.clv_rows(document["clv"])
    body = _paragraph(wording.clv(document["clv"])) + shown.get("clv", "")
    body += _table(list(rows[0]), [list(r.values()) for r in rows], own=0)
    if tenths := wording.clv_deciles(document["clv"]):
        body += _paragraph("Mean CLV by tenths of it, the lowest first:")
        body += _table(list(tenths[0]), [list(r.values()) for r in tenths])
    return _section("Beyond the horizon: CLV", body)


def _targets(document: Document, shown: Mapping[str, str]) -> str:
    """The user's own targets, each with its ladder."""
    found = document["targets"].values()
    parts = [shown.get("targets", "")] if found else []
    for one in found:
        rows = wording.target_rows(one)
        lines = "".join(f"<li>{escape(wording.target_verdict(m, v))}</li>" for m, v in one["minus_best"].items())
        parts.append(_paragraph(f"{wording.target(one)}."))
        parts.append(_table(list(rows[0]), [list(r.values()) for r in rows], own=0) + f'<ul class="plain">{lines}</ul>')
    parts += [_paragraph(f"{name} was refused: {why}.") for name, why in document["targets_refused"].items()]
    return _section("Other targets", "".join(parts)) if parts else ""


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
    table = _table(["cutoff", *CHOICES], cells) + _paragraph(note, "small") if cells else ""
    return _section("How it was judged", "".join(_paragraph(text) for text in lines) + table)


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
        return _section("What was done to the data", _paragraph(why))
    cells = [[str(r["policy"]).replace("_", " "), str(r["source"]), f"{r['rows']:,}", str(r["action"])] for r in rows]
    return _section("What was done to the data", _table(heads, cells, text=(0, 1, 3)))


def _glossary() -> str:
    items = [f"<dt>{escape(m.title)}</dt><dd>{escape(m.meaning)}{_direction(m)}</dd>" for m in wording.METRICS.values()]
    return _section("Words", f"<dl>{''.join(items)}</dl>")


def _direction(shown: wording.Shown) -> str:
    return {True: " (higher is better)", False: " (lower is better)", None: ""}[shown.higher]


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], own: int | None = None, text: Sequence[int] = (0,)
) -> str:
    """A table of texts, escaped here; columns in ``text`` are left-aligned, the row ``own`` stands out."""
    kinds = [' class="t"' if i in text else "" for i in range(len(heads))]
    top = "".join(f"<th{kind}>{escape(head)}</th>" for kind, head in zip(kinds, heads, strict=True))
    lines = [
        ('<tr class="own">' if i == own else "<tr>")
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _picture(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    kind = ' class="broad"' if name in BROAD else ""
    return f'<figure{kind}><img alt="{escape(PICTURES[name])}" src="data:image/png;base64,{data}"></figure>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _paragraph(text: str, kind: str | None = None) -> str:
    start = f'<p class="{kind}">' if kind else "<p>"
    return f"{start}{escape(text)}</p>"
