"""What a card says, section by section, from a training's document and its config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from churn_clv import wording
from churn_clv.card._page import Block, Points, Section, Table
from churn_clv.config import Config

Document = Mapping[str, Any]

PICTURES = {
    "ladder": "Every rung's AUC and Gini", "reliability": "Predicted and observed shares in ten groups",
    "lift": "Churn rate of each tenth", "spend_by_decile": "Expected and actual spend per tenth",
    "importance": "What the trees split on most",
}  # fmt: skip
SHOWN = ("churn_auroc", "churn_log_loss", "churn_ece", "churn_lift_top_decile", "spend_gini", "spend_mae",
         "spend_tweedie_deviance", "spend_total_ratio")  # fmt: skip
BRIEF = ("churn_auroc", "churn_log_loss", "churn_ece", "spend_gini", "spend_tweedie_deviance", "spend_total_ratio")
RULES = {
    "rungs": "against the rungs", "calibration_slope": "calibration slope", "calibration_error": "calibration error",
    "totals": "total of money", "strata": "groups of customers",
}  # fmt: skip
NAMES = {"champion": "this run", "current_champion": "current champion"}
MISUSE = (
    "The scores say who will stop by himself, not whom a message will keep: an action's effect needs an experiment "
    "with a group left alone.",
    "A customer's interval is not a share of the total's: totals have a band of their own, from earlier cutoffs.",
    "Importance is what the trees split on, not what causes anything.",
    "Not for decisions about credit, work, insurance or law, and not about people that the log does not hold as "
    "customers.",
    "A probability means what it says only for customers like those judged here; percentiles only rank.",
)


def title(config: Config) -> str:
    return f"Model card: {config.registered_name}"


def sections(document: Document, config: Config) -> list[Section]:
    """The whole card."""
    return [
        Section("", _head(document, config)),
        Section(f"Grade {_letter(document)}", _grade(document)),
        Section("Purpose", _purpose(document, config)),
        Section("How good it is", _ladder(document, SHOWN), ("ladder", "lift", "spend_by_decile")),
        Section("Calibration", _calibration(document), ("reliability",)),
        Section("Groups of customers", _strata(document)),
        *_targets(document),
        Section("Data", _data(document, config)),
        Section("Temporal plan", _plan(document)),
        Section("Definitions", _definitions(document, config)),
        Section("Limits", [Points(list(_limits(document, config)))]),
        Section("Misuse", [Points(MISUSE)], ("importance",)),
    ]


def summary(document: Document, config: Config) -> list[Section]:
    """The same on half a page."""
    return [
        Section("", [_question(document, config), _judged(document)]),
        Section("", [document["grade"]["why"]] if document.get("grade") else []),
        Section("", _ladder(document, BRIEF)),
        Section("", [Points(list(_limits(document, config))[:6])]),
        Section("", ["More: model_card.html and ladder.json among the artifacts."]),
    ]


def backtest_summary(document: Document) -> list[Section]:
    """A backtest's question, grade, ladder and weaknesses; its whole report is a page of its own."""
    rows = [{"rung": row["rung"], "metrics": row} for row in wording.ladder(document)]
    return [
        Section("", [f"{wording.question(document)} {wording.look(document)}", document["grade"]["why"]]),
        Section("", _ladder({"ladder": rows}, wording.LADDER)),
        Section("", [Points(wording.where_it_does_not_win(document)[:6])]),
        Section("", ["More: report.html and ladder.json among the artifacts."]),
    ]


# --- sections -----------------------------------------------------------------------------------
def _head(document: Document, config: Config) -> list[Block]:
    made = document.get("code") or {}
    run = f"Run {document['run_id']}, made " if document.get("run_id") else "Made "
    code = f"by churn-clv {made['code_version']} ({wording_of(made)})" if made else "by churn-clv"
    bundle = document.get("bundle_version")
    ships = f" Bundle {str(bundle)[:16]}." if bundle else ""
    return [f"{run}{code}, recipe {config.recipe_hash}.{ships}", _judged(document)]


def wording_of(made: Mapping[str, str]) -> str:
    """Which source made the run."""
    if made.get("git_commit", "unknown") == "unknown":
        return f"source {made['code_hash']}, not from a checkout"
    state = {"false": "clean", "true": "with local changes", "unknown": "state unknown"}[made["dirty"]]
    return f"commit {made['git_commit'][:12]}, {state}"


def _question(document: Document, config: Config) -> str:
    days, active = config.timeline.horizon_days, config.population.active_within_days
    noun = wording.noun(document["data"])
    asks = (
        f"Which customers of {config.dataset} who bought in the last {active} days will buy nothing in the next {days}"
    )
    money = document["ladder"][0]["metrics"].get("spend_gini") is not None
    more = f", and what will each spend ({config.events.currency})?" if money else "?"
    return f"{asks} (here called {noun}){more}"


def _judged(document: Document) -> str:
    cutoff, n = _test_cutoff(document), document["ladder"][0]["metrics"].get("n")
    return (
        f"Judged once, at {cutoff}, on {n or 0:,.0f} customers whose labels the judged model had not seen. What ships "
        "is the same recipe trained on to the newest label: the numbers are the recipe's."
    )


def _purpose(document: Document, config: Config) -> list[Block]:
    uses = [
        "To rank customers by risk and by the money to come, and so to choose whom to look at within a budget.",
        f"To plan the next {config.timeline.horizon_days} days' total, with its band.",
        "For those who bought within the activity window only; everyone else gets a reason instead of a number.",
    ]
    return [_question(document, config), Points(uses)]


def _letter(document: Document) -> str:
    return str((document.get("grade") or {}).get("letter", wording.NONE))


def _grade(document: Document) -> list[Block]:
    found = document.get("grade")
    if not found:
        return ["This run was made before there were grades.", str(document["why"])]
    rows = [[RULES.get(r["name"], r["name"]), r["letter"] or wording.NONE, r["text"]] for r in found["rules"]]
    return [Table(["rule", "grade", "what was found"], rows, text=(0, 1), wrapped=(2,)), str(document["why"])]


def _ladder(document: Document, keys: Sequence[str]) -> list[Block]:
    steps = document["ladder"]
    known = [k for k in keys if any(step["metrics"].get(k) is not None for step in steps)]
    rows = [
        [NAMES.get(s["rung"], wording.rung(s["rung"])), *(wording.number(k, s["metrics"].get(k)) for k in known)]
        for s in steps
    ]
    return [Table(["rung", *(wording.METRICS[k].title for k in known)], rows, own=0)]


def _calibration(document: Document) -> list[Block]:
    own = document["ladder"][0]["metrics"]
    ece, floor, slope = (
        wording.number(k, own.get(k)) for k in ("churn_ece", "churn_ece_floor", "churn_calibration_slope")
    )
    said = (
        f"Calibration error {ece}; a perfectly calibrated model of this size shows {floor}. Calibration slope {slope}."
    )
    rows = [
        [str(i), *(wording.percent(r[k]) for k in ("mean_probability", "churn_rate", "low", "high"))]
        for i, r in enumerate(document.get("reliability") or [], 1)
    ]
    heads = ["tenth by risk", "predicted", "came", "95% from", "to"]
    return [said, Table(heads, rows)] if rows else [said]


def _strata(document: Document) -> list[Block]:
    rows = [
        [wording.stratum(r), f"{r['n']:,}", wording.percent(r["churn_rate"]), wording.percent(r["churn_skill"], "+.3f"),
         wording.percent(r["spend_skill"], "+.3f")]
        for r in document.get("strata") or []
    ]  # fmt: skip
    if not rows:
        return ["Not measured."]
    note = "Skill is 1 - loss / loss of the group's own mean: 0 is no better than that, 1 is perfect."
    return [Table(["group", "customers", "base rate", "churn skill", "spend skill"], rows), note]


def _targets(document: Document) -> list[Section]:
    found = list((document.get("targets") or {}).values())
    blocks: list[Block] = []
    for one in found:
        rows = wording.target_rows(one)
        blocks += [wording.target(one), Table(list(rows[0]), [list(row.values()) for row in rows], own=0)]
        blocks.append(Points([wording.target_verdict(m, v) for m, v in one["minus_best"].items()]))
    return [Section("Other targets", blocks)] if found else []


def _data(document: Document, config: Config) -> list[Block]:
    data = document["data"]
    sources = ", ".join(config.events.sources) or "given as a frame"
    said = (
        f"{data['rows']:,} events of {data['customers']:,} customers, {data.get('first_day')} to {data.get('ends')}, "
        f"sources: {sources}. Fingerprint {data['fingerprint']}. {data.get('features', 0)} features. "
        f"{data.get('eligible_at_test', 0):,} of {data.get('known_at_test', 0):,} known customers were eligible at the "
        "test cutoff; "
        f"{data.get('new_customers_in_test_window', 0):,} new ones came in its window and are in no number here."
    )
    policies = data.get("policies") or []
    rows = [[p["policy"].replace("_", " "), p["source"], f"{p['rows']:,}", p["action"]] for p in policies]
    table = Table(["policy", "source", "rows", "what was done"], rows, text=(0, 1, 3))
    return [said, table if rows else "No line met a policy: nothing was dropped or changed."]


def _plan(document: Document) -> list[Block]:
    rows = document.get("plan") or []
    if not rows:
        return ["Not recorded."]
    keys = ("role", "first_cutoff", "last_cutoff", "cutoffs", "labels_end")
    heads = [key.replace("_", " ") for key in keys]
    said = "Nothing is learnt from a label that ends after the cutoff at which it is used."
    note = [str(document["plan_note"])] if document.get("plan_note") else []
    return [said, Table(heads, [[str(row[key]) for key in keys] for row in rows], text=range(len(heads))), *note]


def _definitions(document: Document, config: Config) -> list[Block]:
    days, active, events = config.timeline.horizon_days, config.population.active_within_days, config.events
    lines = [
        f"Eligible: bought in the {active} days before the cutoff, a midnight in {events.timezone}.",
        f"Churned: no purchase in the {days} days from the cutoff on.",
        f"Spend: purchases less returns in the same days, at least 0, in {events.currency}.",
        f"Purchases of nothing: {events.zero_amount}; negative amounts: {events.negative_amount}; equal lines: "
        f"{events.duplicates}.",
        "Rung: a simple rule or model that learnt from the same past; docs/definitions.md has every formula.",
    ]
    back = wording.returning(document["data"]) if "label_return_within_days" in document["data"] else None
    return [Points(lines), *([f"label_return_rate: {back}"] if back else [])]


def _limits(document: Document, config: Config) -> Iterator[str]:
    """What a reader must not overlook, worst first."""
    data = document["data"]
    for rule in (document.get("grade") or {}).get("rules", []):
        if rule["open"] or rule["letter"] not in (None, "A"):
            yield f"{RULES.get(rule['name'], rule['name'])}: {rule['text']}."
    if (rate := data.get("label_return_rate")) is not None and rate > wording.LAPSE_ABOVE:
        yield f"{rate:.0%} of those labelled churned came back later: read lapse, not churn."
    yield "One test cutoff: another season may give other numbers; churn-clv backtest judges at several."
    for row in document.get("strata") or []:
        if row["n"] < config.grade.stratum_least and row["churn_skill"] is not None and row["churn_skill"] < 0:
            yield f"Says nothing of {wording.stratum(row)} (skill {row['churn_skill']:+.3f}), who are {row['n']:,}."
    yield from (f"Target refused: {name} ({why})." for name, why in data.get("targets_refused", {}).items())
    left = data.get("families_left_out") or {}
    if left:
        yield f"Feature families left out, for want of columns: {', '.join(left)}."
    if clipped := data.get("clipped_spend_in_test_window"):
        yield f"Returns above purchases of {clipped:,.2f} {config.events.currency} count as 0 in the test window."
    if data.get("ends"):
        yield (
            f"Trained on labels that end by {data['ends']}; the service warns of a stale model "
            f"{config.service.stale_after_days} days later."
        )


def _test_cutoff(document: Document) -> str:
    tests = [row for row in document.get("plan") or [] if row.get("role") == "test"]
    return str(tests[0]["first_cutoff"]) if tests else "its test cutoff"
