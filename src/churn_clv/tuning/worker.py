"""A process that runs trials: ``python -m churn_clv.tuning.worker TASK``, started by ``tune`` only.

It is a program of its own and not a fork, as OpenMP does not survive one, nor a spawned copy, which would run a user's
script again. Each line on standard input names a head to run a trial for; each answer is a line too. Where the input
ends its parent is gone, and it dies at once: what it was at is given back by the next start.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path

from churn_clv.tuning._arena import Arena
from churn_clv.tuning._studies import open_study, quiet, run_one, task_of


def main(given: str) -> None:
    """Serve trials until the input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    wanted: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(wanted,), daemon=True).start()
    values = json.loads(Path(given).read_text(encoding="utf-8"))
    arena = Arena(Path(values["arena"]))
    tasks = {t["head"]: task_of(t) for t in values["tasks"]}

    def say(word: str) -> None:
        os.write(answers, f"{word}\n".encode())

    with quiet():
        studies = {h: open_study(Path(values["study"]), t.head, values["seed"]) for h, t in tasks.items()}
        say("ready")
        while head := wanted.get():
            run_one(studies[head], arena, tasks[head], lambda number: say(f"began {number}"))
            say("done")


def _listen(wanted: queue.Queue[str]) -> None:
    for line in sys.stdin:
        wanted.put(line.strip())
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
