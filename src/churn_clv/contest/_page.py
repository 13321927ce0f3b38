"""A contest's page: the picture, then every number in tables."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from churn_clv import contest_figure, wording
from churn_clv.report import html

Document = Mapping[str, Any]


def render(document: Document, png: bytes) -> str:
    """The whole page; nothing in it points outside."""
    title = f"{document['model']}: {_name(document, 'a')} and {_name(document, 'b')}"
    parts = (
        f"<h1>{escape(title)}</h1>", html.paragraph(contest_figure.headline(document) + "."),
        html.picture("Leads, agreement, and who changes band or tier", png, broad=True), _runs(document),
        _metrics(document), _moves(document), _settings(document), html.paragraph(basis(document), "small"),
    )  # fmt: skip
    return html.page(title, parts)


def basis(document: Document) -> str:
    """What was compared, and what was left out."""
    text = (
        f"{document['rows']:,} predictions of the same {document['customers']:,} customers at "
        f"{', '.join(document['cutoffs'])}, made out of time by each run's judged recipe"
    )
    left = [f"{document[f'only_{who}']:,} that only {who.upper()} made" for who in "ab" if document[f"only_{who}"]]
    text += f"; left out: {wording.listed(left)}" if left else ""
    text += "." if document["same_data"] else ". The two learnt from different data."
    if document["labels_differ"]:
        text += f" {document['labels_differ']:,} labels differ between the two logs; the newer run's count."
    return text + " Intervals: paired bootstrap over customers, 95% for all metrics at once."


def _name(document: Document, who: str) -> str:
    run = document[who]
    return f"version {run['version']}" if run["version"] else f"run {run['run_id'][:8]}"


def _runs(document: Document) -> str:
    rows = []
    for who in "ab":
        run = document[who]
        known = (run["version"], ", ".join(run["aliases"]), run["grade"], run["run_id"], run["recipe_hash"],
                 run["fingerprint"][:16], run["code_version"])  # fmt: skip
        rows.append((who.upper(), *(str(value or "-") for value in known)))
    heads = ("", "version", "alias", "grade", "run", "recipe", "data", "code")
    return html.section("The two runs", html.table(heads, rows, text=range(8)))


def _metrics(document: Document) -> str:
    rows = []
    for one in document["metrics"]:
        name, better = one["metric"], one["better"]
        spread = [format(one[k], "+.4g") for k in ("difference", "low", "high")]
        verdict = f"{better.upper()} is ahead" if better else "not told apart"
        values = [wording.number(name, one[who]) for who in "ab"]
        rows.append((wording.METRICS[name].title, *values, spread[0], f"{spread[1]} to {spread[2]}", verdict))
    first, second = document["level"]
    for key, title in (("churn_ece", "calibration error"), ("churn_calibration_slope", "calibration slope"),
                       ("spend_total_ratio", "predicted over actual total")):  # fmt: skip
        shown = ["-" if side[key] is None else f"{side[key]:.4f}" for side in (first, second)]
        rows.append((title, *shown, "", "", ""))
    heads = ("metric", "A", "B", "B - A", "95% interval", "verdict")
    return html.section("Metrics", html.table(heads, rows, text=(0, 5)))


def moves(document: Document) -> list[str]:
    """How alike the two rank, and who changes band or tier, in sentences."""
    lines = []
    for what, title in (("churn", "churn risk"), ("spend", "expected spend")):
        agreed, top = document["rank_agreement"][what], document["top_tenth"][what]
        if top:
            rank = "" if agreed is None else f"rank agreement {agreed:.4f} (Spearman); "
            same = f"{top['both']:,} of the {top['n']:,} customers in the top tenth are the same"
            lines.append(f"By {title}: {rank}{same} ({top['share']:.1%}; by chance 10%).")
    for key, what in (("bands", "churn band"), ("tiers", "value tier")):
        if found := document[key]:
            # Names go from low to high risk, but from the best tier to the last.
            up, down = (found["up"], found["down"]) if key == "bands" else (found["down"], found["up"])
            line = f"{contest_figure.moved(found, what)}: {up:,} go up and {down:,} down by B."
            if found["moved_expected"]:
                of_a, of_b = found["moved_expected"]
                line += (f" They went on to spend {found['moved_money']:,.2f} {document['currency']}; A expected "
                         f"{of_a:,.2f}, B {of_b:,.2f}.")  # fmt: skip
            lines.append(line)
    return lines


def _moves(document: Document) -> str:
    return html.section("Who moves", "".join(html.paragraph(line) for line in moves(document)))


def _settings(document: Document) -> str:
    if not document["settings"]:
        return html.section("Settings", html.paragraph("No recorded setting differs."))
    rows = [(one["key"], str(one["a"]), str(one["b"])) for one in document["settings"]]
    return html.section("Settings that differ", html.table(("setting", "A", "B"), rows, text=(0, 1, 2)))
