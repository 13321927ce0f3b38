"""What ships: boosters, calibration, definitions, column order and reference; saved, verified, loaded, predicting.

A bundle is a folder of text: LightGBM's own format and JSON, under a manifest of SHA-256 sums. Nothing in it is
executed and no customer is in it. LightGBM kills the process on a damaged file, so the manifest is verified before
anything is parsed; the golden customers then prove that this installation computes the same numbers.
"""

from churn_clv.bundle._files import (
    FILES,
    FORMAT,
    MANIFEST,
    SEGMENTS,
    load_bundle,
    save,
    segments_of,
    verify,
    version_of,
)
from churn_clv.bundle._model import Bundle, as_date
from churn_clv.bundle._proof import BundleError, FormatError, feature_entries, installed
from churn_clv.bundle._reference import Reference, make_reference
from churn_clv.bundle._targets import ASKED, TargetReference, columns_of, target_reference

__all__ = [
    "ASKED",
    "FILES",
    "FORMAT",
    "MANIFEST",
    "SEGMENTS",
    "Bundle",
    "BundleError",
    "FormatError",
    "Reference",
    "TargetReference",
    "as_date",
    "columns_of",
    "feature_entries",
    "installed",
    "load_bundle",
    "make_reference",
    "save",
    "segments_of",
    "target_reference",
    "verify",
    "version_of",
]
