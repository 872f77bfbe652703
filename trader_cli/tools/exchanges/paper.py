"""Trading on paper: market orders filled as Binance would, over candles or over a live exchange's prices.

Like Binance it takes the fee of a BUY in base, refuses with codes, fills over several price
levels, leaves the rest of an order it has no liquidity for unfilled, and does not recognise a
client order id that it has filled: sending twice buys twice.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core.decimals import MONEY, ZERO, floor_to, mul, percent, sub
from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.core.moments import Moment
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import CandleBatch, Costs, Market, Quote
from trader_cli.schemas.order import Absent, Fill, Intent, OrderState, Report, Side, Sighting
from trader_cli.tools.exchanges.paper_book import PaperBook
from trader_cli.tools.exchanges.paper_prices import BarPrices, LivePrices, Offer, Prices, PublicMarket, Refusal
from trader_cli.tools.ledger import Ledger

FEE_QUANTUM = Decimal("1e-8")
NO_PRICE = "NO_PRICE"
"""The code of a refusal for want of a price or a balance: nothing was taken, and that is certain."""


class PaperTrading:
    """One symbol, traded on paper at `prices`. `opening` is what the account begins with, in quote.

    All that must be asked of another exchange is asked before the transaction that takes an order begins.
    """

    name = "paper"
    may_be_wiped = False

    def __init__(self, ledger: Ledger, prices: Prices, opening: Decimal) -> None:
        self._prices = prices
        self._book = PaperBook(ledger)
        self._opening = opening

    @property
    def fingerprint(self) -> str | None:
        """No account, no key."""
        return None

    def connect(self) -> None:
        """Whatever its prices need."""
        self._prices.connect()

    def prove(self) -> dict[str, str]:
        """Nothing: there is no account."""
        return {}

    def market(self) -> Market:
        """The symbol's trading rules."""
        return self._prices.market()

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The last closed bars of where its prices come from."""
        return self._prices.candles(limit, now)

    def quote(self, now: Moment) -> Quote:
        """Bid and ask of where its prices come from."""
        return self._prices.quote(now)

    def balances(self) -> Balances:
        """What the account holds: its opening balance and every order it filled."""
        return self._book.held() or Balances(ZERO, self._opening)

    def submit(self, intent: Intent) -> Report:
        """Fill at the prices of the moment of submission, or refuse with a code. Without a price nothing is taken."""
        try:
            market = self.market()
            offer = self._prices.offer(intent, market)
            held = self.balances()
            _check(intent, market, offer, held)
        except Refusal as refusal:
            return _refused(intent, refusal.code, refusal.message)
        except (UpstreamError, ConfigError) as error:
            return _refused(intent, NO_PRICE, f"nothing was taken: {error.message}")
        return self._book.take(intent, held, lambda number: _fills(intent, market, offer, number))

    def find(self, intent: Intent) -> Report | Absent:
        """What became of an order. Nothing is ever in flight here, so absent is final."""
        return self._book.find(intent.client_order_id) or Absent(
            final=True, evidence="the paper exchange never took this order"
        )

    def cancel(self, intent: Intent) -> None:
        """Nothing: no order on paper is ever open."""

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """None: there is no account on which another could have sent any."""
        return ()


class PaperExchange(PaperTrading):
    """Paper over candles, simulated or recorded: nothing is asked of anybody."""

    def __init__(self, ledger: Ledger, source: CandleSource, rules: Market, costs: Costs, opening: Decimal) -> None:
        super().__init__(ledger, BarPrices(source, rules, costs), opening)


class LivePaperExchange(PaperTrading):
    """Paper over a live exchange's public prices, with the fee and slippage of `costs`: no key, no account."""

    def __init__(self, ledger: Ledger, exchange: PublicMarket, costs: Costs, opening: Decimal) -> None:
        super().__init__(ledger, LivePrices(exchange, costs.slippage_bps, costs.fee_pct), opening)


def _refused(intent: Intent, code: str, message: str) -> Report:
    return Report(intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO, code=code, message=message)


def _check(intent: Intent, market: Market, offer: Offer, held: Balances) -> None:
    """Raise Refusal for what no exchange would take."""
    if intent.symbol != market.symbol:
        raise Refusal("-1121", "Invalid symbol.")
    if not market.min_qty <= intent.qty <= market.max_qty or floor_to(intent.qty, market.step) != intent.qty:
        raise Refusal("-1013", "Filter failure: LOT_SIZE")
    if intent.qty <= ZERO or mul(intent.qty, offer.price) < market.min_notional:
        raise Refusal("-1013", "Filter failure: NOTIONAL")
    buy = intent.side is Side.BUY
    short = mul(intent.qty, offer.levels[-1]) > held.quote if buy else intent.qty > held.base
    if short:
        raise Refusal("-2010", "Account has insufficient balance for requested action.")


def _fills(intent: Intent, market: Market, offer: Offer, number: int) -> tuple[Fill, ...]:
    left, fills = intent.qty, []
    for level, price in enumerate(offer.levels, 1):
        qty = min(left, offer.level_qty)
        fills.append(_fill(intent.side, market, (qty, price), f"p{number}-{level}", offer.at))
        left = sub(left, qty)
        if left <= ZERO:
            break
    return tuple(fills)


def _fill(side: Side, market: Market, deal: tuple[Decimal, Decimal], trade_id: str, at: Moment) -> Fill:
    qty, price = deal
    quote_qty = mul(qty, price)
    buy = side is Side.BUY
    fee = MONEY.quantize(percent(qty if buy else quote_qty, market.fee_pct), FEE_QUANTUM)
    return Fill(
        trade_id, qty, price, quote_qty, fee, market.base if buy else market.quote, mul(fee, price) if buy else fee, at
    )
