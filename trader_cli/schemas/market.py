"""The market's nouns: trading rules of a symbol, candles with provenance, quotes, observations."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Market:
    """What an exchange demands of an order in `symbol` (base/quote).

    Attributes:
        step: quantities are whole multiples of this, in base.
        tick: prices are whole multiples of this, in quote.
        min_qty, max_qty: bounds of one market order, in base.
        min_notional: the least qty x price of one order, in quote.
        fee_pct: what the exchange takes of each fill, in percent (0.1 = 0.1 %).
        active: False while the symbol is halted.
    """

    symbol: str
    base: str
    quote: str
    step: Decimal
    tick: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    fee_pct: Decimal
    active: bool = True


class Candle(NamedTuple):
    """One bar. `opened_at` in ms UTC; prices in quote, volume in base."""

    opened_at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class CandleBatch:
    """Bars as a source gave them (ascending, closed or not, checked by nobody) and where they come from.

    `source` is the provenance: `live:<exchange>`, `recorded:<file>` or `simulated:<seed>`.
    """

    source: str
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask at `at` (ms UTC), in quote currency."""

    bid: Decimal
    ask: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a window of candles may not be traded on. `at` is the bar's opening time in ms, if one bar is meant."""

    kind: str
    detail: str
    at: int | None = None


ABSURD = "absurd"
"""The kind of defect of a jump that no market makes: a misprint, or another coin under the same name."""

MORE = "more"
"""The kind of defect that counts those of a window which are not listed."""

JUMP = Decimal(2)
"""How many times the price before, or its inverse, is absurd."""

ACCOUNT = "account"
"""The kind of defect of an account that is not as our book says, or that somebody else trades on."""

UNAVAILABLE = "unavailable"
"""The kind of defect of what could not be fetched."""


@dataclass(frozen=True, slots=True)
class Window:
    """The checked candles a decision may see: closed, ascending, on the grid; or the defects that forbid it.

    Attributes:
        candles: the sound bars, ascending and without duplicates, also when there are defects.
        defects: empty when the window may be traded on.
        price: the last sound close, or None.
        age_ms: how long before the moment of looking the last sound bar closed, or None.
        closes: the candles' closes as floats, for indicators.
        sane: no bar was refused and none is a jump, so that a later look need not test these bars again.
    """

    source: str
    timeframe_ms: int
    candles: tuple[Candle, ...]
    defects: tuple[Defect, ...]
    price: Decimal | None
    age_ms: int | None
    closes: tuple[float, ...] = field(default=(), compare=False, repr=False)
    sane: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Take the closes of the candles, where they are not at hand."""
        if len(self.closes) != len(self.candles):
            object.__setattr__(self, "closes", tuple(float(candle.close) for candle in self.candles))

    @property
    def jumped(self) -> bool:
        """Whether the newest bar is an absurd jump: its price is not to be believed yet."""
        newest = self.candles[-1].opened_at if self.candles else None
        return any(defect.kind == MORE or (defect.kind == ABSURD and defect.at == newest) for defect in self.defects)

    @property
    def absurd(self) -> bool:
        """Whether any bar of the window is an absurd jump, or may be one that is not listed."""
        return any(defect.kind in (ABSURD, MORE) for defect in self.defects)

    @property
    def unavailable(self) -> str | None:
        """What the exchange did not give, in its words; None when it gave all."""
        return next((defect.detail for defect in self.defects if defect.kind == UNAVAILABLE), None)


@dataclass(frozen=True, slots=True)
class Features:
    """Numbers computed from one window; None where the formula is undefined (a flat series has no RSI).

    Attributes:
        rsi: Wilder's RSI over 14 bars, 0..100.
        ma20: simple mean of the last 20 closes, in quote.
        volume_avg: mean volume of the last 20 bars, in base.
        volatility: standard deviation of the last 48 log returns of one bar (0.002 = 0.2 %).
        trend: (mean of the last 20 closes / mean of the last 100 closes - 1) / (volatility x sqrt(20)):
            positive rising, |trend| above about 1 is a trend rather than noise.
        drawdown: last close / highest close of the window - 1, zero or negative.
        volume_ratio: last volume / volume_avg.
        volatility_ratio: volatility of the last 12 returns / of the last 96.
    """

    rsi: float | None
    ma20: float | None
    volume_avg: float | None
    volatility: float | None
    trend: float | None
    drawdown: float | None
    volume_ratio: float | None
    volatility_ratio: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at `at`, as the ledger keeps it: the window, its features, where we stood.

    `id` is None until the ledger has it; balances are None when the account could not be read.
    """

    id: int | None
    trace_id: str
    at: int
    window: Window
    features: Features
    quote_balance: Decimal | None
    base_balance: Decimal | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What a trade is expected to cost: fee in percent of each side, spread and slippage in basis points."""

    fee_pct: Decimal
    spread_bps: Decimal
    slippage_bps: Decimal
