"""What the state machine found once: shrunk, each to its few steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine.laws import lost, verified
from tests.machine.machine import HOUR, Machine
from tests.machine.world import FAIR, Weather
from trader_cli.core.decimals import ZERO
from trader_cli.phases.account import accept_balances
from trader_cli.phases.cycle import cycle
from trader_cli.phases.recover import recover
from trader_cli.phases.startup import startup
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Side
from trader_cli.schemas.situation import TradingState

pytestmark = pytest.mark.untraced


class Walk(Machine):
    """A testnet's account, walked by hand."""

    testnet = True

    def buys(self, weather: Weather = FAIR) -> None:
        """A cycle that wants to buy."""
        self.wish(Side.BUY, 10, cared=False)
        self.act(cycle, weather)

    def trades(self) -> int:
        """How many trades the ledger has."""
        return int(self.there.db.execute("SELECT count(*) FROM trades").fetchone()[0])


@pytest.fixture
def walk() -> Iterator[Walk]:
    one = Walk()
    one.begin(foreign=False)
    yield one
    one.there.close()


def test_after_a_wipe_that_was_accepted_as_a_difference_the_exchanges_trade_ids_may_come_again(walk: Walk) -> None:
    walk.buys()
    walk.wipe()
    walk.act(lambda desk: accept_balances(desk, "it differs"))  # too early to tell: refused
    assert walk.there.desk().ledger.foreign() == Balances(ZERO, ZERO)
    walk.there.truth.clock.advance(60_000)
    walk.act(lambda desk: accept_balances(desk, "it differs"))
    assert walk.there.desk().ledger.epoch() == 2
    walk.buys()
    walk.act(recover)
    assert walk.trades() == 2


def test_a_fee_in_a_third_currency_before_the_first_snapshot_of_an_epoch_is_no_fault_of_the_ledger(walk: Walk) -> None:
    walk.act(cycle, Weather(down=frozenset({"candles"})))
    walk.external_trade(what="withdraws", size=1)
    walk.buys(Weather(fee_in="third"))
    ledger = walk.there.desk().ledger
    assert ledger.epoch() == 2
    assert list(verified(ledger)) == []


def test_a_difference_may_be_accepted_between_a_resume_and_the_next_snapshot(walk: Walk) -> None:
    walk.stop(TradingState.REDUCE)
    walk.buys()
    walk.act(recover)
    walk.external_trade(what="withdraws", size=1)
    walk.resume()
    walk.accept_balances()
    walk.buys()
    assert list(verified(walk.there.desk().ledger)) == []


def test_a_testnets_order_that_a_restored_backup_lacks_is_adopted_also_when_it_was_the_first(walk: Walk) -> None:
    walk.copy = walk.there.disk.image(), 0
    walk.buys()
    walk.restore_backup()
    assert lost(walk.there)
    walk.buys()
    walk.there.truth.clock.advance(HOUR + 1)
    walk.act(startup)
    assert not lost(walk.there)


def test_an_order_that_look_ups_do_not_show_yet_is_no_sign_of_a_wipe(walk: Walk) -> None:
    walk.wish(Side.BUY, 10, cared=False)
    cycle(walk.there.desk(Weather(hidden_ms=15_000)))
    walk.external_trade(what="withdraws", size=1)
    cycle(walk.there.desk())
    assert walk.there.desk().ledger.epoch() == 1


def test_a_sale_that_a_restored_backup_lacks_is_adopted_before_a_difference_is_accepted(walk: Walk) -> None:
    walk.buys()
    walk.back_up()
    walk.wish(Side.SELL, 9, cared=False)
    walk.act(cycle)
    walk.restore_backup()
    walk.accept_balances()
    walk.there.truth.clock.advance(HOUR + 1)
    walk.act(startup)
    assert walk.trades() == 2
    assert walk.there.desk().ledger.book("BTC", "USDT").base >= ZERO
