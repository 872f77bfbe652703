"""One backtest, as what it is made of; and what came of it. All of it is plain text and numbers, to travel anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Sole:
    """The one policy that a run trades: of the catalogue, or `coin`; with its parameters."""

    policy: str
    params: dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Run:
    """What a backtest is made of. Equal parts make equal ledgers.

    Attributes:
        settings: every setting that its ledger depends on, by NAME, as text.
        market_sha256: of the file of bars; empty for a simulated market.
        since, until: market time, ms UTC: not before the first, and no cycle from the second on; None: as the bars go.
        sole: the one policy that is traded; None: the planner chooses.
        model, max_cost: of a language model that thinks instead of the rules, and the most it may cost (USD, text).
        asked: the settings that such a model's answers depend on, by NAME.
    """

    settings: dict[str, str]
    market_sha256: str = ""
    since: int | None = None
    until: int | None = None
    sole: Sole | None = None
    model: str | None = None
    max_cost: str | None = None
    asked: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run, as a row of a table.

    Attributes:
        run_id: the name of its ledger, which follows from what the run is made of.
        told: what it differs in from the other runs.
        error: why there is nothing else; None where it went to its end.
        returns: of its days.
        content_sha256: of its ledger: equal for equal runs, wherever they ran.
    """

    run_id: str
    told: dict[str, Any]
    error: str | None = None
    ledger: str = ""
    cycles: int = 0
    trades: int = 0
    equity: Decimal | None = None
    gained: float | None = None
    fall: float | None = None
    exposure: float | None = None
    sharpe: float | None = None
    hold: Decimal | None = None
    returns: tuple[float, ...] = ()
    content_sha256: str = ""
