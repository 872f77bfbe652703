"""Which bars have closed, until when an order may be taken, to the millisecond: both sides on one clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.binance_server import BinanceServer, faults
from trader_cli.core.candles import examine
from trader_cli.core.errors import UpstreamError
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side
from trader_cli.tools.clock import wall_now
from trader_cli.tools.exchanges.ccxt import CcxtExchange
from trader_cli.tools.exchanges.client import MOST_SKEW_MS, Access, Surroundings
from trader_cli.tools.exchanges.dialects import BINANCE

BAR_MS = 300_000
WINDOW_MS = 5_000
FENCE_MS = MOST_SKEW_MS + WINDOW_MS + BINANCE.visible_after_ms


@dataclass
class Bench:
    """The exchange, its adapter and the one clock of both."""

    server: BinanceServer
    exchange: CcxtExchange
    ms: int

    def intent(self) -> Intent:
        """A BUY written down now."""
        return Intent("t1-aaaa-bbbb", 1, 2, "BTC/USDT", Side.BUY, Decimal("0.0005"), Decimal(1), Decimal(1), self.ms)

    def lose(self) -> Intent:
        """An order that is sent and whose answer is lost, before it was taken."""
        intent = self.intent()
        self.server.faults.next("POST", "/api/v3/order", faults.drop_before())
        with pytest.raises(UpstreamError):
            self.exchange.submit(intent)
        return intent

    def absent(self, intent: Intent) -> Absent:
        """What the adapter finds, where it finds nothing."""
        found = self.exchange.find(intent)
        assert isinstance(found, Absent)
        return found


@contextmanager
def bench(ahead_ms: int = 0) -> Iterator[Bench]:
    """A bench whose exchange's clock is so far ahead. Waiting moves the clock and takes no time."""
    made: list[Bench] = []

    def wall() -> int:
        return made[0].ms if made else wall_now()

    def wait(secs: float) -> bool:
        made[0].ms += int(secs * 1000)
        return True

    with BinanceServer(testnet=True, price=Decimal(60_000), clock=wall) as server:
        access = Access("binance", True, server.key, server.secret, server.ccxt_config())
        exchange = CcxtExchange(access, "BTC/USDT", BAR_MS, Surroundings(wall, wait, lambda: None, lambda *_: None))
        exchange._client.ccxt.milliseconds = wall  # ccxt's own clock is this one, too
        made.append(Bench(server, exchange, wall_now()))
        server.advance(ahead_ms)
        exchange.connect()
        yield made[0]


@pytest.mark.parametrize("ahead_ms", [2_000, 0, -2_000])
def test_a_bar_is_seen_when_it_has_closed_by_both_clocks(ahead_ms: int) -> None:
    with bench(ahead_ms) as at:
        closes = at.ms - at.ms % BAR_MS + BAR_MS
        later = closes + max(0, -ahead_ms)
        for moment, newest in (
            (closes - 1_500, closes - BAR_MS),
            (later - 20, closes - BAR_MS),  # its clock was read within some ms
            (later + 20, closes),
        ):
            at.ms = moment
            batch = at.exchange.candles(50, at.ms)
            assert batch.candles[-1].opened_at + BAR_MS == newest, moment - closes
            assert examine(batch, BAR_MS, at.ms, 50).defects == ()


def test_an_order_that_was_never_taken_is_given_up_at_the_fence_and_not_a_moment_before() -> None:
    with bench() as at:
        intent = at.lose()
        for before in (FENCE_MS - 1_000, 1_000, 1):
            at.ms = intent.at + FENCE_MS - before
            assert not at.absent(intent).final, before
        at.ms = intent.at + FENCE_MS
        assert at.absent(intent).final
        assert at.server.posts() == 1


@pytest.mark.parametrize("ahead_ms", [2_000, -2_000])
def test_the_fence_is_on_the_exchanges_clock(ahead_ms: int) -> None:
    with bench(ahead_ms) as at:
        intent = at.lose()
        at.ms = intent.at + FENCE_MS - ahead_ms - 20  # its clock was read within some ms
        assert not at.absent(intent).final
        at.ms = intent.at + FENCE_MS - ahead_ms + 20
        assert at.absent(intent).final


def test_giving_up_asks_twice_and_both_lists() -> None:
    with bench() as at:
        intent = at.lose()
        at.ms = intent.at + FENCE_MS
        asked = len(at.server.requests)
        assert at.absent(intent).final
        assert [one.path.rpartition("/")[2] for one in at.server.requests[asked:]] == [
            "order",
            "order",
            "allOrders",
            "myTrades",
        ]


def test_an_order_that_arrives_after_its_window_is_refused_and_that_is_a_proof() -> None:
    with bench() as at:

        def dawdle(_: object) -> None:
            at.ms += WINDOW_MS + 1

        at.server.hook("before-order", dawdle)
        report = at.exchange.submit(at.intent())
        assert (report.state, report.code) == (OrderState.REJECTED, "-1021")
        assert (at.server.orders, at.server.posts()) == ([], 1)


def test_an_order_that_arrives_at_the_end_of_its_window_is_taken() -> None:
    with bench() as at:

        def dawdle(_: object) -> None:
            at.ms += WINDOW_MS

        at.server.hook("before-order", dawdle)
        assert at.exchange.submit(at.intent()).state is OrderState.FILLED


@pytest.mark.parametrize("late_ms", [WINDOW_MS + 1, 60_000, -1])
def test_an_order_that_is_sent_outside_its_own_window_is_not_sent(late_ms: int) -> None:
    with bench() as at:
        intent = at.intent()
        at.ms += late_ms
        report = at.exchange.submit(intent)
        assert (report.state, report.code) == (OrderState.REJECTED, "TOO_LATE")
        assert at.server.posts() == 0


@pytest.mark.parametrize("ahead_ms", [0, 1_500, -1_500])
def test_an_order_carries_the_time_of_its_intent_on_the_exchanges_clock(ahead_ms: int) -> None:
    with bench(ahead_ms) as at:
        intent = at.intent()
        at.ms += 700
        assert at.exchange.submit(intent).state is OrderState.FILLED
        (sent,) = (one for one in at.server.requests if one.places)
        assert abs((sent.timestamp or 0) - (intent.at + ahead_ms)) <= 20
        assert sent.params["recvWindow"] == str(WINDOW_MS)
        assert sent.client_id == intent.client_order_id


def test_an_order_that_is_not_to_be_seen_for_as_long_as_it_may_is_not_given_up_before_it_is() -> None:
    with bench() as at:
        intent = at.intent()
        at.server.exchange.hidden_ms = BINANCE.visible_after_ms
        at.server.faults.next("POST", "/api/v3/order", faults.accept_then_drop())
        with pytest.raises(UpstreamError):
            at.exchange.submit(intent)
        at.ms = intent.at + BINANCE.visible_after_ms - 1
        assert not at.absent(intent).final
        at.ms = intent.at + FENCE_MS
        found = at.exchange.find(intent)
        assert isinstance(found, Report)
        assert (found.state, found.executed_qty) == (OrderState.FILLED, intent.qty)


def test_an_order_that_only_a_list_shows_is_not_given_up() -> None:
    with bench() as at:
        intent = at.intent()
        at.server.faults.next("POST", "/api/v3/order", faults.accept_then_drop())
        with pytest.raises(UpstreamError):
            at.exchange.submit(intent)
        at.server.faults.always("GET", "/api/v3/order", faults.error(-2013))
        at.ms = intent.at + 10 * FENCE_MS
        assert not at.absent(intent).final


def test_a_trade_of_an_order_that_no_list_shows_keeps_an_order_from_being_given_up() -> None:
    with bench() as at:
        intent = at.intent()
        at.server.faults.next("POST", "/api/v3/order", faults.accept_then_drop())
        with pytest.raises(UpstreamError):
            at.exchange.submit(intent)
        at.server.faults.always("GET", "/api/v3/order", faults.error(-2013))
        empty = faults.Fault("an empty list", status=200, body=b"[]")
        at.server.faults.always("GET", "/api/v3/allOrders", empty)
        at.ms = intent.at + 10 * FENCE_MS
        assert not at.absent(intent).final
