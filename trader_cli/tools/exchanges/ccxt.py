"""A real exchange through ccxt: one symbol, over REST.

Reads are tried again; an order goes out once, and what came back is judged by the reply itself, not by what ccxt
makes of it. Every answer is checked before anything is built on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from trader_cli.core.decimals import ZERO, add, mul, text
from trader_cli.core.errors import ConfigError, TraderError, UpstreamError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, iso, span_text
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, CandleBatch, Market, Quote
from trader_cli.schemas.order import Absent, Fill, Intent, OrderState, Report, Sighting
from trader_cli.tools.exchanges import answers
from trader_cli.tools.exchanges.answers import Malformed
from trader_cli.tools.exchanges.client import MOST_SKEW_MS, Access, Client, Surroundings, UnknownPairError, kind
from trader_cli.tools.exchanges.dialects import DIALECTS

TICK_SIZE = 4
"""ccxt's name for a precision that is the step itself."""
FRESH_MS = 2_000
"""What was read so lately is not read again."""
DAY_MS = 86_400_000
AROUND_MS = 60_000
"""How long before an order was written down a search for it begins."""
PAGE = 1_000
LEAST_NOTIONAL = Decimal(5)
"""For a market that names no least notional."""


class CcxtExchange:
    """One symbol on one exchange."""

    def __init__(self, access: Access, symbol: str, timeframe_ms: int, around: Surroundings) -> None:
        self.name = access.exchange_id
        self.may_be_wiped = access.sandbox
        self.source = f"live:{access.exchange_id}" + ("-testnet" if access.sandbox else "")
        self._symbol = symbol
        self._timeframe_ms = timeframe_ms
        self._wall = around.wall
        self._wait = around.wait
        self._client = Client(access, around, symbol)
        self._market: Market | None = None
        self._read_at: Moment = 0

    @property
    def fingerprint(self) -> str | None:
        """The beginning of the key's hash."""
        return self._client.access.fingerprint

    # --- what every cycle reads ---------------------------------------------------------------

    def connect(self) -> None:
        """Read the symbol's rules again, and by the way the exchange's clock. ConfigError, UpstreamError."""
        self._client.up()
        if self._market is None or not 0 <= self._wall() - self._read_at < FRESH_MS:
            self._read_market()

    def _read_market(self) -> None:
        self._market = None
        try:
            market: Market = self._client.read("the market", self._load_market)
            self._client.set_clock()
        except TraderError as error:
            raise self._client.down(error) from None
        self._check_timeframe()
        self._market, self._read_at = market, self._wall()

    def _load_market(self, made: Any) -> Market:
        """The one market instead of thousands, where the exchange gives one alone: ccxt hands the parameter through."""
        base, quote = self._symbol.split("/")
        alone = {"symbol": base + quote} if self.name in DIALECTS else {}
        found = made.load_markets(True, alone)
        if found and self._symbol not in found:
            raise ConfigError(f'{self.name} does not trade "{self._symbol}"', "Set SYMBOL to a spot pair it trades.")
        return answers.market_of(found.get(self._symbol), self._symbol, LEAST_NOTIONAL)

    def _check_timeframe(self) -> None:
        made, timeframe = self._client.ccxt, span_text(self._timeframe_ms)
        if made.precisionMode != TICK_SIZE:
            raise ConfigError(f"{self.name} does not say its steps as quantities", "Choose another EXCHANGE_ID.")
        if not made.has.get("fetchOHLCV") or timeframe not in (made.timeframes or {}):
            raise ConfigError(f'{self.name} has no bars of "{timeframe}"', "Set another TIMEFRAME, or EXCHANGE_ID.")

    def market(self) -> Market:
        """The symbol's rules as `connect` read them."""
        if self._market is None:
            self._read_market()
        assert self._market is not None  # noqa: S101 - it raises where there is none
        return self._market

    @property
    def offset_ms(self) -> int:
        """How far the exchange's clock is ahead of this one, as of the last connect."""
        return self._client.offset_ms

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The last bars that have closed by both clocks. An exchange's newest row is still forming: it is left out.

        An exchange whose clock is ahead lists a bar as closed that is still open here: it is for the next look.
        """
        self.market()
        timeframe, most = span_text(self._timeframe_ms), min(limit + 2, PAGE)
        more = {} if limit + 2 <= PAGE else {"until": now - now % self._timeframe_ms - 1}
        closed = now + min(self._client.offset_ms, 0)

        def ask(made: Any) -> tuple[Candle, ...]:
            raw = made.fetch_ohlcv(self._symbol, timeframe, None, most, more)
            return answers.candles_of(raw, self._timeframe_ms, closed)

        bars: tuple[Candle, ...] = self._client.read("candles", ask)
        return CandleBatch(self.source, bars[-limit:])

    def quote(self, now: Moment) -> Quote:
        """Best bid and ask as of the answer."""
        self.market()

        def ask(made: Any) -> Quote:
            if hasattr(made, "publicGetTickerBookTicker"):  # the top of the book alone
                raw, names = made.publicGetTickerBookTicker({"symbol": self._pair}), ("bidPrice", "askPrice")
            else:
                raw, names = made.fetch_ticker(self._symbol), ("bid", "ask")
            return answers.quote_of(raw.get(names[0]), raw.get(names[1]), now)

        quote: Quote = self._client.read("the price", ask)
        return quote

    @property
    def _pair(self) -> str:
        """The exchange's own name of the symbol."""
        return str(self._client.ccxt.market_id(self._symbol))

    def balances(self) -> Balances:
        """What the account holds free."""
        market = self.market()

        def ask(made: Any) -> Balances:
            raw = made.fetch_balance({"omitZeroBalances": True})
            return answers.balances_of(raw, market.base, market.quote)

        held: Balances = self._client.read("balances", ask)
        self._client.key_worked()
        return held

    # --- orders -------------------------------------------------------------------------------

    def submit(self, intent: Intent) -> Report:
        """Send a market order, once. The timestamp is the intent's own: after its recvWindow nobody takes it any more.

        Returns what is proved. Raises for everything else, which leaves the order unknown.
        """
        client, dialect = self._client, self._client.dialect
        try:
            refusal = self._not_sendable(intent)
        except TraderError as error:
            refusal = "NOT_SENT", f"nothing was sent: {error.message}"
        if refusal is not None:
            return _refused(intent, *refusal)
        more = {
            dialect.id_when_sent: intent.client_order_id,
            "timestamp": intent.at + client.offset_ms,
            "recvWindow": intent.recv_window_ms,
            "maxRetriesOnFailure": 0,  # ccxt's own; here it wins over every place where its options may say more
        }
        side, qty = intent.side.lower(), text(intent.qty)
        try:
            raw = client.once(lambda made: made.create_order(self._symbol, "market", side, qty, None, more))
        except Exception as error:  # noqa: BLE001 - house rule 10: whatever it is, only the reply can prove a refusal
            reply = client.reply
            if not client.sent:
                return _refused(intent, "NOT_SENT", f"nothing was sent: {kind(error)}")
            if reply is not None and dialect.refuses(reply):
                return _refused(intent, reply.code or str(reply.status), reply.message or "")
            raise UpstreamError(f"{self.name} gave no proof: {client.words(error)}") from None
        return client.sound("the order", lambda: self._report(raw))

    def _not_sendable(self, intent: Intent) -> tuple[str, str] | None:
        """What forbids to send at all, as code and words."""
        if (banned := self._client.banned()) is not None:
            return "BANNED", f"{self.name} asked not to be called until {iso(banned[0])}: {banned[1]}"
        if not self.market().active:
            return "CLOSED", "Market is closed."
        sent = self._client.ccxt.amount_to_precision(self._symbol, text(intent.qty))
        if Decimal(str(sent)) != intent.qty:
            return "OFF_STEP", f"{text(intent.qty)} would have been sent as {str(sent)[:40]}"
        if abs(self._client.offset_ms) > MOST_SKEW_MS:
            return "CLOCK", f"the clocks are {abs(self._client.offset_ms) / 1000:.1f} s apart"
        late = self._wall() - intent.at  # last: nothing may take time between this look and the sending
        if not 0 <= late <= intent.recv_window_ms:
            return "TOO_LATE", f"the order was written down {late} ms before it could be sent"
        return None

    def find(self, intent: Intent) -> Report | Absent:
        """What became of an order. That it is absent is final once nobody can take it any more, and all looks agree."""
        if (order := self._look_up(intent)) is not None:
            return self._client.sound("the order", lambda: self._report(order))
        dialect, theirs = self._client.dialect, self._wall() + self._client.offset_ms
        left_ms = intent.at + MOST_SKEW_MS + intent.recv_window_ms + dialect.visible_after_ms - theirs
        if left_ms > 0:
            return Absent(final=False, evidence=f"not found; it may still be taken for {left_ms // 1000 + 1} s")
        self._wait(1.0)
        if (order := self._look_up(intent)) is not None:
            return self._client.sound("the order", lambda: self._report(order))
        return self._nowhere(intent)

    def _nowhere(self, intent: Intent) -> Absent:
        """Whether the lists agree with the look-ups that there is no such order."""
        since = intent.at - AROUND_MS
        listed = self.orders(since, self._wall() + 1_000)
        if any(one.client_order_id == intent.client_order_id for one in listed):
            return Absent(final=False, evidence="the list of orders shows it, look-ups do not")
        strays = self._traded_since(since) - {one.exchange_order_id for one in listed}
        if stray := {one for one in strays if self._may_be_ours(one, intent)}:
            return Absent(
                final=False, evidence=f"trades of an order that no list shows: {', '.join(sorted(stray))[:99]}"
            )
        return Absent(
            final=True,
            evidence="after the last moment at which it could be taken: two look-ups, the list of orders and the list "
            "of trades do not know it",
        )

    def _may_be_ours(self, exchange_order_id: str, intent: Intent) -> bool:
        """Whether an order that traded lately, and may be an older one of somebody else, could be this one."""
        raw = self._client.read("an order", lambda made: made.fetch_order(exchange_order_id, self._symbol), absent=True)
        found = raw.get("clientOrderId") if isinstance(raw, Mapping) else None
        return not found or found == intent.client_order_id

    def _look_up(self, intent: Intent) -> Any | None:
        """The order by our id, or None where the exchange says that there is none."""
        self.market()
        asked = {self._client.dialect.id_when_asked: intent.client_order_id}
        return self._client.read("an order", lambda made: made.fetch_order(None, self._symbol, asked), absent=True)

    def _report(self, raw: Any) -> Report:
        """An answer about an order as a report: with all its fills and fees, asked for where the answer lacks them."""
        order = answers.order_of(raw, self._pair, self._client.dialect)
        state, filled = answers.state_of(order), answers.number(order.get("filled"), "filled")
        fills: tuple[Fill, ...] = ()
        if state in (OrderState.FILLED, OrderState.PARTIAL):
            trades = order.get("trades") or ()
            if not trades or any(not (one.get("fee") or {}).get("currency") for one in trades):
                trades = self._trades_of(str(order["id"]))
            at = order.get("timestamp")
            fills = answers.fills_of(trades, at if isinstance(at, int) else self._wall(), self._worth)
            if (traded := add(*(fill.qty for fill in fills))) != filled:
                raise Malformed(f"trades add up to {traded} of {filled}")
        said = str(order["info"].get("expiryReason") or order["status"])
        return Report(
            client_order_id=str(order["clientOrderId"]),
            exchange_order_id=str(order["id"]),
            side=answers.side_of(order),
            state=state,
            executed_qty=filled,
            fills=fills,
            code=str(order["status"]).upper() if state is OrderState.REJECTED else None,
            message=storable(said[:200]) if state is OrderState.REJECTED else None,
        )

    def _trades_of(self, exchange_order_id: str) -> list[Any]:
        return self._list(
            "the order's trades", lambda made: made.fetch_order_trades(exchange_order_id, self._symbol, None, PAGE)
        )

    def _traded_since(self, since: Moment) -> set[str]:
        """The exchange's ids of orders that traded since."""
        start = since + self._client.offset_ms
        found = self._list("trades", lambda made: made.fetch_my_trades(self._symbol, start, PAGE))
        return {str(one.get("order")) for one in found}

    def _list(self, what: str, ask: Any) -> list[Any]:
        found: list[Any] = self._client.read(what, lambda made: answers.list_of(ask(made), what))
        return found

    def _worth(self, asset: str, amount: Decimal, price: Decimal) -> Decimal:
        """What a fee is worth in quote; one in a third currency by that currency's price now."""
        market = self.market()
        if asset == market.quote or amount == ZERO:
            return amount
        if asset == market.base:
            return mul(amount, price)
        pair = {"symbol": asset + market.quote}
        try:
            price = self._client.read(
                f"the price of {asset[:10]}",
                lambda made: answers.number(made.publicGetTickerPrice(pair).get("price"), "a fee's price"),
            )
        except UnknownPairError:
            return ZERO  # nobody trades it for our quote: it has no price here, and is kept in its own currency
        return mul(amount, price)

    def cancel(self, intent: Intent) -> None:
        """Take back what is left of an own open order; that none is open is as good."""
        self.market()
        asked = {self._client.dialect.id_when_asked: intent.client_order_id}
        self._client.read("a cancel", lambda made: made.cancel_order(None, self._symbol, asked), absent=True)

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """Every order of the symbol on the account, day by day, oldest first."""
        self.market()
        offset, seen, start = self._client.offset_ms, dict[str, Sighting](), since
        while start < until:
            end = min(start + DAY_MS - 1, until)
            found = [self._sighting(one) for one in self._list("orders", partial(self._ask_orders, start, end))]
            seen |= {one.exchange_order_id: one for one in found}
            newest = found[-1].at - offset if len(found) >= PAGE else start
            start = newest if newest > start else end + 1
        return tuple(sorted(seen.values(), key=lambda one: one.at))

    def _ask_orders(self, start: Moment, end: Moment, made: Any) -> Any:
        offset = self._client.offset_ms
        return made.fetch_orders(self._symbol, start + offset, PAGE, {"endTime": end + offset})

    def _sighting(self, raw: Any) -> Sighting:
        return self._client.sound("orders", lambda: answers.sighting_of(raw, self._pair, self._client.dialect))

    # --- the account and its key --------------------------------------------------------------

    def prove(self) -> dict[str, str]:
        """That the key works, what it may do, and as a hash whose account it is.

        Raises ConfigError for an account that may not trade, or a key that may do more than it should.
        """
        self.market()
        info = self._client.read(
            "the account", lambda made: answers.account_of(made.fetch_balance({"omitZeroBalances": True}))
        )
        self._client.key_worked()
        if info.get("canTrade") is False:
            raise ConfigError(f"the account on {self.name} may not trade", "Look at the account; then try again.")
        owner = str(info.get("uid") or self._client.access.key)
        rights = self._rights()
        account = hashlib.sha256(f"{self.name}:{owner}".encode()).hexdigest()[:16]
        return {"account": account, "trade": "yes", "withdraw": rights}

    def _rights(self) -> str:
        """Whether the key may withdraw: yes, no or unknown. What is not plainly no is refused where it must be."""
        access, rights = self._client.access, "unknown"
        if not access.sandbox and self._client.dialect.reads_rights:
            raw = self._client.read("the key's rights", lambda made: made.sapiGetAccountApiRestrictions())
            said = raw.get("enableWithdrawals") if isinstance(raw, Mapping) else None
            rights = "unknown" if not isinstance(said, bool) else "yes" if said else "no"
        if access.harmless_keys and rights != "no":
            found = "may withdraw" if rights == "yes" else "does not let its rights be read"
            raise ConfigError(
                f"EXCHANGE_API_KEY {found}; real money needs a key that may read and trade, and not withdraw",
                f"Make another key at {self.name}: withdrawals off.",
            )
        return rights


def _refused(intent: Intent, code: str, message: str) -> Report:
    return Report(
        intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO, code=code, message=storable(message)
    )
