"""The command line: ``churn-clv``. The only module that prints.

Results go to stdout, progress and warnings to stderr. Exit codes (contract K13): 0 done (also "already champion"),
1 unexpected failure, 2 the user's mistake, 3 trained but not promoted.
"""

from __future__ import annotations

import errno

import typer
from rich.markup import escape

from churn_clv.cli import (
    _act,
    _ahead,
    _champion,
    _key,
    _lab,
    _ledger,
    _log,
    _loyalty,
    _score,
    _segments,
    _serve,
    _tune,
    _watch,
)
from churn_clv.cli._show import err
from churn_clv.cli._work import USER_ERROR
from churn_clv.errors import UserError

# What a folder's owner can mend; anything else that the system refuses is a failure of ours.
_NAMES = "EACCES EDQUOT EEXIST EISDIR ENAMETOOLONG ENOENT ENOSPC ENOTDIR EPERM EROFS"
DISK_ERRORS = {getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name)}

app = typer.Typer(
    help="From a customer event log to churn and next-period-spend predictions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# In the order of the help.
for command in (
    _log.init,
    _log.check,
    _log.plan,
    _log.advise,
    _lab.train,
    _lab.card,
    _lab.backtest,
    _tune.tune,
    _champion.compare,
    _champion.promote,
    _champion.rollback,
    _champion.history,
    _champion.sync,
    _ahead.forecast,
    _serve.publish,
    _score.score,
    _segments.segments,
    _ahead.whatif,
    _score.forget,
    _watch.watch,
    _act.act,
    _act.measure,
    _ledger.ledger,
    _loyalty.loyalty,
    _serve.serve,
    _key.key,
    _lab.simulate,
):
    app.command()(command)
app.command("features")(_log.list_features)


def main() -> None:
    """Run a command; a user's mistake is printed without a traceback and ends with exit code 2."""
    try:
        app()
    except UserError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}")
        raise SystemExit(USER_ERROR) from None
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        err.print(
            f"[bold red]error:[/] {escape(place)}{error.strerror}. Check the path, its rights and the disk's space."
        )
        raise SystemExit(USER_ERROR) from None
