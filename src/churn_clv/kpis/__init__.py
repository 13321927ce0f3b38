"""KPIs of a period (definition D33): each with its n, interval, whether it has matured, and whether its change is real.

Pure functions of a log, a cutoff and a window; what the log or the config lacks is said, never made up. docs/report.md.
"""

from churn_clv.kpis._customers import balance
from churn_clv.kpis._document import TEST, Situation, document, known
from churn_clv.kpis._money import margin_curve, spent
from churn_clv.kpis._period import Missing, Period, period, usual_gap
from churn_clv.kpis._sample import LEAST, REAL, Estimate, Sample, estimate, holm, make, p_of_change, wilson

__all__ = [
    "LEAST",
    "REAL",
    "TEST",
    "Estimate",
    "Missing",
    "Period",
    "Sample",
    "Situation",
    "balance",
    "document",
    "estimate",
    "holm",
    "known",
    "make",
    "margin_curve",
    "p_of_change",
    "period",
    "spent",
    "usual_gap",
    "wilson",
]
