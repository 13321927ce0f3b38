"""One customer's page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from churn_clv.overview_page._words import NONE, Document, money, number, share, words
from churn_clv.report.html import facts, links, paragraph, picture, section, table
from churn_clv.report.html import page as as_page

TITLES = {"profile": "Profile", "timeline": "Timeline", "scores": "Scores", "reasons": "Why", "action": "Next action",
          "tastes": "Preferences"}  # fmt: skip


def render(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The page; ``pictures``: PNG bytes by name (timeline, scores)."""
    who = document["customer_id"]
    parts = [
        f"<h1>Customer {escape(who)}</h1>"
        + paragraph(f"{document['dataset']}, as of {document['cutoff']}; money in {document['currency']}.")
        + (paragraph("In sample: the model has learnt from labels after this day.", "missing")
           if document["in_sample"] else "")
        + facts(_facts(document)),
        links(TITLES),
        section(TITLES["profile"], _profile(document), "profile"),
        section(TITLES["timeline"], _timeline(document, pictures), "timeline"),
        section(TITLES["scores"], _scores(document, pictures), "scores"),
        section(TITLES["reasons"], _reasons(document), "reasons"),
        section(TITLES["action"], _action(document), "action"),
        section(TITLES["tastes"], _tastes(document), "tastes"),
    ]  # fmt: skip
    return as_page(f"Customer {who}", parts)


def _facts(document: Document) -> dict[str, str]:
    own, profile = document["scores"], document["profile"]
    out = {}
    if own["eligible"]:
        out[f"risk of no purchase in {document['horizon_days']} days ({own['churn_band']})"] = share(
            own["churn_probability"], 0
        )
        out[f"expected spend in {document['horizon_days']} days"] = money(own["expected_spend"])
    if document["clv"] is not None:
        out[f"CLV of {document['months']} months"] = money(document["clv"])
    out["orders so far"] = f"{profile['orders']:,}"
    if profile.get("spent") is not None:
        out["spent so far"] = money(profile["spent"])
    return out


def _profile(document: Document) -> str:
    profile, own = document["profile"], document["segments"]
    rows = [(words(k).capitalize(), _plain(v)) for k, v in profile.items() if v is not None]
    rows += [(words(k).capitalize(), words(str(v))) for k, v in own.items() if v is not None]
    rows += [(words(k).capitalize(), str(v)) for k, v in document["attributes"].items()]
    return table(("what", "value"), rows, text=(0, 1))


def _plain(value: object) -> str:
    return f"{value:,.2f}".removesuffix(".00") if isinstance(value, int | float) else str(value)


def _timeline(document: Document, pictures: Mapping[str, bytes]) -> str:
    since = document["profile"].get("days_since_last_order")
    usual = document["profile"].get("usual_gap_days")
    ago = "1 day" if since == 1 else f"{since} days"
    says = "No order so far." if since is None else f"The last order was {ago} ago"
    if since is not None:
        says += f"; usually {usual:,.0f} days pass between two." if usual is not None else "; it was the only one."
    out = picture("Orders and other events over time", pictures["timeline"], True) if "timeline" in pictures else ""
    rows = [(r["day"], words(r["event_type"]), f"{r['lines']:,}", money(r["amount"]) if r["amount"] else NONE,
             r["channel"] or NONE) for r in document["steps"][:20]]  # fmt: skip
    return out + paragraph(says, "says") + table(("day", "event", "lines", "amount", "channel"), rows, text=(0, 1, 4))


def _scores(document: Document, pictures: Mapping[str, bytes]) -> str:
    rows = document["scores_over_time"]
    if "scores" in pictures:
        out = picture("Risk at each scoring", pictures["scores"], False)
        out += paragraph("The risk at each stored scoring, and now.", "says")
    else:
        out = paragraph("Missing: earlier scores. To have them: run `churn-clv score` regularly.", "missing")
    own = document["scores"]
    if not own["eligible"]:
        out += paragraph(f"No risk now: {words(own['reason'] or 'not eligible')}.")
    told = [(r["cutoff"], share(r["churn_probability"]), money(r["expected_spend"])) for r in rows]
    return out + table(("scored", "risk", "expected spend"), told)


def _reasons(document: Document) -> str:
    found = document["reasons"]
    if found["missing"]:
        return paragraph(f"Missing: {found['missing']}.", "missing")
    ways = {"raises": "\N{BLACK UP-POINTING TRIANGLE} raises", "lowers": "\N{BLACK DOWN-POINTING TRIANGLE} lowers"}
    rows = [(r["text"], ways[r["direction"]], r["theme"], share(r["share"], 0)) for r in found["reasons"]]
    out = table(("reason", "the risk", "theme", "share of all"), rows, text=(0, 1, 2), wrapped=(0,))
    return out + paragraph("What the model goes by; not a cause.", "small")


def _action(document: Document) -> str:
    found = document["action"]
    if found["recommended_action"] is None:
        return paragraph("No action pays for this customer.")
    return paragraph(
        f"{words(found['recommended_action']).capitalize()}: expected profit {money(found['expected_profit'])} "
        f"{document['currency']} at {found['save_rate_source']} rates; it breaks even at a save rate of "
        f"{share(found['break_even_save_rate'])}. At risk: {money(found['value_at_risk'])}. Consent, budget and "
        "holdouts are not looked at here: `churn-clv act` does."
    )  # fmt: skip


def _tastes(document: Document) -> str:
    out = ""
    if document["next_items"]:
        out += paragraph("Likeliest next: " + ", ".join(document["next_items"]) + ".")
    for name, rows in document["tastes"].items():
        out += f"<h3>{escape(words(name).capitalize())}</h3>"
        out += table((words(name), "purchase days"), [(r["item"], number(r["days"], "number")) for r in rows])
    return out or paragraph("Missing: purchases with product, category or channel. To have it: map them.", "missing")
