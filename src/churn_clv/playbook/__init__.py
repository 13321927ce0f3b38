"""What may be done to customers, and what each action is worth to each by itself (docs/actions.md).

The document (``configs/actions.yaml`` and files on top), its tests on the columns of the scores, the profit formula
(definition D28). ``actions`` makes plans of it; scores and the service say the best action of a customer.
"""

from churn_clv.playbook._document import (
    Action,
    Actions,
    Criterion,
    Policy,
    Webhook,
    actions_of,
    load_actions,
)
from churn_clv.playbook._economics import Terms, value_of
from churn_clv.playbook._recommend import COLUMNS, RECOMMENDED, files_of, identity, own, recommend
from churn_clv.playbook._rules import Bools, Floats, holds, offered
from churn_clv.playbook._terms import model_of, own_rates, rates_of, source, terms_of

__all__ = [
    "COLUMNS",
    "RECOMMENDED",
    "Action",
    "Actions",
    "Bools",
    "Criterion",
    "Floats",
    "Policy",
    "Terms",
    "Webhook",
    "actions_of",
    "files_of",
    "holds",
    "identity",
    "load_actions",
    "model_of",
    "offered",
    "own",
    "own_rates",
    "rates_of",
    "recommend",
    "source",
    "terms_of",
    "value_of",
]
