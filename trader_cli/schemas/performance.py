"""What trading came to over a span of time: money to the last digit, and figures with how sure they are.

Money is in quote (Decimal), but for `model_cost`, which is in USD. Shares and returns are fractions: 0.05 is 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

LEAST_RETURNS = 30
"""Fewer returns than this have no ratio: it would be noise."""
DAYS_A_YEAR = 365
"""Crypto trades every day."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that was estimated.

    Attributes:
        n: how many observations it rests on.
        value: None where they are too few, or where it is not defined.
        low, high: its 90 % interval; None where there is none.
    """

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """Where the book stands at a moment, or how it moved between two.

    Attributes:
        equity: cash and position at the mark.
        deposits: what was put in, less what was taken out.
        realized, unrealized: profit of sales after fees, and of the position at the mark. equity = deposits + both.
        fees: every fee, valued in quote; inside the profit already.
        model_cost: what models cost, USD; not inside the profit.
    """

    equity: Decimal = Decimal(0)
    deposits: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    unrealized: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    model_cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fall:
    """The deepest fall of equity below its last peak.

    Attributes:
        share: of the peak, 0..1.
        peak_at, low_at: ms UTC; None where equity never fell.
        under_water_ms: the longest time below a peak, ended or not.
    """

    share: float = 0.0
    peak_at: int | None = None
    low_at: int | None = None
    under_water_ms: int = 0


@dataclass(frozen=True, slots=True)
class Trips:
    """Round trips: purchases of which more than dust is not held any more, after fees and models' cost.

    Attributes:
        n, won: how many ended in the span, and how many of them at a gain.
        win_rate: with Wilson's interval.
        profit_factor: gains divided by losses; None without a loss.
        expectancy: the mean gain of one, in quote; None without any.
        edge_bp: the mean return of one in basis points, with its 90 % interval (Student's t).
    """

    n: int = 0
    won: int = 0
    win_rate: Ratio = Ratio(0)
    profit_factor: float | None = None
    expectancy: Decimal | None = None
    edge_bp: Ratio = Ratio(0)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How the confidence of purchases stood up: the Brier score (a coin that says one half has 0.25), and by bins.

    Each bin: from, to, how many, what was said on average, how often it was right.
    """

    n: int = 0
    brier: float | None = None
    bins: tuple[tuple[float, float, int, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Coin:
    """Coin flips: the same deals in the same order, at times that chance chose.

    Attributes:
        flips: how many were flipped; seeded, so that they repeat.
        beaten: the share of them that the run's profit is above.
        middle, low, high: their equity at the end: the median, and what 90 % of them lie between.
        equity: of the first flip, at the end.
    """

    flips: int
    beaten: float
    middle: Decimal
    low: Decimal
    high: Decimal
    equity: Decimal


@dataclass(frozen=True, slots=True)
class Baselines:
    """What would have come of doing otherwise, from the same money at the same costs.

    Attributes:
        cash: equity of doing nothing.
        hold: equity of buying once with all of it; None where no price is known.
        hold_gained: the time-weighted return of that.
        hold_fall: the deepest fall of that.
        coin: None where nothing was traded.
    """

    cash: Decimal
    hold: Decimal | None
    hold_gained: float | None
    hold_fall: Fall
    coin: Coin | None


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day (`YYYY-MM-DD`): how the book moved in it, its last equity, its return, and its filled orders."""

    day: str
    moved: Money
    equity: Decimal
    gained: float | None
    trades: int


@dataclass(frozen=True, slots=True)
class PolicyShare:
    """What one policy's purchases came to, first in first out; None: no decision of this ledger bought.

    Attributes:
        purchases: orders that bought.
        ended, won: its round trips that ended, and those at a gain.
        profit: of what was sold, after fees.
        open_profit: of what is held at the end of the span, at its mark.
        fees: of the orders that are for it, valued in quote.
    """

    policy: str | None
    purchases: int
    ended: int
    won: int
    profit: Decimal
    open_profit: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class ModelShare:
    """What one model was asked, and what it cost (USD).

    Attributes:
        calls, failed: attempts over all agents, and those without an answer.
        fallbacks: decisions in which its answer could not be used.
    """

    model: str
    calls: int
    failed: int
    fallbacks: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a chart: equity, and that of buying and holding (None where no price is known), ms UTC."""

    at: int
    equity: float
    hold: float | None


@dataclass(frozen=True, slots=True)
class Deal:
    """A filled order on a chart: BUY or SELL, at its average price."""

    at: int
    side: str
    price: Decimal
    qty: Decimal


@dataclass(frozen=True, slots=True)
class Performance:
    """What a ledger's trading came to.

    Attributes:
        name: the ledger's file name; `mode`, `symbol`, `timeframe`, `market` what it is pinned to.
        begun, ended: the book before the first snapshot of the span, and at its last one; `moved` is the difference.
        began_at, ended_at: ms UTC of market time; None without a snapshot.
        cycles, trades: plans, and filled orders.
        gained: time-weighted return: what came in or went out in between does not count.
        net_gained: the same less what models cost, where the quote is dollars; else None.
        fall: the deepest fall of equity.
        exposure: the mean share of equity that was in the position, weighted by time.
        turnover: what was bought and sold in quote, divided by the mean equity.
        slippage_bps: the mean distance of fills from the market's mark at their cycle, against us; None without one.
        returns_of: what one return spans (`1d`), in the ratios.
        sharpe, sortino: of those `returns`, a year.
        marks, deals: for charts: at most some hundreds of each; `deals_left_out` counts those that are not shown.
    """

    name: str
    mode: str
    symbol: str
    timeframe: str
    market: str
    begun: Money
    ended: Money
    moved: Money
    began_at: int | None
    ended_at: int | None
    cycles: int
    trades: int
    gained: float | None
    net_gained: float | None
    fall: Fall
    exposure: float | None
    turnover: float | None
    slippage_bps: float | None
    returns_of: str
    sharpe: Ratio
    sortino: Ratio
    trips: Trips
    calibrated: Calibrated
    baselines: Baselines | None
    days: tuple[Day, ...]
    policies: tuple[PolicyShare, ...]
    models: tuple[ModelShare, ...]
    marks: tuple[Mark, ...]
    deals: tuple[Deal, ...]
    deals_left_out: int = 0
    returns: tuple[float, ...] = ()
