"""The records of a readiness report, and the published minimums that it holds a log against."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from churn_clv import training
from churn_clv.events import Count
from churn_clv.timeline import Plan

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# Below the first nothing is trained, below the second the result is weak. The first column is ours, the second
# what products publish: 500 customers, history of 2 to 3 horizons, 100 of each class.
ELIGIBLE = (50, 500)
HISTORY_IN_HORIZONS = (2, 3)
EACH_CLASS = (training.MIN_CLASS, 100)


@dataclass(frozen=True)
class Finding:
    """One thing to know: how grave, what was found, what to do; and where it applies, the place and the numbers.

    ``topic`` is a stable word for scripts; ``rows`` of ``source`` are meant, ``share`` in 0..1.
    """

    severity: Severity
    topic: str
    found: str
    do: str
    source: str | None = None
    column: str | None = None
    rows: int | None = None
    share: float | None = None
    where: str | None = None


@dataclass(frozen=True)
class Minimum:
    """A published minimum: below ``required`` a target is not ready, below ``better`` it is weak.

    ``unit`` is 'horizons', 'customers' or 'rows'; ``found`` is None where it cannot be counted.
    """

    name: str
    unit: str
    found: float | None
    required: float
    better: float

    @property
    def met(self) -> bool:
        """Whether the target can be trained as far as this goes."""
        return self.found is not None and self.found >= self.required

    @property
    def comfortable(self) -> bool:
        """Whether there is enough to trust the result."""
        return self.found is not None and self.found >= self.better


@dataclass(frozen=True)
class Target:
    """Whether a target can be trained on this log, why not, and the minimums it was held against."""

    target: str
    ready: bool
    why_not: tuple[str, ...]
    minimums: tuple[Minimum, ...]


@dataclass(frozen=True)
class Data:
    """The log in numbers; shares in 0..1, None where they cannot be known. ``ends`` is exclusive."""

    dataset: str
    rows: int
    customers: int
    first_day: str
    last_day: str
    ends: str
    timezone: str
    currency: str
    horizon_days: int
    active_within_days: int
    purchase_lines: int
    purchase_days: int
    one_purchase_customer_share: float | None
    return_line_share: float | None
    return_money_share: float | None
    zero_amount_lines: int
    largest_customer_day_share: float | None
    test_cutoff: str | None
    eligible_at_test: int | None
    base_rate_at_test: float | None
    label_return_rate: float | None
    label_return_within_days: int
    families_left_out: dict[str, str]
    targets_refused: dict[str, str]


@dataclass(frozen=True)
class Readiness:
    """The whole report: numbers, findings (gravest first), policies that met a line, plan, targets, data's notices."""

    data: Data
    findings: tuple[Finding, ...]
    policies: tuple[Count, ...]
    plan: Plan | None
    targets: tuple[Target, ...]
    notices: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether training can start: it cannot without churn."""
        return any(t.ready for t in self.targets if t.target == "churned")


def as_document(readiness: Readiness) -> dict[str, Any]:
    """The report as plain values for ``--json``; the keys that ``train --json`` also has mean the same there."""
    plan = readiness.plan
    return {
        "ready": readiness.ready,
        "targets": [
            asdict(target)
            | {"minimums": [asdict(m) | {"met": m.met, "comfortable": m.comfortable} for m in target.minimums]}
            for target in readiness.targets
        ],
        "data": asdict(readiness.data) | {"policies": [asdict(c) for c in readiness.policies]},
        "plan": plan.rows() if plan else None,
        "plan_note": plan.note if plan else None,
        "findings": [asdict(f) for f in readiness.findings],
        "notices": list(readiness.notices),
    }


def share(part: int, whole: int) -> float | None:
    """part / whole, None of nothing."""
    return part / whole if whole else None
