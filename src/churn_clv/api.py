"""The Python API: what a notebook or a script imports from ``churn_clv`` (contract K14)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from churn_clv import config, events, matrix, timeline
from churn_clv.errors import UserError

if TYPE_CHECKING:
    from churn_clv.training import Trained


# The data set's name where a frame comes without a config.
FRAME = "frame"


def read_log(*sources: Any, settings: config.Config | None = None) -> events.Log:
    """The event log of config files (paths of YAML overlays), of a Config, or of one pandas or Polars frame.

    ``read_log("my.yaml")``, ``read_log(settings)``, ``read_log(frame)`` or ``read_log(frame, settings)``.

    A frame has plain columns: customer_id, time, and where known event_type ('purchase' where absent), amount (major
    units), order_id, product_id, category, quantity, discount, channel, value, known_at. ``settings`` gives a frame's
    time zone and currency (default: the defaults). Raises UserError as ``events.read_log`` does.
    """
    if len(sources) == 1 and isinstance(sources[0], config.Config):
        return events.read_log(sources[0])
    if len(sources) == 2 and isinstance(sources[-1], config.Config):
        return read_log(sources[0], settings=sources[-1])
    if sources and all(isinstance(s, str | Path) for s in sources):
        return events.read_log(config.load(*sources))
    if len(sources) != 1:
        raise UserError("read_log takes config files, one Config, or one frame.")
    own = settings or config.load(dataset=FRAME)
    return events.from_frame(sources[0], events.rules_of(own.events), own.events.ends)


def compute_features(
    frame: Any,
    cutoff: dt.date | str | Sequence[dt.date | str],
    *,
    settings: config.Config | None = None,
    log_starts: dt.date | None = None,
) -> Any:
    """Every known customer's features at one or more cutoffs; pandas or Polars in, the same out.

    ``frame`` is as in ``read_log``. Returns customer_id, cutoff, eligible, reason and the features, sorted by (cutoff,
    customer_id). ``log_starts`` is the day from which the log is complete (default: its first day): a window that
    reaches before it is null.
    """
    own = settings or config.load(dataset=FRAME)
    log = read_log(frame, settings=own)
    cutoffs = [_date(c) for c in ([cutoff] if isinstance(cutoff, str | dt.date) else cutoff)]
    definitions = timeline.define(log, own, as_of=min(cutoffs))
    if log_starts is not None:
        definitions = definitions.model_copy(update={"starts": dict.fromkeys(definitions.starts, log_starts)})
    pairs = timeline.pairs_of(log.frame["customer_id"].unique(), cutoffs)
    out = matrix.build(log.frame, pairs, definitions)
    return out if isinstance(frame, pl.DataFrame | pl.LazyFrame) else out.to_pandas()


def train(log: Any, settings: Any, say: Any = lambda _: None) -> Trained:
    """Judge the recipe and pack the bundle; nothing is tracked or promoted (``churn-clv train`` does that).

    Needs the extra ``lab``. Raises UserError where the labels do not fit or the targets cannot be answered.
    """
    from churn_clv import training

    if not isinstance(log, events.Log) or not isinstance(settings, config.Config):
        raise UserError("train takes what read_log and load_config give: train(read_log(frame, settings), settings).")
    if log.rules != events.rules_of(settings.events):
        raise UserError(f"the log was read as {log.rules}, and the settings differ. Use read_log(frame, settings).")
    return training.train(log, settings, say)


def _date(value: dt.date | str) -> dt.date:
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    except ValueError:
        raise UserError(f"cutoff '{value}' is not a date. Give YYYY-MM-DD.") from None
