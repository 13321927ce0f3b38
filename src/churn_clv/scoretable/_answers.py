"""A scoring's rows as the service answers them: JSON text, made for a whole frame at once.

``fields`` are those of the service's answer, in its order (``service.replies.Prediction``): the caller gives them,
because this package stands below the service. A law compares the result with what the service says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from churn_clv import playbook, segments

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle


# What an answer holds that is no column, or one by months or days.
NO_WARNINGS = '"warnings":[]'
# What an answer to nobody still says.
ALWAYS = ("cutoff", "base_rate", "currency", "horizon_days", "in_sample", "model_version", "next_order_learnt_days")


def answers(scores: pl.DataFrame, bundle: Bundle, fields: Sequence[str]) -> pl.Series:
    """One JSON object per row of a scoring, with ``fields`` in their order; floats keep every digit.

    A field that a scoring does not have is null, and ``warnings`` is an empty list: what is to be warned of depends on
    when the answer is given.
    """
    parts: list[pl.Expr] = []
    plain: list[pl.Expr] = []
    for name in fields:
        if name == "warnings" or (name == "targets" and not bundle.own_heads):
            parts += _inside(plain)
            parts.append(pl.lit(NO_WARNINGS if name == "warnings" else '"targets":{}'))
            plain = []
        else:
            plain.append(_field(name, scores, bundle).alias(name))
    parts += _inside(plain)
    text = pl.concat_str(pl.lit("{"), pl.concat_str(parts, separator=","), pl.lit("}"))
    return scores.select(answer=text)["answer"]


def unknown_answer(scores: pl.DataFrame, bundle: Bundle, fields: Sequence[str]) -> str:
    """The answer to an id that the scoring does not know, from the ``cutoff`` on: the id itself comes before."""
    first = scores.head(1)
    nobody = first.select(
        pl.col(name) if name in ALWAYS else pl.lit(None, dtype).alias(name) for name, dtype in first.schema.items()
    ).with_columns(customer_id=pl.lit(""), eligible=pl.lit(False), reason=pl.lit("unknown"))
    text = str(answers(nobody, bundle, fields)[0])
    start = '{"customer_id":""'
    if not text.startswith(start + ","):
        raise ValueError("an answer must begin with the customer's id")
    return text.removeprefix(start)


def spliced(unknown: bytes, customer_id: str, erased: bool = False) -> bytes:
    """The answer to such an id as JSON; ``unknown`` is ``unknown_answer``'s."""
    tail = unknown.replace(b'"reason":"unknown"', b'"reason":"erased"', 1) if erased else unknown
    return b'{"customer_id":' + json.dumps(customer_id, ensure_ascii=False).encode() + tail


def _inside(plain: list[pl.Expr]) -> list[pl.Expr]:
    """The fields as JSON without the braces around them."""
    if not plain:
        return []
    return [pl.struct(plain).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")]


def _field(name: str, scores: pl.DataFrame, bundle: Bundle) -> pl.Expr:
    """One field of the answer from a scoring's columns."""
    clv, last = bundle.config.clv, f"clv_{bundle.config.clv.months[-1]}m"
    if name == "churn_probability_by_days":
        days = {str(d): f"churn_probability_{d}d" for d in bundle.edges[:-1]}
        return _each(days | {str(bundle.horizon_days): "churn_probability"}, "churn_probability")
    if name == "next_order_within_days":
        days = {str(d): f"next_order_within_{d}d" for d in clv.next_order_days}
        return _each(days, days[str(clv.next_order_days[-1])])
    if name == "active_probability_by_months":
        months = {str(m): f"active_probability_{m}m" for m in clv.active_months}
        return _each(months, months[str(clv.active_months[-1])])
    if name in ("clv_by_months", "clv_low_by_months", "clv_high_by_months"):
        end = {"clv_by_months": "", "clv_low_by_months": "_low", "clv_high_by_months": "_high"}[name]
        return _each({str(m): f"clv_{m}m{end}" for m in clv.months}, last)
    if name == "segments" and segments.STAGE in scores.columns:
        return _each({c: c for c in segments.COLUMNS}, segments.STAGE)
    if name == "action" and playbook.RECOMMENDED in scores.columns:
        known = pl.any_horizontal(pl.col(playbook.RECOMMENDED, "value_at_risk").is_not_null())
        return pl.when(known).then(pl.struct(*playbook.COLUMNS))
    if name == "targets":
        return pl.struct(_target(bundle, place) for place in range(len(bundle.own_heads)))
    return pl.col(name) if name in scores.columns else pl.lit(None)


def _each(columns: dict[str, str], asked: str) -> pl.Expr:
    """Columns by number of days or months; null where ``asked`` is."""
    return pl.when(pl.col(asked).is_not_null()).then(pl.struct(pl.col(c).alias(k) for k, c in columns.items()))


def _target(bundle: Bundle, place: int) -> pl.Expr:
    """The answer to one target of the user's own."""
    head = bundle.own_heads[place]
    number, rank, *event = bundle.columns_of(head)
    found, none = pl.col(number), pl.lit(None, pl.Float64)
    return pl.struct(
        horizon_days=pl.lit(head.horizon_days),
        eligible=found.is_not_null(),
        probability=found if event else none,
        expected=none if event else found,
        percentile_in_reference=pl.col(rank),
        base=pl.lit(bundle.reference.targets[head.target].base),
        band=pl.col(event[1]) if event else pl.lit(None, pl.String),
        reasons=pl.lit(None),
    ).alias(head.target)
