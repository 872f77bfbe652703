"""Where we stand at a moment: all that the law and the agents may reckon with, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs, Market, Observation
from trader_cli.schemas.memory import Posterior


class TradingState(IntEnum):
    """RUN: all; REDUCE: only sales that reduce the position; HALT: nothing. A higher one wins."""

    RUN = 0
    REDUCE = 1
    HALT = 2


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a stop kept from happening since `since` (ms UTC, market time; None: the ledger knows of no stop).

    `cycles` only observed; `orders` were proposed and refused.
    """

    since: int | None
    cycles: int
    orders: int


EDITION = 2
"""Which edition of the law is in force. 1 knew no streaks and no orders per hour, and what the account was seen to
hold did not bound an order; ledgers of that time are held against it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits. Amounts in quote; None means no such limit.

    Attributes:
        deposit_cap: the most that may be put into the market, or None where the cap is not in force.
        live_only: only live data may lead to an order.
        max_age_ms: how old the newest candle may be.
        max_drift_pct: how far the price may have moved since the decision saw it; also part of the
            margin of the worst price.
        max_losing_streak, max_rejected_streak: so many sales at a loss, or orders that the exchange refused,
            in a row close the gate for `streak_cooldown_ms`; 0 of them is no such limit.
        edition: of the law that these limits were made for.
    """

    deposit_cap: Decimal | None
    live_only: bool
    max_order: Decimal | None
    max_orders_per_day: int
    cooldown_ms: int
    daily_loss: Decimal | None
    max_drawdown_pct: Decimal
    min_confidence: float
    verdict_max_age_ms: int
    max_age_ms: int
    max_drift_pct: Decimal
    max_orders_per_hour: int | None = None
    max_losing_streak: int | None = None
    max_rejected_streak: int | None = None
    streak_cooldown_ms: int = 0
    edition: int = EDITION


@dataclass(frozen=True, slots=True)
class Owner:
    """The policy that opened the position, with the parameters it had."""

    policy_id: str
    params: dict[str, int | float]


@dataclass(frozen=True, slots=True)
class History:
    """What the account did lately.

    Attributes:
        orders_today: orders placed since UTC midnight.
        last_order_at: ms UTC, or None.
        day_equity: equity at the start of the day, or the first known since; None without a snapshot.
        peak_equity: the highest equity of any snapshot; None without one. Both count anew after a resume.
        orders_last_hour: orders placed in the 60 minutes before.
        losses: when each sale at a loss was settled since the last one at a gain, ms UTC, oldest first.
        refusals: when the exchange refused each order since the last one it took, ms UTC, oldest first.
    """

    orders_today: int
    last_order_at: int | None
    day_equity: Decimal | None
    peak_equity: Decimal | None
    orders_last_hour: int = 0
    losses: tuple[int, ...] = ()
    refusals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything known at `at`. `reserved` is what open orders may still cost; `stop_cause` says who stopped."""

    at: int
    timeframe_ms: int
    market: Market
    costs: Costs
    limits: Limits
    observation: Observation
    book: Book
    owner: Owner | None
    state: TradingState
    stop_cause: str | None
    open_orders: tuple[str, ...]
    reserved: Decimal
    history: History
    posteriors: tuple[Posterior, ...]
