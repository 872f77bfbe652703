"""What trading has taught: beliefs per policy, read from settled outcomes only."""

from __future__ import annotations

from trader_cli.core.moments import Moment
from trader_cli.core.posteriors import priors
from trader_cli.schemas.situation import Posterior
from trader_cli.tools.ledger import Ledger


def read_posteriors(ledger: Ledger, at: Moment) -> tuple[Posterior, ...]:
    """What is believed of each policy at `at`. This version keeps no outcomes: the priors."""
    del ledger, at
    return priors()
