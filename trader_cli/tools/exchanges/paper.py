"""The paper exchange: fills market orders from a candle source, as Binance would, and keeps its books in the ledger.

Like Binance it takes the fee of a BUY in base, refuses with codes, fills over several price
levels, leaves the rest of an order it has no liquidity for unfilled, and does not recognise a
client order id that it has filled: sending twice buys twice.
"""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from trader_cli.core.decimals import MONEY, ZERO, add, dec, floor_to, mul, percent, sub, text
from trader_cli.core.errors import MarketEndedError, UpstreamError
from trader_cli.core.moments import Moment, iso
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import JUMP, Candle, CandleBatch, Costs, Market, Quote
from trader_cli.schemas.order import Absent, Fill, Intent, OrderState, Report, Side
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import dumps

LEVELS = 5
LEVEL_SHARE = Decimal("0.002")
"""The book has five levels a side; each holds this share of the bar's volume, one slippage apart."""

FEE_QUANTUM = Decimal("1e-8")
_BPS = Decimal("0.0001")


class Refusal(Exception):  # noqa: N818 - an answer of the exchange, not an error of ours
    """Why an order is not taken, with Binance's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PaperExchange:
    """One symbol, traded on paper. `opening` is what the account begins with, in quote."""

    name = "paper"

    def __init__(self, ledger: Ledger, source: CandleSource, rules: Market, costs: Costs, opening: Decimal) -> None:
        self._ledger = ledger
        self._source = source
        self._rules = rules
        self._costs = costs
        self._opening = opening

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
        half = mul(self._costs.spread_bps, Decimal("0.5"))
        return Quote(
            self._level_price(last[-1].close, Side.SELL, half), self._level_price(last[-1].close, Side.BUY, half), now
        )

    def balances(self) -> Balances:
        """What the account holds: its opening balance and every order it filled."""
        row = self._ledger.remembered(
            "paper balances",
            ("paper_orders",),
            lambda: self._ledger.db.execute(
                "SELECT balance_base, balance_quote FROM paper_orders ORDER BY id DESC LIMIT 1"
            ).fetchone(),
        )
        return Balances(dec(row[0]), dec(row[1])) if row else Balances(ZERO, self._opening)

    def submit(self, intent: Intent) -> Report:
        """Fill at the open of the first bar that opens at or after the submission, or refuse with a code."""
        try:
            bar = self._bar(intent)
            self._check(intent, bar)
        except Refusal as refusal:
            return Report(
                intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO,
                code=refusal.code, message=refusal.message,
            )  # fmt: skip
        with self._ledger.transaction() as tx:
            number = int(self._ledger.db.execute("SELECT coalesce(max(id), 0) FROM paper_orders").fetchone()[0]) + 1
            fills = self._fills(intent, bar, number)
            executed = add(*(fill.qty for fill in fills))
            report = Report(
                intent.client_order_id,
                f"paper-{number}",
                intent.side,
                OrderState.FILLED if executed == intent.qty else OrderState.PARTIAL,
                executed,
                fills,
            )
            held = self._after(self.balances(), intent.side, fills)
            tx.insert(
                "paper_orders",
                ts_utc=iso(intent.at),
                client_order_id=intent.client_order_id,
                report_json=dumps(_document(report)),
                balance_quote=text(held.quote),
                balance_base=text(held.base),
            )
        return report

    def find(self, intent: Intent) -> Report | Absent:
        """What became of an order. Nothing is ever in flight here, so absent is final."""
        row = self._ledger.db.execute(
            "SELECT report_json FROM paper_orders WHERE client_order_id = ? ORDER BY id DESC LIMIT 1",
            (intent.client_order_id,),
        ).fetchone()
        if row is None:
            return Absent(final=True, evidence="the paper exchange never took this order")
        return _report(json.loads(row[0]))

    def _bar(self, intent: Intent) -> Candle:
        bar = self._source.next_open(intent.at)
        if bar is None or bar.opened_at - intent.at >= self._source.timeframe_ms or not self._rules.active:
            raise Refusal("-1013", "Market is closed.")
        if bar.volume <= ZERO or min(bar.open, bar.low) <= ZERO:
            raise Refusal("-1013", "Market is closed.")
        if bar.open < mul(self._rules.tick, Decimal(100)):
            raise Refusal("-1013", "Filter failure: PRICE_FILTER")  # the tick would be more than 1 % of the price
        last = self._source.closed(1, intent.at)
        if not last or not last[-1].close / JUMP <= bar.open <= last[-1].close * JUMP:
            raise Refusal("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE")
        return bar

    def _check(self, intent: Intent, bar: Candle) -> None:
        rules = self._rules
        if intent.symbol != rules.symbol:
            raise Refusal("-1121", "Invalid symbol.")
        if intent.qty < rules.min_qty or intent.qty > rules.max_qty or floor_to(intent.qty, rules.step) != intent.qty:
            raise Refusal("-1013", "Filter failure: LOT_SIZE")
        if mul(intent.qty, bar.open) < rules.min_notional:
            raise Refusal("-1013", "Filter failure: NOTIONAL")
        held = self.balances()
        worst = self._level_price(bar.open, intent.side, self._distance(LEVELS - 1))
        short = mul(intent.qty, worst) > held.quote if intent.side is Side.BUY else intent.qty > held.base
        if short:
            raise Refusal("-2010", "Account has insufficient balance for requested action.")

    def _fills(self, intent: Intent, bar: Candle, number: int) -> tuple[Fill, ...]:
        share = floor_to(mul(bar.volume, LEVEL_SHARE), self._rules.step)
        size = max(share, self._rules.min_qty)
        left, fills = intent.qty, []
        for level in range(LEVELS):
            qty = min(left, size)
            price = self._level_price(bar.open, intent.side, self._distance(level))
            fills.append(self._fill(intent, qty, price, f"p{number}-{level + 1}", bar.opened_at))
            left = sub(left, qty)
            if left <= ZERO:
                break
        return tuple(fills)

    def _fill(self, intent: Intent, qty: Decimal, price: Decimal, trade_id: str, at: Moment) -> Fill:
        quote_qty = mul(qty, price)
        buy = intent.side is Side.BUY
        fee = MONEY.quantize(percent(qty if buy else quote_qty, self._costs.fee_pct), FEE_QUANTUM)
        asset = self._rules.base if buy else self._rules.quote
        return Fill(trade_id, qty, price, quote_qty, fee, asset, mul(fee, price) if buy else fee, at)

    def _distance(self, level: int) -> Decimal:
        """How far a level lies from the bar's open, in basis points."""
        return add(mul(self._costs.spread_bps, Decimal("0.5")), mul(self._costs.slippage_bps, Decimal(level + 1)))

    def _level_price(self, price: Decimal, side: Side, bps: Decimal) -> Decimal:
        """A price moved against the taker and rounded against him to the tick."""
        buy = side is Side.BUY
        moved = mul(price, add(Decimal(1), mul(bps if buy else sub(ZERO, bps), _BPS)))
        ticks = MONEY.divide(moved, self._rules.tick).to_integral_value(
            rounding=ROUND_CEILING if buy else ROUND_FLOOR, context=MONEY
        )
        return max(mul(ticks, self._rules.tick), self._rules.tick)

    @staticmethod
    def _after(held: Balances, side: Side, fills: tuple[Fill, ...]) -> Balances:
        base, quote = held.base, held.quote
        for fill in fills:
            if side is Side.BUY:
                base, quote = sub(add(base, fill.qty), fill.fee), sub(quote, fill.quote_qty)
            else:
                base, quote = sub(base, fill.qty), sub(add(quote, fill.quote_qty), fill.fee)
        return Balances(base, quote)


def _document(report: Report) -> dict[str, object]:
    return {
        "client_order_id": report.client_order_id,
        "exchange_order_id": report.exchange_order_id,
        "side": report.side.value,
        "state": report.state.value,
        "executed_qty": text(report.executed_qty),
        "fills": [
            [
                f.trade_id,
                text(f.qty),
                text(f.price),
                text(f.quote_qty),
                text(f.fee),
                f.fee_asset,
                text(f.fee_quote),
                f.at,
            ]
            for f in report.fills
        ],
    }


def _report(document: dict[str, object]) -> Report:
    fills = document["fills"]
    assert isinstance(fills, list)  # noqa: S101 - our own document
    return Report(
        client_order_id=str(document["client_order_id"]),
        exchange_order_id=str(document["exchange_order_id"]),
        side=Side(str(document["side"])),
        state=OrderState(str(document["state"])),
        executed_qty=dec(str(document["executed_qty"])),
        fills=tuple(Fill(f[0], dec(f[1]), dec(f[2]), dec(f[3]), dec(f[4]), f[5], dec(f[6]), f[7]) for f in fills),
    )
