"""Batch jobs that are killed, that meet each other, or whose disk fills: real processes, really killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import disks
import polars as pl
import pytest
import shop
import tiny

from churn_clv import batch, bundle, config, forgetting, scoring
from churn_clv.bundle import Bundle

# The command, but in pieces of a few customers, so that a kill may fall anywhere; progress goes to stderr.
RUN = """
import sys
from pathlib import Path
import yaml
sys.path[:0] = [sys.argv[3]]
import shop
from churn_clv import bundle, config, forgetting
own = config.from_dict(yaml.safe_load(Path(sys.argv[1]).read_text()))
def say(text):
    print(text, file=sys.stderr, flush=True)
if sys.argv[4:]:
    forgetting.forget(own, sys.argv[4:], say)
else:
    told = shop.score(own, bundle.load_bundle(sys.argv[2]), say, csv=True, piece_events=120, lines=400)
    print(told["already_scored"])
"""
TESTS = str(Path(__file__).parents[1])


def start(own: config.Config, folder: Path, *ids: str, first: str = "") -> subprocess.Popen[str]:
    place = Path(own.out).with_suffix(".yaml")
    place.write_text(config.to_yaml(own))
    command = [sys.executable, "-c", first + RUN, str(place), str(folder), TESTS, *ids]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def finished(process: subprocess.Popen[str]) -> list[str]:
    """What a process said, once it has ended well."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return [*said.splitlines(), out.strip()]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} if folder.exists() else {}


def is_whole(folder: Path) -> bool:
    """A reader's view: no folder yet, or a manifest and the very files that it names."""
    if not folder.exists():
        return True
    manifest = json.loads((folder / "manifest.json").read_text())
    return bool(scoring.checksum([folder / part["file"] for part in manifest["parts"]]) == manifest["sha256"])


def scored_pieces(own: config.Config) -> set[str]:
    return {path.name for path in scoring.work_folder(own).glob("*-scored/*.arrow") if not path.name.startswith(".")}


def kills(tmp_path: Path, folder: Path, rounds: int, seed: int) -> None:
    """Kill scorings at random moments and let another one finish: the same bytes as of one that was left alone."""
    draw = random.Random(seed)
    straight = shop.settings(tmp_path / "straight")
    began = time.monotonic()
    finished(start(straight, folder))
    seconds = time.monotonic() - began
    [whole] = [one.folder for one in scoring.scorings(scoring.scores_folder(straight))]
    own = shop.settings(tmp_path / "killed")
    target = Path(own.out) / whole.relative_to(straight.out)
    broken_off = 0
    for number in range(rounds):
        shutil.rmtree(own.out, ignore_errors=True)
        before: set[str] = set()
        for _ in range(draw.randint(1, 2)):
            process = start(own, folder)
            time.sleep(draw.uniform(0.3, 0.95) * seconds)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            broken_off += process.returncode != 0
            assert is_whole(target), number
            table = Path(batch.table_url(own))
            assert not table.exists() or current_of(own) == 80
            now = scored_pieces(own)
            assert before <= now or target.exists(), "a piece that was scored has gone"
            before = now
        stood = target.exists()
        said_at_last = finished(start(own, folder))
        if before and not stood:
            last = [line for line in said_at_last if line.startswith("scoring:")][-1]
            assert "of them before" in last, last  # what was scored was not scored again
        assert content(target) == content(whole), number
        assert current_of(own) == 80 and not scoring.work_folder(own).exists()
    assert broken_off > rounds / 2  # else it was hardly ever killed in the middle


def current_of(own: config.Config) -> int:
    from churn_clv import scoretable

    found = scoretable.current(batch.table_url(own), own.registered_name)
    return 0 if found is None else found.rows


@pytest.mark.check
def test_scorings_that_are_killed_end_as_if_they_were_not(tmp_path: Path, tiny_folder: Path) -> None:
    kills(tmp_path, tiny_folder, 3, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6])
def test_a_hundred_scorings_that_are_killed(tmp_path: Path, tiny_folder: Path, seed: int) -> None:
    kills(tmp_path, tiny_folder, 20, seed)


# The same job, which ends of itself, without any tidying, when it makes the table's second frame of rows.
FILLS = """
import os
from churn_clv import scoretable
real, made = scoretable.rows_of, []
def rows_of(*arguments):
    made.append(1)
    if len(made) == 2:
        os._exit(9)
    return real(*arguments)
scoretable.rows_of = rows_of
"""


@pytest.mark.check
def test_a_scoring_killed_while_it_fills_the_table_is_finished_by_the_next(
    tmp_path: Path, tiny_folder: Path, tiny_bundle: Bundle
) -> None:
    """What the killed one had written of the table lies beside it, and keeps nobody from writing another."""
    own = shop.settings(tmp_path)
    table = Path(batch.table_url(own))
    for skipped in (0, 5):  # another log: everything is to be written again
        log = tiny.plain_log().slice(skipped)
        shop.settings(tmp_path, log)
        before = table.read_bytes() if table.exists() else None
        process = start(own, tiny_folder, first=FILLS)
        process.communicate(timeout=60)
        assert process.returncode == 9 and (table.parent / f".{table.name}.draft").exists()
        assert (table.read_bytes() if table.exists() else None) == before
        shop.score(own, tiny_bundle)
        assert current_of(own) == log["customer_id"].n_unique()
        assert not (table.parent / f".{table.name}.draft").exists()
        assert table.read_bytes() != before


@pytest.mark.check
def test_pieces_that_were_scored_are_not_scored_again(tmp_path: Path, tiny_folder: Path, tiny_bundle: Bundle) -> None:
    """Killed right after its fourth piece: the next one scores the others only, one of them at most a second time."""
    own = shop.settings(tmp_path)
    process = start(own, tiny_folder)
    assert process.stderr is not None
    seen = 0
    for line in process.stderr:
        seen += line.startswith("scoring:")
        if seen == 4:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=60)
    done = len(scored_pieces(own))
    assert done >= 4
    scored = 0
    real = Bundle.score_log

    def counting(self: Bundle, *arguments: object) -> pl.DataFrame:
        nonlocal scored
        scored += 1
        return real(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, "score_log", counting)
        told = shop.score(own, tiny_bundle, csv=True, piece_events=120, lines=400)
    pieces = -(-tiny.plain_log().height // 120)
    assert scored == pieces - done and told["rows"] == 80


@pytest.mark.check
def test_two_scorers_at_once(tmp_path: Path, tiny_folder: Path) -> None:
    """The second waits, says so, and finds the work done."""
    own = shop.settings(tmp_path)
    first = start(own, tiny_folder)
    assert first.stderr is not None and first.stderr.readline()  # it holds the lock and reads
    first.send_signal(signal.SIGSTOP)
    second = start(own, tiny_folder)
    assert second.stderr is not None
    waits = second.stderr.readline()
    assert f"another process (pid {first.pid})" in waits and "waiting" in waits
    first.send_signal(signal.SIGCONT)
    assert (finished(first)[-1], finished(second)[-1]) == ("False", "True")
    assert current_of(own) == 80


@pytest.mark.check
def test_a_forgetting_that_is_killed_is_finished_by_the_next(tmp_path: Path, tiny_folder: Path) -> None:
    draw = random.Random(4)
    own = shop.settings(tmp_path)
    finished(start(own, tiny_folder))
    began = time.monotonic()
    finished(start(own, tiny_folder, "c001"))
    seconds = time.monotonic() - began
    [one] = scoring.scorings(scoring.scores_folder(own))
    for number in range(2, 6):
        process = start(own, tiny_folder, f"c{number:03d}")
        time.sleep(draw.uniform(0.5, 0.98) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if one.folder.exists():
            assert is_whole(one.folder)
    told = forgetting.forget(own, [f"c{number:03d}" for number in range(1, 6)], shop.quiet)
    assert all(place["rows"] <= 4 for place in told["removed"])
    assert pl.read_parquet(scoring.parts_of(one.folder)).height == 75 == current_of(own)
    assert is_whole(one.folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small(tmp_path / "small", 3) as folder:
        yield folder


@pytest.mark.check
def test_a_full_disk_leaves_the_former_scoring(tmp_path: Path, small_disk: Path, tiny_folder: Path) -> None:
    """The disk fills a little later each time, so that every file has its turn: log, pieces, parts, CSV, table."""
    own = shop.published(shop.settings(tmp_path, service={"bundles": str(tmp_path / "bundles")}), tiny_folder)
    own = own.model_copy(update={"out": str(small_disk / "out")})
    model = bundle.load_bundle(tiny_folder)
    first = shop.score(own, model, csv=True)
    folder = Path(first["path"])
    before = content(folder)
    table = Path(first["table"]["url"]).read_bytes()
    shop.settings(tmp_path, tiny.plain_log().slice(5))  # another log: everything is to be written again
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    failed, written = 0, 0
    for spare in range(0, 1400, 100):
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"0" * 4096)
            except OSError:
                file.truncate(max(0, file.tell() - spare * 1024))
        command = [sys.executable, "-m", "churn_clv.cli", "score", str(tmp_path / "own.yaml"), "--csv"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        filler.unlink()
        if done.returncode == 0:
            break
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert "No space left on device" in done.stderr, done.stderr
        failed += 1
        assert is_whole(folder)
        if content(folder) != before:
            written += 1  # the files were done, the table was not
        else:
            assert Path(first["table"]["url"]).read_bytes() == table
    assert failed >= 3
    told = shop.score(own, model, csv=True)
    assert told["rows"] == pl.read_parquet(scoring.parts_of(folder)).height == current_of(own)
    assert content(folder) != before and not scoring.work_folder(own).exists()
