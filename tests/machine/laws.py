"""What must hold after every step, and what once nothing is unsettled: the ledger against the exchange's truth.

The names in brackets are those of the house's list of invariants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import NamedTuple

from tests.machine.house import CAP, House
from tests.machine.world import Taken
from trader_cli.core.accounting import net_cash_in
from trader_cli.core.decimals import ZERO, dec
from trader_cli.schemas.book import Book
from trader_cli.schemas.order import Side
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import CHECKS

UNPROVED = ("INTENT", "UNKNOWN", "OPEN", "NEEDS_HUMAN")
EXECUTED = ("FILLED", "PARTIAL")


class Row(NamedTuple):
    """An order of the ledger: its head."""

    key: str
    origin: str
    reserved: Decimal
    state: str


@dataclass
class Reckoning:
    """What an operator settled by decree, which no sum over orders shows.

    Attributes:
        cash, base: what our orders had moved when the book was last declared right, less what the book says of it.
        outside: how often somebody else moved the account's money; `accepted` is that number at the last decree,
            None after a decree over a ledger that lacked orders.
        wiped: whether the exchange began anew and no epoch has yet.
    """

    cash: Decimal = ZERO
    base: Decimal = ZERO
    outside: int = 0
    accepted: int | None = 0
    wiped: bool = False

    @property
    def even(self) -> bool:
        """Whether the account must be as the book says."""
        return self.accepted == self.outside


def rows(house: House) -> dict[str, Row]:
    """Every order of the ledger."""
    found = house.db.execute(
        "SELECT o.client_order_id, o.origin, o.reserved_quote, (SELECT e.state FROM order_events AS e "
        "WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1) FROM orders AS o"
    )
    return {key: Row(key, origin, dec(reserved), state) for key, origin, reserved, state in found}


def cash_in(house: House) -> Decimal:
    """What our orders took out of the account, net, in quote."""
    return sum((one.cash for one in house.truth.ours), ZERO)


def base_held(house: House) -> Decimal:
    """What our orders brought, net, in base."""
    return sum((one.gained for one in house.truth.ours), ZERO)


def lost(house: House) -> bool:
    """Whether the exchange has orders of ours that the ledger does not know."""
    known = rows(house)
    return any(one.client_order_id not in known for one in house.truth.ours)


def decreed(house: House, now: Reckoning, book: Book) -> None:
    """The book is declared right as it is: sums over orders count from here."""
    now.accepted = None if lost(house) else now.outside
    now.cash = cash_in(house) - max(net_cash_in(book), ZERO)
    now.base = base_held(house) - book.base


def broken(house: House, now: Reckoning) -> list[str]:
    """What does not hold after a step."""
    known = rows(house)
    return [*house.truth.wrongs, *_taken_twice(house), *_orphans(house, known), *_untrue(house, known),
            *_beyond_the_cap(house, now, known), *_oversold(house, now)]  # fmt: skip


def _taken_twice(house: House) -> Iterator[str]:
    ours = [*house.truth.past, *house.truth.ours]
    for key, times in Counter(one.client_order_id for one in ours if one.intent).items():
        if times > 1:
            yield f"{key} was taken {times} times (V11)"
    for key, times in Counter(one.client_order_id for one in house.truth.sends).items():
        if times > 1:
            yield f"{key} was sent {times} times (V11)"
    proposals = Counter((one.life, one.intent.proposal_id) for one in ours if one.intent)
    for (_, proposal), times in proposals.items():
        if times > 1:
            yield f"proposal {proposal} has {times} orders (V6)"


def _orphans(house: House, known: dict[str, Row]) -> Iterator[str]:
    """Orders that were sent before they were written down, or whose row was lost without anybody's doing."""
    for one in house.truth.ours:
        row = known.get(one.client_order_id)
        if one.life == house.truth.life and (row is None or row.origin == "recovered"):
            yield f"{one.client_order_id} was taken and the ledger never had it (V10)"


def _untrue(house: House, known: dict[str, Row]) -> Iterator[str]:
    """What the ledger holds for proved, and is not so."""
    executed = {one.client_order_id for one in house.truth.ours if one.executed}
    forgotten = {one.client_order_id for one in house.truth.past if one.executed}
    coming = {
        one.intent.client_order_id for one in house.truth.wire if one.due <= one.intent.at + one.intent.recv_window_ms
    }
    for key, row in known.items():
        if row.state in EXECUTED and key not in executed | forgotten:
            yield f"{key} is {row.state} in the ledger, and was not executed (V9)"
        if row.state not in (*EXECUTED, *UNPROVED) and key in executed | coming:
            yield f"{key} is {row.state} in the ledger, and was executed or may be (V12)"


def _beyond_the_cap(house: House, now: Reckoning, known: dict[str, Row]) -> Iterator[str]:
    """Net cash in and what is reserved; what the market took beyond an order's worst price is no fault of ours."""
    ours = {one.client_order_id: one for one in house.truth.ours}
    beyond = sum((max(one.cash - _reserve(one), ZERO) for one in ours.values() if one.side is Side.BUY), ZERO)
    done = {key for key, one in ours.items() if one.done_at is None}
    still = sum((row.reserved for key, row in known.items() if row.state in UNPROVED and key not in done), ZERO)
    still -= sum((one.cash for one in ours.values() if one.done_at is not None and one.side is Side.BUY), ZERO)
    used = cash_in(house) - now.cash + still
    if used > CAP + beyond and house.truth.sends:
        yield f"{used} is in the market or reserved, the cap is {CAP} and the market took {beyond} more (V13)"


def _reserve(one: Taken) -> Decimal:
    return one.intent.reserved_quote if one.intent else ZERO


def _oversold(house: House, now: Reckoning) -> Iterator[str]:
    if (held := base_held(house) - now.base) < ZERO:
        yield f"our orders sold {-held} more than they bought (V15)"


# --- once nothing is unsettled ------------------------------------------------------------------


def unequal(house: House, ledger: Ledger, now: Reckoning) -> list[str]:
    """What does not hold after all that can be known is known."""
    known = rows(house)
    return [*_unsettled(known), *_different(house, ledger), *_uneven(house, ledger, now), *verified(ledger)]


def _unsettled(known: dict[str, Row]) -> Iterator[str]:
    for key, row in known.items():
        if row.state in UNPROVED:
            yield f"{key} is still {row.state}"


def _different(house: House, ledger: Ledger) -> Iterator[str]:
    """V9 and V12: executed there is traded here, with the same quantity, money and fees."""
    trades = {
        key: (side, dec(qty), dec(quote))
        for key, side, qty, quote in house.db.execute("SELECT idempotency_key, side, qty, quote_qty FROM trades")
    }
    for one in house.truth.ours:
        if not one.executed:
            continue
        key = one.client_order_id
        traded = trades.get(key)
        if traded != (one.side.value, one.executed, sum((fill.quote_qty for fill in one.fills), ZERO)):
            yield f"{key} executed {one.executed}, the ledger's trade is {traded} (V12)"
        elif ledger.fills_of(key) != tuple(one.fills):
            yield f"{key} has other fills in the ledger (V12)"
    executed = {one.client_order_id for one in (*house.truth.past, *house.truth.ours) if one.executed}
    for key in trades.keys() - executed:
        yield f"{key} is a trade that never was (V9)"
    states = {key for key, row in rows(house).items() if row.state in EXECUTED}
    if states != trades.keys():
        yield f"trades are {sorted(trades)}, executed orders {sorted(states)} (V9)"


def _uneven(house: House, ledger: Ledger, now: Reckoning) -> Iterator[str]:
    """V14, double entry: what is ours and what is not are the account."""
    book, foreign = ledger.book("BTC", "USDT"), ledger.foreign()
    if foreign is None:
        yield "nobody ever looked at the account"
        return
    if book.base < ZERO:
        yield f"the position is {book.base} (V15)"
    if not now.even:
        return
    held = house.truth.held
    for name, ours, theirs, there in (
        ("BTC", book.base, foreign.base, held.base),
        ("USDT", book.quote, foreign.quote, held.quote),
    ):
        if ours + theirs != there:
            yield f"{name}: the book has {ours}, {theirs} is foreign, the account holds {there} (V14)"


def verified(ledger: Ledger) -> Iterator[str]:
    """`ledger verify`, but for its looks at pages and schema."""
    for name, look in CHECKS:
        if not name.startswith(("pages", "tables")):
            yield from look(ledger, SimpleNamespace(seen=0))  # type: ignore[arg-type]  # its own counter
