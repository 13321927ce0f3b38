"""What is searched: the space of ``configs/search.yaml``, and what one draw from it means for a head's booster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
from pydantic import Discriminator, Field, PositiveInt, Tag, ValidationError, model_validator

from churn_clv import features
from churn_clv.config import Booster, Section, expected, parse_yaml, read_yaml, shipped_text
from churn_clv.errors import UserError, nearest

Head = Literal["churn", "spend"]
HEADS: tuple[Head, ...] = ("churn", "spend")
SHIPPED = "search.yaml"
FAMILIES, STEP = "families", "step"
# Traded against one another between trial and overlay, so not searched.
TRADED = ("learning_rate", "max_rounds")
SEARCHED = tuple(name for name in Booster.model_fields if name not in (*TRADED, FAMILIES))
DIGITS = 4  # significant digits of a drawn number: what the overlay says is what the trial used


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; whole where both are and the setting is."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _not_empty(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found low {self.low:g}, high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("with log: true, low must be above 0")
        return self


def _kind(value: Any) -> str | None:
    """Which of the two a value is meant to be, so that only that one is complained about."""
    return "<range>" if isinstance(value, dict | Range) else "<list>" if isinstance(value, list) else None


Choices = Annotated[list[float], Field(min_length=1)]
Wanted = Annotated[
    Annotated[Range, Tag("<range>")] | Annotated[Choices, Tag("<list>")],
    Discriminator(
        _kind,
        custom_error_type="wanted",
        custom_error_message="expected a range such as {low: 3, high: 31}, or a list of values such as [3, 7, 15]",
    ),
]
Searched = dict[str, Wanted]


class Trial(Section):
    """The small learning problem of one trial."""

    rows: Annotated[int, Field(ge=500)] = 16_000
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    rounds: PositiveInt = 60


class Final(Section):
    """What the overlay makes of a trial."""

    slower: Annotated[float, Field(ge=1, le=100)] = 4
    room: Annotated[float, Field(ge=1, le=10)] = 1.5


class HeadSpace(Section):
    """The ranges of one head, and the families that a trial may leave out."""

    ranges: Searched
    families: tuple[str, ...] = ()


class Space(Section):
    """The whole space; a head without one is not searched."""

    trial: Trial = Trial()
    final: Final = Final()
    step: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1,)
    churn: HeadSpace | None = None
    spend: HeadSpace | None = None

    def of(self, head: Head) -> HeadSpace | None:
        """The space of a head."""
        return self.churn if head == "churn" else self.spend


def load_space(path: Path | None = None) -> Space:
    """The shipped space, or the file's; UserError naming the setting, what is wrong with it and the nearest known."""
    if path is None:
        return space_of(parse_yaml(shipped_text(SHIPPED), SHIPPED), SHIPPED)
    return space_of(read_yaml(path, "search space"), str(path))


def space_of(values: Mapping[str, Any], where: str = "search space") -> Space:
    """Check a plain dictionary written like search.yaml; UserError where it is none."""
    given = dict(values)
    for head in HEADS:
        if given.get(head) is not None:
            given[head] = _head(given[head], f"{where}: {head}")
    _refuse_unknown(given, Space.model_fields, where)
    try:
        space = Space.model_validate(given)
    except ValidationError as error:
        lines = _explained(error)
        raise UserError(f"{where}: {len(lines)} setting(s) refused.\n  " + "\n  ".join(lines)) from None
    if not any(space.of(head) for head in HEADS):
        raise UserError(f"{where}: nothing to search. Give ranges under churn, spend or both.")
    if len(set(space.step)) < len(space.step):
        raise UserError(f"{where}: step names a multiple twice: {list(space.step)}.")
    for head in HEADS:
        _within_bounds(space.of(head), f"{where}: {head}")
        _known_families(space.of(head), f"{where}: {head}")
    return space


def _head(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not given:
        raise UserError(f"{where}: expected settings with their ranges, such as `num_leaves: {{low: 3, high: 31}}`.")
    for name in TRADED:
        if name in given:
            raise UserError(f"{where}.{name} is not searched: it follows from trial.learning_rate, trial.rounds and "
                            f"final.slower.")  # fmt: skip
    _refuse_unknown(given, (*SEARCHED, FAMILIES), where)
    families = given.get(FAMILIES) or ()
    return {"ranges": {k: v for k, v in given.items() if k != FAMILIES}, FAMILIES: families}


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any], where: str) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"{where}: unknown setting '{name}'.{nearest(str(name), known)}")


def _known_families(space: HeadSpace | None, where: str) -> None:
    for name in space.families if space else ():
        if name not in features.FAMILIES:
            raise UserError(f"{where}.families: unknown family '{name}'.{nearest(name, features.FAMILIES)}")


def _within_bounds(space: HeadSpace | None, where: str) -> None:
    """Refuse values that models.<head> itself would refuse."""
    for name, wanted in (space.ranges if space else {}).items():
        for value in [wanted.low, wanted.high] if isinstance(wanted, Range) else wanted:
            try:
                Booster.model_validate({name: whole(name, value)})
            except ValidationError as error:
                raise UserError(f"{where}.{name}: {value:g} is refused: {expected(error.errors()[0])}.") from None


def _explained(error: ValidationError) -> list[str]:
    """A line for each setting that is refused."""
    items = error.errors()
    # A list whose only value is refused is not empty, whatever pydantic makes of it.
    inner = {item["loc"][:-1] for item in items}
    return [_line(item) for item in items if not (item["type"] == "too_short" and item["loc"] in inner)]


def _line(item: Any) -> str:
    place = [str(p) for p in item["loc"] if p != "ranges" and not str(p).startswith("<")]
    key = ".".join(place)
    if item["type"] == "missing":
        return f"{key}: required, and not given."
    if item["type"] != "extra_forbidden":
        return f"{key}: {expected(item)}."
    known = Range if "ranges" in item["loc"] else Trial if place[0] == "trial" else Final
    return f"unknown setting '{key}'.{nearest(place[-1], known.model_fields)}"


# --- one draw --------------------------------------------------------------------------------------
def whole(name: str, value: float) -> float | int:
    """A drawn value as the setting has it: a whole number, or a number of four significant digits."""
    if Booster.model_fields[name].annotation is int:
        return int(value) if float(value).is_integer() else value
    return float(f"{value:.{DIGITS}g}")


def draw(trial: optuna.Trial, space: HeadSpace, steps: Sequence[int], optional: Sequence[str]) -> None:
    """Let a trial draw each setting, whether each optional family stays, and the step; they are in its ``params``."""
    for name, wanted in space.ranges.items():
        if not isinstance(wanted, Range):
            trial.suggest_categorical(name, wanted)
        elif Booster.model_fields[name].annotation is int:
            trial.suggest_int(name, round(wanted.low), round(wanted.high), log=wanted.log)
        else:
            trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log)
    for family in optional:
        trial.suggest_categorical(f"with_{family}", [True, False])
    if len(steps) > 1:
        trial.suggest_categorical(STEP, list(steps))


def booster_of(params: Mapping[str, Any], base: Booster, families: Sequence[str]) -> Booster:
    """The booster that a draw means: ``base`` with its settings; ``families`` are those that the log feeds."""
    own = {name: whole(name, value) for name, value in params.items() if name in SEARCHED}
    kept = tuple(f for f in families if params.get(f"with_{f}", True))
    every = base.families is None and len(kept) == len(families)  # a config that names some keeps naming them
    few = {FAMILIES: None if every else kept} if any(p.startswith("with_") for p in params) else {}
    return base.model_copy(update=own | few)


def start_of(base: Booster, space: HeadSpace, steps: Sequence[int], optional: Sequence[str]) -> dict[str, Any]:
    """The config's own settings as a draw, each moved into its range: where the search starts."""
    out: dict[str, Any] = {}
    for name, wanted in space.ranges.items():
        value = getattr(base, name)
        if isinstance(wanted, Range):
            out[name] = min(max(value, wanted.low), wanted.high)
            out[name] = round(out[name]) if Booster.model_fields[name].annotation is int else out[name]
        else:
            out[name] = min(wanted, key=lambda v: abs(v - value))
    kept = {f"with_{f}": base.families is None or f in base.families for f in optional}
    return out | kept | ({STEP: min(steps)} if len(steps) > 1 else {})


def optional_families(space: HeadSpace, families: Sequence[str], where: str) -> tuple[str, ...]:
    """Of the families that this log feeds those that a trial may leave out; UserError where that is every one."""
    found = tuple(f for f in families if f in space.families)
    if families and len(found) == len(families):
        raise UserError(f"search space: {where}.families lists every family that this log feeds; leave out at least "
                        f"one that always stays.")  # fmt: skip
    return found


def final_of(booster: Booster, trees: int, space: Space) -> Booster:
    """What the overlay says: a smaller learning rate, and room for as many trees more."""
    rate = float(f"{space.trial.learning_rate / space.final.slower:.{DIGITS}g}")
    most = max(10, round(trees * space.final.slower * space.final.room))
    return booster.model_copy(update={"learning_rate": rate, "max_rounds": most})
