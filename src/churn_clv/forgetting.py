"""Take a customer out of everything that scoring and campaigns have written, and remember not to bring them back.

The list of the forgotten comes first, so that whatever breaks off afterwards, a later scoring leaves them out; every
file is replaced in one step; done again, it finishes what was left. The raw log is the user's own and is not touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import actions, batch, config, forgotten, loyalty, scoretable, scoring, watch
from churn_clv.disk import alone, numbered, put_in_place, written
from churn_clv.errors import UserError

Say = Callable[[str], None]
TABLES = {".parquet": pl.scan_parquet, ".csv": lambda path: pl.scan_csv(path, infer_schema=False)}
LOG_STAYS = (
    "the log that the config reads is yours and was not touched: take the customer out of it at its source. Scorings "
    "leave the customer out meanwhile; trainings and backtests read the log as it is."
)
RUNS_STAY = (
    "predictions that runs have stored (MLflow's artifacts, unsent/) hold a keyed hash, a date, what came and what was "
    "predicted, no id: comparisons of recipes need them whole. Without id.key nobody can say whose they are."
)
MODELS_STAY = "models and bundles hold no customer's id; what they learnt stays until they are trained again."
HASH_STAYS = (
    "a keyed hash in forgotten/ and in the table of scores, by which the customer is left out and answered `erased`."
)


def forget(settings: config.Config, ids: Sequence[str], say: Say) -> dict[str, Any]:
    """Remove customers; returns the document of ``churn-clv forget``. Idempotent, and safe to kill and repeat."""
    names = list(dict.fromkeys(name.strip() for name in ids))
    if not names or "" in names:
        raise UserError("no id given, or an empty one. Give --id ID, or --ids-file with one id a line.")
    with alone(scoring.lock_file(settings), say), numbered(Path(settings.out)):
        before = forgotten.keys(settings)
        keys = forgotten.add(settings, names)
        scoring.mend(settings)
        shutil.rmtree(scoring.work_folder(settings), ignore_errors=True)
        met: Counter[str] = Counter()
        removed = [_from_scoring(settings, folder, names, met, say) for folder in _folders(settings)]
        shutil.rmtree(scoring.work_folder(settings), ignore_errors=True)
        removed += [_from_file(path, names, met) for folder in _beside(settings) for path in _files(folder)]
        lists = (watch.watch_folder(settings), loyalty.loyalty_folder(settings))
        removed += [_from_list(path, names) for folder in lists for path in sorted(folder.glob("*/*.json"))]
        outbox = actions.outbox_file(settings)
        removed.append({"place": str(outbox), "rows": actions.forget(outbox, names)})
        say("table of scores")
        url = batch.table_url(settings)
        rows = scoretable.forget(url, settings.dataset, names, keys)
        removed.append({"place": config.without_password(url), "rows": rows})
        remains = [{"place": str(path), "why": "not written by scoring: remove it yourself"} for path in
                   _elsewhere(settings, names)]  # fmt: skip
    listed = dict(zip(names, keys, strict=True))
    told = {n: "forgotten before" if listed[n] in before else "forgotten" for n in names}
    found = sum(place["rows"] for place in removed)
    return {
        "dataset": settings.dataset,
        "customers": [{"id": n, "state": told[n], "was_scored": met[n] > 0} for n in names],
        "rows_removed": found,
        "never_known": [n for n in names if told[n] == "forgotten" and not met[n]] if not rows else [],
        "removed": [place for place in removed if place["rows"]],
        "remains": [
            *remains,
            {"place": "the raw log", "why": LOG_STAYS},
            {"place": "runs", "why": RUNS_STAY},
            {"place": "models", "why": MODELS_STAY},
            {"place": str(forgotten.file_of(settings)), "why": HASH_STAYS},
        ],
    }


def _folders(settings: config.Config) -> list[Path]:
    return sorted(path for path in scoring.scores_folder(settings).glob("cutoff=*/model=*") if path.is_dir())


def _beside(settings: config.Config) -> tuple[Path, ...]:
    """What is written of customers beside the scorings."""
    return (
        scoring.changes_folder(settings), scoring.reasons_folder(settings), actions.folder(settings),
        watch.watch_folder(settings), loyalty.loyalty_folder(settings),
    )  # fmt: skip


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in TABLES and path.is_file())


def _from_scoring(
    settings: config.Config, folder: Path, names: Sequence[str], met: Counter[str], say: Say
) -> dict[str, Any]:
    """A scoring's folder without some customers: made anew aside, then put in place."""
    new, old = scoring.aside(settings, folder)
    held = {path: _count(path, names, met) for path in _files(folder)}
    rows = sum(n for path, n in held.items() if path.suffix == ".parquet")
    if not any(held.values()):
        return {"place": str(folder), "rows": 0}
    say(f"{folder}: {rows:,} rows")
    new.mkdir(parents=True)
    for path in folder.iterdir():
        if held.get(path):
            _rewrite(path, new / path.name, names)
        else:
            shutil.copy2(path, new / path.name)
    _restate(new)
    put_in_place(new, folder, old)
    return {"place": str(folder), "rows": rows}


def _restate(folder: Path) -> None:
    """Rows, reasons, bands and checksums of a manifest again. Totals stay: they are what was scored."""
    path = folder / scoring.MANIFEST
    if not path.exists():
        return
    manifest = json.loads(path.read_text(encoding="utf-8"))
    parts = scoring.parts_of(folder)
    every = pl.scan_parquet(parts)
    own = every.filter("eligible")
    counted = {
        "rows": every.select(pl.len()).collect().item(),
        "eligible": own.select(pl.len()).collect().item(),
        "reasons": _counts(every.filter(~pl.col("eligible")), "reason"),
        "bands": _counts(own, "churn_band"),
        "sha256": scoring.checksum(parts),
    }
    if "parts" in manifest:
        sizes = [(part, pl.scan_parquet(part).select(pl.len()).collect().item()) for part in parts]
        counted["parts"] = [{"file": p.name, "rows": n, "sha256": scoring.checksum([p])} for p, n in sizes]
    path.write_text(json.dumps(manifest | counted, indent=1), encoding="utf-8")


def _counts(frame: pl.LazyFrame, column: str) -> dict[str, int]:
    return {str(k): int(v) for k, v in frame.group_by(column).len().sort(column).collect().iter_rows()}


def _from_file(path: Path, names: Sequence[str], met: Counter[str]) -> dict[str, Any]:
    """One table without some customers."""
    rows = _count(path, names, met)
    if rows:
        with written(path) as draft:
            _rewrite(path, draft, names)
    return {"place": str(path), "rows": rows}


def _from_list(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """A list's document without some customers; its counts stay as they were told."""
    document = json.loads(path.read_text(encoding="utf-8"))
    kept = [row for row in document["customers"] if row["customer_id"] not in names]
    rows = len(document["customers"]) - len(kept)
    if rows:
        with written(path) as draft:
            text = json.dumps(document | {"customers": kept}, indent=1, ensure_ascii=False)
            draft.write_text(text + "\n", encoding="utf-8")
    return {"place": str(path), "rows": rows}


def _count(path: Path, names: Sequence[str], met: Counter[str]) -> int:
    """How many rows of a table are of these customers; 0 for a table without customer_id."""
    table = TABLES[path.suffix](path)
    if "customer_id" not in table.collect_schema().names():
        return 0
    found = table.select("customer_id").filter(pl.col("customer_id").cast(pl.String).is_in(list(names))).collect()
    met.update(found["customer_id"].cast(pl.String))
    return found.height


def _rewrite(path: Path, to: Path, names: Sequence[str]) -> None:
    """Text of a CSV is taken as it stands, so that no number changes its digits."""
    kept = TABLES[path.suffix](path).filter(~pl.col("customer_id").cast(pl.String).is_in(list(names))).collect()
    if path.suffix == ".parquet":
        kept.write_parquet(to)
    else:
        kept.write_csv(to)


def _elsewhere(settings: config.Config, names: Sequence[str]) -> list[Path]:
    """Other tables under ``out`` that hold one of the ids as customer_id."""
    own = (scoring.scores_folder(settings), *_beside(settings))
    out = []
    for root, folders, files in os.walk(settings.out):
        folders[:] = [f for f in folders if f not in ("artifacts", "bundles", "cache", "work", "studies")]
        for name in files:
            path = Path(root) / name
            if path.suffix in TABLES and not any(place in path.parents for place in own):
                try:
                    if _count(path, names, Counter()):
                        out.append(path)
                except (pl.exceptions.PolarsError, OSError):
                    continue  # not a table that can be read; nothing of ours
    return out
