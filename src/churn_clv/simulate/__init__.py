"""A synthetic customer log with two known truths: the latent state and the Bayes posterior given the history (D23).

``process`` makes the log, ``truth`` says the best that can be known of it; docs/simulator.md has both in words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from churn_clv.config import Simulate
from churn_clv.errors import UserError
from churn_clv.simulate.process import generate
from churn_clv.simulate.truth import truths

CHUNK_CUSTOMERS = 25_000
# Numbers the stream that memberships are drawn from; not 0, which is the same as none.
MEMBERSHIP_STREAM = 1


@dataclass(frozen=True)
class Simulated:
    """One log and what produced it.

    log: one row per event, LOG_COLUMNS, money in major units (returns <= 0), time naive local.
    latent: one row per customer: customer_id, acquired (date), left (date of the first day no longer active; not
    to be read past the log's end), orders_per_day, leave_per_day, mean_order_value, coupons (gets them or not).
    """

    settings: Simulate
    log: pl.DataFrame
    latent: pl.DataFrame

    @property
    def ends(self) -> dt.date:
        """The day after the log's last day."""
        return self.settings.starts + dt.timedelta(days=self.settings.days)

    def truth(self, cutoff: dt.date, horizon_days: int) -> pl.DataFrame:
        """Both truths of every customer known at the cutoff, sorted by customer_id.

        Columns: customer_id, cutoff, p_churn_latent, p_churn_bayes (chance of no order in the horizon), spend_latent,
        spend_bayes (expected purchases minus returns dated in the horizon, major units, not clipped at 0). Latent
        knows rates and state at the cutoff, not the future; Bayes reads only the log before the cutoff.
        """
        if not self.settings.starts < cutoff <= self.ends or horizon_days < 1:
            raise UserError(
                f"no truth at cutoff {cutoff} for {horizon_days} days: the simulated log runs from "
                f"{self.settings.starts} to {self.ends}. Take a cutoff within it and a horizon of 1 day or more."
            )
        return truths(self.settings, self.log, self.latent, cutoff, horizon_days)


def simulate(settings: Simulate, seed: int) -> Simulated:
    """One log of settings.customers customers; the same seed gives the same frames."""
    parts = list(chunks(settings, seed))
    return Simulated(settings, pl.concat([p.log for p in parts]), pl.concat([p.latent for p in parts]))


def chunks(settings: Simulate, seed: int) -> Iterator[Simulated]:
    """The same log as ``simulate``, CHUNK_CUSTOMERS customers at a time, for logs larger than memory."""
    for number, first in enumerate(range(0, settings.customers, CHUNK_CUSTOMERS)):
        rng = np.random.default_rng([seed, number])
        apart = np.random.default_rng([seed, number, MEMBERSHIP_STREAM])
        log, latent = generate(settings, rng, first, min(CHUNK_CUSTOMERS, settings.customers - first), apart)
        yield Simulated(settings, log, latent)


def write(
    simulated: Simulated | Iterable[Simulated], folder: Path, cutoffs: Sequence[dt.date], horizon_days: int
) -> None:
    """Write folder/log.parquet, latent.parquet and truth.parquet (both truths at each cutoff), chunk by chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, latents, known = [], [], []
    for number, one in enumerate([simulated] if isinstance(simulated, Simulated) else simulated):
        parts.append(folder / f"log-part-{number:05d}.parquet")
        one.log.write_parquet(parts[-1])
        latents.append(one.latent)
        known += [one.truth(cutoff, horizon_days) for cutoff in cutoffs]
    pl.scan_parquet(parts).sink_parquet(folder / "log.parquet")
    for part in parts:
        part.unlink()
    pl.concat(latents).write_parquet(folder / "latent.parquet")
    if known:
        pl.concat(known).sort("cutoff", "customer_id").write_parquet(folder / "truth.parquet")


def share_of_the_way(auc_model: float, auc_bayes: float) -> float:
    """How much of the way from chance to the best possible ranking a model went: (auc - .5) / (bayes - .5)."""
    if auc_bayes <= 0.5:
        raise UserError(f"the best possible AUC is {auc_bayes:.3f}: this simulation holds nothing to learn.")
    return (auc_model - 0.5) / (auc_bayes - 0.5)
