"""What Prometheus is told: fixed names and labels, so that no request can make the page longer.

The numbers are kept here and turned into metrics when the page is read: a request costs two dictionary updates, and
prometheus_client's own counters would write memory-mapped files under BentoML. One process, one page.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SHARES = tuple(k / 20 for k in range(1, 21))
MONEY = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 1e6)
# Features are the bundle's own, some hundred; more of them than this are not told one by one.
FEATURES = 1_000


class Watched(Protocol):
    """What the page tells of the bundle: the holder, as the metrics know it."""

    def state(self) -> Mapping[str, Any]:
        """version, dataset, horizon_days (of what is loaded, or None), loaded_seconds, unseen_seconds, refusals,
        behind."""


class Histogram:
    """Counts by upper edge, and the sum."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """One value; one that is no number is left out."""
        if not math.isnan(value):
            self.counts[bisect_left(self.edges, value)] += 1
            self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        out, so_far = [], 0
        for edge, count in zip((*self.edges, math.inf), self.counts, strict=True):
            so_far += count
            out.append(("+Inf" if math.isinf(edge) else repr(float(edge)), float(so_far)))
        return out


class Measures:
    """The service's counts since its process began."""

    def __init__(self, holder: Watched | None = None) -> None:
        self._holder = holder
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Histogram] = {}
        self._refused: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._nulls: Counter[str] = Counter()
        self._rows = 0
        self._in_flight = 0
        self._churn, self._spend = Histogram(SHARES), Histogram(MONEY)

    def begin(self) -> None:
        """A request came."""
        self._in_flight += 1

    def end(self, route: str, status: int, seconds: float, refused: str | None = None) -> None:
        """It was answered. ``route`` is a path of the service's or `other`, ``refused`` one of the gate's reasons."""
        self._in_flight -= 1
        with self._lock:
            self._requests[route, str(status)] += 1
            self._seconds.setdefault(route, Histogram(SECONDS)).add(seconds)
            if refused is not None:
                self._refused[refused] += 1

    def answered(
        self,
        churn: Iterable[float | None],
        spend: Iterable[float | None],
        reasons: Iterable[str | None],
    ) -> None:
        """The numbers of one answer, customer by customer: probabilities, money in major units, why not eligible."""
        with self._lock:
            for value in churn:
                if value is not None:
                    self._churn.add(value)
            for value in spend:
                if value is not None:
                    self._spend.add(value)
            self._outcomes.update(reason or "eligible" for reason in reasons)

    def features(self, nulls: Mapping[str, int], rows: int) -> None:
        """How many of ``rows`` rows of a matrix had no value, by feature."""
        with self._lock:
            self._rows += rows
            for name, count in nulls.items():
                if name in self._nulls or len(self._nulls) < FEATURES:
                    self._nulls[name] += count

    def page(self) -> bytes:
        """The page of /metrics."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        with self._lock:
            out = [*self._of_requests(), *self._of_answers()]
        yield from out
        if self._holder is not None:
            yield from _of_bundle(self._holder.state())

    def _of_requests(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("churn_clv_requests", "Requests answered.", labels=["route", "status"])
        for (route, status), count in sorted(self._requests.items()):
            requests.add_metric([route, status], count)
        yield requests
        seconds = HistogramMetricFamily("churn_clv_request_seconds", "Until the answer was sent.", labels=["route"])
        for route, times in sorted(self._seconds.items()):
            seconds.add_metric([route], times.buckets(), times.total)
        yield seconds
        refused = CounterMetricFamily("churn_clv_refused", "Requests refused by the gate.", labels=["reason"])
        for reason, count in sorted(self._refused.items()):
            refused.add_metric([reason], count)
        yield refused
        yield GaugeMetricFamily("churn_clv_requests_in_flight", "Requests being answered.", value=self._in_flight)

    def _of_answers(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        churn = HistogramMetricFamily("churn_clv_churn_probability", "Of the eligible customers answered.")
        churn.add_metric([], self._churn.buckets(), self._churn.total)
        spend = HistogramMetricFamily(
            "churn_clv_expected_spend", "Of the same, in major units of the bundle's currency."
        )
        spend.add_metric([], self._spend.buckets(), self._spend.total)
        customers = CounterMetricFamily("churn_clv_customers", "Answered: eligible, or why not.", labels=["outcome"])
        for outcome, count in sorted(self._outcomes.items()):
            customers.add_metric([outcome], count)
        rows = CounterMetricFamily("churn_clv_feature_rows", "Rows of features built.", value=self._rows)
        nulls = CounterMetricFamily("churn_clv_feature_nulls", "Of them without a value.", labels=["feature"])
        for name, count in sorted(self._nulls.items()):
            nulls.add_metric([name], count)
        return iter([churn, spend, customers, rows, nulls])


def _of_bundle(state: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    labels = ["version", "dataset", "horizon_days"]
    info = GaugeMetricFamily("churn_clv_model", "What is loaded; 1.", labels=labels)
    if state["version"] is not None:
        info.add_metric([str(state[name]) for name in labels], 1)
        yield GaugeMetricFamily(
            "churn_clv_bundle_loaded_seconds", "Since the bundle was loaded.", value=state["loaded_seconds"]
        )
    yield info
    yield GaugeMetricFamily(
        "churn_clv_bundle_behind", "1: what is published was refused, and another bundle answers or none.",
        value=float(state["behind"]),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "churn_clv_current_unseen_seconds", "Since CURRENT last named a bundle.", value=state["unseen_seconds"]
    )
    yield CounterMetricFamily("churn_clv_bundles_refused", "Bundles published and not taken.", value=state["refusals"])
