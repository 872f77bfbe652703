"""The desk a phase works at: the world's ports, the ledger, the limits; and the two ways of looking around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from trader_cli.core.decimals import ZERO, add, brief, div, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.core.limits import in_force
from trader_cli.core.moments import Moment
from trader_cli.core.orders import LATE_MS
from trader_cli.core.ports import Clock, Exchange, Ids, Model
from trader_cli.core.regimes import regime
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import ACCOUNT, UNAVAILABLE, Costs, Defect, Market, Observation, Window
from trader_cli.schemas.situation import Limits, Situation, TradingState
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.market import get_ohlcv
from trader_cli.tools.memory import read_posteriors
from trader_cli.tools.strategy import compute_indicators

TINY = Decimal("1e-8")
"""Less than this of a currency is nothing."""


class StopSign(Protocol):
    """The operator's word that needs no ledger: a STOP file, the TRADING setting."""

    def state(self) -> tuple[TradingState, str | None]:
        """The state it asks for until it is taken back, and why. Read anew at each call."""

    def ending(self) -> str | None:
        """Why this run is about to end, if it is: no new model call, no new order, but nothing to write down."""


@dataclass(frozen=True, slots=True)
class Minds:
    """Which model answers for which agent.

    Attributes:
        host: where they are asked; None for a model in this program.
        tool_rounds: how often the trader's may look something up in one cycle.
        leave: lets go of what they hold, a connection for instance.
        proofs: of each model behind a server its name, and how to see that it is there.
    """

    planner: Model
    trader: Model
    judge: Model
    host: str | None = None
    tool_rounds: int = 0
    leave: Callable[[], None] = lambda: None
    proofs: tuple[tuple[str, Callable[[], dict[str, str]]], ...] = ()

    @property
    def about(self) -> str:
        """Their names in the order of the agents, each once where all are one, and where they are asked."""
        names = [self.planner.name, self.trader.name, self.judge.name]
        said = names[0] if len(set(names)) == 1 else "/".join(names)
        return said if self.host is None else f"{said} at {self.host}"


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a phase needs. A mode is other objects here, never a branch in a phase.

    Attributes:
        batch_ms: for how long a loop may put its cycles into one commit: 0, each step commits by itself.
        missing: what the startup sequence could not reach, if anything; then nothing is decided but to observe.
    """

    clock: Clock
    ids: Ids
    minds: Minds
    exchange: Exchange
    ledger: Ledger
    limits: Limits
    costs: Costs
    stop: StopSign
    timeframe_ms: int
    ohlcv_limit: int
    batch_ms: int = 0
    missing: str | None = None

    def state(self) -> tuple[TradingState, str | None]:
        """The trading state in force: the strictest of the ledger's, the operator's stop sign, and the run's end."""
        state, cause = in_force(self.ledger.trading_state(), self.stop.state())
        if state is not TradingState.HALT and (why := self.stop.ending()) is not None:
            return TradingState.HALT, why
        return state, cause

    def market(self) -> Market:
        """The symbol's trading rules; the last ones the ledger knows while the exchange cannot be asked."""
        try:
            return self.exchange.market()
        except UpstreamError:
            known = self.ledger.last_market()
            if known is None:
                raise
            return known

    def new_trace(self) -> str:
        """A name for a new cycle."""
        return self.ids.trace_id(self.ledger.next_link)


def observe(desk: Desk, trace_id: str, now: Moment) -> Observation:
    """Look at the market and the account; nothing is written. An exchange that is down is a defect of the window."""
    seen = _look(desk, trace_id, now)
    if desk.missing is None or seen.window.unavailable is not None:
        return seen
    window = replace(seen.window, defects=(*seen.window.defects, Defect(UNAVAILABLE, desk.missing)))
    return replace(seen, window=window, features=compute_indicators(window))


def _look(desk: Desk, trace_id: str, now: Moment) -> Observation:
    try:
        window = get_ohlcv(desk.exchange, desk.timeframe_ms, desk.ohlcv_limit, now, desk.ledger.last_window())
    except UpstreamError as error:
        defect = Defect(UNAVAILABLE, error.message)
        window = Window(UNAVAILABLE, desk.timeframe_ms, (), (defect,), None, None)
        return Observation(None, trace_id, now, window, compute_indicators(window), None, None)
    try:
        held = desk.exchange.balances()
    except UpstreamError as error:
        window = replace(window, defects=(*window.defects, Defect(UNAVAILABLE, error.message)))
        return Observation(None, trace_id, now, window, compute_indicators(window), None, None)
    if (words := _estrangement(desk, held)) is not None:
        window = replace(window, defects=(*window.defects, Defect(ACCOUNT, words)))
    return Observation(None, trace_id, now, window, compute_indicators(window), held.quote, held.base)


def estranged(window: Window) -> bool:
    """Whether the account was seen not to be as our book says."""
    return any(defect.kind == ACCOUNT for defect in window.defects)


def _estrangement(desk: Desk, held: Balances) -> str | None:
    """How the account differs from our book by more than dust, or whose order is on it; None while one is unsettled.

    An operator settles it: trader recover --accept-balances.
    """
    foreign = desk.ledger.foreign()
    if foreign is None or desk.ledger.open_orders():
        return None
    market = desk.market()
    book = desk.ledger.book(market.base, market.quote)
    base, quote = sub(held.base, add(book.base, foreign.base)), sub(held.quote, add(book.quote, foreign.quote))
    dust = div(market.min_notional, Decimal(100))
    for beyond, least, name in ((base, market.step, market.base), (quote, dust, market.quote)):
        if abs(beyond) >= max(least, TINY):
            how = "more" if beyond > ZERO else "less"
            return f"the account holds {brief(abs(beyond))} {name} {how} than the ledger's book"
    stranger = desk.ledger.stranger()
    return None if stranger is None else str(stranger["reason"])


def situation(desk: Desk, seen: Observation, now: Moment, market: Market | None = None) -> Situation:
    """All that the law and the agents may reckon with at `now`, gathered from the ledger and what was seen.

    Inside a transaction the exchange is not asked: hand over the `market` that was read before.
    """
    terms = market or desk.market(), desk.costs, desk.limits
    return standing(desk.ledger, seen, now, terms, desk.state())


def standing(
    ledger: Ledger,
    seen: Observation,
    now: Moment,
    terms: tuple[Market, Costs, Limits],
    state: tuple[TradingState, str | None],
) -> Situation:
    """What a ledger makes of a moment: under these terms, in this trading state and for this cause."""
    market, costs, limits = terms
    book = ledger.book(market.base, market.quote)
    waiting = ledger.open_orders()
    return Situation(
        at=now,
        timeframe_ms=seen.window.timeframe_ms,
        market=market,
        costs=costs,
        limits=limits,
        observation=seen,
        book=book,
        owner=ledger.owner() if book.base > ZERO else None,
        state=state[0],
        stop_cause=state[1],
        open_orders=tuple(order.intent.client_order_id for order in waiting),
        reserved=add(ledger.late_reserves(now - LATE_MS), *(order.intent.reserved_quote for order in waiting)),
        history=ledger.history(now),
        posteriors=read_posteriors(ledger, now, regime(seen.features)),
    )


def seen_by(desk: Desk, observation_id: int | None, trace_id: str, now: Moment) -> Observation:
    """A trace's own observation while it is fresh, else a new look at the market (not yet written)."""
    if observation_id is not None:
        seen = desk.ledger.observation(observation_id, desk.timeframe_ms)
        if now - seen.at < desk.timeframe_ms:
            return seen
    return observe(desk, trace_id, now)
