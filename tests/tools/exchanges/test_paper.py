"""The paper exchange: the contract over three kinds of candles, and what only paper promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.fakes import BTC, FIVE, NOW, PRICE, FakeSource, bar, bars
from tests.tools.exchanges.contract import ExchangeContract, Stand
from trader_cli.core.errors import MarketEndedError, UpstreamError
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, Costs, Market
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side
from trader_cli.tools.exchanges.paper import PaperExchange
from trader_cli.tools.exchanges.paper_prices import LEVELS
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.markets.recorded import HEADER, RecordedMarket
from trader_cli.tools.markets.simulated import SimulatedMarket

D = Decimal
COSTS = Costs(fee_pct=D("0.1"), spread_bps=D(1), slippage_bps=D(2))
OPENING = D(1000)


def paper(ledger: Ledger, source: CandleSource, market: Market = BTC, opening: Decimal = OPENING) -> PaperExchange:
    return PaperExchange(ledger, source, market, COSTS, opening)


def stand_over(ledger: Ledger, source: CandleSource, market: Market = BTC) -> Stand:
    halted = replace(market, active=False)
    return Stand(paper(ledger, source, market), paper(ledger, source, halted), source.start(200), FIVE)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger in memory."""
    made = Ledger.in_memory(lambda: NOW)
    yield made
    made.close()


class TestPaperOverSimulatedCandles(ExchangeContract):
    """The default market, with the fine grid of a coin that is not bitcoin."""

    @pytest.fixture
    def stand(self, ledger: Ledger) -> Stand:
        """ETH/USDT."""
        market = rules("ETH/USDT", D("0.1"))
        return stand_over(ledger, SimulatedMarket("ETH/USDT", FIVE, 7, market.tick), market)


class TestPaperOverRecordedCandles(ExchangeContract):
    """A CSV file."""

    @pytest.fixture
    def stand(self, ledger: Ledger, tmp_path: Path) -> Stand:
        """230 sound bars."""
        rows = [",".join(str(value) for value in candle) for candle in bars(NOW + 30 * FIVE, 230)]
        path = tmp_path / "candles.csv"
        path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="ascii")
        return stand_over(ledger, RecordedMarket(path, None))


class TestPaperOverAListOfCandlesWithoutFees(ExchangeContract):
    """The fake source of other tests; a fee of nothing is a fee too."""

    @pytest.fixture
    def stand(self, ledger: Ledger) -> Stand:
        """Bars from a list."""
        source = FakeSource(bars(NOW + 30 * FIVE, 230))
        free, market = replace(COSTS, fee_pct=D(0)), replace(BTC, fee_pct=D(0))
        return Stand(
            PaperExchange(ledger, source, market, free, OPENING),
            PaperExchange(ledger, source, replace(market, active=False), free, OPENING),
            source.start(200),
            FIVE,
        )


# What only paper promises.


def opening(price: str, volume: str = "100", late: int = 0) -> Candle:
    """The bar that opens at NOW (or so many bars later), where an order of NOW may fill."""
    value = D(price)
    return Candle(NOW + late * FIVE, value, value + 5, value - 5, value, D(volume))


def market_with(ledger: Ledger, *after: Candle, opening_balance: Decimal = OPENING) -> PaperExchange:
    """200 bars up to NOW, then these."""
    return paper(ledger, FakeSource((*bars(), *after)), opening=opening_balance)


def order(qty: str = "0.001", side: Side = Side.BUY, at: int = NOW, symbol: str = "BTC/USDT") -> Intent:
    return Intent(f"t1-{side}-{qty}", None, None, symbol, side, D(qty), PRICE, D(0), at)


def test_an_order_fills_at_the_open_of_the_first_bar_that_opens_at_or_after_it(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50500"), opening("49000", late=1))
    (fill,) = exchange.submit(order()).fills
    assert fill.price == D("50512.63")  # 2.5 basis points above the open, rounded up to the tick
    assert fill.at == NOW


def test_it_never_fills_at_a_price_the_decision_saw(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50500"))
    seen = {value for candle in exchange.candles(200, NOW).candles for value in candle[1:5]}
    (fill,) = exchange.submit(order()).fills
    assert fill.price not in seen
    assert fill.price > exchange.quote(NOW).ask


def test_an_order_between_two_bars_waits_for_the_next_open(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50500"), opening("49000", late=1))
    (fill,) = exchange.submit(order(at=NOW + 1)).fills
    assert (fill.price, fill.at) == (D("49012.25"), NOW + FIVE)


def test_spread_and_slippage_are_against_the_taker_and_rounded_against_him(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50500"))
    (bought,) = exchange.submit(order("0.002")).fills
    (sold,) = exchange.submit(order("0.001", Side.SELL)).fills
    assert sold.price == D("50487.37")  # 50500 x (1 - 0.00025) is 50487.375
    assert sold.price < D(50_500) < bought.price


def test_the_quote_is_the_last_close_with_half_a_spread_to_each_side(ledger: Ledger) -> None:
    quote = market_with(ledger, opening("50500")).quote(NOW)
    assert (quote.bid, quote.ask, quote.at) == (D("49997.50"), D("50002.50"), NOW)


def test_a_thin_bar_fills_over_several_levels_each_worse_than_the_one_before(ledger: Ledger) -> None:
    report = market_with(ledger, opening("50000", volume="1")).submit(order("0.005"))
    assert [fill.qty for fill in report.fills] == [D("0.002"), D("0.002"), D("0.001")]
    assert [fill.price for fill in report.fills] == [D("50012.50"), D("50022.50"), D("50032.50")]
    assert (report.state, report.executed_qty) == (OrderState.FILLED, D("0.005"))


def test_a_sale_over_several_levels_gets_less_at_each(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50000", volume="1"))
    exchange.submit(order("0.006"))
    report = exchange.submit(order("0.005", Side.SELL))
    assert [fill.price for fill in report.fills] == [D("49987.50"), D("49977.50"), D("49967.50")]


def test_when_liquidity_runs_out_the_rest_is_never_filled(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50000", volume="1"))
    report = exchange.submit(order("0.015"))
    assert (report.state, report.executed_qty, len(report.fills)) == (OrderState.PARTIAL, D("0.01"), LEVELS)
    held = exchange.balances()
    assert held.base == D("0.01") - D("0.00001")
    assert held.quote == OPENING - sum(fill.quote_qty for fill in report.fills)
    assert exchange.find(order("0.015")) == report


def test_a_bar_of_next_to_no_volume_still_has_the_least_quantity_at_each_level(ledger: Ledger) -> None:
    report = market_with(ledger, opening("50000", volume="0.00001")).submit(order("0.001"))
    assert [fill.qty for fill in report.fills] == [D("0.00001")] * LEVELS
    assert report.state is OrderState.PARTIAL


CLOSED: dict[str, tuple[Candle, ...]] = {
    "at-the-end-of-the-file": (),
    "in-a-gap": (opening("50000", late=1),),
    "in-a-long-gap": (opening("50000", late=500),),
    "without-volume": (opening("50000", volume="0"),),
    "at-a-price-of-nothing": (opening("50000")._replace(open=D(0)),),
    "at-a-negative-price": (opening("50000")._replace(low=D(-1)),),
}


@pytest.mark.parametrize("after", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("side", Side)
def test_where_nobody_could_have_traded_the_market_is_closed(
    ledger: Ledger, after: tuple[Candle, ...], side: Side
) -> None:
    exchange = market_with(ledger, *after)
    report = exchange.submit(order(side=side))
    assert (report.state, report.code, report.message) == (OrderState.REJECTED, "-1013", "Market is closed.")
    assert (exchange.balances(), exchange.find(order(side=side)).__class__) == (Balances(D(0), OPENING), Absent)


@pytest.mark.parametrize("price", ["100000", "25000"])
def test_a_price_that_halved_or_doubled_is_still_a_price(ledger: Ledger, price: str) -> None:
    assert market_with(ledger, opening(price)).submit(order("0.002")).state is OrderState.FILLED


@pytest.mark.parametrize("price", ["100002", "24999"])
def test_nothing_fills_at_a_misprint_or_another_coins_price(ledger: Ledger, price: str) -> None:
    report = market_with(ledger, opening(price)).submit(order("0.002"))
    assert (report.code, report.message) == ("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE")


def test_a_price_of_less_than_a_hundred_ticks_is_too_coarse_to_trade_at(ledger: Ledger) -> None:
    coarse = replace(BTC, tick=D("500.01"))
    report = paper(ledger, FakeSource((*bars(), opening("50000"))), coarse).submit(order())
    assert (report.code, report.message) == ("-1013", "Filter failure: PRICE_FILTER")


def test_a_price_of_a_hundred_ticks_is_fine_enough(ledger: Ledger) -> None:
    coarse = replace(BTC, tick=D(500))
    report = paper(ledger, FakeSource((*bars(), opening("50000"))), coarse).submit(order())
    assert report.state is OrderState.FILLED


@pytest.mark.parametrize(
    ("edge", "qty"), [({"min_qty": D("0.001")}, "0.001"), ({"max_qty": D("0.001")}, "0.001"), ({}, "0.0001")]
)
def test_what_lies_just_within_a_filter_is_taken(ledger: Ledger, edge: dict[str, Decimal], qty: str) -> None:
    market = replace(BTC, min_notional=D(5), **edge)  # type: ignore[arg-type]  # only decimals are changed
    report = paper(ledger, FakeSource((*bars(), opening("50000"))), market).submit(order(qty))
    assert report.state is OrderState.FILLED


def test_another_symbol_is_refused_by_its_name(ledger: Ledger) -> None:
    report = market_with(ledger, opening("50000")).submit(order(symbol="ETH/USDT"))
    assert (report.state, report.code) == (OrderState.REJECTED, "-1121")


@pytest.mark.parametrize(
    ("intent", "code", "filter_name"),
    [
        (order("0.000005"), "-1013", "LOT_SIZE"),
        (order("0.000015"), "-1013", "LOT_SIZE"),
        (order("128.00001"), "-1013", "LOT_SIZE"),
        (order("0.00009"), "-1013", "NOTIONAL"),
        (order("0.02"), "-2010", "insufficient"),
        (order("0.001", Side.SELL), "-2010", "insufficient"),
    ],
)
def test_refusals_carry_the_codes_of_binance(ledger: Ledger, intent: Intent, code: str, filter_name: str) -> None:
    report = market_with(ledger, opening("50000")).submit(intent)
    assert report.code == code
    assert filter_name in (report.message or "")


@pytest.mark.parametrize(("missing", "state"), [("0", OrderState.FILLED), ("0.00000001", OrderState.REJECTED)])
def test_funds_must_cover_the_worst_level_not_only_the_best(ledger: Ledger, missing: str, state: OrderState) -> None:
    worst = D("50052.50") * D("0.001")
    exchange = market_with(ledger, opening("50000"), opening_balance=worst - D(missing))
    assert exchange.submit(order()).state is state


def test_an_order_that_was_never_taken_never_can_be(ledger: Ledger) -> None:
    found = market_with(ledger, opening("50000")).find(order())
    assert found == Absent(final=True, evidence="the paper exchange never took this order")


def test_of_one_id_sent_twice_the_newest_is_found(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50000"))
    exchange.submit(order())
    second = exchange.submit(order())
    assert exchange.find(order()) == second


def test_an_account_survives_the_reopening_of_its_ledger(tmp_path: Path) -> None:
    source = FakeSource((*bars(), opening("50000", volume="1")))
    first = Ledger.open_writer(tmp_path / "agent.db", lambda: NOW)
    with first.writing():
        report = paper(first, source).submit(order("0.005"))
    held = paper(first, source).balances()
    first.close()
    again = Ledger.open_writer(tmp_path / "agent.db", lambda: NOW)
    exchange = paper(again, source, opening=D(5))
    assert exchange.balances() == held != Balances(D(0), OPENING)
    assert exchange.find(order("0.005")) == report
    with again.writing():
        other = exchange.submit(order("0.004", Side.SELL))
    assert isinstance(other, Report)
    assert other.exchange_order_id == "paper-2"
    assert not {fill.trade_id for fill in other.fills} & {fill.trade_id for fill in report.fills}
    again.close()


def test_an_execution_is_one_commit_and_a_refusal_none(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50000"))
    link = ledger.next_link
    exchange.submit(order("0.000001"))
    assert ledger.next_link == link
    exchange.submit(order())
    assert ledger.next_link == link + 1
    exchange.market()
    exchange.candles(200, NOW)
    exchange.quote(NOW)
    exchange.balances()
    exchange.find(order())
    assert ledger.next_link == link + 1


def test_after_the_last_bar_that_an_order_could_fill_at_the_market_has_ended(ledger: Ledger) -> None:
    exchange = market_with(ledger, opening("50000"))
    assert len(exchange.candles(200, NOW).candles) == 200
    with pytest.raises(MarketEndedError, match=r'the market "recorded:fake\.csv" ended at 2026-03-02T12:00:00\.000Z'):
        exchange.candles(200, NOW + 1)


def test_an_endless_market_never_ends(ledger: Ledger) -> None:
    exchange = paper(ledger, FakeSource(bars(), endless=True))
    assert len(exchange.candles(200, NOW + 10**9).candles) == 200


def test_without_any_closed_bar_there_is_no_quote(ledger: Ledger) -> None:
    exchange = paper(ledger, FakeSource([bar(NOW)]))
    with pytest.raises(UpstreamError, match="has no bar before"):
        exchange.quote(NOW)


def test_candles_keep_the_provenance_of_their_source(ledger: Ledger) -> None:
    assert paper(ledger, FakeSource(bars(), "simulated:7", endless=True)).candles(5, NOW).source == "simulated:7"


# Its rules.


def test_bitcoin_has_binances_rules_and_any_other_coin_a_finer_grid() -> None:
    btc, pepe = rules("BTC/USDT", D("0.2")), rules("PEPE/EUR", D("0.1"))
    assert (btc.step, btc.tick, btc.min_notional, btc.fee_pct) == (D("0.00001"), D("0.01"), D(5), D("0.2"))
    assert (pepe.symbol, pepe.base, pepe.quote) == ("PEPE/EUR", "PEPE", "EUR")
    assert (pepe.tick, pepe.min_notional) == (D("0.00000001"), D(5))
    assert costs(D("0.1"), D(3)) == Costs(D("0.1"), D(1), D(3))
