"""The model card: every number of the document where it belongs, warnings where they are due, nothing executable."""

from __future__ import annotations

from typing import Any

import pytest

from churn_clv import card, config
from churn_clv.metrics import METRIC_KEYS

SETTINGS = config.from_dict(
    {"dataset": "grocer", "events": {"timezone": "Europe/Paris", "currency": "EUR", "sources": {}}}
)
OWN = {"churn_auroc": 0.8123, "churn_log_loss": 0.4321, "churn_ece": 0.0234, "churn_ece_floor": 0.0111,
       "churn_calibration_slope": 0.876, "spend_gini": 0.7654, "spend_total_ratio": 1.087, "n": 4321}  # fmt: skip
LOGISTIC = {"churn_auroc": 0.8012, "churn_log_loss": 0.4444}


def document(**over: Any) -> dict[str, Any]:
    rules = [
        {"name": "totals", "letter": "B", "value": 0.03, "at": "2024-03-04", "text": "total 1.087: B", "open": False},
        {"name": "strata", "letter": "A", "value": 0.0, "at": None, "text": "all is well", "open": False},
    ]
    return {
        "run_id": "f" * 32,
        "bundle_version": "abcdef0123456789" * 4,
        "code": {"code_version": "0.1.0", "code_hash": "feed", "git_commit": "1234567890abcdef", "dirty": "true"},
        "why": "Promoted: there is no incumbent.",
        "grade": {"letter": "B", "why": "Grade B: total 1.087: B.", "rules": rules},
        "data": {
            "dataset": "grocer", "rows": 98765, "customers": 2345, "first_day": "2023-01-01", "ends": "2024-04-01",
            "fingerprint": "cafe1234", "features": 77, "eligible_at_test": 4321, "known_at_test": 5432,
            "new_customers_in_test_window": 31, "clipped_spend_in_test_window": 12.5, "label_return_rate": 0.34,
            "label_return_within_days": 84, "families_left_out": {"price": "no column"}, "targets_refused": {},
            "policies": [{"policy": "missing_customer", "source": "tills", "rows": 13579, "action": "dropped"}],
        },
        "plan": [{"role": "test", "first_cutoff": "2024-03-04", "last_cutoff": "2024-03-04", "cutoffs": 1,
                  "labels_end": "2024-04-01"}],
        "ladder": [{"rung": "champion", "metrics": dict.fromkeys(METRIC_KEYS) | OWN},
                   {"rung": "logistic", "metrics": dict.fromkeys(METRIC_KEYS) | LOGISTIC}],
        "reliability": [{"n": 432.1, "mean_probability": 0.123, "churn_rate": 0.145, "low": 0.101, "high": 0.199}],
        "strata": [
            {"by": "orders", "stratum": "1", "n": 42, "churn_rate": 0.7, "churn_skill": -0.08, "spend_skill": 0.01},
            {"by": "orders", "stratum": "4+", "n": 3000, "churn_rate": 0.2, "churn_skill": 0.21, "spend_skill": None},
        ],
        "targets": {},
    } | over  # fmt: skip


SECTIONS = ("Grade B", "Purpose", "How good it is", "Calibration", "Groups of customers", "Data", "Temporal plan",
            "Definitions", "Limits", "Misuse")  # fmt: skip
SAID = (
    "Model card: churn-clv-grocer-h28", "commit 1234567890ab, with local changes", "abcdef0123456789",
    "Judged once, at 2024-03-04, on 4,321 customers", "total 1.087: B",
    "Promoted: there is no incumbent", "0.8123", "0.4444", "0.876", "0.0111",
    "12.3%", "14.5%", "4+ orders", "+0.210", "98,765 events of 2,345 customers", "13,579", "missing customer",
    "labels end", "2024-04-01", "Europe/Paris", "34% of those labelled churned", "read lapse, not churn",
    "Says nothing of 1 order (skill -0.080), who are 42", "price", "12.50 EUR", "needs an experiment",
)  # fmt: skip


def test_the_card_says_all_that_it_should_in_both_forms() -> None:
    text, page = card.markdown(document(), SETTINGS), card.html(document(), SETTINGS)
    for title in SECTIONS:
        assert f"## {title}\n" in text and f"<h2>{title}</h2>" in page, title
    plain = text.replace("\\", "")
    for said in SAID:
        assert said in plain, said
        assert said in page, said


def test_a_card_is_one_page_with_its_pictures_inside() -> None:
    page = card.html(document(), SETTINGS, {"reliability": b"PNG one", "other": b"unknown"})
    assert page.count("<img") == 1 and "data:image/png;base64,UE5HIG9uZQ==" in page
    assert "<script" not in page and "http://" not in page and "https://" not in page


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "a|b", "[x](javascript:1)", "`code`"])
def test_names_from_a_users_files_mean_themselves(evil: str) -> None:
    policies = [{"policy": "missing_customer", "source": evil, "rows": 1, "action": "dropped"}]
    given = document(data=document()["data"] | {"policies": policies})
    assert "<script>" not in card.html(given, SETTINGS)
    line = next(row for row in card.markdown(given, SETTINGS).splitlines() if "missing customer" in row)
    assert line.replace("\\|", "").count("|") == 5 and "<script>" not in line.replace("\\<", "")
    assert "[x](" not in line.replace("\\[", "") and "`code`" not in line.replace("\\`", "")


def test_what_does_not_apply_is_left_out() -> None:
    own = [{"rung": "champion", "metrics": dict.fromkeys(METRIC_KEYS) | {"churn_auroc": 0.8, "n": 10}}]
    data = document()["data"] | {"label_return_rate": 0.05, "clipped_spend_in_test_window": None}
    text = card.markdown(document(ladder=own, data=data, strata=[], reliability=[], policies=[]), SETTINGS)
    assert "Gini" not in text and "what will each spend" not in text and "read lapse" not in text
    assert "here called churn" in text and "Not measured." in text


def test_a_run_from_before_there_were_grades_has_a_card() -> None:
    old = {k: v for k, v in document().items() if k in ("run_id", "why", "data", "plan", "ladder", "targets")}
    assert "made before there were grades" in card.markdown(old, SETTINGS)
    assert "0.8123" in card.note(old, SETTINGS)


def test_the_note_is_half_a_page_with_grade_ladder_and_limits() -> None:
    note = card.note(document(), SETTINGS)
    assert len(note) < 3000 and "Grade B" in note and "0.8123" in note and "| logistic |" in note
    assert "read lapse" in note and "# Model card" not in note
