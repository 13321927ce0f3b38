"""How far the recipe goes on the simulator: its share of the way from AUC .5 to the Bayes AUC, the best there is.

    python scripts/simulator.py [--customers N] [--seeds 7 8 9]

Each seed is a log of its own; the recipe is judged once, one horizon before the log's end, as `train` judges it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys


def main() -> None:
    """A line for each seed, and the mean."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--customers", type=int, default=20_000)
    asked.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    given = asked.parse_args()
    shares = [way(given.customers, seed) for seed in given.seeds]
    print(f"mean {sum(shares) / len(shares):.4f} of the way")


def way(customers: int, seed: int) -> float:
    """One log made, learnt from and judged."""
    from sklearn.metrics import roc_auc_score

    from churn_clv import config, events, labels, simulate, training

    own = config.load("configs/simulator.yaml", simulate={"customers": customers})
    made = simulate.simulate(own.simulate, seed)
    judged = training.judge(events.from_frame(made.log, events.rules_of(own.events), made.ends), own, tell)
    truth = made.truth(judged.plan.test, own.timeline.horizon_days)
    both = judged.test.select("customer_id").with_columns(judged.predictions).join(
        truth, on="customer_id", how="left", maintain_order="left"
    )  # fmt: skip
    churned = judged.test[labels.column("churned", own.timeline.horizon_days)]
    found, best = (roc_auc_score(churned, both[name]) for name in ("churn_probability", "p_churn_bayes"))
    share = simulate.share_of_the_way(found, best)
    print(
        f"seed {seed}: {both.height:,} eligible, AUC {found:.4f}, Bayes {best:.4f}, {share:.4f} of the way", flush=True
    )
    return share


def tell(text: str) -> None:
    print(f"{dt.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
