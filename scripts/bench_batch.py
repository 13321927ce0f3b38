"""Time `churn-clv score` on a large log: seconds by stage, peak memory, and the ratio to bare work. Asserts nothing.

    python scripts/bench_batch.py [--customers N] [--json FILE] [--folder FOLDER] [--bundle FOLDER]

The log is the simulator's (about 20 events a customer, every column filled), written as Parquet to a temporary folder.
The model is trained on the first few thousand customers of it, or given as --bundle. Then, each in a fresh process:

- scoring: the command as a user would run it: Parquet, the SQL table, checksums, everything;
- bare: the features and the boosters' own `predict` of the same customers, the log read and cut beforehand and not
  timed, nothing written. Once before the scoring and once after it: a shared machine's speed drifts within minutes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Every month's mail would fill a log with mail: as many events as a shop has.
SHAPE = {"mail_every_days": 140, "visits_per_order": 0.9}
TRAINING_CUSTOMERS = 4_000
QUICK = {"learning_rate": 0.08, "max_rounds": 160}


def main() -> None:
    """Make the log, train, score, compare."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--customers", type=int, default=1_000_000)
    asked.add_argument("--json", type=Path, help="write the numbers there too")
    asked.add_argument("--folder", type=Path, help="keep the log and the model there, and use them again")
    asked.add_argument("--bundle", type=Path, help="a bundle to score with, instead of training one")
    asked.add_argument("--step", choices=("bare", "score"), help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.step:
        print(json.dumps({"bare": bare, "score": score}[given.step](given.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        prepare(folder, given.customers, given.bundle)
        found = report(folder, given.customers)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def prepare(folder: Path, customers: int, bundle: Path | None) -> None:
    """The log, the config and the model, where they are not there already."""
    from churn_clv import bundle as bundles
    from churn_clv import config, events, publish, simulate, training

    log = folder / f"log-{customers}"
    own = settings(folder, customers)
    if not log.exists():
        draft = folder / "draft"
        draft.mkdir(parents=True, exist_ok=True)
        made = own.simulate.model_copy(update={"customers": customers})
        for number, chunk in enumerate(simulate.chunks(made, own.seed)):
            # A shop exports its log by time, not by customer: every part holds events of everyone in it, shuffled.
            chunk.log.sort("time").write_parquet(draft / f"part-{number:05d}.parquet")
            tell(f"log: {(number + 1) * simulate.CHUNK_CUSTOMERS:,} customers", end="\r")
        draft.rename(log)
    if publish.current(own.bundles_folder) is None:
        if bundle is None:
            few = own.simulate.model_copy(update={"customers": TRAINING_CUSTOMERS})
            small = simulate.simulate(few, own.seed)
            tell(f"training on {TRAINING_CUSTOMERS:,} customers")
            rules = events.rules_of(own.events)
            trained = training.train(events.from_frame(small.log, rules, small.ends), own)
            bundle = folder / "bundle"
            bundles.save(trained.bundle, bundle)
        publish.publish(bundle, own.bundles_folder)
    (folder / "own.yaml").write_text(config.to_yaml(own), encoding="utf-8")


def settings(folder: Path, customers: int) -> Any:
    """The simulator's config, reading the large log."""
    from churn_clv import config

    columns = ("customer_id", "time", "known_at", "event_type", "amount", "order_id", "product_id", "category",
               "quantity", "discount", "channel", "value")  # fmt: skip
    source = {"path": str(folder / f"log-{customers}" / "*.parquet"), "map": {name: name for name in columns}}
    return config.load(
        dataset="bench", out=str(folder / "out"), simulate=SHAPE, timeline={"horizon_days": 28},
        population={"active_within_days": 84}, models={"churn": QUICK, "spend": QUICK},
        events={"timezone": "UTC", "currency": "USD", "sources": {"log": source}},
    )  # fmt: skip


def report(folder: Path, customers: int) -> dict[str, Any]:
    """All steps in processes of their own, printed side by side."""
    first, ours, last = (step(name, folder) for name in ("bare", "score", "bare"))
    plain = first | {name: (first[name] + last[name]) / 2 for name in first if name.endswith("_s")}
    ratio = ours["wall_s"] / plain["wall_s"]
    found = {
        "customers": customers, "events": plain["events"], "eligible": plain["eligible"],
        "features": plain["features"], "trees": plain["trees"],
        "score_s": ours["wall_s"], "score_cpu_s": ours["cpu_s"], "peak_gb": ours["peak_gb"],
        "bare_s": plain["wall_s"], "bare_cpu_s": plain["cpu_s"],
        "bare_walls_s": [first["wall_s"], last["wall_s"]],
        "bare_features_s": plain["features_s"], "bare_predict_s": plain["predict_s"],
        "ratio_to_bare": ratio,
        "ratio_of_cpu": ours["cpu_s"] / plain["cpu_s"], "files_mb": ours["files_mb"], "table_mb": ours["table_mb"],
        "again_s": ours["again_s"], "load_before": os.getloadavg()[0],
        "stages_s": ours["stages_s"], "stages_cpu_s": ours["stages_cpu_s"],
    }  # fmt: skip
    tell(f"{customers:,} customers, {found['events']:,} events, {found['eligible']:,} eligible; "
         f"{found['features']} features, {found['trees']} trees")  # fmt: skip
    tell(f"score: {found['score_s']:.1f} s ({found['score_cpu_s']:.1f} s CPU), peak {found['peak_gb']:.2f} GB")
    tell("CPU by stage " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found["stages_cpu_s"].items()))
    tell("by stage " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found["stages_s"].items()))
    tell("bare " + " and ".join(f"{seconds:.1f}" for seconds in found["bare_walls_s"]) + " s; their mean:")
    tell(f"bare features {found['bare_features_s']:.1f} s and predict {found['bare_predict_s']:.1f} s "
         f"({found['bare_cpu_s']:.1f} s CPU)")  # fmt: skip
    tell(f"ratio {ratio:.2f} (CPU {found['ratio_of_cpu']:.2f})")
    tell(f"Parquet {found['files_mb']:.0f} MB, table {found['table_mb']:.0f} MB; a second run that finds it done "
         f"{found['again_s']:.1f} s; load {found['load_before']:.1f}")  # fmt: skip
    return found


def step(name: str, folder: Path) -> dict[str, Any]:
    """One step in a fresh process; its progress goes to stderr."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def model_of(own: Any) -> Any:
    """The published bundle, whatever data set it says it is of."""
    from churn_clv import bundle, publish

    return bundle.load_bundle(own.bundles_folder / str(publish.current(own.bundles_folder)))


def score(folder: Path) -> dict[str, Any]:
    """What the command does, with the clock stopped at each stage."""
    from churn_clv import batch, config, scoring
    from churn_clv.service.replies import Prediction

    own = config.load(folder / "own.yaml")
    model = model_of(own)
    stages: dict[str, float] = {}
    last = ["", time.monotonic(), time.process_time()]
    busy: dict[str, float] = {}

    def say(text: str) -> None:
        name, now = text.split(":")[0].split(" (")[0], time.monotonic()
        # A stage says what it has done, so the time since the last word is its own.
        stages[name] = stages.get(name, 0.0) + now - float(last[1])
        cpu = time.process_time()
        busy[name] = busy.get(name, 0.0) + cpu - float(last[2])
        last[:] = [name, now, cpu]
        print(f"\r{text:<79.79}", end="", file=sys.stderr)

    Path(batch.table_url(own)).unlink(missing_ok=True)
    began, spent = time.monotonic(), time.process_time()
    fields = tuple(Prediction.model_fields)
    told = batch.score(own, model, scoring.Asked(again=True), fields, say, True)
    wall = time.monotonic() - began
    table = time.monotonic() - float(last[1])
    busy["the table"] = time.process_time() - float(last[2])
    stages = {name: round(seconds, 2) for name, seconds in stages.items()} | {
        "publishing to the table": round(table, 2)
    }
    cpu = time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts kB
    again = time.monotonic()
    batch.score(own, model, scoring.Asked(), fields, lambda _: None, True)
    files = sum(Path(path).stat().st_size for path in told["files"])
    return {
        "wall_s": wall, "cpu_s": cpu, "peak_gb": peak, "stages_s": stages,
        "stages_cpu_s": busy, "files_mb": files / 1e6,
        "table_mb": Path(batch.table_url(own)).stat().st_size / 1e6, "again_s": time.monotonic() - again,
    }  # fmt: skip


def bare(folder: Path) -> dict[str, Any]:
    """The features of every known customer and each booster's `predict`, piece by piece, as fast as they come."""
    import numpy as np
    import polars as pl

    from churn_clv import config, features, timeline
    from churn_clv.scoring._pieces import gather

    own = config.load(folder / "own.yaml")
    model = model_of(own)
    boosters = [b for head in model.heads for b in (head.booster, head.whole) if b is not None]
    built, predicted, events, eligible, cpu = 0.0, 0.0, 0, 0, 0.0
    with tempfile.TemporaryDirectory(dir=folder) as work:
        pieces, extent = gather(own, Path(work), lambda _: None, lambda frame: frame)
        for piece in pieces:
            frame = piece.frame().filter(pl.col("event_type").is_in(model.event_types))
            pairs = timeline.pairs_of(frame["customer_id"].unique(), [extent.ends])
            start, spent = time.monotonic(), time.process_time()
            rows = features.build(timeline.Past(frame, pairs), model.definitions)
            middle = time.monotonic()
            days = rows["days_since_last_purchase"]
            asked = rows.filter((days <= model.definitions.active_within_days).fill_null(False))
            values = np.ascontiguousarray(asked.select(model.core_features).to_numpy().astype(np.float64, copy=False))
            for head in model.heads:
                for booster in (head.booster, head.whole):
                    if booster is not None:
                        booster.predict(parts_of(values, head, booster), raw_score=True, num_threads=2)
            built, predicted = built + middle - start, predicted + time.monotonic() - middle
            cpu += time.process_time() - spent
            events, eligible = events + piece.events, eligible + asked.height
    return {
        "wall_s": built + predicted, "features_s": built, "predict_s": predicted, "cpu_s": cpu, "events": events,
        "eligible": eligible, "features": len(model.features), "trees": sum(b.num_trees() for b in boosters),
    }  # fmt: skip


def parts_of(values: Any, head: Any, booster: Any) -> Any:
    """The rows a booster is asked: of a hazard one for each part of the horizon, with the part's number."""
    import numpy as np

    if head.kind != "hazard" or booster is head.whole:
        return values
    count = len(head.edges)
    number = np.repeat(np.arange(count, dtype=np.float64), len(values))
    return np.column_stack([np.tile(values, (count, 1)), number])


def tell(text: str, end: str = "\n") -> None:
    now = dt.datetime.now().strftime("%H:%M:%S")
    print(f"{now} {text}", end=end, flush=True)


if __name__ == "__main__":
    main()
