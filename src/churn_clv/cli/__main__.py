"""``python -m churn_clv.cli``: the same as ``churn-clv``."""

from __future__ import annotations

from churn_clv.cli import main

if __name__ == "__main__":
    main()
