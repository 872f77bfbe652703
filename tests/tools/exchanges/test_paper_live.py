"""Paper over a live exchange's public prices: the contract, and that it fills at what is bid and asked just then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import desk
from tests.fakes import BTC, FIVE, NOW, PRICE, FakeExchange, bars
from tests.tools.exchanges.contract import ExchangeContract, Stand
from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.phases.execute import execute
from trader_cli.phases.recover import recover
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Costs
from trader_cli.schemas.order import Absent, Intent, OrderState, Side
from trader_cli.tools.exchanges.paper import NO_PRICE, LivePaperExchange
from trader_cli.tools.exchanges.paper_prices import DEPTH_BARS, LEVELS
from trader_cli.tools.ledger import Ledger

D = Decimal
COSTS = Costs(fee_pct=D("0.1"), spread_bps=D(1), slippage_bps=D(2))
OPENING = D(1000)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger in memory."""
    made = Ledger.in_memory(lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def live() -> FakeExchange:
    """A live exchange: 49,990 bid, 50,010 asked, 90 a bar."""
    fake = FakeExchange("live:binance")
    fake.bid, fake.ask = D(49_990), D(50_010)
    return fake


def paper(ledger: Ledger, live: FakeExchange, opening: Decimal = OPENING) -> LivePaperExchange:
    return LivePaperExchange(ledger, live, COSTS, opening)


def order(qty: str = "0.001", side: Side = Side.BUY, symbol: str = "BTC/USDT", name: str = "t1-1") -> Intent:
    return Intent(name, None, None, symbol, side, D(qty), PRICE, D(0), NOW)


class TestPaperOverALiveExchange(ExchangeContract):
    """Its market, its candles, its quote; an account of paper."""

    @pytest.fixture
    def stand(self, ledger: Ledger, live: FakeExchange) -> Stand:
        """The same paper account, while the symbol trades and while it is halted."""
        halted = FakeExchange("live:binance")
        halted.rules = replace(BTC, active=False)
        return Stand(paper(ledger, live), paper(ledger, halted), NOW, FIVE)


def raising(what: str, error: Exception) -> Callable[[str], None]:
    """Watch for a call, and let it fail so."""

    def watch(called: str) -> None:
        if called == what:
            raise error

    return watch


# The price.


def test_a_buy_fills_beyond_the_ask_and_a_sale_beyond_the_bid(ledger: Ledger, live: FakeExchange) -> None:
    exchange = paper(ledger, live)
    (bought,) = exchange.submit(order("0.002")).fills
    (sold,) = exchange.submit(order("0.001", Side.SELL)).fills
    assert bought.price == D("50020.01")  # 50010 x 1.0002 is 50020.002, up to the tick
    assert sold.price == D("49980.00")  # 49990 x 0.9998 is 49980.002, down to the tick
    assert (bought.at, sold.at) == (NOW, NOW)


def test_an_order_fills_at_the_quote_of_its_submission_and_not_at_one_seen_before(
    ledger: Ledger, live: FakeExchange
) -> None:
    exchange = paper(ledger, live)
    seen = exchange.quote(NOW)
    live.bid, live.ask = D(50_990), D(51_010)
    (fill,) = exchange.submit(order()).fills
    assert fill.price > D(51_010) > seen.ask


def test_the_quote_is_the_last_thing_asked_and_nothing_is_asked_inside_a_transaction(
    ledger: Ledger, live: FakeExchange
) -> None:
    within: list[bool] = []
    live.watch = lambda what: within.append(ledger.db.in_transaction)
    paper(ledger, live).submit(order())
    assert live.calls == {"market": 1, "candles": 1, "quote": 1}
    assert list(live.calls) == ["market", "candles", "quote"]
    assert not any(within)


def test_each_level_holds_a_share_of_what_the_last_bars_traded_in_the_mean(ledger: Ledger, live: FakeExchange) -> None:
    rows = bars(count=200)
    quiet = [row._replace(volume=D("0.5")) for row in rows[-DEPTH_BARS : -DEPTH_BARS // 2]]
    busy = [row._replace(volume=D("1.5")) for row in rows[-DEPTH_BARS // 2 :]]
    live.rows = (*quiet, *busy)
    report = paper(ledger, live).submit(order("0.005"))
    assert [fill.qty for fill in report.fills] == [D("0.002"), D("0.002"), D("0.001")]
    assert [fill.price for fill in report.fills] == [D("50020.01"), D("50030.01"), D("50040.01")]


def test_when_liquidity_runs_out_the_rest_is_never_filled(ledger: Ledger, live: FakeExchange) -> None:
    live.rows = [row._replace(volume=D(1)) for row in bars(count=DEPTH_BARS)]
    exchange = paper(ledger, live)
    report = exchange.submit(order("0.015"))
    assert (report.state, report.executed_qty, len(report.fills)) == (OrderState.PARTIAL, D("0.01"), LEVELS)
    assert exchange.find(order("0.015")) == report


def test_a_market_that_names_no_least_quantity_still_has_a_step_at_each_level(
    ledger: Ledger, live: FakeExchange
) -> None:
    live.rules = replace(BTC, min_qty=D(0), min_notional=D(0))
    live.rows = [row._replace(volume=D("0.00001")) for row in bars(count=DEPTH_BARS)]
    exchange = paper(ledger, live)
    assert [fill.qty for fill in exchange.submit(order("0.001")).fills] == [BTC.step] * LEVELS
    assert exchange.submit(order("0")).code == "-1013"


def test_the_fee_is_the_one_of_the_settings_and_the_rules_say_so(ledger: Ledger, live: FakeExchange) -> None:
    exchange = LivePaperExchange(ledger, live, replace(COSTS, fee_pct=D("0.2")), OPENING)
    (fill,) = exchange.submit(order()).fills
    assert fill.fee == D("0.000002")
    assert exchange.market() == replace(BTC, fee_pct=D("0.2"))


def test_candles_and_quotes_are_the_exchanges_own(ledger: Ledger, live: FakeExchange) -> None:
    exchange = paper(ledger, live)
    assert exchange.candles(5, NOW) == live.candles(5, NOW)
    assert exchange.candles(5, NOW).source == "live:binance"
    assert exchange.quote(NOW) == live.quote(NOW)


# Refusals.


def test_a_halted_market_is_closed_and_asked_no_further(ledger: Ledger, live: FakeExchange) -> None:
    live.rules = replace(BTC, active=False)
    report = paper(ledger, live).submit(order())
    assert (report.state, report.code, report.message) == (OrderState.REJECTED, "-1013", "Market is closed.")
    assert live.calls == {"market": 1}


@pytest.mark.parametrize("count", [0, DEPTH_BARS])
def test_where_nobody_has_traded_lately_the_market_is_closed(ledger: Ledger, live: FakeExchange, count: int) -> None:
    live.rows = [row._replace(volume=D(0)) for row in bars(count=DEPTH_BARS)][:count]
    report = paper(ledger, live).submit(order())
    assert (report.code, report.message) == ("-1013", "Market is closed.")


@pytest.mark.parametrize("price", ["0.01", "24000", "101000", "-50000"])
def test_nothing_fills_at_a_quote_that_no_market_makes(ledger: Ledger, live: FakeExchange, price: str) -> None:
    live.bid = live.ask = D(price)
    report = paper(ledger, live).submit(order("0.002"))
    assert (report.code, report.message) == ("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE")


@pytest.mark.parametrize("error", [UpstreamError("the line is dead"), ConfigError("no such key")])
@pytest.mark.parametrize("what", ["market", "candles", "quote"])
def test_without_an_answer_nothing_is_taken_and_that_is_certain(
    ledger: Ledger, live: FakeExchange, what: str, error: Exception
) -> None:
    exchange = paper(ledger, live)
    live.watch = raising(what, error)
    report = exchange.submit(order())
    assert (report.state, report.code, report.fills) == (OrderState.REJECTED, NO_PRICE, ())
    assert report.message == f"nothing was taken: {error}"
    assert exchange.find(order()) == Absent(final=True, evidence="the paper exchange never took this order")
    assert exchange.balances() == Balances(D(0), OPENING)
    live.watch = lambda what: None
    assert exchange.submit(order(name="t1-2")).state is OrderState.FILLED


def test_an_order_that_broke_on_something_nobody_foresaw_ends_abandoned_for_it_can_be_asked_about() -> None:
    live = FakeExchange("live:binance")
    with desk(exchange=lambda ledger: LivePaperExchange(ledger, live, COSTS, OPENING)) as scene:
        judged = scene.judged()
        quoted = live.calls["quote"]

        def breaks_at_the_submission(what: str) -> None:
            if what == "quote" and live.calls["quote"] > quoted + 1:  # execute itself looks first
                raise ZeroDivisionError("who would have thought")

        live.watch = breaks_at_the_submission
        execute(scene.desk, *judged)
        recover(scene.desk)
        states = scene.column("SELECT state FROM order_events ORDER BY id")
        assert (states[0], states[-1]) == ("INTENT", "ABANDONED")
        assert scene.rows("paper_orders") == 0
        assert scene.problems() == []


# The rest of the port, and a whole desk.


def test_there_is_no_account_and_nothing_of_one_is_asked(ledger: Ledger, live: FakeExchange) -> None:
    exchange = paper(ledger, live)
    exchange.connect()
    assert (exchange.name, exchange.may_be_wiped, exchange.fingerprint) == ("paper", False, None)
    assert (exchange.prove(), exchange.orders(0, NOW)) == ({}, ())
    exchange.submit(order())
    exchange.cancel(order())
    exchange.find(order())
    exchange.find(order(name="t1-of-nobody"))
    exchange.balances()
    assert set(live.calls) == {"connect", "market", "candles", "quote"}


def test_whole_cycles_on_live_prices_leave_a_ledger_that_proves() -> None:
    live = FakeExchange("live:binance")
    with desk(exchange=lambda ledger: LivePaperExchange(ledger, live, COSTS, OPENING)) as scene:
        live.watch = lambda what: _not_within_a_transaction(scene.ledger)
        for proposal in (
            None,
            '{"action": "HOLD", "qty": "0", "policy_id": "cash", "hypothesis": "", "confidence": 1}',
        ):
            assert scene.traded(proposal).snapshot is not None
        assert scene.column("SELECT DISTINCT source FROM observations") == ["live:binance"]
        assert [scene.rows(table) for table in ("orders", "paper_orders", "trades")] == [1, 1, 1]
        assert scene.ledger.last_snapshot() is not None
        drifts = "SELECT drift_usdt FROM portfolio UNION SELECT drift_btc FROM portfolio"
        assert scene.column(drifts) in ([None, "0"], ["0"])
        assert scene.problems() == []
    assert not set(live.calls) - {"connect", "market", "candles", "quote"}


def _not_within_a_transaction(ledger: Ledger) -> None:
    assert not ledger.db.in_transaction, "the exchange was asked inside a transaction"
