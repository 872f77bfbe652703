"""The exchange of the state machine: what is true, whoever hears of it.

It behaves as Binance spot does: an id that was filled is no obstacle, an order is taken only within its recvWindow,
an answer may be lost on either side of that, a request may arrive after its sender died, and what was taken may stay
invisible to look-ups for a while. All of it follows from the machine's draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tests.fakes import BTC, PRICE, FakeClock
from trader_cli.core.decimals import ZERO, add
from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Fill, Intent, OrderState, Side

VISIBLE_MS = 25_000
"""How long after its recvWindow an order that nobody knows is known not to be: as the real adapter has it."""
FEE = Decimal("0.001")


class Manner(StrEnum):
    """What becomes of one submission."""

    ANSWERED = "taken, filled, answered"
    LOST_AFTER = "taken and filled, the answer is lost"
    SLOW = "it takes some seconds to arrive, and is answered"
    LATE = "it stays in a buffer and arrives later, whoever sent it may be dead by then"
    LOST_BEFORE = "it never arrives"
    PART = "half of it is filled, the rest expires"
    LOST_PART = "the same, and the answer is lost"
    NOTHING = "all of it expires"
    REFUSED = "refused with a definite code"
    RUBBISH = "taken and filled, the answer is no report"
    WORKING = "half of it is filled at once, the rest some seconds later"


HALF = frozenset({Manner.PART, Manner.LOST_PART, Manner.WORKING})


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong in one rule: at the submission, after it, and with the reads named in `down`."""

    manner: Manner = Manner.ANSWERED
    delay_ms: int = 0
    hidden_ms: int = 0
    fee_in: str = "received"
    down: frozenset[str] = frozenset()


FAIR = Weather()


@dataclass
class Taken:
    """An order as the exchange has it. `life` counts the restored backups before it was sent."""

    client_order_id: str
    number: int
    side: Side
    qty: Decimal
    at: Moment
    visible_at: Moment
    intent: Intent | None = None
    life: int = 0
    state: OrderState = OrderState.OPEN
    fills: list[Fill] = field(default_factory=list)
    done_at: Moment | None = None

    @property
    def executed(self) -> Decimal:
        """Σ fills, in base."""
        return add(*(fill.qty for fill in self.fills)) if self.fills else ZERO

    @property
    def cash(self) -> Decimal:
        """What it took out of the account, in quote; less than nothing for a SELL."""
        quote = sum((fill.quote_qty for fill in self.fills), ZERO)
        fees = sum((fill.fee for fill in self.fills if fill.fee_asset == "USDT"), ZERO)
        return quote + fees if self.side is Side.BUY else fees - quote

    @property
    def gained(self) -> Decimal:
        """What it brought, in base; less than nothing for a SELL."""
        fees = sum((fill.fee for fill in self.fills if fill.fee_asset == "BTC"), ZERO)
        return (self.executed if self.side is Side.BUY else -self.executed) - fees


@dataclass(frozen=True, slots=True)
class Request:
    """A submission on its way."""

    intent: Intent
    weather: Weather
    due: Moment
    life: int


class VirtualClock(FakeClock):
    """Time that passes only by a rule or a wait, and then brings what was due in it."""

    passed: Callable[[Moment], None] = staticmethod(lambda now: None)

    def advance(self, ms: int) -> None:
        """Let time pass on both clocks."""
        super().advance(ms)
        self.passed(self.at)

    def pause(self, ms: int) -> bool:
        """A wait for an answer takes its time here."""
        self.pauses.append(ms)
        self.advance(ms)
        return True


class Truth:
    """What the exchange has done. `wrongs` are acts that no order of events excuses."""

    def __init__(self, clock: VirtualClock, held: Balances, testnet: bool) -> None:
        self.clock = clock
        self.testnet = testnet
        self.opening = held
        self.held = held
        self.prices: list[tuple[Moment, Decimal]] = [(0, PRICE)]
        self.orders: list[Taken] = []
        self.wire: list[Request] = []
        self.past: list[Taken] = []
        self.sends: list[Intent] = []
        self.wrongs: list[str] = []
        self.life = 0
        self._orders = self._trades = 0
        clock.passed = self.passed

    @property
    def price(self) -> Decimal:
        """What one unit costs now."""
        return self.prices[-1][1]

    def price_at(self, at: Moment) -> Decimal:
        """What one unit cost at a moment."""
        return next(price for since, price in reversed(self.prices) if since <= at)

    @property
    def ours(self) -> list[Taken]:
        """Our orders since the last wipe, as they were taken."""
        return [one for one in self.orders if one.intent is not None]

    def passed(self, now: Moment) -> None:
        """What was due by now arrives, and what was working is filled."""
        due = sorted((one for one in self.wire if one.due <= now), key=lambda one: one.due)
        self.wire = [one for one in self.wire if one.due > now]
        for request in due:
            self.take(request)
        for one in self.orders:
            if one.done_at is not None and one.done_at <= now:
                self._fill(one, one.qty - one.executed, one.done_at, "received")
                one.state, one.done_at = OrderState.FILLED, None

    def take(self, request: Request) -> Taken | tuple[str, str]:
        """Take an order, or say why not: code and words. An id that was filled before is taken again."""
        intent, weather, at = request.intent, request.weather, request.due
        if at > intent.at + intent.recv_window_ms:
            return "-1021", "Timestamp for this request is outside of the recvWindow."
        if any(one.client_order_id == intent.client_order_id and one.state is OrderState.OPEN for one in self.orders):
            return "-2010", "Duplicate order sent."
        most = self.held.base if intent.side is Side.SELL else self.held.quote / (self.price * (1 + FEE))
        if intent.qty > most:
            return "-2010", "Account has insufficient balance for requested action."
        self._orders += 1
        one = Taken(
            intent.client_order_id, self._orders, intent.side, intent.qty, at, at + weather.hidden_ms, intent,
            request.life,
        )  # fmt: skip
        self.orders.append(one)
        share = Decimal("0.5") if weather.manner in HALF else Decimal(weather.manner is not Manner.NOTHING)
        self._fill(one, (intent.qty * share) // BTC.step * BTC.step, at, weather.fee_in)
        if weather.manner is Manner.WORKING:
            one.done_at = at + weather.delay_ms
        else:
            whole = one.executed == one.qty
            one.state = OrderState.FILLED if whole else OrderState.PARTIAL if one.fills else OrderState.REJECTED
        return one

    def _fill(self, one: Taken, qty: Decimal, at: Moment, fee_in: str) -> None:
        """Execute some of an order in two fills, at the price there is."""
        parts = [part for part in ((qty / 3) // BTC.step * BTC.step, qty - (qty / 3) // BTC.step * BTC.step) if part]
        for part in parts:
            quote = part * self.price
            asset = "BNB" if fee_in == "third" else "BTC" if one.side is Side.BUY and fee_in == "received" else "USDT"
            fee = (part if asset == "BTC" else quote) * FEE / (600 if asset == "BNB" else 1)
            self._trades += 1
            made = Fill(
                f"{self._trades}", part, self.price, quote, fee.quantize(Decimal("1e-12")), asset, quote * FEE, at
            )
            one.fills.append(made)
            sign = 1 if one.side is Side.BUY else -1
            base = sign * part - (made.fee if asset == "BTC" else 0)
            cash = -sign * quote - (made.fee if asset == "USDT" else 0)
            self.held = Balances(self.held.base + base, self.held.quote + cash)

    def cancel(self, client_order_id: str) -> None:
        """Take back what is left of an open order."""
        for one in self.orders:
            if one.client_order_id == client_order_id and one.state is OrderState.OPEN:
                one.state, one.done_at = OrderState.PARTIAL if one.fills else OrderState.REJECTED, None

    def trade_by_another(self, side: Side, qty: Decimal) -> None:
        """Somebody else trades on the account."""
        self._orders += 1
        now = self.clock.at
        one = Taken(f"web-{self._orders}", self._orders, side, qty, now, now, state=OrderState.FILLED)
        self._fill(one, qty, now, "received")
        self.orders.append(one)

    def wipe(self) -> None:
        """A testnet's new month: balances as at first, no orders, ids from the beginning."""
        self.past += self.orders
        self.orders, self.wire, self.held = [], [], self.opening
        self._orders = self._trades = 0
