"""Tuning: Optuna over booster settings, feature families and the snapshot step; the only package that imports optuna.

Churn is searched on log loss and spend on Tweedie deviance, pooled over validation cutoffs before the development
line; whether it paid is then said on later cutoffs, by the whole recipe, tuned against default (docs/tuning.md).
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optuna.trial import TrialState

from churn_clv import config, training
from churn_clv.beside import Beside
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.recipe import Say, Workshop
from churn_clv.targets import far_plans
from churn_clv.tuning import _arena, _crew, _overlay, _plots, _verdict
from churn_clv.tuning._arena import Arena
from churn_clv.tuning._ground import Ground, coarser, ground, steps_that_fit
from churn_clv.tuning._space import (
    HEADS,
    Head,
    Space,
    booster_of,
    final_of,
    load_space,
    optional_families,
    space_of,
    start_of,
)
from churn_clv.tuning._steps import Searched, choose, settle
from churn_clv.tuning._studies import (
    TREES,
    Task,
    default_of,
    finished,
    give_back,
    held,
    open_study,
    quiet,
    sampler,
    seed_of,
    study_file,
)
from churn_clv.tuning._tell import Clock, comments, document_of, told_of

__all__ = ["Limits", "Progress", "Space", "check", "load_space", "space_of", "tune"]


@dataclass(frozen=True)
class Limits:
    """How long to search: ``trials`` in total over both heads, ``seconds`` of searching, ``jobs`` processes."""

    trials: int = 100
    seconds: float | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Progress:
    """Trials finished, wanted, and by head the best loss so far beside the default's; None before there is one."""

    done: int
    wanted: int
    best: dict[str, tuple[float | None, float]]


Watch = Callable[[Progress], None]
STEP_SHARE = 0.3  # of the trials after which the step is settled, so that the rest look for what suits it


def tune(
    settings: config.Config, log: Log, limits: Limits = Limits(), space: Space | None = None,
    to: Path | None = None, say: Say = lambda _: None, watch: Watch = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Search, say on later cutoffs whether it paid, write the overlay and record it all; docs/tuning.md has the keys.

    What finished before a kill is kept and never repeated: the same call goes on. Raises UserError for limits, a space
    or an output that cannot be, a history that is too short, and on Ctrl-C, after which the same call goes on too.
    """
    from churn_clv import tracking  # here, because every worker imports this package and MLflow takes seconds

    clock = Clock()
    space, to = space or load_space(), check(limits, settings, to)
    tracking.prepare(settings)
    found = ground(log, settings, say)
    for note in found.notes:
        say(note)
    shop, refused = _workshop(found, settings, space, limits.trials, say)
    clock.lap("snapshots")
    path = study_file(settings, space, found.log.fingerprint, found.search)
    with quiet(), held(path):
        searched = _search(shop, found, space, limits, path, say, watch)
        clock.lap("search")
        step, chosen = choose(searched)
        boosters = {h: final_of(booster_of(t.params, searched[h].task.base, searched[h].task.families),
                                t.user_attrs[TREES], space) for h, t in chosen.items()}  # fmt: skip
        lines, tuned = _overlay.overlay_of(settings, boosters, step, found.search)
        with TemporaryDirectory() as place:
            drawn = Beside(lambda: _draw(searched, Path(place) / "plots"))
            minus = _judge(shop, found, tuned, step, refused, limits.jobs, path, say)
            clock.lap("judging")
            document = document_of(settings, found, searched, chosen, boosters, step, minus, limits.trials)
            document |= {"study": str(path), "overlay": str(to), "recipe_hash": tuned.recipe_hash}
            _overlay.write(to, lines, comments(document))
            say("recording the run in MLflow")
            drawn.result()
            shutil.copy(to, Path(place) / "tuned.yaml")
            trials = [told_of(h, t) for h, s in searched.items() for t in finished(s.study)]
            document["run_id"] = tracking.log_study(settings, document, trials, Path(place))
            clock.lap("tracking")
    return document | clock.told()


# --- before the search -----------------------------------------------------------------------------
def check(limits: Limits, settings: config.Config, to: Path | None = None) -> Path:
    """The overlay's path; UserError for what cannot be, before anything long begins."""
    to = to or Path(settings.out) / "tuned" / f"{settings.dataset}.yaml"
    if limits.trials < 1:
        raise UserError(f"--trials must be 1 or more, found {limits.trials}.")
    if limits.jobs < 1:
        raise UserError(f"--jobs must be 1 or more, found {limits.jobs}.")
    if limits.seconds is not None and not limits.seconds > 0:
        raise UserError(f"--timeout must be above 0 seconds, found {limits.seconds:g}.")
    if to.is_dir():
        raise UserError(f"the overlay {to} is a folder. Give the path of a file, such as {to / 'tuned.yaml'}.")
    above = next(p for p in to.absolute().parents if p.exists())
    if not above.is_dir():
        raise UserError(f"the overlay {to} cannot be written: {above} is a file, no folder. Give another path.")
    to.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(to.parent, os.W_OK):
        raise UserError(f"the overlay {to} cannot be written: no right to write in {to.parent}.")
    return to


def _workshop(
    found: Ground, settings: config.Config, space: Space, trials: int, say: Say
) -> tuple[Workshop, dict[str, str]]:
    """The one matrix that search and judging share, and the targets it cannot answer; UserError for too few trials."""
    targets, refused = training.answerable(found.log, settings)
    plans = list(dict.fromkeys([found.search, *found.judged]))
    heads = _heads(targets, space)
    if trials < len(heads):
        raise UserError(f"--trials {trials} leaves a model without one: give {len(heads)} or more.")
    far = far_plans(found.log, settings, [p.ends for p in plans])
    shop = Workshop(found.log, settings, plans, targets, say, shipping=False, others=far)
    refused = training.without_money(shop, plans, refused, say)
    _heads(shop.targets, space)
    return shop, refused


def _heads(targets: Mapping[str, config.Target], space: Space) -> list[Head]:
    """What is searched; UserError where nothing is left."""
    heads = [h for h in HEADS if space.of(h) and (h == "churn" or "spend" in targets)]
    if not heads:
        raise UserError("tune: the space searches spend only, and this log cannot answer it. Add ranges for churn.")
    return heads


# --- the search ------------------------------------------------------------------------------------
def _search(
    shop: Workshop, found: Ground, space: Space, limits: Limits, path: Path, say: Say, watch: Watch
) -> dict[Head, Searched]:
    """Run what is left of the trials; UserError where not one trial of a head was seen through."""
    tasks = {h: _task(h, shop, found, space) for h in _heads(shop.targets, space)}
    folder = path.with_suffix(".arena")
    say("binning the snapshots once")
    _arena.build(folder, shop, found.search, next(iter(tasks.values())).steps)
    try:
        arena, out, seed = Arena(folder), {}, shop.settings.seed
        for head, task in tasks.items():
            study = open_study(path, head, seed)
            study.enqueue_trial(start_of(task.base, task.space, task.steps, task.optional), skip_if_exists=True)
            if lost := give_back(study):
                say(f"{head}: {lost} trial(s) that a killed run was at will be run again")
            study.sampler = sampler(seed_of(seed, len(finished(study)), 0))
            out[head] = Searched(study, task, default_of(study, arena, task))
        _run(out, arena, folder, path, limits, seed, say, watch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for head, one in out.items():
        if not any(t.state == TrialState.COMPLETE for t in finished(one.study)):
            raise UserError(f"tune: no trial of {head} was seen through. Give a longer --timeout or more --trials; "
                            f"what finished is kept in {path}.")  # fmt: skip
    return out


def _task(head: Head, shop: Workshop, found: Ground, space: Space) -> Task:
    own = space.of(head)
    assert own is not None
    base = shop.settings.models.churn if head == "churn" else shop.settings.models.spend
    families = tuple(dict.fromkeys(shop.family_of[c] for c in shop.columns))
    kept = base.families or families
    return Task(head, base, own, space.trial, tuple(f for f in families if f in kept),
                optional_families(own, [f for f in families if f in kept], head),
                steps_that_fit(found.search, space.step))  # fmt: skip


def _run(
    searched: Mapping[Head, Searched], arena: Arena, folder: Path, path: Path, limits: Limits, seed: int, say: Say,
    watch: Watch,
) -> None:  # fmt: skip
    studies, tasks = {h: s.study for h, s in searched.items()}, {h: s.task for h, s in searched.items()}
    wanted = _crew.missing(studies, limits.trials)
    kept = sum(len(finished(s)) for s in studies.values())
    say(f"searching: {len(wanted)} trials to run, {kept} kept from before, {limits.jobs} at a time")
    until = time.monotonic() + (limits.seconds or math.inf)

    last: list[Progress] = []

    def look() -> None:
        now = _progress(searched, limits.trials)
        if now.done >= limits.trials * STEP_SHARE:
            settle(searched)
        if [now] != last:
            last[:] = [now]
            watch(now)

    try:
        look()
        if limits.jobs > 1 and len(wanted) > 1:
            _crew.together(studies, tasks, folder, path, wanted, limits.jobs, seed, until, look)
        elif wanted:
            _crew.alone(studies, tasks, arena, wanted, until, look)
    except KeyboardInterrupt:
        done = sum(len(finished(s)) for s in studies.values())
        raise UserError(f"interrupted: {done} of {limits.trials} trials are kept in {path}. The same command goes on "
                        f"from there; with --trials {done} it ends the search here.") from None  # fmt: skip


def _progress(searched: Mapping[Head, Searched], wanted: int) -> Progress:
    best: dict[str, tuple[float | None, float]] = {}
    done = 0
    for head, one in searched.items():
        trials = finished(one.study)
        done += len(trials)
        values = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
        best[head] = (min(values, default=None), one.default.value)
    return Progress(done, wanted, best)


# --- after it --------------------------------------------------------------------------------------
def _draw(searched: Mapping[Head, Searched], folder: Path) -> None:
    for head, one in searched.items():
        _plots.draw(one.study, _verdict.PRIMARY[head], folder)


def _judge(
    shop: Workshop, found: Ground, tuned: config.Config, step: int, refused: dict[str, str], jobs: int, path: Path,
    say: Say,
) -> dict[str, Any] | None:  # fmt: skip
    if not found.judged:
        return None
    wide = [coarser(p, step) if step > 1 else p for p in found.judged]
    try:
        return _verdict.compare(shop, tuned, found.judged, wide, refused, jobs, say)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted while judging: every trial is kept in {path}. The same command judges again."
        ) from None
