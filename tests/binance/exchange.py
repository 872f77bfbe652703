"""The matching engine and the account: orders in, trades and balances out. Everything is done under one lock."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from tests.binance.amounts import ZERO, cut, floored
from tests.binance.book import Level, cost, levels, quantity, spend, walk
from tests.binance.candles import Prices
from tests.binance.orders import Asked, Order, Trade
from tests.binance.refusal import RefusedError, bad_symbol, filtered, rejected
from tests.binance.symbols import Symbol, universe
from tests.binance.wallet import Wallet

FIRST_ORDER_ID, FIRST_TRADE_ID = 10_000_001, 50_000_001
MOST_OPEN = 200
FEE, FEE_IN_BNB = Decimal("0.001"), Decimal("0.00075")


class Exchange:
    """One account on one spot exchange. Times are ms of the server's clock.

    Attributes:
        fee: the share of what is received that is kept.
        bnb: whether the fee is taken in BNB, as long as there is some.
        liquidity: the share of an order for which there is somebody on the other side; None for the whole book.
        hidden_ms: for how long a new order cannot be looked up.
    """

    def __init__(self, start: Mapping[str, Decimal], symbols: int) -> None:
        self.lock = threading.RLock()
        self.symbols = universe(symbols)
        self.statuses = dict.fromkeys(self.symbols, "TRADING")
        self.fee, self.bnb = FEE, False
        self.liquidity: Decimal | None = None
        self.hidden_ms = 0
        self._start = dict(start)
        self._prices: dict[str, Prices] = {}
        self.wipe()

    def wipe(self) -> None:
        """What the testnet does about every month: orders, trades and ids begin anew, balances too."""
        with self.lock:
            self.wallet = Wallet(self._start)
            self.orders: dict[int, Order] = {}
            self.trades: list[Trade] = []
            self._order_id, self._trade_id = FIRST_ORDER_ID, FIRST_TRADE_ID

    # --- the market

    def symbol(self, name: str) -> Symbol:
        """A symbol's rules. Raises RefusedError (-1121)."""
        found = self.symbols.get(name)
        if found is None:
            raise bad_symbol()
        return found

    def prices(self, name: str) -> Prices:
        """A symbol's price over time. Raises RefusedError (-1121)."""
        if name not in self._prices:
            self._prices[name] = Prices(self.symbol(name))
        return self._prices[name]

    def pin(self, name: str, price: Decimal | None, now: int) -> None:
        """Set the price in quote, or leave it to its path; open orders that it reaches are filled."""
        with self.lock:
            self.prices(name).pin(None if price is None else floored(price, self.symbol(name).tick), now)
            self.match(now)

    def book(self, name: str, side: str, now: int) -> list[Level]:
        """What a taker of a side meets."""
        return levels(self.symbol(name), self.prices(name).last(now), side)

    # --- orders

    def place(self, asked: Asked, now: int, hidden_ms: int = 0, foreign: bool = False) -> tuple[Order, Sequence[Trade]]:
        """Take an order and match it. Raises RefusedError: -1013 (closed, filters of a count), -2010."""
        with self.lock:
            self.match(now)
            if self.statuses[asked.symbol] != "TRADING":
                raise RefusedError(-1013, "Market is closed.")
            self._check_open(asked)
            taken, qty = self._takings(asked, now)
            order = Order(self._order_id, asked, qty, ZERO, ZERO, "NEW", now, now, now + hidden_ms, foreign)
            self._reserve(order, taken)
            self._order_id += 1
            self.orders[order.order_id] = order
            share = self._share(quantity(taken), asked)
            trades = [self._trade(order, price, part, now, False) for price, part in walk(taken, share)]
            return self._closed(order.order_id, now), trades

    def _check_open(self, asked: Asked) -> None:
        standing = [one for one in self.orders.values() if one.is_open]
        if any(one.client_order_id == asked.client_order_id for one in standing):
            raise rejected("Duplicate order sent.")
        if asked.type == "LIMIT" and sum(one.asked.symbol == asked.symbol for one in standing) >= MOST_OPEN:
            raise filtered("MAX_NUM_ORDERS")

    def _takings(self, asked: Asked, now: int) -> tuple[list[Level], Decimal]:
        """What the whole book gives for an order, and the order's quantity."""
        offered = self.book(asked.symbol, asked.side, now)
        if asked.type == "LIMIT":
            offered = [one for one in offered if _reaches(asked, one[0])]
        if asked.quote_qty == ZERO:
            return walk(offered, asked.qty), asked.qty
        taken = spend(offered, asked.quote_qty, self.symbol(asked.symbol).step)
        return taken, quantity(taken)

    def _reserve(self, order: Order, taken: Sequence[Level]) -> None:
        """See that the account can pay; a limit order's funds are locked. Raises RefusedError (-2010)."""
        symbol, asked = self.symbol(order.asked.symbol), order.asked
        asset = symbol.quote if order.side == "BUY" else symbol.base
        if asked.type == "LIMIT":
            self.wallet.lock(asset, order.qty * asked.price if order.side == "BUY" else order.qty)
            return
        needed = cost(taken) if order.side == "BUY" else order.qty
        if self.wallet.of(asset).free < needed:
            raise rejected("Account has insufficient balance for requested action.")

    def _share(self, found: Decimal, asked: Asked) -> Decimal:
        """How much of it somebody is there for."""
        if self.liquidity is None:
            return found
        whole = asked.qty or found
        return min(found, floored(whole * self.liquidity, self.symbol(asked.symbol).step))

    def _closed(self, order_id: int, now: int) -> Order:
        """The order after matching: what does not rest on the book has expired."""
        order = self.orders[order_id]
        rests = order.asked.type == "LIMIT" and order.asked.time_in_force == "GTC"
        if order.is_open and not rests:
            reason = "INSUFFICIENT_LIQUIDITY" if order.asked.type == "MARKET" else None
            self._unlock(order)
            self.orders[order_id] = replace(order, status="EXPIRED", updated_at=now, expiry_reason=reason)
        return self.orders[order_id]

    def match(self, now: int) -> None:
        """Fill the open orders that the price has reached, as makers."""
        with self.lock:
            for order in [one for one in self.orders.values() if one.is_open]:
                best = self.book(order.asked.symbol, order.side, now)[0][0]
                if _reaches(order.asked, best):
                    part = self._share(order.qty, order.asked) - order.executed_qty
                    if part > ZERO:
                        self._trade(order, order.asked.price, part, now, True)

    def cancel(self, order: Order, now: int) -> Order:
        """Take an order off the book. Raises RefusedError (-2011) for one that is not open any more."""
        with self.lock:
            order = self.orders[order.order_id]
            if not order.is_open:
                raise RefusedError(-2011, "Unknown order sent.")
            self._unlock(order)
            self.orders[order.order_id] = replace(order, status="CANCELED", updated_at=now)
            return self.orders[order.order_id]

    def find(self, name: str, order_id: int | None, client_id: str | None, now: int) -> Order | None:
        """The order of an id, or the newest of a client id; None for one that is not visible yet."""
        with self.lock:
            known = [one for one in self.orders.values() if one.asked.symbol == name and one.visible_at <= now]
            found = [
                one
                for one in known
                if order_id in (None, one.order_id) and (order_id is not None or client_id == one.client_order_id)
            ]
            return found[-1] if found else None

    def visible(self, now: int) -> list[Order]:
        """Every order that can be looked up, oldest first."""
        with self.lock:
            return [one for one in self.orders.values() if one.visible_at <= now]

    def place_foreign(self, asked: Asked, now: int) -> Order:
        """An order that somebody else places on the same account. Raises RefusedError."""
        client_id = asked.client_order_id or f"web_{secrets.token_hex(14)}"
        return self.place(replace(asked, client_order_id=client_id), now, foreign=True)[0]

    # --- money

    def _trade(self, order: Order, price: Decimal, qty: Decimal, now: int, maker: bool) -> Trade:
        """Execute a part: money moves, the order grows."""
        order = self.orders[order.order_id]
        symbol, buys, quote = self.symbol(order.asked.symbol), order.side == "BUY", price * qty
        if order.asked.type == "LIMIT":
            self.wallet.lock(symbol.quote if buys else symbol.base, -(qty * order.asked.price if buys else qty))
        got, paid = ((symbol.base, qty), (symbol.quote, quote)) if buys else ((symbol.quote, quote), (symbol.base, qty))
        self.wallet.add(paid[0], -paid[1])
        asset, commission = self._commission(*got, symbol, quote, now)
        self.wallet.add(*got)
        self.wallet.add(asset, -commission)
        trade = Trade(
            self._trade_id, order.order_id, symbol.name, price, qty, quote, commission, asset, now, buys, maker
        )
        self._trade_id += 1
        self.trades.append(trade)
        executed = order.executed_qty + qty
        self.orders[order.order_id] = replace(
            order,
            executed_qty=executed,
            executed_quote=order.executed_quote + quote,
            status="FILLED" if executed == order.qty else "PARTIALLY_FILLED",
            updated_at=now,
        )
        return trade

    def _commission(self, asset: str, got: Decimal, symbol: Symbol, quote: Decimal, now: int) -> tuple[str, Decimal]:
        """The fee: of what is received, or its worth in BNB where that is on and there is enough."""
        if self.bnb and symbol.quote == "USDT":
            in_bnb = cut(quote * FEE_IN_BNB / self.prices("BNBUSDT").last(now))
            if self.wallet.of("BNB").free >= in_bnb:
                return "BNB", in_bnb
        return asset, cut(got * self.fee)

    def _unlock(self, order: Order) -> None:
        """Free what the rest of a limit order had locked."""
        if order.asked.type != "LIMIT":
            return
        symbol, left = self.symbol(order.asked.symbol), order.qty - order.executed_qty
        buys = order.side == "BUY"
        self.wallet.lock(symbol.quote if buys else symbol.base, -(left * order.asked.price if buys else left))


def _reaches(asked: Asked, price: Decimal) -> bool:
    """Whether a limit order trades at a price."""
    return asked.price >= price if asked.side == "BUY" else asked.price <= price
