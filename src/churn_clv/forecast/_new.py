"""Money of customers who are not known yet, from the windows of those before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

DAYS_A_YEAR = 365.25
# A method is asked only where at least so many windows can tell how wrong it is.
FEWEST_ERRORS = 2

Method = Callable[[Sequence[float]], float]


def methods(horizon_days: int) -> dict[str, tuple[int, Method]]:
    """Each method with the number of windows that it reads; simplest first. None says less than 0.

    last: the newest window again. mean: of the newest three. drift: the newest, and once more the mean step of the
    newest three steps. season: the window that began a year before the one asked about, to the nearest window.
    """
    year = max(1, round(DAYS_A_YEAR / horizon_days))
    return {
        "last": (1, lambda w: w[-1]),
        "mean": (3, lambda w: sum(w[-3:]) / 3),
        "drift": (4, lambda w: max(0.0, w[-1] + (w[-1] - w[-4]) / 3)),
        "season": (year, lambda w: w[-year]),
    }


def ahead(windows: Sequence[float], horizon_days: int) -> tuple[float, str]:
    """The money of the next window after ``windows`` (oldest first, one or more), and the method that was chosen.

    By mean absolute error: each method is asked about every window before whose start all that compete can answer.
    The simplest wins a tie; where too few windows can judge, the newest window is repeated.
    """
    able = {
        name: way for name, way in methods(horizon_days).items() if len(windows) >= way[0] + FEWEST_ERRORS
    } or {"last": methods(horizon_days)["last"]}  # fmt: skip
    first = max(needs for needs, _ in able.values())
    error = {
        name: sum(abs(say(windows[:k]) - windows[k]) for k in range(first, len(windows)))
        for name, (_, say) in able.items()
    }
    best = min(able, key=lambda name: error[name])
    return able[best][1](windows), best
