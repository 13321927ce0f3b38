"""The house rules that no single file shows: who prints, who imports what, which arithmetic, which versions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "churn_clv"
LOCKS = (
    "requirements/lab.txt",
    "requirements/dev.txt",
    "src/requirements/serve.txt",
    "src/requirements/serve-text.txt",
)
# the one module (or package) that may import each framework
OWNERS = {
    "mlflow": {"tracking"},
    "bentoml": {"service"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "optuna": {"tuning"},
    "matplotlib": {
        "actions_figure",
        "advice_figure",
        "backtest_figures",
        "contest_figure",
        "figures",
        "forecast_figure",
        "ledger_figure",
        "overview_figure",
        "portfolio_figure",
        "tuning",
    },
    "sklearn": {"models"},
    "clvkit": {"models"},
    "empulse": {"empc"},
    "textblob": {"text"},
    "typer": {"cli"},
    "rich": {"cli"},
}
# security floors: older releases have known holes (remote code through pickles, path traversal, SSRF)
FLOORS = {"bentoml": (1, 4, 39), "mlflow": (3, 17, 2)}
# aggregates whose floating-point result depends on the order of the rows, hence on batch size and thread count
INEXACT = {"std", "var", "skew", "kurtosis", "corr", "cov", "mean", "rolling_mean", "rolling_std", "product"}
CODE_FROM_DATA = {"pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"}

Finder = Callable[[ast.AST], Iterator[str]]


def dotted(node: ast.AST) -> str:
    """'a.b.c' for a chain of names and attributes; what cannot be named becomes '?'."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level package of every import, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def prints(tree: ast.AST) -> Iterator[str]:
    for call in calls(tree):
        name = dotted(call.func)
        if name in {"print", "pprint", "typer.echo", "click.echo", "sys.stdout.write", "sys.stderr.write"}:
            yield f"line {call.lineno}: {name}"


def inexact(tree: ast.AST) -> Iterator[str]:
    for call in calls(tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in INEXACT:
            yield f"line {call.lineno}: .{call.func.attr}"


def runs_data(tree: ast.AST) -> Iterator[str]:
    yield from (f"import {name}" for name in imported(tree) if name in CODE_FROM_DATA)
    for call in calls(tree):
        name = dotted(call.func)
        words = {word.arg: word.value for word in call.keywords}
        if name in {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}:
            yield f"line {call.lineno}: {name}"
        if name in {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"} or name.endswith(".load_model"):
            yield f"line {call.lineno}: {name}"
        for flag in ("shell", "allow_pickle"):
            if isinstance(value := words.get(flag), ast.Constant) and value.value is True:
                yield f"line {call.lineno}: {flag}=True"


def compares_with_cutoff(tree: ast.AST) -> Iterator[str]:
    order = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, order) for op in node.ops):
            text = ast.unparse(node)
            if re.search(r"\bcutoff\b", text) and re.search(r"\b(time|known_at)\b", text):
                yield f"line {node.lineno}: {text}"


def room(path: Path) -> str:
    """The module or package a file belongs to, e.g. 'cli' for cli.py and for cli/tables.py."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def trees(keep: Callable[[str], bool] = lambda room: True) -> dict[str, ast.Module]:
    files = [path for path in sorted(SOURCE.rglob("*.py")) if keep(room(path))]
    assert files, "no source files found: the test would pass on nothing"
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def violations(find: Finder, found: dict[str, ast.Module]) -> list[str]:
    return [f"{name}: {what}" for name, tree in found.items() for what in find(tree)]


def test_only_the_command_line_prints() -> None:
    assert violations(prints, trees(lambda name: name != "cli")) == []


def test_features_use_exact_arithmetic_only() -> None:
    rooms = {"features", "labels", "population", "timeline", "matrix"}
    assert violations(inexact, trees(lambda name: name in rooms)) == []


def test_nothing_runs_code_that_came_as_data() -> None:
    assert violations(runs_data, trees()) == []


def test_only_timeline_compares_a_time_with_a_cutoff() -> None:
    assert violations(compares_with_cutoff, trees(lambda name: name != "timeline")) == []


def test_each_framework_has_one_owner() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if room(path) not in OWNERS.get(name, {room(path)})
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("find", "bad", "good"),
    [
        (prints, "print(1)", "log.info('print')"),
        (prints, "import typer\ntyper.echo('x')", "typer.Option('x')"),
        (inexact, "pl.col('x').std()", "pl.col('x').max()"),
        (inexact, "frame.select(pl.mean('x'))", "pl.mean_horizontal('x', 'y')"),
        (runs_data, "import pickle", "import json"),
        (runs_data, "from joblib import load", "from json import load"),
        (runs_data, "yaml.load(text)", "yaml.safe_load(text)"),
        (runs_data, "subprocess.run('ls', shell=True)", "subprocess.run(['ls'])"),
        (runs_data, "mlflow.pyfunc.load_model(uri)", "load_bundle(folder)"),
        (runs_data, "eval(text)", "re.compile(text)"),
        (compares_with_cutoff, "pl.col('time') < pl.col('cutoff')", "pl.col('time') < pl.col('end')"),
    ],
)
def test_the_scanners_find_what_they_look_for(find: Finder, bad: str, good: str) -> None:
    assert list(find(ast.parse(bad)))
    assert not list(find(ast.parse(good)))


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_security_floors(name: str) -> None:
    """Installed, declared and locked: none may fall under the floor (reasons beside FLOORS)."""
    floor = FLOORS[name]
    assert release(metadata.version(name)) >= floor
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [need for extra in project["optional-dependencies"].values() for need in extra]
    lower = [release(need.partition(">=")[2]) for need in declared if re.match(rf"{name}\b", need)]
    assert lower and min(lower) >= floor
    pinned = [
        release(found)
        for lock in LOCKS
        for found in re.findall(rf"^{name}==([^ ;\\]+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert pinned and min(pinned) >= floor


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_pinned_hashed_and_name_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + re.sub(r"(?m)^ *#.*\n?", "", text))[1:]
    assert len(entries) > 50
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert "://" not in text and "--index-url" not in text and "--find-links" not in text


def test_the_locks_agree() -> None:
    """lab is a part of dev, serve a part of lab, in the very same versions: what is tested is what is served."""
    pins = [
        dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in LOCKS
    ]
    lab, dev, serve, texts = pins
    assert lab.items() <= dev.items()
    assert serve.items() <= lab.items()
    assert serve.items() < texts.items() < dev.items() and "textblob" in texts
    assert not {"mlflow", "optuna", "scikit-learn", "pandas"} & serve.keys()
