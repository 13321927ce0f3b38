"""The commands that act on customers and measure what came of it: act, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._score import bundle_of
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, ready, timed
from churn_clv.errors import UserError

Files = Annotated[
    list[Path] | None,
    typer.Option("--actions", help="YAML on top of the shipped actions.yaml; may be given again, merged in order."),
]


def act(
    configs: Configs,
    files: Files = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Expected outlay at most, in the currency.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Its name; default: <dataset>-<cutoff>.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Release it: outbox, audience files, webhook.")] = False,
    as_json: Json = False,
) -> None:
    """Plan who gets which action, at what profit, with a holdout; --send releases it."""
    settings = ready(*configs)
    actions = _actions(settings, files, budget, campaign)
    document = timed(lambda say: _plan(settings, actions, send, say, shipped=not (files or settings.actions.files)))
    _show.answer(document, as_json, print_plan)


def measure(configs: Configs, files: Files = None, as_json: Json = False) -> None:
    """Measure the released campaigns against their holdouts, and write the rates that `act` takes."""
    from churn_clv import actions as room
    from churn_clv import events

    settings = config.load(*configs)
    actions = _actions(settings, files, None, None)
    path = room.outbox_file(settings)

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        found = room.campaigns(path)
        if not found:
            raise UserError("no campaign was released yet. `churn-clv act CONFIG --send` releases one.")
        say("reading the log")
        log = events.read_log(settings)
        say("measuring")
        document = room.measure(actions, found, log, settings)
        place = room.overlay_file(settings)
        text = document.pop("overlay")
        room.write_json(document, place.with_suffix(".json"))
        if text:
            room.write_text(text, place)
        return document | {"overlay": str(place) if text else None}

    _show.answer(timed(work), as_json, print_measured)


def _actions(settings: config.Config, files: list[Path] | None, budget: float | None, campaign: str | None) -> Any:
    """The shipped document, the config's own files on top, then the command's."""
    from churn_clv import playbook

    found = playbook.load_actions([*playbook.files_of(settings), *(files or [])])
    own = {k: v for k, v in (("budget", budget), ("campaign", campaign)) if v is not None}
    return playbook.actions_of(found.model_dump() | own, "the options") if own else found


def _plan(
    settings: config.Config, actions: Any, send: bool, say: Callable[[str], None], *, shipped: bool
) -> dict[str, Any]:
    """Plan, write and draw; release where asked."""
    from churn_clv import actions as room
    from churn_clv import actions_figure, events, figures, pseudonym, scoring

    stored = scoring.scorings(scoring.scores_folder(settings))
    bundle = None if stored else bundle_of(settings, None)  # that there is none is said before the log is read
    say("reading the log")
    log = events.read_log(settings)
    scores, source = scores_at_end(settings, log, say, bundle)
    say("planning")
    name = actions.campaign or f"{settings.dataset}-{scores['cutoff'][0]}"
    outbox = room.outbox_file(settings)
    situation = room.Situation(
        scores, log.frame, room.contacts(outbox, name), pseudonym.id_key(settings.out), name,
        actions.margin_share or settings.value.margin_share,
    )  # fmt: skip
    plan = room.make(actions, situation)
    room.check(outbox, plan)
    place = room.folder(settings) / name
    plan.document.update(
        dataset=settings.dataset, currency=settings.events.currency, scores=source,
        model_version=_only(scores, "model_version"), in_sample=bool(_only(scores, "in_sample")),
        shipped_actions=shipped, folder=str(place),
    )  # fmt: skip
    # before it is released: whoever is contacted has a plan to look up, though the webhook fails
    room.write_plan(plan, place)
    say("drawing")
    figures.save({"plan": actions_figure.draw(plan.document)}, place)
    released = _release(actions, plan, outbox, place, say) if send else None
    return plan.document | {"picture": str(place / "plan.png"), "released": released}


def scores_at_end(
    settings: config.Config, log: Any, say: Callable[[str], None], bundle: Any = None
) -> tuple[Any, str]:  # fmt: skip
    """The stored scoring of this log's end (with ``bundle``: by that), else one made in memory with the bundle, by
    default the published one; and where it lies."""
    from churn_clv import forgotten, scoring

    without = forgotten.without(settings)
    found = scoring.stored(settings, log, without, log.ends, None if bundle is None else bundle.version)
    if found is not None:
        return found[0], str(found[1])
    say("scoring (no scoring of this log at its end is stored)")
    return without(scoring.score(bundle or bundle_of(settings, None), log)), "made in memory"


def _only(scores: Any, column: str) -> Any:
    return scores[column][0] if column in scores.columns else None


def _release(actions: Any, plan: Any, outbox: Path, place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from churn_clv import actions as room
    from churn_clv import disk

    say("releasing")
    with disk.alone(outbox.with_name(".lock"), say):  # of two senders at once the second finds nothing left to post
        new = room.release(outbox, plan, actions.webhook.batch)
        audiences = room.write_audiences(plan, place / "audience")
        room.write_events(room.campaigns(outbox), outbox.with_name("treatments.parquet"))
        posted = room.deliver(outbox, plan.document["campaign"], actions.webhook, say)
    return {
        "new_treated": new.treated, "new_holdout": new.holdout, "posted": posted,
        "audiences": [str(path) for path in audiences], "outbox": str(outbox),
    }  # fmt: skip


# --- how it is shown ---------------------------------------------------------------------------------
def print_plan(document: Mapping[str, Any]) -> None:
    """Totals, actions, who was left out and why, what can be measured, notes."""
    currency, days = document["currency"], document["horizon_days"]
    out.print(
        f"[bold]{escape(document['campaign'])}[/]: {document['known']:,} customers known at {document['cutoff']}; "
        f"{document['value_at_risk']:,.2f} {currency} margin at risk within {days} days"
    )
    _show.print_rows(f"Actions ({currency}; the treated alone)", [_action(row) for row in document["actions"]])
    out.print(
        f"promised profit {document['promised_profit']:,.2f} {currency} of {document['treated']:,} treated, expected "
        f"cost {document['expected_cost']:,.2f}{_of_budget(document)}; {document['holdout']:,} held out (forgone: "
        f"{document['profit_given_up_by_holdout']:,.2f})"
    )
    curve = document["curve"]
    out.print(
        f"without limits: {curve['best_contacts']:,} of {curve['candidates']:,} candidates pay, for "
        f"{curve['best_profit']:,.2f} {currency}"
    )
    factor = document["sensitivity"]["break_even_factor"]
    if document["treated"] and factor is not None:
        out.print(f"the plan breaks even at {factor:.0%} of its save rates")
    _show.print_note(f"left out: {document['left_out']}" if document["left_out"] else None)
    power = document["power"]
    if power["detectable_effect"] is not None:
        out.print(
            f"its holdout can show a change in lapse of {100 * power['detectable_effect']:.2f} points of "
            f"{power['lapse_expected']:.1%}; promised are {100 * power['promised_effect']:.2f}"
        )
    for note in document["notes"]:
        _show.print_note(f"note: {note}")
    if document["assumed"]:
        _show.print_note(f"assumed, not measured: the rates of {', '.join(document['assumed'])}")
    if document["shipped_actions"]:
        out.print("costs and rates are the shipped examples: give yours with --actions FILE")
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff.")
    out.print(escape(f"written to {document['folder']}: plan.parquet, plan.csv, plan.json, plan.png"))
    if sent := document["released"]:
        out.print(
            f"released: {sent['new_treated']:,} treated, {sent['new_holdout']:,} held out; posted {sent['posted']:,}"
        )
        if not sent["new_treated"]:
            out.print("nothing new: this campaign had been released before, or reaches nobody")


def _action(row: Mapping[str, Any]) -> dict[str, str]:
    def points(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    return {
        "action": row["action"], "channel": row["channel"], "best for": f"{row['best_for']:,}",
        "treated": f"{row['treated']:,}", "held out": f"{row['holdout']:,}", "cost": f"{row['expected_cost']:,.2f}",
        "profit": f"{row['promised_profit']:,.2f}", "save rate": _of_kind(points(row["mean_save_rate"]), row["rates"]),
        "breaks even at": points(row["mean_break_even"]),
    }  # fmt: skip


def _of_kind(rate: str, kind: str) -> str:
    return rate if rate == "-" else f"{rate} {kind}"


def _of_budget(document: Mapping[str, Any]) -> str:
    return "" if document["budget"] is None else f" of a budget of {document['budget']:,.2f}"


def print_measured(document: Mapping[str, Any]) -> None:
    """Each campaign, all together, and the rates."""
    rows = [_campaign(one) for one in document["campaigns"]]
    _show.print_rows("Campaigns against their holdouts (intention to treat)", rows)
    for one in document["campaigns"]:
        if one["why"]:
            _show.print_note(f"{one['campaign']}: not measurable: {one['why']}")
    whole = document["together"]
    if whole["realised_over_promised"] is not None:
        out.print(
            f"together: promised {whole['promised_profit']:,.2f}, realised {whole['realised_profit']:,.2f} "
            f"({whole['low']:,.2f} to {whole['high']:,.2f}), {whole['realised_over_promised']:.2f} of it"
        )
    rates = [_rate(name, rate, found[rate]) for name, found in document["rates"].items()
             for rate in ("save_rate", "driven_away", "take_rate") if rate in found]  # fmt: skip
    if rates:
        _show.print_rows("\nRates, shrunk to what was assumed", rates)
    for note in document["notes"]:
        _show.print_note(f"note: {note}")
    if document["overlay"]:
        out.print(escape(f"written to {document['overlay']}: `churn-clv act CONFIG --actions {document['overlay']}`"))
    else:
        out.print("no rate is measurable yet, so none is written")


def _campaign(one: Mapping[str, Any]) -> dict[str, str]:
    def span(found: Mapping[str, float] | None, scale: float, unit: str) -> str:
        if not found:
            return "not measurable"
        return f"{scale * found['effect']:+.2f}{unit} ({scale * found['low']:+.2f} to {scale * found['high']:+.2f})"

    realised = one.get("realised")
    return {
        "campaign": one["campaign"], "treated": f"{one['treated']:,}", "held out": f"{one['holdout']:,}",
        "lapse": span(one.get("lapse"), 100, " points"), "margin each": span(one.get("margin"), 1, ""),
        "promised": f"{one['promised_profit']:,.2f}",
        "realised": "-" if not realised else
        f"{realised['profit']:,.2f} ({realised['low']:,.2f} to {realised['high']:,.2f})",
    }  # fmt: skip


def _rate(action: str, name: str, found: Mapping[str, Any]) -> dict[str, str]:
    groups = ", ".join(f"{g} {v['rate']:.1%} (sd {v['sd']:.1%})" for g, v in found["groups"].items())
    return {"action": action, "rate": name, "assumed": f"{found['assumed']:.1%}", "measured": groups}
