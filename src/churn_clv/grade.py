"""A letter for a judged run, by published rules (docs/reviewing.md): the worst letter of five rules is the grade.

The rules go further than a comparison with other models: a run may beat every rung and still be miscalibrated, miss
the total or say nothing of new customers. Each rule is judged where the run did worst. Thresholds: the config's
``grade`` section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from churn_clv import config, wording
from churn_clv.comparison import SIMPLE_RUNGS
from churn_clv.config import LETTERS

Row = Mapping[str, Any]
POINTS = {letter: 4 - place for place, letter in enumerate(LETTERS)}  # A 4 ... D 1: runs can be sorted by it
# A rung is compared on the loss where it has one, else on the ranking (definition D10).
COMPARED = {"churn_log_loss": "churn_auroc", "spend_tweedie_deviance": "spend_gini"}


@dataclass(frozen=True)
class Rule:
    """One rule's letter: None where it does not apply or could not be judged; ``open``: it should have been.

    ``value`` is the measured distance from what the rule wants (0: as wanted), ``at`` the cutoff or stratum of it.
    """

    name: str
    letter: str | None
    value: float | None
    at: str | None
    text: str
    open: bool = False


@dataclass(frozen=True)
class Grade:
    """The letter and every rule behind it."""

    letter: str
    rules: tuple[Rule, ...]

    @property
    def why(self) -> str:
        """What kept it from an A, in words."""
        reasons = [rule.text for rule in self.rules if rule.open or rule.letter not in (None, LETTERS[0])]
        return f"Grade {self.letter}: " + ("; ".join(reasons) if reasons else "every rule is met") + "."

    def document(self) -> dict[str, Any]:
        """As plain values: letter, why, rules."""
        return {"letter": self.letter, "why": self.why, "rules": [asdict(rule) for rule in self.rules]}

    def at_least(self, letter: str) -> bool:
        return LETTERS.index(self.letter) <= LETTERS.index(letter)


def grade(
    cutoffs: Sequence[Row], strata: Sequence[Row], lost: Sequence[str], compared: int, settings: config.Grade
) -> Grade:
    """The grade of a run.

    ``cutoffs``: a row per test cutoff with ``cutoff``, metrics.METRIC_KEYS, ``spend_total_low`` and ``_high`` (the
    band; None where there is none); ``strata``: rows as of ``strata.table``; ``lost``: sentences, one for each rung
    that is ahead and each simple rung that is not shown to be beaten, of ``compared`` comparisons.
    An A needs every rule that applies to have been judged; without that the grade is B at best.
    """
    rules = (
        _rungs(lost, compared),
        _rule("calibration_slope", _slopes(cutoffs), settings.slope_off, "no calibration slope could be fitted"),
        _rule("calibration_error", _errors(cutoffs), settings.ece_above_floor, "no calibration error was measured"),
        _totals(cutoffs, settings),
        _rule("strata", _skills(strata, settings), settings.negative_skill,
              f"no group of {settings.stratum_least}+ customers was measured"),
    )  # fmt: skip
    worst = max([LETTERS.index(rule.letter) for rule in rules if rule.letter] + [int(any(r.open for r in rules))])
    return Grade(LETTERS[worst], rules)


def of_training(
    metrics: Row, cutoff: str, band: tuple[float, float] | None, strata: Sequence[Row], checks: Sequence[Any],
    settings: config.Grade,
) -> Grade:  # fmt: skip
    """The grade of a training, judged at one cutoff; ``checks`` are the promotion's, of which the rungs' count."""
    low, high = band or (None, None)
    against = [c for c in checks if "." in c.name and not c.name.startswith("incumbent.")]
    row = {"cutoff": cutoff} | dict(metrics) | {"spend_total_low": low, "spend_total_high": high}
    return grade([row], strata, [c.text for c in against if not c.passed], len(against), settings)


def of_backtest(document: Mapping[str, Any], settings: config.Grade) -> Grade:
    """The grade of a backtest, judged where it did worst among its cutoffs."""
    verdicts = {metric: found["rungs"] for metric, found in (document["champion_minus_best"] or {}).items()}
    lost, compared = [], 0
    for loss, ranking in COMPARED.items():
        first, second = verdicts.get(loss, {}), verdicts.get(ranking, {})
        asked = [(loss, name, v) for name, v in first.items()]
        asked += [(ranking, name, v) for name, v in second.items() if name not in first]
        compared += len(asked)
        lost += [_said(metric, name, v) for metric, name, v in asked if v == "behind"]
        lost += [_said(metric, n, v) for metric, n, v in asked if v == "level" and n in SIMPLE_RUNGS]
    return grade(document["ladder"][0]["by_cutoff"], document["strata"], lost, compared, settings)


# --- the rules ----------------------------------------------------------------------------------
def _said(metric: str, name: str, verdict: str) -> str:
    state = "is ahead" if verdict == "behind" else "is not shown to be beaten"
    return f"{wording.rung(name)} {state} on {wording.METRICS[metric].title}"


def _rungs(lost: Sequence[str], compared: int) -> Rule:
    if not compared:
        return Rule("rungs", None, None, None, "no rung was compared", open=True)
    if lost:
        return Rule("rungs", LETTERS[-1], float(len(lost)), None, "; ".join(lost))
    return Rule(
        "rungs", LETTERS[0], 0.0, None, f"no rung is ahead and the simple ones are beaten ({compared} compared)"
    )


def _slopes(cutoffs: Sequence[Row]) -> Iterator[tuple[float, str, str]]:
    for row in cutoffs:
        if (slope := row["churn_calibration_slope"]) is not None:
            yield abs(slope - 1), str(row["cutoff"]), f"calibration slope {slope:.3f} at {row['cutoff']}"


def _errors(cutoffs: Sequence[Row]) -> Iterator[tuple[float, str, str]]:
    for row in cutoffs:
        if (above := wording.above_floor(row)) is not None:
            said = f"calibration error {row['churn_ece']:.4f} at {row['cutoff']}, {above:+.4f} against chance"
            yield above, str(row["cutoff"]), said


def _totals(cutoffs: Sequence[Row], settings: config.Grade) -> Rule:
    if all(row["spend_total_ratio"] is None for row in cutoffs):
        return Rule("totals", None, None, None, "the run predicts no money, or none came")
    found = _rule("totals", _outside(cutoffs), settings.total_outside_band, "the total has no band to lie in")
    widest = max((row["spend_total_high"] for row in cutoffs if row["spend_total_high"] is not None), default=0.0)
    if found.letter == LETTERS[0] and widest > settings.widest_band:  # a band that holds anything proves nothing
        told = f"{found.text}: B, as a band reaches {widest:.3f}, where an A allows {settings.widest_band:g}"
        return replace(found, letter=LETTERS[1], text=told)
    return found


def _outside(cutoffs: Sequence[Row]) -> Iterator[tuple[float, str, str]]:
    for row in cutoffs:
        ratio, low, high = (row[f"spend_total_{part}"] for part in ("ratio", "low", "high"))
        if ratio is not None and low is not None and high is not None:
            said = f"predicted over actual total {ratio:.3f} at {row['cutoff']}, band {low:.3f} to {high:.3f}"
            yield max(low - ratio, ratio - high), str(row["cutoff"]), said


def _skills(strata: Sequence[Row], settings: config.Grade) -> Iterator[tuple[float, str, str]]:
    for row in strata:
        for key, what in (("churn_skill", "probabilities"), ("spend_skill", "expected spends")):
            if row["n"] >= settings.stratum_least and row[key] is not None:
                name = wording.stratum(row)
                yield -row[key], name, f"skill {row[key]:+.3f} of the {what} for {name} ({row['n']:,})"


def _rule(name: str, found: Iterator[tuple[float, str, str]], limits: Sequence[float], missing: str) -> Rule:
    """The letter of the worst of what was ``found``: (distance, where, sentence)."""
    worst = max(found, default=None)
    if worst is None:
        return Rule(name, None, None, None, missing, open=True)
    distance, at, said = worst
    value = max(distance, 0.0)
    letter = next((LETTERS[i] for i, limit in enumerate(limits) if value <= limit), LETTERS[-1])
    told = said if letter == LETTERS[0] else f"{said}: {letter}, where an A allows {limits[0]:g}"
    return Rule(name, letter, value, at, told)
