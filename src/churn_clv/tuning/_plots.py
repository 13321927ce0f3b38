"""Optuna's own plots of a study: history, importance, slices. They draw on pyplot, whose state is put back after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import optuna
from optuna.trial import TrialState

DPI = 110
FEW = 4  # complete trials; with fewer, neither importance nor a slice says anything


def draw(study: optuna.Study, metric: str, folder: Path) -> list[Path]:
    """Write history, importance and slice of a study as PNG; returns the paths."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    with matplotlib.rc_context({"backend": "Agg"}):
        from matplotlib import pyplot
        from optuna.visualization import matplotlib as plots

        made: dict[str, Callable[[], object]] = {
            "history": lambda: plots.plot_optimization_history(study, target_name=metric)
        }
        if len(complete) >= FEW and len({t.value for t in complete}) > 1:
            made["importance"] = lambda: plots.plot_param_importances(study, target_name=metric)
            made["slice"] = lambda: plots.plot_slice(study, target_name=metric)
        folder.mkdir(parents=True, exist_ok=True)
        out = []
        for name, plot in made.items():
            plot()  # on pyplot's current figure
            figure = pyplot.gcf()
            size = (9.0, 5.0) if name != "slice" else (3.2 * len(complete[0].params), 4.5)
            figure.set_size_inches(*size)
            out.append(folder / f"{study.study_name}_{name}.png")
            figure.savefig(out[-1], dpi=DPI, bbox_inches="tight")
            pyplot.close(figure)
    return out
