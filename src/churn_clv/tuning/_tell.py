"""What a tuning says of itself: its document, the overlay's comments, trials for the record, and what it took."""

from __future__ import annotations

import datetime as dt
import resource
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from churn_clv import config
from churn_clv.tuning import _verdict
from churn_clv.tuning._ground import Ground
from churn_clv.tuning._space import Head
from churn_clv.tuning._steps import Searched
from churn_clv.tuning._studies import TREES, finished

if TYPE_CHECKING:
    from churn_clv.tracking import Told


def document_of(
    settings: config.Config, found: Ground, searched: Mapping[Head, Searched], chosen: Mapping[Head, FrozenTrial],
    boosters: Mapping[Head, config.Booster], step: int, minus: dict[str, Any] | None, trials_wanted: int,
) -> dict[str, Any]:  # fmt: skip
    """The document of docs/tuning.md, without what only the end knows: paths, the run and what it took."""
    trials = {h: finished(s.study) for h, s in searched.items()}
    pruned = {h: sum(t.state == TrialState.PRUNED for t in own) for h, own in trials.items()}
    best = {
        h: {
            "params": boosters[h].model_dump(mode="json"),
            "value": t.value,
            "default_value": searched[h].default.value,
            "metric": _verdict.PRIMARY[h],
            "trial": t.number,
            "n_complete": len(trials[h]),
            "n_pruned": pruned[h],
        }
        for h, t in chosen.items()
    }
    words = _verdict.in_words(minus)
    verdict = "; ".join(f"{h}: {w}" for h, w in words.items()) or "not judged: no later cutoff fits"
    return {
        "dataset": settings.dataset,
        "fingerprint": found.log.fingerprint,
        "best": best,
        "step_days": settings.timeline.step_days * step,
        "n_trials": trials_wanted,
        "n_complete": sum(map(len, trials.values())),
        "n_pruned": sum(pruned.values()),
        "search_cutoffs": [d.isoformat() for d in found.search.origins],
        "judged_cutoffs": [p.test.isoformat() for p in found.judged],
        "tuned_minus_default": minus,
        "verdict": verdict,
        "paid": any(w == _verdict.VERDICTS["ahead"] for w in words.values()) if words else None,
        "notes": list(found.notes),
    }


def comments(document: Mapping[str, Any]) -> list[str]:
    """What stands above the overlay: what it is, what it is of, and whether it paid."""
    rows = document["tuned_minus_default"] or {}
    said = [f"{m}: {r['tuned']:.5g} tuned, {r['default']:.5g} default, difference {r['difference']:+.3g} "
            f"({r['low']:+.3g} to {r['high']:+.3g})" for m, r in rows.items()]  # fmt: skip
    return [
        f"Found by churn-clv tune on {dt.date.today().isoformat()}, for data set {document['dataset']} "
        f"(fingerprint {document['fingerprint']}, of the log up to the last judged window).",
        f"{document['n_complete']} trials, searched on {', '.join(document['search_cutoffs'])}.",
        f"VERDICT: {document['verdict']}.",
        *(f"  {line}" for line in said),
        *document["notes"],
        "Use it behind your own config: churn-clv train CONFIG THIS_FILE",
        "Judge it once on the newest cutoffs, which the search never saw: churn-clv backtest --final CONFIG THIS_FILE",
    ]


def told_of(head: Head, trial: FrozenTrial) -> Told:
    """A trial as the tracking store keeps it."""
    from churn_clv.tracking import Told

    seen = trial.state == TrialState.COMPLETE
    began, ended = (round(t.timestamp() * 1000) if t else 0 for t in (trial.datetime_start, trial.datetime_complete))
    return Told(head, trial.number, not seen, trial.value if seen else None, trial.user_attrs.get(TREES), trial.params,
                trial.intermediate_values, began, ended)  # fmt: skip


class Clock:
    """Wall and CPU seconds, workers' included, since the start and by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.cpus: dict[str, float] = {}
        self.last = time.monotonic(), _cpu()

    def lap(self, name: str) -> None:
        """End a stage."""
        now = time.monotonic(), _cpu()
        self.laps[name], self.cpus[name] = (round(b - a, 2) for a, b in zip(self.last, now, strict=True))
        self.last = now

    def told(self) -> dict[str, Any]:
        """For the document."""
        wall, cpu = (round(sum(laps.values()), 2) for laps in (self.laps, self.cpus))
        return {"wall_s": wall, "cpu_s": cpu, "stages_s": self.laps, "stages_cpu_s": self.cpus}


def _cpu() -> float:
    """Of this process and of workers that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(r.ru_utime + r.ru_stime for r in both)
