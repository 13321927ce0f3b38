"""The report of a data set at a cutoff as one document: each section is there, or says what is missing and how to give
it. Nothing is drawn or written here. Docs: docs/report.md.
"""  # fmt: skip

from churn_clv.overview._customer import customer
from churn_clv.overview._document import SECTIONS, run
from churn_clv.overview._drivers import in_money
from churn_clv.overview._realised import realised, tenths
from churn_clv.overview._tables import is_table, tables

__all__ = ["SECTIONS", "customer", "in_money", "is_table", "realised", "run", "tables", "tenths"]
