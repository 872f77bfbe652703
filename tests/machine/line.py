"""The line over which a desk hears of the exchange: the Exchange port, in the weather of the rule that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from tests.fakes import BTC, FIVE, bar
from tests.machine.world import FAIR, VISIBLE_MS, Manner, Request, Taken, Truth
from trader_cli.core.decimals import ZERO
from trader_cli.core.errors import UpstreamError
from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, CandleBatch, Market, Quote
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Sighting


class Line:
    """A desk's connection: the Exchange port over the truth, in the weather of the rule that runs."""

    name = "binance-like"

    def __init__(self, truth: Truth, reached: Callable[[str], None], sends: Callable[[Intent], None]) -> None:
        self.truth = truth
        self.may_be_wiped = truth.testnet
        self.weather = FAIR
        self._reached = reached
        self._sends = sends

    @property
    def fingerprint(self) -> str | None:
        """There is an account."""
        return "5f1c0a9e77d2b4c8"

    def _called(self, what: str) -> None:
        self._reached(what)
        if what in self.weather.down or "all" in self.weather.down:
            raise UpstreamError(f"{what}: no answer")

    def connect(self) -> None:
        """There, unless it is down."""
        self._called("connect")

    def prove(self) -> dict[str, str]:
        """A harmless key."""
        self._called("prove")
        return {"account": "a1", "trade": "yes", "withdraw": "no"}

    def market(self) -> Market:
        """The rules, which every desk has read."""
        return BTC

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """Bars that closed, at the price of their time."""
        self._called("candles")
        last = now - now % FIVE - FIVE
        return CandleBatch(
            "live:binance-like", tuple(self._bars(last - back * FIVE for back in range(limit - 1, -1, -1)))
        )

    def _bars(self, openings: Iterable[Moment]) -> Iterable[Candle]:
        return (bar(opened_at, self.truth.price_at(opened_at + FIVE - 1)) for opened_at in openings)

    def quote(self, now: Moment) -> Quote:
        """Both at the price."""
        self._called("quote")
        return Quote(self.truth.price, self.truth.price, now)

    def balances(self) -> Balances:
        """What the account holds."""
        self._called("balances")
        return self.truth.held

    def submit(self, intent: Intent) -> Report:
        """One submission in this weather."""
        self._reached("submit-before")
        self._sends(intent)
        weather, clock = self.weather, self.truth.clock
        manner = weather.manner
        if manner is Manner.REFUSED:
            return self._refused(intent, "-1013", "Filter failure: NOTIONAL")
        late = weather.delay_ms if manner in (Manner.LATE, Manner.SLOW) else 0
        request = Request(intent, weather, clock.at + late, self.truth.life)
        if manner is Manner.LATE:
            self.truth.wire.append(request)
        elif manner is Manner.SLOW:
            clock.advance(late)
        came = None if manner in (Manner.LATE, Manner.LOST_BEFORE) else self.truth.take(request)
        self._reached("submit-after")
        if came is None or manner in (Manner.LOST_AFTER, Manner.LOST_PART):
            raise TimeoutError("no answer came")
        if isinstance(came, tuple):
            return self._refused(intent, *came)
        return cast(Report, "<html>502</html>") if manner is Manner.RUBBISH else self._report(came)

    def find(self, intent: Intent) -> Report | Absent:
        """What look-ups show of an order; that there is none is final once nobody could take it any more."""
        self._called("find")
        now = self.truth.clock.at
        for one in reversed(self.truth.orders):
            if one.client_order_id == intent.client_order_id and one.visible_at <= now:
                return self._report(one)
        final = now > intent.at + intent.recv_window_ms + VISIBLE_MS
        return Absent(final, "not found")

    def cancel(self, intent: Intent) -> None:
        """Take back what is left of it."""
        self._called("cancel")
        self.truth.cancel(intent.client_order_id)

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """All orders of the account that can be seen."""
        self._called("orders")
        now = self.truth.clock.at
        return tuple(
            Sighting(one.client_order_id, f"x{one.number}", one.side, one.state, one.qty, one.executed, one.at)
            for one in self.truth.orders
            if since <= one.at <= until and one.visible_at <= now
        )

    @staticmethod
    def _report(one: Taken) -> Report:
        expired = one.state is OrderState.REJECTED
        fills = () if one.state is OrderState.OPEN else tuple(one.fills)
        return Report(
            one.client_order_id, f"x{one.number}", one.side, one.state, one.executed, fills,
            code="EXPIRED" if expired else None, message="INSUFFICIENT_LIQUIDITY" if expired else None,
        )  # fmt: skip

    @staticmethod
    def _refused(intent: Intent, code: str, message: str) -> Report:
        return Report(
            intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO, code=code, message=message
        )  # fmt: skip
