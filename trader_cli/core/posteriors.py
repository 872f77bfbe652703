"""What is believed of each policy before and after its outcomes."""

from __future__ import annotations

from trader_cli.schemas.policy import CATALOGUE
from trader_cli.schemas.situation import Posterior

PRIOR_MEAN_BP = 0.0
PRIOR_SD_BP = 20.0
"""Nothing is known of a policy without outcomes: its edge is as likely a loss as a gain."""


def priors() -> tuple[Posterior, ...]:
    """The belief before any outcome, one per policy of the catalogue."""
    return tuple(Posterior(spec.policy_id, PRIOR_MEAN_BP, PRIOR_SD_BP, 0) for spec in CATALOGUE)
