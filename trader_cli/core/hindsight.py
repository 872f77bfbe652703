"""One simple rule for what an action comes to, afterwards, the same for everybody whose actions are compared.

An action is filled whole at the open of the next bar, half the spread and the slippage against it, with the fee in
what it buys or gets. There is no depth and no refusal but for the least order: it compares, it does not predict.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from trader_cli.core import accounting
from trader_cli.core.decimals import MONEY, ZERO, add, floor_to, mul, percent, sub
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.order import Fill, Side

_BPS = Decimal("0.0001")
_HALF = Decimal("0.5")
_FEE_QUANTUM = Decimal("1e-8")


def price_of(opening: Decimal, side: Side, market: Market, costs: Costs) -> Decimal:
    """What one unit costs or brings at an open, in quote, rounded against the order to the tick."""
    away = mul(add(mul(costs.spread_bps, _HALF), costs.slippage_bps), _BPS)
    buy = side is Side.BUY
    moved = mul(opening, add(Decimal(1), away) if buy else sub(Decimal(1), away))
    if market.tick <= ZERO:
        return moved
    ticks = MONEY.divide(moved, market.tick).to_integral_value(
        rounding=ROUND_CEILING if buy else ROUND_FLOOR, context=MONEY
    )
    return mul(ticks, market.tick)


def bearable(
    book: Book, side: Side, deal: tuple[Decimal, Decimal], market: Market, cap: Decimal | None = None
) -> Decimal:
    """What a book can bear of a deal (quantity in base, price in quote), on the step; nothing below the least order.

    A SELL is at most what it holds, a BUY what it can pay and what `cap`, the deposit cap, leaves it in quote.
    """
    qty, price = deal
    if price <= ZERO:
        return ZERO
    most = MONEY.divide(_spendable(book, cap), price) if side is Side.BUY else book.base
    qty = floor_to(min(qty, most), market.step)
    return qty if qty > ZERO and qty >= market.min_qty and mul(qty, price) >= market.min_notional else ZERO


def _spendable(book: Book, cap: Decimal | None) -> Decimal:
    used = max(book.cost, accounting.net_cash_in(book), ZERO)
    return max(book.quote if cap is None else min(book.quote, sub(cap, used)), ZERO)


def filled(book: Book, side: Side, deal: tuple[Decimal, Decimal], terms: tuple[Market, Costs], at: int) -> Book:
    """The book after a deal (quantity in base, price in quote) at `at`, ms UTC, with the fee of `terms`."""
    (qty, price), (market, costs) = deal, terms
    quote_qty = mul(qty, price)
    buy = side is Side.BUY
    fee = MONEY.quantize(percent(qty if buy else quote_qty, costs.fee_pct), _FEE_QUANTUM)
    asset, in_quote = (market.base, mul(fee, price)) if buy else (market.quote, fee)
    fill = Fill("by the rule", qty, price, quote_qty, fee, asset, in_quote, at)
    return accounting.fold(book, side, fill, market.base, market.quote)
