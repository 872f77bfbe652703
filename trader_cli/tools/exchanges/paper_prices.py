"""What a paper order fills at: `Prices`, over candles (the next bar's open) or over a live exchange (its bid and ask).

The book of either has five levels a side, one slippage apart, each with a share of what a bar trades.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from trader_cli.core.decimals import MONEY, ZERO, add, div, floor_to, mul, sub
from trader_cli.core.errors import MarketEndedError, UpstreamError
from trader_cli.core.moments import Moment, iso
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.market import JUMP, CandleBatch, Costs, Market, Quote
from trader_cli.schemas.order import Intent, Side

LEVELS = 5
LEVEL_SHARE = Decimal("0.002")
"""The share of a bar's volume that each level holds."""
DEPTH_BARS = 20
"""Live, a bar is the mean of so many closed ones, as the average volume of a decision is."""

_BPS = Decimal("0.0001")
_HALF = Decimal("0.5")


class Refusal(Exception):  # noqa: N818 - an answer of the exchange, not an error of ours
    """Why an order is not taken, with Binance's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Offer:
    """The side of the book that one order meets.

    Attributes:
        price: what its worth is reckoned at, in quote.
        levels: the prices it fills at, each worse than the one before.
        level_qty: how much each level holds, in base.
        at: when it fills, ms UTC.
    """

    price: Decimal
    levels: tuple[Decimal, ...]
    level_qty: Decimal
    at: Moment


class PublicMarket(Protocol):
    """The part of an `Exchange` that needs no account. There is no way to send an order through it."""

    def connect(self) -> None:
        """As in `Exchange`."""

    def market(self) -> Market:
        """As in `Exchange`."""

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """As in `Exchange`."""

    def quote(self, now: Moment) -> Quote:
        """As in `Exchange`."""


class Prices(PublicMarket, Protocol):
    """The price side of paper trading."""

    def offer(self, intent: Intent, market: Market) -> Offer:
        """What an order meets. Raises Refusal where nobody could trade, UpstreamError where nobody can tell."""


class BarPrices:
    """Over a source of candles: an order fills at the open of the first bar that opens at or after it."""

    def __init__(self, source: CandleSource, rules: Market, costs: Costs) -> None:
        self._source = source
        self._rules = rules
        self._gap_bps = mul(costs.spread_bps, _HALF)
        self._slippage_bps = costs.slippage_bps

    def connect(self) -> None:
        """Nothing: the bars are here."""

    def market(self) -> Market:
        """The symbol's trading rules."""
        return self._rules

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The source's last closed bars. MarketEndedError after the last bar that an order could fill at."""
        end = self._source.end()
        if end is not None and now > end:
            raise MarketEndedError(
                f'the market "{self._source.provenance}" ended at {iso(end)}',
                "Look at the result: trader ledger show. Start anew with another --db.",
            )
        return CandleBatch(self._source.provenance, self._source.closed(limit, now))

    def quote(self, now: Moment) -> Quote:
        """The last close, half a spread to each side."""
        last = self._source.closed(1, now)
        if not last:
            raise UpstreamError(f'the market "{self._source.provenance}" has no bar before {iso(now)}')
        close, tick = last[-1].close, self._rules.tick
        return Quote(_beyond(close, Side.SELL, self._gap_bps, tick), _beyond(close, Side.BUY, self._gap_bps, tick), now)

    def offer(self, intent: Intent, market: Market) -> Offer:
        """The next open, half a spread away, with the depth of that bar."""
        bar = self._source.next_open(intent.at)
        if bar is None or bar.opened_at - intent.at >= self._source.timeframe_ms or not market.active:
            raise _closed()
        if bar.volume <= ZERO or min(bar.open, bar.low) <= ZERO:
            raise _closed()
        if bar.open < mul(market.tick, Decimal(100)):
            raise Refusal("-1013", "Filter failure: PRICE_FILTER")  # the tick would be more than 1 % of the price
        last = self._source.closed(1, intent.at)
        if not last:
            raise _absurd()
        _check_jump(last[-1].close, bar.open)
        levels = _levels(bar.open, intent.side, self._gap_bps, self._slippage_bps, market.tick)
        return Offer(bar.open, levels, _level_qty(bar.volume, market), bar.opened_at)


class LivePrices:
    """Over a live exchange: an order fills at the bid or ask read when it is submitted, slippage added.

    A quote has no depth, and asking for the book would say what is shown, not what is left when an order
    arrives. So the depth is the one of paper over candles, which every backtest has reckoned with: a share
    of a bar's volume, here of the mean of the last bars, for the bar it falls in has not closed yet.

    `fee_pct` is what is taken of each fill, in percent; None: what the exchange takes.
    """

    def __init__(self, exchange: PublicMarket, slippage_bps: Decimal, fee_pct: Decimal | None = None) -> None:
        self._exchange = exchange
        self._slippage_bps = slippage_bps
        self._fee_pct = fee_pct

    def connect(self) -> None:
        """The exchange's own."""
        self._exchange.connect()

    def market(self) -> Market:
        """The exchange's own rules."""
        rules = self._exchange.market()
        return rules if self._fee_pct is None else replace(rules, fee_pct=self._fee_pct)

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The exchange's own."""
        return self._exchange.candles(limit, now)

    def quote(self, now: Moment) -> Quote:
        """The exchange's own."""
        return self._exchange.quote(now)

    def offer(self, intent: Intent, market: Market) -> Offer:
        """Bid or ask of this moment, read last of all."""
        if not market.active:
            raise _closed()
        bars = self._exchange.candles(DEPTH_BARS, intent.at).candles
        traded = add(*(bar.volume for bar in bars))
        if traded <= ZERO:  # nobody has traded, or there are no bars at all
            raise _closed()
        quote = self._exchange.quote(intent.at)
        price = quote.ask if intent.side is Side.BUY else quote.bid
        _check_jump(bars[-1].close, price)
        levels = _levels(price, intent.side, ZERO, self._slippage_bps, market.tick)
        return Offer(price, levels, _level_qty(div(traded, Decimal(len(bars))), market), quote.at)


def _closed() -> Refusal:
    return Refusal("-1013", "Market is closed.")


def _absurd() -> Refusal:
    return Refusal("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE")


def _check_jump(last: Decimal, price: Decimal) -> None:
    """Nothing fills at a misprint or at another coin's price."""
    if not (ZERO < last <= mul(price, JUMP) and price <= mul(last, JUMP)):
        raise _absurd()


def _level_qty(volume: Decimal, market: Market) -> Decimal:
    return max(floor_to(mul(volume, LEVEL_SHARE), market.step), market.min_qty, market.step)


def _levels(price: Decimal, side: Side, gap_bps: Decimal, step_bps: Decimal, tick: Decimal) -> tuple[Decimal, ...]:
    """The first level is a gap and one step beyond the price, each further one a step more."""
    distances = (add(gap_bps, mul(step_bps, Decimal(level + 1))) for level in range(LEVELS))
    return tuple(_beyond(price, side, bps, tick) for bps in distances)


def _beyond(price: Decimal, side: Side, bps: Decimal, tick: Decimal) -> Decimal:
    """A price moved against the taker and rounded against him to the tick."""
    buy = side is Side.BUY
    moved = mul(price, add(Decimal(1), mul(bps if buy else sub(ZERO, bps), _BPS)))
    ticks = MONEY.divide(moved, tick).to_integral_value(rounding=ROUND_CEILING if buy else ROUND_FLOOR, context=MONEY)
    return max(mul(ticks, tick), tick)
