"""audit: every check of a ledger in order, and what no check of a ledger alone can show.

Checks of rows against rows are in tools; here are those that need the agents' readers and the law.
"""

from __future__ import annotations

from collections.abc import Sequence

from trader_cli.phases.audit_calls import calls
from trader_cli.phases.audit_law import orders, verdicts
from trader_cli.phases.audit_replies import replies
from trader_cli.schemas.check import Check
from trader_cli.tools import (
    verification,
    verification_echoes,
    verification_memory,
    verification_seals,
    verification_seen,
)
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Look, Progress

CHECKS: tuple[tuple[str, Look], ...] = (
    *verification.CHECKS,
    ("observations", verification_seen.observations),
    ("features", verification_seen.features),
    ("replies", replies),
    ("model calls and their cost", calls),
    ("verdicts obey the law", verdicts),
    ("orders keep the limits", orders),
    ("prompts and terms", verification_seals.hashes),
    ("times and links", verification_seals.times),
    ("lots, first in first out", verification_seals.lots),
    ("memory", verification_memory.outcomes),
    ("rows agree with one another", verification_echoes.echoes),
)

NOT_CHECKED = (
    "that the wall clock was right (wall_ts, latencies)",
    "that the exchange agrees: its orders, fills, fees and balances (balance_quote, balance_base, drift)",
    "that candles and quotes are what the market showed",
    "that prompts were sent and replies came from the model and host named, at the effort and temperature noted",
    "that prices, and what was held back for a call, are those of the table of models then",
    "facts_json: what each agent was told (trader replay derives it again)",
    "settings, a STOP file and the TRADING setting at the time: the law's state is taken as recorded",
    "the law's word on what an operator decided by hand (source operator)",
    "limits and costs between a verdict and its order, where an older program wrote the order down",
    "that no newer end was cut off together with its chain: compare the head with one noted elsewhere",
)
"""What a ledger alone cannot show, or this program does not look at."""


def verify(
    ledger: Ledger, progress: Progress = lambda done, of, name: None, more: Sequence[tuple[str, Look]] = ()
) -> list[Check]:
    """All checks of `CHECKS` in order, then `more`; `progress` is told before each and while it runs.

    Raises nothing for a row.
    """
    return verification.verify(ledger, (*CHECKS, *more), progress)
