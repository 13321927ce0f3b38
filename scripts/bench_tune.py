"""Time `churn-clv tune`: wall and CPU seconds by stage, what tracking adds, and whether it paid. Asserts nothing.

    python scripts/bench_tune.py [CONFIG...] [--trials N] [--jobs N]

The search is begun anew in a temporary folder, so that nothing of an earlier one is resumed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from json import loads
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "configs" / "completejourney.yaml"


def main() -> None:
    """Run the command as a user would, on one document."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("configs", nargs="*", default=[str(SHIPPED)])
    asked.add_argument("--trials", type=int, default=100)
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "out.yaml"
        own.write_text(f"out: {folder}/out\n", encoding="utf-8")
        # A tracking server elsewhere would be timed instead of the store that a user begins with.
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        command = [sys.executable, "-m", "churn_clv.cli", "tune", *given.configs, str(own), "--json"]
        command += ["--trials", str(given.trials), "--jobs", str(given.jobs)]
        found = loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
    stages = found["stages_s"]
    done, cut = found["n_complete"], found["n_pruned"]
    print(f"{done} trials ({cut} cut short), {given.jobs} at a time; the machine's load: {os.getloadavg()[0]:.1f}")
    print(f"wall {found['wall_s']:.1f} s, by stage {stages}")
    print(f"CPU {found['cpu_s']:.1f} s, by stage {found['stages_cpu_s']}")
    rest = found["wall_s"] - stages["tracking"]
    own = found["stages_cpu_s"]["tracking"] / (found["cpu_s"] - found["stages_cpu_s"]["tracking"])
    print(f"tracking adds {stages['tracking'] / rest:.1%} to the wall time, {own:.1%} to the CPU time")
    for head, best in found["best"].items():
        print(
            f"{head}: {best['value']:.5f} against {best['default_value']:.5f} by default on {found['search_cutoffs']}"
        )
    for metric, row in (found["tuned_minus_default"] or {}).items():
        print(f"{metric}: tuned minus default {row['difference']:+.5f} ({row['low']:+.5f} to {row['high']:+.5f}), "
              f"{row['verdict']}")  # fmt: skip
    print(found["verdict"])


if __name__ == "__main__":
    main()
