"""Who runs the trials: this process alone, or several workers that are handed one trial after another."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import optuna

from churn_clv.errors import UserError
from churn_clv.tuning._arena import Arena
from churn_clv.tuning._space import Head
from churn_clv.tuning._studies import Task, finished, give_back, run_one, seed_of

MOST_DEATHS = 5  # of workers, before the search gives up
LOOK_SECONDS = 0.5  # between looks at how far it is


def missing(studies: Mapping[Head, optuna.Study], trials: int) -> list[Head]:
    """The trials that are left of ``trials`` in total, heads in turn; the first head has the odd one."""
    share = {h: (trials + n) // len(studies) for n, h in enumerate(reversed(list(studies)))}
    left = {h: max(0, share[h] - len(finished(study))) for h, study in studies.items() if share[h]}
    out: list[Head] = []
    while any(left.values()):
        head = max(left, key=lambda h: left[h] / share[h])  # who is furthest behind
        out.append(head)
        left[head] -= 1
    return out


def alone(
    studies: Mapping[Head, optuna.Study], tasks: Mapping[Head, Task], arena: Arena, wanted: Sequence[Head],
    until: float, look: Callable[[], None],
) -> None:  # fmt: skip
    """Run the wanted trials here, one after the other, until ``until`` on the monotonic clock."""
    for head in wanted:
        if time.monotonic() >= until:
            break
        run_one(studies[head], arena, tasks[head])
        look()


def together(
    studies: Mapping[Head, optuna.Study], tasks: Mapping[Head, Task], folder: Path, path: Path, wanted: Sequence[Head],
    jobs: int, seed: int, until: float, look: Callable[[], None],
) -> None:  # fmt: skip
    """Hand the wanted trials to ``jobs`` workers, each at one at a time. What a dying worker was at is given back."""
    crew = _Crew(studies, tasks, folder, path, wanted, seed, until)
    threads = [threading.Thread(target=crew.serve, args=(n,), daemon=True) for n in range(min(jobs, len(wanted)))]
    try:
        for thread in threads:
            thread.start()
        while any(t.is_alive() for t in threads):
            time.sleep(LOOK_SECONDS)
            look()
    finally:
        crew.stop()
    if crew.trouble:
        raise crew.trouble
    look()


class _Crew:
    """The trials not handed out yet, and the workers' processes."""

    def __init__(
        self, studies: Mapping[Head, optuna.Study], tasks: Mapping[Head, Task], folder: Path, path: Path,
        wanted: Sequence[Head], seed: int, until: float,
    ) -> None:  # fmt: skip
        self.studies, self.tasks, self.folder, self.path = studies, tasks, folder, path
        self.left, self.lock, self.seed, self.until = list(wanted), threading.Lock(), seed, until
        self.running: set[subprocess.Popen[str]] = set()
        self.deaths, self.stopped = 0, False
        self.trouble: UserError | None = None
        self.done = sum(len(finished(s)) for s in studies.values())

    def serve(self, worker: int) -> None:
        """Keep one worker at work until nothing is left; begin another where it dies."""
        while not self.stopped and self.left and time.monotonic() < self.until:
            process = self._start(worker)
            try:
                if self._hand_out(process):
                    return
            finally:
                process.kill()
                process.wait()
                self.running.discard(process)
            with self.lock:
                self.deaths += 1
                if self.deaths > MOST_DEATHS:
                    self.trouble = UserError(f"{self.deaths} workers died; what finished is kept in {self.path}. Is "
                                             f"the memory too small? Run it again with fewer --jobs.")  # fmt: skip
                    self.stopped = True

    def stop(self) -> None:
        """End every worker now."""
        self.stopped = True
        for process in list(self.running):
            process.kill()
            process.wait()

    def _start(self, worker: int) -> subprocess.Popen[str]:
        given = self.folder / f"worker-{worker}.json"
        seed = seed_of(self.seed, self.done + self.deaths, worker + 1)
        values = {"arena": str(self.folder), "study": str(self.path), "seed": seed,
                  "tasks": [t.as_json() for t in self.tasks.values()]}  # fmt: skip
        given.write_text(json.dumps(values), encoding="utf-8")
        # A session of its own: Ctrl-C reaches this process alone, which then ends the workers.
        process = subprocess.Popen([sys.executable, "-m", "churn_clv.tuning.worker", str(given)], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
        self.running.add(process)
        return process

    def _hand_out(self, process: subprocess.Popen[str]) -> bool:
        """Hand one trial after another to a worker; False where it died."""
        assert process.stdin is not None and process.stdout is not None
        if _answer(process.stdout) != "ready":
            return False
        for head in self._next():
            at = None
            try:
                process.stdin.write(f"{head}\n")
                process.stdin.flush()
                while (word := _answer(process.stdout)) and word != "done":
                    at = int(word.removeprefix("began "))
            except BrokenPipeError:
                word = ""
            if not word and not self.stopped:
                with self.lock:
                    self.left.append(head)
                    give_back(self.studies[head], [] if at is None else [at])
            if not word:
                return False
        return True

    def _next(self) -> Iterator[Head]:
        while not self.stopped and time.monotonic() < self.until:
            with self.lock:
                if not self.left:
                    return
                head = self.left.pop(0)
            yield head


def _answer(source: IO[Any]) -> str:
    """The next line, empty where there is none."""
    return str(source.readline()).strip()
