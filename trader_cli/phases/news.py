"""What of a cycle somebody should hear of at once: money that moved, orders in doubt, trading that stopped, silence."""

from __future__ import annotations

from collections.abc import Iterator

from trader_cli.core.accounting import average_price
from trader_cli.core.decimals import brief, text
from trader_cli.core.moments import Moment, iso
from trader_cli.phases.cycle import account_trouble
from trader_cli.phases.record import FAILING
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.news import News
from trader_cli.schemas.order import Order, OrderState

LATE_MS = 600_000
"""How long after its moment a cycle may begin before that is news."""


class Newsroom:
    """Turns cycles into news, each trouble once until it is over."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._told: set[str] = set()

    def of(self, came: Cycle, failing: int, due: Moment | None = None) -> Iterator[News]:
        """The news of a cycle; `failing` are the cycles in a row without an answer of a model, `due` when it was."""
        trace = came.trace_id
        if due is not None and came.plan.wall_at - due > LATE_MS:
            minutes = (came.plan.wall_at - due) // 60_000
            yield News("late", f"nothing happened for {minutes} min: the cycle due at {iso(due)} began late", trace)
        if (order := came.execution.order) is not None and not came.execution.already:
            yield self._order(order, came)
        yield from self._once(
            "human",
            [
                f"order {order.intent.client_order_id} needs a human: {order.evidence}"
                for order in came.unsettled
                if order.state is OrderState.NEEDS_HUMAN
            ],
            trace,
        )
        for words in came.changes:
            yield News("state", words, trace)
        trouble = account_trouble(came.plan)
        yield from self._once("account", [] if trouble is None else [trouble], trace)
        yield from self._once("upstream", [] if came.upstream is None else [came.upstream], trace, "it answers again")
        words = f"{failing} cycles in a row without a usable answer of a model"
        yield from self._once("models", [words] if failing >= FAILING else [], trace, "models answer again")

    def failed(self, message: str) -> Iterator[News]:
        """The news of a cycle that did not come to its end."""
        yield from self._once("upstream", [message], None)

    def _once(self, kind: str, trouble: list[str], trace: str | None, over: str | None = None) -> Iterator[News]:
        if trouble and kind not in self._told:
            self._told.add(kind)
            yield News(kind, trouble[0], trace)
        elif not trouble and kind in self._told:
            self._told.discard(kind)
            if over is not None:
                yield News(kind, over, trace)

    def _order(self, order: Order, came: Cycle) -> News:
        side, trace = order.intent.side.value, came.trace_id
        if order.executed_qty:
            price = brief(average_price(order.quote_qty, order.executed_qty))
            equity = "" if came.snapshot is None else f", equity {brief(came.snapshot.equity)}"
            return News("trade", f"{side} {text(order.executed_qty)} {self._symbol} @ {price}{equity}", trace)
        said = f"{side} {text(order.intent.qty)} {self._symbol}: {order.state.value}"
        if order.state is OrderState.REJECTED:
            return News("refused", f"{said} {order.evidence}", trace)
        return News("unknown", f"{said}. It is asked about, never sent again: trader recover", trace)
