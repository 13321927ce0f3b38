"""The strongest reasons of a score: contributions by group, against what is usual, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.explain import _chain
from churn_clv.explain._catalogue import Earlier, Meaning, named
from churn_clv.explain._words import DEFAULT, Phrases, phrases
from churn_clv.models.predict import Floats
from churn_clv.models.usual import Usual

TENURE = "tenure_days"
# Log-odds to which contributions sum to the score; less is rounding.
SAYS_NOTHING = 1e-9


@dataclass(frozen=True)
class Explained:
    """A score as sums: ``score`` (rows,) = ``base`` + the columns of ``parts`` (columns, rows) added up.

    The score is the log-odds of churn or of a target of the user's own, or the logarithm of a count or of money.
    """

    columns: tuple[str, ...]
    base: float
    score: Floats
    parts: Floats


@dataclass(frozen=True)
class Reason:
    """Why a customer's number is above or below the base customer's.

    ``feature`` is the strongest of a group of features that say the same thing, ``contribution`` what the whole group
    adds to the score (``Explained``), ``share`` its size over that of all groups. ``usual`` is the customer's own or
    else the population's median (``usual_of``), null where nobody knows; ``value`` is null where the feature is.
    """

    feature: str
    value: float | None
    usual: float | None
    usual_of: Literal["customer", "population"] | None
    direction: Literal["raises", "lowers"]
    contribution: float
    share: float
    theme: str
    text: str


def contributions(bundle: Bundle, values: Floats, target: str | None = None) -> Explained:
    """What each feature adds to the score of customers who are asked about; ``values`` (rows, the head's features).

    Of churn, or of a ``target`` of the user's own. UserError for a bundle without a base customer, which cannot be
    explained.
    """
    usual = _usual_of(bundle, target)
    head = next(h for h in bundle.heads if (h.kind == "hazard" if target is None else h.target == target))
    found = _chain.score(head, usual, values)
    return Explained(_columns(bundle, target), found.base, found.value, found.parts)


def of_rows(
    bundle: Bundle, values: Floats, k: int, language: str = DEFAULT, target: str | None = None
) -> list[list[Reason]]:  # fmt: skip
    """The ``k`` strongest reasons of customers who are asked about, strongest first; ``values`` as ``contributions``.

    Fewer where fewer groups count at all. UserError for a language without phrases or a bundle without a base customer.
    """
    if not len(values):
        return []
    words, found = phrases(language), contributions(bundle, values, target)
    known = named(bundle.features, bundle.definitions)
    groups = _groups(tuple(known[name].group for name in found.columns))
    summed = np.stack([_chain.totals(found.parts[list(places)]) for places in groups])
    size = _chain.totals(np.abs(summed))
    usual = _Usual(bundle, known, target)
    return [
        [
            _reason(usual, words, values[row], found.parts[:, row], groups[place], float(summed[place, row]),
                    float(size[row]))
            for place in _strongest(summed[:, row], k)
        ]
        for row in range(len(values))
    ]  # fmt: skip


def own_targets(bundle: Bundle) -> list[str]:
    """The targets of the user's own that can be explained: all, but in a bundle of before they had a base customer."""
    return [h.target for h in bundle.own_heads if bundle.reference.targets[h.target].usual is not None]


def _usual_of(bundle: Bundle, target: str | None) -> Usual:
    usual = bundle.reference.usual if target is None else bundle.reference.targets[target].usual
    if usual is None:
        raise UserError("this model holds no base customer to compare with, so it gives no reasons. Train it again.")
    return usual


def _columns(bundle: Bundle, target: str | None) -> tuple[str, ...]:
    return bundle.core_features if target is None else bundle.features


@lru_cache(maxsize=32)
def _groups(names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The places of each group's features, groups in the order of their first."""
    return tuple(tuple(i for i, own in enumerate(names) if own == name) for name in dict.fromkeys(names))


def _strongest(parts: Floats, k: int) -> list[int]:
    order = np.argsort(-np.abs(parts), kind="stable")[:k]
    return [int(place) for place in order if abs(parts[place]) > SAYS_NOTHING]


class _Usual:
    """What is usual, for the customers of one bundle."""

    def __init__(self, bundle: Bundle, known: Mapping[str, Meaning], target: str | None = None) -> None:
        # Whether more of a feature is riskier says the catalogue; of a target of the user's own nobody knows.
        self.expected = target is None
        self.columns, self.currency = _columns(bundle, target), bundle.currency
        self.place = {name: i for i, name in enumerate(self.columns)}
        self.meanings = [known[name] for name in self.columns]
        self.medians = _usual_of(bundle, target).medians

    def of(self, place: int, row: Floats, way: int = 0) -> tuple[float | None, bool, bool]:
        """What is usual of the feature at ``place``, whether it is the customer's own, and whether it fits.

        ``way`` is where the reason pulls: 1 up, -1 down. A usual fits where the customer differs from it as anyone
        would expect of such a reason; the customer's own comes first, but not before the population's where that fits
        and the own does not.
        """
        meaning, value = self.meanings[place], number(row[place])
        own, median = self._own(meaning, row), self.medians[place]
        told = [(own, True)] * (own is not None)
        if median is not None and not isinstance(meaning.about.usual, float):  # "as always" is of no population
            told.append((median, False))
        for usual, mine in told:
            if usual is not None and value is not None and meaning.about.more * (value - usual) * way > 0:
                return usual, mine, True
        free = value is None or meaning.about.more == 0
        return (*told[0], free) if told else (None, False, free)

    def _own(self, meaning: Meaning, row: Floats) -> float | None:
        usual = meaning.about.usual
        if isinstance(usual, Earlier):
            return self._earlier(meaning, usual, row)
        return self._value(usual, row) if isinstance(usual, str) else usual

    def _earlier(self, meaning: Meaning, usual: Earlier, row: Floats) -> float | None:
        total = self._value(usual.total.format(**meaning.fields), row)
        recent = self._value(usual.recent.format(**meaning.fields), row)
        tenure, days = self._value(TENURE, row), meaning.days
        if total is None or recent is None or tenure is None or days is None:
            return None
        rest = tenure - float(meaning.fields[usual.before])
        return (total - recent) / rest * days if rest >= days else None

    def _value(self, name: str, row: Floats) -> float | None:
        place = self.place.get(name)
        return None if place is None else number(row[place])


def _reason(
    usual: _Usual, words: Phrases, row: Floats, parts: Floats, places: Sequence[int], total: float, size: float
) -> Reason:
    """The reason of a group, told by the strongest feature that pulls the group's way as anyone would expect.

    A regression may weigh near-copies against each other: the strongest of all might say "nothing bought lately" for a
    lower risk. Where none is as expected, or nobody knows what is, the strongest tells it.
    """
    way = 1 if total > 0 else -1
    ordered = sorted((i for i in places if way * parts[i] > 0), key=lambda i: -abs(float(parts[i])))
    expected = (i for i in ordered if usual.expected and usual.of(i, row, way)[2])
    place = next(expected, ordered[0])
    meaning, value = usual.meanings[place], number(row[place])
    wont, own, _ = usual.of(place, row, way if usual.expected else 0)
    return Reason(
        feature=meaning.feature,
        value=value,
        usual=wont,
        usual_of=None if wont is None else "customer" if own else "population",
        direction="raises" if total > 0 else "lowers",
        contribution=total,
        share=abs(total) / size,
        theme=meaning.theme,
        text=words.text(meaning, value, wont, own, usual.currency),
    )


def number(value: Any) -> float | None:
    """A float, None for NaN."""
    return None if np.isnan(value) else float(value)
