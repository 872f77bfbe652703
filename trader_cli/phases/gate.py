"""gate: the law at every edge through the real review, and the last look before a submission through the real one.

Nothing is asked, opened or written: no ledger, no key, no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from trader_cli.core.decimals import ZERO
from trader_cli.core.limits import LAW, Law
from trader_cli.core.ports import Exchange
from trader_cli.core.probes import AT, PRICE
from trader_cli.core.probes import gate as edges
from trader_cli.phases.desk import Desk
from trader_cli.phases.execute import submit
from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.gate import Trial
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.order import Intent, OrderState, Outcome, Report, Side
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools.ledger import Ledger

Submit = Callable[[Desk, Intent], Outcome]

SUBMISSION = "submission"
"""The name of the last look, which is no rule of a verdict."""


def gate(limits: Limits, market: Market, costs: Costs, law: Law = LAW, send: Submit = submit) -> list[Trial]:
    """Every rule, every exemption of a SELL, and the trading state just before an order is sent."""
    return [*edges(market, costs, limits, law), *_submissions(limits, costs, market, send)]


def _submissions(limits: Limits, costs: Costs, market: Market, send: Submit) -> Iterator[Trial]:
    nothing = cast(Any, None)
    with closing(Ledger.in_memory(lambda: AT)) as ledger:
        bare = Desk(nothing, nothing, nothing, nothing, ledger, limits, costs, _Sign(TradingState.RUN), 1, 1)

        def goes_out(side: Side, origin: str, state: TradingState) -> bool:
            witness = _Witness()
            order = Intent("gate", None, None, market.symbol, side, market.min_qty, PRICE, ZERO, AT, origin=origin)
            send(replace(bare, exchange=cast(Exchange, witness), stop=_Sign(state)), order)
            return bool(witness.sent)

        run, reduce, halt = TradingState
        for side, origin, inside, beyond in (
            (Side.BUY, "verdict", run, reduce),
            (Side.BUY, "verdict", run, halt),
            (Side.SELL, "verdict", reduce, halt),
            (Side.BUY, OPERATOR, run, halt),
        ):
            ok = goes_out(side, origin, inside) and not goes_out(side, origin, beyond)
            whose = f"an operator's {side}" if origin == OPERATOR else side
            yield Trial(SUBMISSION, "edge", f"{whose} goes out in {inside.name}", inside.name, beyond.name, True, ok)
        free, limit = goes_out(Side.SELL, OPERATOR, halt), "an operator's SELL goes out in HALT"
        yield Trial(SUBMISSION, "exempt", limit, halt.name, None, True, free)


@dataclass(frozen=True, slots=True)
class _Sign:
    """A stop sign that asks for one state."""

    asked: TradingState

    def state(self) -> tuple[TradingState, str | None]:
        return self.asked, "a probe"

    def ending(self) -> str | None:
        return None


@dataclass
class _Witness:
    """In the place of an exchange: notes what reaches it, and refuses it."""

    sent: list[Intent] = field(default_factory=list)

    def submit(self, intent: Intent) -> Report:
        self.sent.append(intent)
        return Report(
            intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO, code="gate", message="a probe"
        )
