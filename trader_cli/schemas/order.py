"""The life of an order: the intent we wrote before sending, what the exchange answered, the fills."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """Which way the base asset moves."""

    BUY = "BUY"
    SELL = "SELL"


class OrderState(StrEnum):
    """States of an order; the last event of an order is its state.

    INTENT       written before anything is sent
    UNKNOWN      sent, and the answer proves nothing
    OPEN         the exchange holds it
    FILLED       all of it was executed
    PARTIAL      part of it was executed, the rest never will be
    REJECTED     proved: nothing was or will be executed
    ABANDONED    proved: the exchange never took it and no longer can
    NEEDS_HUMAN  what the exchange shows contradicts the intent
    """

    INTENT = "INTENT"
    UNKNOWN = "UNKNOWN"
    OPEN = "OPEN"
    FILLED = "FILLED"
    PARTIAL = "PARTIAL"
    REJECTED = "REJECTED"
    ABANDONED = "ABANDONED"
    NEEDS_HUMAN = "NEEDS_HUMAN"


SETTLED = frozenset({OrderState.FILLED, OrderState.PARTIAL, OrderState.REJECTED, OrderState.ABANDONED})
"""States with a proof. Everything else blocks new orders."""

EDGES: dict[OrderState | None, frozenset[OrderState]] = {
    None: frozenset({OrderState.INTENT}),
    OrderState.INTENT: frozenset(set(OrderState) - {OrderState.INTENT}),
    OrderState.UNKNOWN: frozenset(set(OrderState) - {OrderState.INTENT, OrderState.UNKNOWN}),
    OrderState.OPEN: frozenset(
        {OrderState.FILLED, OrderState.PARTIAL, OrderState.REJECTED, OrderState.NEEDS_HUMAN, OrderState.UNKNOWN}
    ),
    OrderState.NEEDS_HUMAN: frozenset({OrderState.FILLED, OrderState.PARTIAL, OrderState.ABANDONED}),
    OrderState.ABANDONED: frozenset(  # the late watch found it
        {OrderState.OPEN, OrderState.FILLED, OrderState.PARTIAL, OrderState.NEEDS_HUMAN}
    ),
    OrderState.FILLED: frozenset(),
    OrderState.PARTIAL: frozenset(),
    OrderState.REJECTED: frozenset(),
}
"""Which state may follow which. No edge sends an order again."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An order as it was written down before the one submission it ever gets.

    Attributes:
        client_order_id: ours, at most 36 characters of [A-Za-z0-9-_].
        proposal_id, verdict_id: the decisions it carries out.
        qty: base, already on the exchange's step.
        worst_price: the price the law reckoned with, in quote.
        reserved_quote: what the order may cost at worst with its fee (0 for a SELL), in quote.
        at: when the intent was written, ms UTC (market time).
        recv_window_ms: how long after `at` the exchange may still accept it.
    """

    client_order_id: str
    proposal_id: int | None
    verdict_id: int | None
    symbol: str
    side: Side
    qty: Decimal
    worst_price: Decimal
    reserved_quote: Decimal
    at: int
    recv_window_ms: int = 5_000
    origin: str = "verdict"


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `quote_qty` = qty x price; `fee` in `fee_asset`; `fee_quote` its value in quote at the fill."""

    trade_id: str
    qty: Decimal
    price: Decimal
    quote_qty: Decimal
    fee: Decimal
    fee_asset: str
    fee_quote: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an exchange says of an order. The port's answer to `submit` and `find`.

    Attributes:
        state: FILLED, PARTIAL, REJECTED or OPEN (an exchange never says the other states).
        code: the exchange's own refusal code, such as "-1013", for REJECTED.
    """

    client_order_id: str
    exchange_order_id: str | None
    side: Side
    state: OrderState
    executed_qty: Decimal
    fills: tuple[Fill, ...] = ()
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """The exchange does not know the order. `final`: it can no longer come to know it."""

    final: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """An order as a list of the account's orders shows it, ours or not: no fills, no proof."""

    client_order_id: str
    exchange_order_id: str
    side: Side
    state: OrderState
    qty: Decimal
    executed_qty: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is proved about a submission: a state, the report behind it if any, and the evidence in words."""

    state: OrderState
    report: Report | None
    evidence: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the ledger: intent, current state, fills."""

    intent: Intent
    state: OrderState
    exchange_order_id: str | None
    fills: tuple[Fill, ...]
    evidence: dict[str, str | None]

    @property
    def executed_qty(self) -> Decimal:
        """Σ fills, in base."""
        return sum((fill.qty for fill in self.fills), Decimal(0))

    @property
    def quote_qty(self) -> Decimal:
        """Σ fills, in quote."""
        return sum((fill.quote_qty for fill in self.fills), Decimal(0))
