"""What `memory show` tells of a policy: how its lots ended, and what is believed of it."""

from __future__ import annotations

from dataclasses import dataclass

from trader_cli.schemas.memory import Posterior


@dataclass(frozen=True, slots=True)
class Belief:
    """A policy, over all regimes or in one.

    Attributes:
        regime: None for all of them.
        params: of the newest outcome; of the catalogue where there is none, and then `params_tried` is False.
        lots, won: how many lots were closed, and how many ended above all costs; dust does not count.
        posterior: what is believed of the mean net return; `low_bp` and `high_bp` hold it with 90 %.
        picked: the share of the newest plans that name the policy; None for one regime.
    """

    policy_id: str
    regime: str | None
    params: dict[str, int | float]
    params_tried: bool
    lots: int
    won: int
    posterior: Posterior
    low_bp: float
    high_bp: float
    p_positive: float
    picked: float | None
