"""The state machine: what an operator, a network, a market and bad luck may do, in any order.

A step that breaks a law ends the example; after the last step time passes until everything can be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes import BTC, FIVE, Killed
from tests.machine.house import Fate, House, Plant
from tests.machine.laws import Reckoning, broken, decreed, lost, rows, unequal
from tests.machine.world import FAIR, Manner, Truth, VirtualClock, Weather
from trader_cli.core.errors import OrderUnknownError, UpstreamError
from trader_cli.phases.account import accept_balances
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Desk
from trader_cli.phases.recover import recover, set_state
from trader_cli.phases.startup import startup
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Side
from trader_cli.schemas.situation import TradingState

HOUR = 3_600_000
STEPS = 25
WAITS = (1_000, 6_000, 20_000, 40_000, FIVE, HOUR + 1, 25 * HOUR)
PLACES = ("submit-after", "submit-before", "commit-after", "commit-before", "find", "balances", "orders", "quote")
READS = ("find", "balances", "orders", "quote", "candles", "connect", "all")

SIDES = st.sampled_from((Side.BUY, Side.SELL))
SIZES = st.integers(1, 40)
"""In steps of 0.0005: 25 USDT at first, so that the cap is reached and passed."""
DOWN = st.sampled_from(
    (*[frozenset[str]()] * 12, *(frozenset({one}) for one in READS), frozenset({"find", "orders"}))
)  # fmt: skip
CARED = st.sampled_from((False, True, True, True))
"""Whether the operator takes back stops and settles the account's differences before a cycle."""
DEATHS = st.tuples(st.sampled_from(PLACES), st.integers(1, 5))
STOPS = st.sampled_from((TradingState.REDUCE, TradingState.HALT))
WEATHER = st.builds(
    Weather,
    manner=st.sampled_from(Manner),
    delay_ms=st.integers(0, 7).map(lambda seconds: seconds * 1_000),
    hidden_ms=st.integers(0, 3).map(lambda quarters: quarters * 5_000),
    fee_in=st.sampled_from(("received", "quote", "third")),
    down=DOWN,
)


class Machine(RuleBasedStateMachine):
    """The product over one account. `plant` gives it other objects, `testnet` an account that may be wiped."""

    plant: ClassVar[Plant] = Plant()
    testnet: ClassVar[bool] = False
    tally: ClassVar[Counter[str]] = Counter()
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.house: House | None = None
        self.now = Reckoning()
        self.failed = False
        self.copy: tuple[bytes, int | None] | None = None

    @initialize(foreign=st.booleans())
    def begin(self, foreign: bool) -> None:
        """The first look at an account with some quote, and perhaps with base that is not ours."""
        type(self).steps = 0
        truth = Truth(VirtualClock(), Balances(Decimal("0.5") if foreign else Decimal(0), Decimal(1000)), self.testnet)
        self.house = House(truth, self.plant)
        self.act(startup)
        self.house.disk.flushed()

    # --- the program

    @rule(side=SIDES, size=SIZES, weather=WEATHER, cared=CARED)
    def cycle(self, side: Side, size: int, weather: Weather, cared: bool) -> None:
        """A whole cycle of a model that always wants to trade."""
        self.wish(side, size, cared)
        self.act(cycle, weather)

    @rule(side=SIDES, size=SIZES, weather=WEATHER, cared=CARED, place=DEATHS)
    def cycle_dies(self, side: Side, size: int, weather: Weather, cared: bool, place: tuple[str, int]) -> None:
        """The same, and the process is killed at a place, if it comes there so often."""
        self.wish(side, size, cared)
        self.there.fate = Fate(*place)
        self.act(cycle, weather)

    @rule(side=SIDES, size=SIZES, weather=WEATHER, state=STOPS, count=st.integers(1, 5))
    def stop_comes_in_a_cycle(self, side: Side, size: int, weather: Weather, state: TradingState, count: int) -> None:
        """The same, and the operator's stop comes between two commits."""
        self.wish(side, size, cared=True)
        self.there.fate = Fate("commit-after", count, lambda: self.stop(state))
        self.act(cycle, weather)

    @rule(down=DOWN)
    def recover(self, down: frozenset[str]) -> None:
        """`trader recover`."""
        self.act(recover, Weather(down=down))

    @rule()
    def second_process(self) -> None:
        """From here on the other process acts, with what it remembers."""
        self.there.acting = 1 - self.there.acting

    @rule()
    def power_loss(self) -> None:
        """The machine goes out and comes up again."""
        self.there.disk.lose_power()
        self.there.start()

    @rule()
    def accept_balances(self) -> None:
        """`trader recover --accept-balances`, which is refused while an order is unsettled."""
        self.act(self._accept)

    @rule(state=STOPS)
    def stop(self, state: TradingState) -> None:
        """`trader stop`, or a STOP file."""
        self.there.stop.said = (state, "operator")

    @rule()
    def resume(self) -> None:
        """`trader resume`."""
        self.act(self._resume)

    # --- the world

    @rule(ms=st.sampled_from(WAITS))
    def wait(self, ms: int) -> None:
        """Time passes; what is on its way arrives."""
        self.there.truth.clock.advance(ms)
        if ms > 30_000:
            self.there.disk.flushed()

    @rule(per_mille=st.integers(-30, 30))
    def price_jump(self, per_mille: int) -> None:
        """Another price from now on."""
        truth = self.there.truth
        truth.prices.append((truth.clock.at, (truth.price * (1000 + per_mille) / 1000).quantize(Decimal("0.01"))))

    @rule(what=st.sampled_from(("buys", "sells", "deposits", "withdraws")), size=st.integers(1, 10))
    def external_trade(self, what: str, size: int) -> None:
        """Somebody else trades on the account, or moves money."""
        truth, qty = self.there.truth, Decimal(size) / 1000
        held, quote = truth.held, qty * truth.price
        if what == "buys" and held.quote > quote * 2:
            truth.trade_by_another(Side.BUY, qty)
        elif what == "sells" and held.base >= qty:
            truth.trade_by_another(Side.SELL, qty)
        elif what == "deposits":
            truth.held = Balances(held.base, held.quote + quote)
        elif what == "withdraws" and held.quote > quote:
            truth.held = Balances(held.base, held.quote - quote)
        else:
            return
        self.now.outside += 1

    @rule()
    def back_up(self) -> None:
        """A copy of the file is kept."""
        self.copy = self.there.disk.image(), self.now.accepted

    @precondition(lambda self: self.copy is not None)
    @rule()
    def restore_backup(self) -> None:
        """The copy is put back, which takes a minute: from here on the ledger lacks what came after."""
        house = self.there
        assert self.copy is not None
        house.truth.clock.advance(60_000)
        image, self.now.accepted = self.copy
        house.disk.put(image)
        house.disk.flushed()
        house.truth.life += 1
        house.start()

    @precondition(lambda self: self.testnet)
    @rule()
    def wipe(self) -> None:
        """The testnet begins its month anew. Were an order seen open before and never again, a human would be asked."""
        if any(row.state == "OPEN" for row in rows(self.there).values()):
            return
        self.there.truth.wipe()
        self.copy = None
        self.now = Reckoning(outside=self.now.outside + 1, accepted=self.now.accepted, wiped=True)

    # --- what must hold

    @invariant()
    def nothing_is_broken(self) -> None:
        """After every step."""
        type(self).steps += 1
        self.must(broken(self.there, self.now))

    def teardown(self) -> None:
        """All that can be known becomes known; then the ledger and the exchange agree."""
        if self.house is None:
            return
        try:
            if not self.failed:
                self._settle_all()
        finally:
            self.house.close()

    def _settle_all(self) -> None:
        house = self.there
        house.start()
        house.truth.clock.advance(40_000)
        self.act(startup)
        house.truth.clock.advance(HOUR + 1)
        self.act(startup)
        self.must(broken(house, self.now))
        ledger = house.desk().ledger
        head = ledger.head
        self.act(recover)
        self.must([] if ledger.head == head else ["recover wrote something where nothing was left to recover (V20)"])
        self.must(unequal(house, ledger, self.now))
        for row in rows(house).values():
            self.tally[f"{row.origin} {row.state}"] += 1
        self.tally["examples"] += 1

    # --- acting

    @property
    def there(self) -> House:
        """The house, which `begin` made."""
        assert self.house is not None
        return self.house

    def wish(self, side: Side, size: int, cared: bool) -> None:
        """What the model will want: to sell only what it believes there is. An operator who cares clears the way."""
        if cared:
            self._clear_the_way()
        held = self.there.desk().ledger.book("BTC", "USDT").base
        self.there.mind.wish = (side if held else Side.BUY, (Decimal(size) / 2000).quantize(BTC.step))

    def _clear_the_way(self) -> None:
        """Resume; wait for the look through the orders after a restored backup; accept what is left of a difference."""
        self.act(self._resume)
        if not self.now.even:
            if lost(self.there):
                self.there.truth.clock.advance(HOUR + 1)
            self.act(startup)
            self.act(self._accept)

    def act(self, deed: Callable[[Desk], object], weather: Weather = FAIR) -> None:
        """Something a process does, in a weather; it may die of it, or find nobody there."""
        house = self.there
        desk = house.desk(weather)
        epoch, last = desk.ledger.epoch(), desk.ledger.last_executed()
        try:
            deed(desk)
        except (OrderUnknownError, UpstreamError):
            self.tally["upstream"] += 1
        except Killed:
            self.tally["killed"] += 1
            house.start()
        except BaseException:
            self.failed = True
            raise
        house.fate = Fate()
        ledger = house.desk().ledger
        if ledger.epoch() != epoch:
            self.must(["a new epoch, and nothing was wiped"] if last is not None and not self.now.wiped else [])
            self.now.wiped = False
            decreed(house, self.now, ledger.book("BTC", "USDT"))

    def must(self, wrongs: list[str]) -> None:
        """Nothing may be wrong."""
        self.failed = self.failed or bool(wrongs)
        assert not wrongs, "; ".join(wrongs[:5])

    def _accept(self, desk: Desk) -> None:
        recover(desk)
        if not desk.ledger.open_orders():
            accept_balances(desk, "seen")
            decreed(self.there, self.now, desk.ledger.book("BTC", "USDT"))

    def _resume(self, desk: Desk) -> None:
        self.there.stop.said = (TradingState.RUN, None)
        kept, _ = desk.ledger.trading_state()
        if kept is not TradingState.RUN:
            with desk.ledger.transaction() as tx:
                set_state(desk, tx, kept, TradingState.RUN, "operator")


def run(machine: type[Machine], examples: int, number: int, steps: int = STEPS) -> None:
    """So many examples of up to so many steps from a seed, which is printed; kept nowhere."""
    print(f"seed {number}; the same again: MACHINE_SEED={number}")  # noqa: T201 - shown where a test fails
    bounded = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(machine), settings=bounded)
