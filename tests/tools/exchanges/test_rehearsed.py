"""A dry run over a real account: the contract, and that nothing but reads ever reaches the account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import BTC, FIVE, NOW, PRICE, FakeExchange, proposal_words, report
from tests.tools.exchanges.contract import ExchangeContract, Stand
from trader_cli.core.decimals import ZERO
from trader_cli.core.errors import UpstreamError
from trader_cli.core.ports import Exchange
from trader_cli.phases.recover import recover
from trader_cli.phases.snapshot import snapshot
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Absent, Intent, OrderState, Side, Sighting
from trader_cli.tools.exchanges.paper import NO_PRICE
from trader_cli.tools.exchanges.paper_book import PaperBook
from trader_cli.tools.exchanges.rehearsed import RehearsedExchange
from trader_cli.tools.ledger import Ledger

D = Decimal
SLIPPAGE = D(2)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A rehearsal of an empty ledger."""
    made = Ledger.in_memory(lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def account() -> Iterator[FakeExchange]:
    """A real account of 1,000 USDT. Afterwards: nothing but reads reached it, whatever the test did."""
    fake = FakeExchange("live:binance")
    yield fake
    assert (fake.submitted, fake.cancelled, fake.truth) == ([], [], {})
    assert not {"submit", "cancel"} & set(fake.calls)


def order(qty: str = "0.001", side: Side = Side.BUY, name: str = "t1-1") -> Intent:
    return Intent(name, None, None, "BTC/USDT", side, D(qty), PRICE, D(0), NOW)


class TestADryRunOverAnAccount(ExchangeContract):
    """A live market and an account, and orders that go nowhere."""

    @pytest.fixture
    def stand(self, ledger: Ledger, account: FakeExchange) -> Stand:
        """The same rehearsal, while the symbol trades and while it is halted."""
        halted = FakeExchange("live:binance")
        halted.rules = replace(BTC, active=False)
        rehearsed: list[Exchange] = [RehearsedExchange(ledger, each, SLIPPAGE) for each in (account, halted)]
        return Stand(rehearsed[0], rehearsed[1], NOW, FIVE)


def test_balances_are_the_accounts_with_what_this_rehearsal_changed(ledger: Ledger, account: FakeExchange) -> None:
    account.held = Balances(D("0.5"), D(1000))
    exchange = RehearsedExchange(ledger, account, SLIPPAGE)
    assert exchange.balances() == account.held
    (bought,) = exchange.submit(order()).fills
    (sold,) = exchange.submit(order("0.3", Side.SELL, "t1-2")).fills[:1]
    assert bought.fee_asset == "BTC"
    assert sold.fee_asset == "USDT"
    before = exchange.balances()
    account.held = Balances(D("0.5"), D(1500))  # a real deposit arrives meanwhile
    assert exchange.balances() == Balances(before.base, before.quote + 500)


def test_what_the_real_account_does_not_hold_cannot_be_sold(ledger: Ledger, account: FakeExchange) -> None:
    exchange = RehearsedExchange(ledger, account, SLIPPAGE)
    assert exchange.submit(order(side=Side.SELL)).code == "-2010"
    account.held = Balances(D("0.001"), D(0))
    assert exchange.submit(order(side=Side.SELL)).state is OrderState.FILLED
    assert exchange.submit(order(side=Side.SELL, name="t1-2")).code == "-2010"


def test_an_order_of_the_rehearsal_is_found_here_and_any_other_is_asked_about(
    ledger: Ledger, account: FakeExchange
) -> None:
    exchange = RehearsedExchange(ledger, account, SLIPPAGE)
    mine = exchange.submit(order())
    assert exchange.find(order()) == mine
    assert account.calls["find"] == 0
    real = order(name="t1-sent-for-real")
    assert exchange.find(real) == Absent(final=True, evidence="the fake exchange never took it")
    account.found = report
    assert exchange.find(real) == report(real)
    account.down = {"find"}
    with pytest.raises(UpstreamError):
        exchange.find(real)


def test_what_is_asked_of_the_account_is_answered_by_the_account(ledger: Ledger, account: FakeExchange) -> None:
    account.may_be_wiped, account.key = True, "k-1234"
    account.listed = [Sighting("web_1", "77", Side.BUY, OrderState.FILLED, D(1), D(1), NOW)]
    exchange = RehearsedExchange(ledger, account, SLIPPAGE)
    exchange.submit(order())
    exchange.connect()
    assert (exchange.name, exchange.may_be_wiped, exchange.fingerprint) == ("fake", True, "k-1234")
    assert exchange.prove() == account.evidence
    assert exchange.orders(0, NOW) == tuple(account.listed)
    assert account.calls["connect"] == account.calls["prove"] == account.calls["orders"] == 1


def test_the_fee_is_the_accounts_own(ledger: Ledger, account: FakeExchange) -> None:
    account.rules = replace(BTC, fee_pct=D("0.075"))
    exchange = RehearsedExchange(ledger, account, SLIPPAGE)
    (fill,) = exchange.submit(order()).fills
    assert (fill.fee, exchange.market().fee_pct) == (D("0.00000075"), D("0.075"))


@pytest.mark.parametrize("what", ["market", "candles", "quote", "balances"])
def test_without_an_answer_of_the_account_nothing_is_taken(ledger: Ledger, account: FakeExchange, what: str) -> None:
    account.down = {what}
    refused = RehearsedExchange(ledger, account, SLIPPAGE).submit(order())
    assert (refused.state, refused.code) == (OrderState.REJECTED, NO_PRICE)
    assert PaperBook(ledger).moved() == Balances(D(0), D(0))


def test_the_account_is_asked_outside_of_transactions_and_each_thing_once(
    ledger: Ledger, account: FakeExchange
) -> None:
    within: list[bool] = []
    account.watch = lambda what: within.append(ledger.db.in_transaction)
    RehearsedExchange(ledger, account, SLIPPAGE).submit(order())
    assert list(account.calls.items()) == [("market", 1), ("candles", 1), ("quote", 1), ("balances", 1)]
    assert not any(within)


def rehearsal(account: FakeExchange, deposit: Decimal = ZERO) -> Scene:
    """A whole desk on the account, over a ledger that has not seen it yet."""
    return desk(exchange=lambda ledger: RehearsedExchange(ledger, account, SLIPPAGE), deposit=deposit)


def test_whole_cycles_of_a_rehearsal_trade_beside_what_the_account_held_before(account: FakeExchange) -> None:
    account.key, account.may_be_wiped = "k-1234", True
    account.held = Balances(D("0.7"), D(1000))
    with rehearsal(account) as scene:
        for proposal in (None, proposal_words("SELL", "0.0005"), None):
            assert scene.traded(proposal).snapshot is not None
        assert scene.column("SELECT side FROM trades ORDER BY id") == ["BUY", "SELL", "BUY"]
        assert scene.ledger.foreign() == Balances(D("0.7"), ZERO)
        by_hand = snapshot(scene.desk)
        assert (by_hand.drift_base, by_hand.drift_quote) == (ZERO, ZERO)
        assert scene.problems() == []
    assert account.held == Balances(D("0.7"), D(1000))


def test_an_order_that_was_really_sent_is_settled_in_the_rehearsal_by_what_the_account_shows(
    account: FakeExchange,
) -> None:
    with rehearsal(account, D(1000)) as scene:
        planned, proposed, verdict = scene.judged()
        real = replace(order(), proposal_id=proposed.id, verdict_id=verdict.id)
        assert verdict.payload.decision == "APPROVE"
        with scene.ledger.transaction() as tx:
            assert verdict.review is not None
            scene.ledger.reserve(tx, real, verdict.review, planned.trace_id, None)
        account.found = report
        (settled,) = recover(scene.desk)
        assert settled.state is OrderState.FILLED
        assert scene.rows("paper_orders") == 0
