"""The studies: one Optuna study per head in one SQLite file, which holds every finished trial through any kill."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from churn_clv import config
from churn_clv.errors import UserError
from churn_clv.timeline import Plan
from churn_clv.tuning._arena import Arena, Outcome, solve
from churn_clv.tuning._space import STEP, Head, HeadSpace, Space, Trial, booster_of, draw

# Shorter ones crash a busy process (optuna#5470); a killed run is found by the file's lock at once anyway.
HEARTBEAT_SECONDS, GRACE_SECONDS = 60, 120
STARTUP_TRIALS = 10  # drawn at random before the sampler and the pruner believe what they have seen
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TREES, DEFAULT = "trees", "default"


@dataclass(frozen=True)
class Task:
    """What a worker needs beside the arena: one head's base settings, ranges, families and steps."""

    head: Head
    base: config.Booster
    space: HeadSpace
    problem: Trial
    families: tuple[str, ...]
    optional: tuple[str, ...]
    steps: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The task as plain values."""
        sections = {name: getattr(self, name).model_dump() for name in ("base", "space", "problem")}
        return {k: v for k, v in vars(self).items() if k not in sections} | sections


def task_of(values: Mapping[str, Any]) -> Task:
    """A task from what ``as_json`` gave."""
    return Task(
        values["head"], config.Booster.model_validate(values["base"]), HeadSpace.model_validate(values["space"]),
        Trial.model_validate(values["problem"]), *(tuple(values[k]) for k in ("families", "optional", "steps")),
    )  # fmt: skip


# --- the file --------------------------------------------------------------------------------------
def study_file(settings: config.Config, space: Space, fingerprint: str, plan: Plan) -> Path:
    """The file of this space, recipe, data, cutoffs and code: nothing else is ever resumed."""
    from churn_clv import tracking

    said = [
        space.model_dump(mode="json"), settings.recipe_hash, fingerprint, tracking.code_version()[1], lgb.__version__,
        {k: str(v) for k, v in asdict(plan).items()},
    ]  # fmt: skip
    name = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    return Path(settings.out) / "studies" / f"{settings.dataset}-{name}.db"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a study for this process and its workers; UserError where another one does, or the file is no database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            try:
                with closing(sqlite3.connect(path)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error as error:
                raise UserError(
                    f"the study {path} cannot be opened: {error}. Move it away to begin a new one."
                ) from None
            yield
    except Timeout:
        raise UserError(f"another tune is at work on {path}. Wait for it, or stop it.") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's own story of each trial and its notes on what it calls experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(path: Path, head: Head, seed: int) -> optuna.Study:
    """A head's study, made if missing."""
    storage = RDBStorage(
        f"sqlite:///{path}",
        engine_kwargs={"creator": lambda: _connection(path)},
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=3),
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    return optuna.create_study(
        storage=storage,
        sampler=sampler(seed),
        pruner=pruner,
        study_name=head,
        direction="minimize",
        load_if_exists=True,
    )


def _connection(path: Path) -> sqlite3.Connection:
    """A connection that waits for other writers. No flush to disk at each step: a killed process loses nothing by that,
    a power cut at most the last trials, and never the file (it is in write-ahead mode)."""
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def sampler(seed: int) -> optuna.samplers.TPESampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011); it takes what other workers are at for bad news."""
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def seed_of(seed: int, done: int, worker: int) -> int:
    """A seed of its own for each worker of each start."""
    return (seed * 1_000_003 + done * 1_009 + worker) % 2**32


# --- trials ----------------------------------------------------------------------------------------
def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to an end of their own: seen through, or cut short by the pruner."""
    return list(study.get_trials(deepcopy=False, states=FINISHED))


def give_back(study: optuna.Study, numbers: Sequence[int] | None = None) -> int:
    """Queue again what a killed process was at (default: every running trial; call it under the lock only)."""
    count = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if numbers is None or trial.number in numbers:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            if trial.params:  # of a step that has been settled since only the rest is asked
                study.enqueue_trial(dict(trial.params))
            count += 1
    return count


def run_one(study: optuna.Study, arena: Arena, task: Task, began: Callable[[int], None] = lambda number: None) -> None:
    """One trial, kept in the study as soon as it ends; ``began`` hears its number."""

    def objective(trial: optuna.Trial) -> float:
        began(trial.number)
        settled = study.user_attrs.get(STEP)
        draw(trial, task.space, (settled,) if settled else task.steps, task.optional)
        step = settled or trial.params.get(STEP, 1)
        trial.set_user_attr(STEP, step)

        def report(place: int, loss: float) -> None:
            trial.report(loss, place)
            if place < arena.origins - 1 and trial.should_prune():
                raise optuna.TrialPruned

        own = booster_of(trial.params, task.base, task.families)
        found = solve(arena, task.head, own, step, task.problem, report)
        trial.set_user_attr(TREES, found.trees)
        return found.value

    study.optimize(objective, n_trials=1)


def default_of(study: optuna.Study, arena: Arena, task: Task) -> Outcome:
    """The config's own settings in the same small problem; solved once per study."""
    if DEFAULT not in study.user_attrs:
        found = solve(arena, task.head, task.base, 1, task.problem)
        study.set_user_attr(DEFAULT, asdict(found))
    return Outcome(**study.user_attrs[DEFAULT])
