"""What of a cycle somebody should hear of at once: money that moved, orders in doubt, trading that stopped, silence."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from trader_cli.core.accounting import average_price
from trader_cli.core.decimals import brief, sub, text
from trader_cli.core.moments import DAY_MS, Moment, day_start, iso
from trader_cli.phases.cycle import account_trouble
from trader_cli.phases.record import FAILING
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.market import UNAVAILABLE
from trader_cli.schemas.news import News
from trader_cli.schemas.order import SETTLED, Order, OrderState
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.ledger import Ledger

SILENT_MS = 600_000
"""How long after its moment a cycle may begin before that is news."""


class Newsroom:
    """Turns cycles into news, each trouble once until it is over.

    Orders are told as the ledger has them, so that one whose end is found out later, or by another process, is told
    too. Begins with what stands in the ledger now; with `goes_on` False, for one cycle alone, troubles that the ledger
    knows of are told already.
    """

    def __init__(self, ledger: Ledger, goes_on: bool = True) -> None:
        self._ledger = ledger
        self._symbol = ledger.identity().get("symbol", "")
        self._told: set[str] = set() if goes_on else _known_troubles(ledger)
        self._sending: dict[str, str | None] = {}
        self._told_as: dict[str, str] = {}
        self._event = ledger.newest_order_event()
        self._before = ledger.last_snapshot()
        self._state: TradingState | None = None  # a setting or a STOP file may rule already: that is no news

    def of(self, came: Cycle, due: Moment | None = None) -> Iterator[News]:
        """The news of a cycle; `due` is when it should have begun."""
        trace = came.trace_id
        if due is not None and came.plan.wall_at - due > SILENT_MS:
            minutes = (came.plan.wall_at - due) // 60_000
            yield News("late", f"nothing happened for {minutes} min: the cycle due at {iso(due)} began late", trace)
        yield from self.of_orders(came.snapshot)
        for words in came.changes:
            yield News("state", words, trace)
        if self._state not in (None, came.state) and not came.changes:
            why = "" if came.state is TradingState.RUN or came.plan.cause is None else f": {came.plan.cause}"
            yield News("state", f"trading is {came.state.name} now{why}", trace)
        self._state = came.state
        trouble = account_trouble(came.plan)
        yield from self._once("account", [] if trouble is None else [trouble], trace)
        yield from self._once("upstream", [] if came.upstream is None else [came.upstream], trace, "it answers again")
        failing = self._ledger.failing()[0]
        words = f"{failing} cycles in a row without a usable answer of a model"
        yield from self._once("models", [words] if failing >= FAILING else [], trace, "models answer again")
        yield from self._day(came.snapshot)

    def failed(self, message: str) -> Iterator[News]:
        """The news of a cycle that did not come to its end."""
        yield from self.of_orders(None)
        yield from self._once("upstream", [message], None)

    def of_orders(self, taken: Snapshot | None) -> Iterator[News]:
        """What became of orders since the last look, whoever found it out."""
        with self._ledger.looking():
            self._event, touched = self._ledger.orders_since(self._event)
            before = [(trace, self._ledger.order(name)) for name, trace in self._sending.items()]
        names = {order.intent.client_order_id for _, order in touched}
        touched += [(trace, o) for trace, o in before if o is not None and o.intent.client_order_id not in names]
        sending, self._sending = self._sending, {}
        for trace, order in touched:
            name = order.intent.client_order_id
            if order.state is OrderState.INTENT and name not in sending:  # on its way, by another process: next time
                self._sending[name] = trace
                continue
            news = _of_order(order, trace, self._symbol, "" if taken is None else f", equity {brief(taken.equity)}")
            if self._told_as.get(name) != news.kind:
                self._told_as[name] = news.kind
                yield news
            if order.state in SETTLED:
                del self._told_as[name]

    def _once(self, kind: str, trouble: list[str], trace: str | None, over: str | None = None) -> Iterator[News]:
        if trouble and kind not in self._told:
            self._told.add(kind)
            yield News(kind, trouble[0], trace)
        elif not trouble and kind in self._told:
            self._told.discard(kind)
            if over is not None:
                yield News(kind, over, trace)

    def _day(self, taken: Snapshot | None) -> Iterator[News]:
        """What a UTC day came to, in the market's time, once the first cycle of a later one is there."""
        last, self._before = self._before, taken or self._before
        if last is None or taken is None or day_start(taken.at) == day_start(last.at):
            return
        midnight = day_start(last.at)
        cycles, trades, began, spent = self._ledger.day(midnight)
        words = f"{iso(midnight)[:10]}: equity {brief(last.equity)}{_change(last.equity, began)}, {cycles} cycles, "
        words += f"{trades} trades, models {brief(spent)} USD"
        missing = (day_start(taken.at) - midnight) // DAY_MS - 1
        yield News("day", words + (f"; then nothing for {missing} days" if missing else ""), None)


def _known_troubles(ledger: Ledger) -> set[str]:
    plan, known = ledger.newest_plan(), set()
    if plan is not None and account_trouble(plan) is not None:
        known.add("account")
    if plan is not None and (plan.cause or "").startswith(UNAVAILABLE):
        known.add("upstream")
    if ledger.failing()[0] >= FAILING:
        known.add("models")
    return known


def _change(equity: Decimal, began: Decimal | None) -> str:
    if began is None:
        return ""
    change = sub(equity, began)
    return f" ({'+' if change >= 0 else ''}{brief(change)})"


def _of_order(order: Order, trace: str | None, symbol: str, after: str) -> News:
    side, state = order.intent.side.value, order.state
    said = f"{side} {text(order.intent.qty)} {symbol}: {state.value}"
    if state not in SETTLED:
        if state is OrderState.NEEDS_HUMAN:
            words = f"order {order.intent.client_order_id} needs a human: {order.evidence}"
            return News("human", words, trace)
        return News("unknown", f"{said}. It is asked about, never sent again: trader recover", trace)
    if order.executed_qty:
        price = brief(average_price(order.quote_qty, order.executed_qty))
        part = f" of {text(order.intent.qty)}" if order.executed_qty != order.intent.qty else ""
        return News("trade", f"{side} {text(order.executed_qty)}{part} {symbol} @ {price}{after}", trace)
    if state is OrderState.REJECTED:
        return News("refused", f"{said} {order.evidence}", trace)
    return News("unfilled", f"{said}: nothing of it was or will be executed", trace)
