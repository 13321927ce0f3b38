"""Reasons in plain words, from a file of phrases per language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from churn_clv.errors import UserError, nearest
from churn_clv.explain._catalogue import Meaning

DEFAULT = "en"
MOST = 10  # reasons for one score
PERCENT = ("share", "change")
SILENCE = "days_since_last_purchase"


@dataclass(frozen=True)
class Phrases:
    """The words of one language; docs/explaining.md says how to add one."""

    frames: Mapping[str, str]
    units: Mapping[str, Mapping[str, Any]]
    themes: Mapping[str, str]
    words: Mapping[str, str]
    kinds: Mapping[str, str]
    groups: Mapping[str, str]
    features: Mapping[str, str | Mapping[str, str]]
    changes: Mapping[str, str]

    def changed(self, found: Sequence[tuple[str, float, float]], currency: str) -> str:
        """What is not as it was: (what, before, after), what being orders, spend, a type of event, or the days since
        the last purchase against the customer's own gap. "no purchase for 74 days against a usual 30; open 6 to 0"."""
        return self.changes["join"].join(self._change(*one, currency) for one in found) or self.changes["none"]

    def _change(self, what: str, before: float, after: float, currency: str) -> str:
        if what == SILENCE:
            said = str(self.features[what]).format(value=self.amount(after, "days"))
            usual = plain(before) if self.units["days"].get("bare", False) else self.amount(before, "days")
            return self.frames["customer"].format(text=said, usual=usual)
        unit = "money" if what == "spend" else None
        pair = [self.amount(n, unit, currency) if unit else plain(n) for n in (before, after)]
        name = self.changes.get(what) or self.kinds.get(what, what.replace("_", " "))
        return self.changes["counted"].format(what=name, before=pair[0], after=pair[1])

    def text(self, meaning: Meaning, value: float | None, usual: float | None, own: bool, currency: str) -> str:
        """What a feature says of a customer; ``own`` where the usual is the customer's."""
        fields = self._fields(meaning)
        if value is None:
            return self.frames["unknown"].format(group=self.groups[meaning.about.group].format(**fields))
        unit = meaning.unit
        said = self._phrase(meaning, value).format(value=self.amount(value, unit, currency), **fields)
        if usual is None or unit == "flag" or isinstance(meaning.about.usual, float):
            return said
        bare = self.units[unit].get("bare", False)
        shown = plain(usual) if bare else self.amount(usual, unit, currency)
        return self.frames["customer" if own else "population"].format(text=said, usual=shown)

    def amount(self, value: float, unit: str, currency: str = "") -> str:
        """A number with its unit."""
        if unit == "flag":
            return ""
        forms, number = self.units[unit], value * 100 if unit in PERCENT else value
        shown = plain(number)
        form = forms["one"] if shown == "1" else forms["many"]
        if "down" in forms and shown == "0":
            form = forms["zero"]
        elif "down" in forms and number < 0:
            form, shown = forms["down"], plain(-number)
        return str(form).format(n=shown, currency=currency)

    def _phrase(self, meaning: Meaning, value: float) -> str:
        found = self.features[meaning.about.name]
        if isinstance(found, str):
            return found
        if "if_yes" in found:
            return found["if_yes" if value else "if_no"]
        return found["zero"] if value == 0 and "zero" in found else found["text"]

    def _fields(self, meaning: Meaning) -> dict[str, str]:
        own = {"kind": self.kinds, "items": self.words, "item": self.words, "wait": self.words}
        return {k: own.get(k, {}).get(v, v.replace("_", " ")) for k, v in meaning.fields.items()}


def plain(number: float) -> str:
    """A number as people write it: 74, 2.1, 1,250; at most two decimals."""
    size = abs(number)
    shown = f"{number:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return "0" if shown == "-0" else shown


@cache
def languages() -> tuple[str, ...]:
    """The languages that reasons can be given in."""
    files = resources.files("churn_clv.explain").joinpath("phrases").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def phrases(language: str) -> Phrases:
    """The words of a language; UserError where there are none."""
    if language not in languages():
        raise UserError(f"no words for the language '{language}'.{nearest(language, languages())}")
    return _read(language)


@cache
def _read(language: str) -> Phrases:
    file = resources.files("churn_clv.explain").joinpath("phrases", f"{language}.yaml")
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Phrases(**{name: found[name] for name in Phrases.__dataclass_fields__})
