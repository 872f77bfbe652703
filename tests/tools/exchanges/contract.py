"""ExchangeContract: what every exchange keeps, whatever is behind it.

A test class inherits it and gives a fixture `stand`: an exchange with an account that holds quote and no
base, on a market that is open, and the same account on a market that is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count, pairwise

import pytest

from trader_cli.core.candles import examine
from trader_cli.core.decimals import ZERO, add, floor_to, mul, sub, text
from trader_cli.core.moments import Moment
from trader_cli.core.orders import after_find, after_submit
from trader_cli.core.ports import Exchange
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side

PROVENANCE = re.compile(r"(live|recorded|simulated):.+")
SPENT = Decimal(60)
"""What a usual order of the contract is worth, in quote."""


@dataclass
class Stand:
    """An exchange to be tried: `closed` is the same account while the symbol is halted."""

    exchange: Exchange
    closed: Exchange
    now: Moment
    timeframe_ms: int
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def intent(self, side: Side, qty: Decimal, client_order_id: str | None = None) -> Intent:
        """An order with an id of its own."""
        market, quote = self.exchange.market(), self.exchange.quote(self.now)
        return Intent(
            client_order_id=client_order_id or f"t1-contract-{next(self.numbers)}",
            proposal_id=None,
            verdict_id=None,
            symbol=market.symbol,
            side=side,
            qty=qty,
            worst_price=quote.ask,
            reserved_quote=mul(qty, quote.ask),
            at=self.now,
        )

    def qty(self, spent: Decimal = SPENT) -> Decimal:
        """About how much base `spent` quote buys, on the step."""
        return floor_to(spent / self.exchange.quote(self.now).ask, self.exchange.market().step)

    def buy(self, spent: Decimal = SPENT) -> tuple[Intent, Report]:
        """A usual BUY."""
        intent = self.intent(Side.BUY, self.qty(spent))
        return intent, self.exchange.submit(intent)

    def sell(self, qty: Decimal) -> tuple[Intent, Report]:
        """A SELL, put on the step."""
        intent = self.intent(Side.SELL, floor_to(qty, self.exchange.market().step))
        return intent, self.exchange.submit(intent)


def moved(before: Balances, report: Report, base: str, quote: str) -> Balances:
    """What the account must hold after a report's fills, to the last digit."""
    held = {base: before.base, quote: before.quote}
    for fill in report.fills:
        sign = Decimal(1) if report.side is Side.BUY else Decimal(-1)
        held[base] = add(held[base], mul(sign, fill.qty))
        held[quote] = sub(held[quote], mul(sign, fill.quote_qty))
        held[fill.fee_asset] = sub(held.get(fill.fee_asset, ZERO), fill.fee)
    return Balances(held[base], held[quote])


REFUSED = (
    "nothing",
    "half-a-step",
    "off-the-step",
    "below-the-least-notional",
    "too-large",
    "buy-beyond-the-funds",
    "sell-beyond-the-holdings",
)


class ExchangeContract:
    """The tests. `fee_assets` are what fees of BUY and SELL are taken in."""

    @pytest.fixture
    def stand(self) -> Stand:
        """Given by the class that inherits."""
        raise NotImplementedError

    # --- reads

    def test_the_market_is_sane(self, stand: Stand) -> None:
        market = stand.exchange.market()
        assert market.symbol == f"{market.base}/{market.quote}"
        assert market.step > ZERO
        assert market.tick > ZERO
        assert ZERO <= market.min_qty <= market.max_qty
        assert floor_to(market.min_qty, market.step) == market.min_qty
        assert market.min_notional >= ZERO
        assert ZERO <= market.fee_pct < 100
        assert market.active
        for value in (market.step, market.tick, market.min_qty, market.max_qty, market.min_notional, market.fee_pct):
            assert text(value)

    def test_the_market_is_the_same_when_asked_again(self, stand: Stand) -> None:
        assert stand.exchange.market() == stand.exchange.market()

    def test_the_exchange_has_a_name(self, stand: Stand) -> None:
        assert re.fullmatch(r"[a-z0-9_:.-]+", stand.exchange.name)

    def test_candles_are_closed_ascending_and_say_where_they_come_from(self, stand: Stand) -> None:
        batch = stand.exchange.candles(50, stand.now)
        assert PROVENANCE.fullmatch(batch.source)
        assert len(batch.candles) == 50
        assert all(before.opened_at < after.opened_at for before, after in pairwise(batch.candles))
        assert batch.candles[-1].opened_at + stand.timeframe_ms <= stand.now
        assert examine(batch, stand.timeframe_ms, stand.now, 50).defects == ()

    def test_fewer_candles_are_the_end_of_more(self, stand: Stand) -> None:
        assert stand.exchange.candles(10, stand.now).candles == stand.exchange.candles(30, stand.now).candles[-10:]

    def test_candles_of_an_earlier_moment_show_nothing_of_a_later_one(self, stand: Stand) -> None:
        then = stand.now - 3 * stand.timeframe_ms
        seen = stand.exchange.candles(30, then).candles
        assert seen[-1].opened_at + stand.timeframe_ms <= then
        assert seen == stand.exchange.candles(33, stand.now).candles[:30]

    def test_the_bid_is_not_above_the_ask_and_both_are_prices(self, stand: Stand) -> None:
        quote, market = stand.exchange.quote(stand.now), stand.exchange.market()
        assert ZERO < quote.bid <= quote.ask
        assert quote.ask <= quote.bid * Decimal("1.05")
        for price in (quote.bid, quote.ask):
            assert floor_to(price, market.tick) == price
            assert text(price)

    def test_balances_are_plain_amounts(self, stand: Stand) -> None:
        held = stand.exchange.balances()
        assert held.base == ZERO
        assert held.quote >= 4 * SPENT
        assert text(held.quote)

    def test_a_key_has_one_fingerprint_and_no_account_has_none(self, stand: Stand) -> None:
        fingerprint = stand.exchange.fingerprint
        assert fingerprint is None or re.fullmatch(r"[!-~]{4,64}", fingerprint)
        assert stand.exchange.fingerprint == fingerprint

    def test_it_proves_in_words(self, stand: Stand) -> None:
        proved = stand.exchange.prove()
        assert all(isinstance(word, str) for pair in proved.items() for word in pair)

    def test_orders_of_the_account_are_within_the_time_asked_for_and_oldest_first(self, stand: Stand) -> None:
        stand.buy()
        seen = stand.exchange.orders(stand.now - stand.timeframe_ms, stand.now + stand.timeframe_ms)
        moments = [one.at for one in seen]
        assert moments == sorted(moments)
        assert all(abs(at - stand.now) <= stand.timeframe_ms for at in moments)
        assert len({one.exchange_order_id for one in seen}) == len(seen)

    def test_reading_changes_nothing(self, stand: Stand) -> None:
        before = stand.exchange.balances()
        for _ in range(2):
            stand.exchange.connect()
            stand.exchange.prove()
            stand.exchange.orders(stand.now - stand.timeframe_ms, stand.now)
            stand.exchange.market()
            stand.exchange.candles(5, stand.now)
            stand.exchange.quote(stand.now)
            stand.exchange.find(stand.intent(Side.BUY, stand.qty()))
        assert stand.exchange.balances() == before

    # --- executions

    def test_a_buy_is_executed_and_its_report_is_a_proof(self, stand: Stand) -> None:
        intent, report = stand.buy()
        self.check(stand, intent, report)
        assert report.state is OrderState.FILLED

    def test_a_sell_is_executed_and_its_report_is_a_proof(self, stand: Stand) -> None:
        stand.buy()
        intent, report = stand.sell(stand.exchange.balances().base)
        self.check(stand, intent, report)
        assert report.state is OrderState.FILLED

    def check(self, stand: Stand, intent: Intent, report: Report) -> None:
        """A sound report: about this order, adding up, and fit for the ledger."""
        assert (report.client_order_id, report.side) == (intent.client_order_id, intent.side)
        assert report.state in (OrderState.FILLED, OrderState.PARTIAL)
        assert report.exchange_order_id
        assert after_submit(intent, report).report == report
        assert ZERO < report.executed_qty <= intent.qty
        assert add(*(fill.qty for fill in report.fills)) == report.executed_qty
        assert (report.state is OrderState.FILLED) == (report.executed_qty == intent.qty)
        assert len({fill.trade_id for fill in report.fills}) == len(report.fills)
        market = stand.exchange.market()
        for fill in report.fills:
            assert fill.quote_qty == mul(fill.qty, fill.price)
            assert floor_to(fill.price, market.tick) == fill.price
            assert fill.fee >= ZERO
            assert fill.fee_quote >= ZERO
            assert fill.at >= intent.at - stand.timeframe_ms
            for value in (fill.qty, fill.price, fill.quote_qty, fill.fee, fill.fee_quote):
                assert text(value)

    def test_a_buy_pays_its_fee_in_base_and_a_sell_in_quote(self, stand: Stand) -> None:
        market = stand.exchange.market()
        _, bought = stand.buy()
        _, sold = stand.sell(stand.exchange.balances().base)
        assert {fill.fee_asset for fill in bought.fills} == {market.base}
        assert {fill.fee_asset for fill in sold.fills} == {market.quote}
        for report in (bought, sold):
            for fill in report.fills:
                got = fill.qty if report.side is Side.BUY else fill.quote_qty
                assert abs(fill.fee - got * market.fee_pct / 100) <= Decimal("1e-8")
                in_quote = mul(fill.fee, fill.price) if report.side is Side.BUY else fill.fee
                assert fill.fee_quote == in_quote

    def test_balances_move_exactly_by_the_fills(self, stand: Stand) -> None:
        market = stand.exchange.market()
        for act in (stand.buy, stand.buy, lambda: stand.sell(stand.exchange.balances().base / 2)):
            before = stand.exchange.balances()
            _, report = act()
            assert stand.exchange.balances() == moved(before, report, market.base, market.quote)

    def test_what_is_left_after_the_fee_can_be_sold_and_not_a_step_more(self, stand: Stand) -> None:
        intent, _ = stand.buy()
        held = stand.exchange.balances().base
        assert held < intent.qty or not stand.exchange.market().fee_pct
        _, too_much = stand.sell(floor_to(held, stand.exchange.market().step) + stand.exchange.market().step)
        assert too_much.state is OrderState.REJECTED
        _, rest = stand.sell(held)
        assert rest.state is OrderState.FILLED
        assert ZERO <= stand.exchange.balances().base < stand.exchange.market().step

    # --- refusals

    def wrong(self, stand: Stand, how: str) -> Intent:
        """An order that no exchange may take."""
        market, held = stand.exchange.market(), stand.exchange.balances()
        ask = stand.exchange.quote(stand.now).ask
        qty = {
            "nothing": ZERO,
            "half-a-step": market.step / 2,
            "off-the-step": stand.qty() + market.step / 2,
            "below-the-least-notional": floor_to(market.min_notional * Decimal("0.9") / ask, market.step),
            "too-large": market.max_qty + market.step,
            "buy-beyond-the-funds": floor_to(held.quote * Decimal("1.2") / ask, market.step),
            "sell-beyond-the-holdings": stand.qty(),
        }[how]
        return stand.intent(Side.SELL if how.startswith("sell") else Side.BUY, qty)

    @pytest.mark.parametrize("how", REFUSED)
    def test_a_refusal_is_a_report_with_a_code_and_changes_nothing(self, stand: Stand, how: str) -> None:
        before = stand.exchange.balances()
        intent = self.wrong(stand, how)
        report = stand.exchange.submit(intent)
        self.check_refusal(intent, report)
        assert stand.exchange.balances() == before
        found = after_find(intent, stand.exchange.find(intent))
        assert found is None or found.state in (OrderState.REJECTED, OrderState.ABANDONED)

    def check_refusal(self, intent: Intent, report: Report) -> None:
        """A definite no."""
        assert (report.client_order_id, report.side) == (intent.client_order_id, intent.side)
        assert (report.state, report.executed_qty, report.fills) == (OrderState.REJECTED, ZERO, ())
        assert report.code
        assert report.message
        assert after_submit(intent, report).state is OrderState.REJECTED

    @pytest.mark.parametrize("side", Side)
    def test_a_closed_market_refuses_both_sides_and_changes_nothing(self, stand: Stand, side: Side) -> None:
        stand.buy()
        before = stand.exchange.balances()
        intent = stand.intent(side, floor_to(stand.qty() / 2, stand.exchange.market().step))
        self.check_refusal(intent, stand.closed.submit(intent))
        assert stand.exchange.balances() == before

    def test_a_refused_order_keeps_nobody_from_the_next(self, stand: Stand) -> None:
        stand.exchange.submit(self.wrong(stand, "half-a-step"))
        _, report = stand.buy()
        assert report.state is OrderState.FILLED

    # --- asking

    @pytest.mark.parametrize("side", Side)
    def test_an_order_is_found_again_as_it_was_reported(self, stand: Stand, side: Side) -> None:
        intent, report = stand.buy()
        if side is Side.SELL:
            intent, report = stand.sell(stand.exchange.balances().base)
        found = stand.exchange.find(intent)
        assert found == report
        assert stand.exchange.find(intent) == found

    def test_taking_back_an_order_that_is_not_open_changes_nothing(self, stand: Stand) -> None:
        intent, report = stand.buy()
        before = stand.exchange.balances()
        stand.exchange.cancel(intent)
        stand.exchange.cancel(stand.intent(Side.BUY, stand.qty()))
        assert stand.exchange.balances() == before
        assert stand.exchange.find(intent) == report

    def test_each_of_several_orders_is_found_by_its_own_id(self, stand: Stand) -> None:
        orders = [stand.buy(), stand.buy(SPENT * 2), stand.sell(stand.exchange.balances().base)]
        for intent, report in orders:
            assert stand.exchange.find(intent) == report
        assert len({report.exchange_order_id for _, report in orders}) == len(orders)
        trades = [fill.trade_id for _, report in orders for fill in report.fills]
        assert len(set(trades)) == len(trades)

    def test_an_order_that_was_never_sent_is_absent(self, stand: Stand) -> None:
        stand.buy()
        found = stand.exchange.find(stand.intent(Side.BUY, stand.qty()))
        assert isinstance(found, Absent)
        assert found.evidence

    def test_sending_one_id_twice_buys_twice_for_no_exchange_recognises_a_filled_id(self, stand: Stand) -> None:
        before = stand.exchange.balances()
        intent, first = stand.buy()
        second = stand.exchange.submit(intent)
        assert second.state is OrderState.FILLED
        assert second.exchange_order_id != first.exchange_order_id
        held = stand.exchange.balances()
        market = stand.exchange.market()
        once = moved(before, first, market.base, market.quote)
        assert held == moved(once, second, market.base, market.quote)
