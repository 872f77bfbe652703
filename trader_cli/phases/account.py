"""The account behind the ledger: its first look, the orders on it that are not ours, and what was lost or wiped.

Nothing here sends anything. A paper account is the ledger's own, so most of it finds nothing to do there.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, sub, text
from trader_cli.core.errors import ConfigError, OrderUnknownError, UpstreamError
from trader_cli.core.moments import iso
from trader_cli.core.orders import PREFIX
from trader_cli.phases.desk import Desk, estranged
from trader_cli.phases.recover import resolve
from trader_cli.schemas.book import Acceptance, Balances
from trader_cli.schemas.market import Observation
from trader_cli.schemas.order import Absent, Intent, Order, OrderState, Sighting

SCAN_MS = 3_600_000
"""How often all orders of the account are looked through."""
AGAIN_MS = 60_000
"""How often they are where the account is not as our book says."""
OVERLAP_MS = 3_600_000
"""How far a scan goes back behind the end of the one before."""
WATCH_MS = 86_400_000
"""For how long an order that was given up is asked about again."""


def open_epoch(desk: Desk, reason: str = "the first look at the account") -> None:
    """Begin the account's next epoch: its quote is the deposit, and base that is there already is foreign."""
    number = (desk.ledger.epoch() or 0) + 1
    held = desk.exchange.balances()
    with desk.ledger.transaction() as tx:
        content = {
            "number": number,
            "quote": text(held.quote),
            "foreign_base": text(held.base),
            "foreign_quote": "0",
            "reason": reason,
        }
        desk.ledger.log_event(tx, "EPOCH", content, desk.clock.now())


def looked_closer(desk: Desk, seen: Observation) -> bool:
    """Whether it is worth looking at the account again: it was not as our book says, and something was done about it.

    All its orders are looked through, at most once a minute, for one that this ledger lost. A testnet that was wiped
    begins a new epoch.
    """
    if not estranged(seen.window):
        return False
    looked = scan_due(desk, AGAIN_MS)
    if looked:
        scan(desk)
    if not _wiped(desk):
        return looked
    knows = "does not know our last order any more" if desk.ledger.last_executed() else "shows no order at all"
    open_epoch(desk, f"the account is not as the book says, and the testnet {knows}: it was wiped")
    return True


def _wiped(desk: Desk, wait: bool = False) -> bool:
    """Whether a testnet starts anew: it certainly does not know our last order; or there is none, ours or another's.

    With `wait`, what is not certain yet is an UpstreamError.
    """
    if not desk.exchange.may_be_wiped:
        return False
    if (last := desk.ledger.last_executed()) is None:
        lately = desk.ledger.abandoned_since(desk.clock.now() - WATCH_MS)  # one of them may still turn up
        return not (lately or desk.ledger.open_orders() or desk.ledger.strangers())
    found = desk.exchange.find(last.intent)
    if isinstance(found, Absent) and not found.final and wait:
        raise UpstreamError(
            f"{desk.exchange.name} does not show our last order at the moment: {found.evidence}",
            "Try again in half a minute.",
        )
    return isinstance(found, Absent) and found.final


def scan_due(desk: Desk, every_ms: int = SCAN_MS) -> bool:
    """Whether the account's orders should be looked through: the last time is an hour ago, or `every_ms`.

    In a ledger that was restored from a backup at once: what was placed after that is only there.
    """
    last = desk.ledger.scanned_to()
    return last is None or desk.ledger.restored_since_scan() or not 0 <= desk.clock.now() - last < every_ms


def scan(desk: Desk) -> list[Order]:
    """Look through every order of the account: adopt our own that the ledger lost, note those of others.

    An order of ours that was given up and was executed after all is booked. Returns those adopted or booked.
    """
    now = desk.clock.now()
    began, last = desk.ledger.epoch_began() or now, desk.ledger.scanned_to()
    since = began if last is None else max(began, min(last, now) - OVERLAP_MS)
    sightings = desk.exchange.orders(since, now)
    noted, found = set(desk.ledger.strangers()), []
    for one in sightings:
        if one.client_order_id.startswith(PREFIX):
            found += _own(desk, one, noted)
        else:
            _trouble(desk, one, f"order {one.exchange_order_id} on this account is not of this ledger", noted)
    late = [resolve(desk, order) for order in desk.ledger.abandoned_since(now - WATCH_MS)]
    found += [order for order in late if order.state is not OrderState.ABANDONED]
    with desk.ledger.transaction() as tx:
        content = {"since": iso(since), "until": iso(now), "orders": len(sightings)}
        desk.ledger.log_event(tx, "SCAN", content, now)
    return found


def _own(desk: Desk, one: Sighting, noted: set[str]) -> list[Order]:
    """An order with an id of ours: known and settled alike, or a contradiction, or one that the ledger lost."""
    known = desk.ledger.order(one.client_order_id)
    if known is None:
        intent = Intent(
            client_order_id=one.client_order_id,
            proposal_id=None,
            verdict_id=None,
            symbol=desk.market().symbol,
            side=one.side,
            qty=one.qty,
            worst_price=ZERO,
            reserved_quote=ZERO,
            at=one.at,
            origin="recovered",
        )
        with desk.ledger.transaction() as tx:
            order = desk.ledger.adopt(tx, intent, {"by": "scan", "message": "the exchange has it, this ledger had not"})
            reason = f"order {one.client_order_id} of ours was not in this ledger (restored from a backup?): adopted"
            desk.ledger.log_event(tx, "ERROR", {"code": "RECOVERED_ORDER", "reason": reason}, desk.clock.now())
        return [resolve(desk, order)]
    if known.state is OrderState.ABANDONED and one.executed_qty > ZERO:  # however late it turned up
        return [resolve(desk, known)]
    if known.state is OrderState.REJECTED and one.executed_qty > ZERO:
        words = f"order {one.client_order_id} was refused, and the exchange shows that it was executed"
        _trouble(desk, one, words, noted)
    return []


def _trouble(desk: Desk, one: Sighting, reason: str, noted: set[str]) -> None:
    """An EXTERNAL event, once for each order; until somebody accepts it, cycles only observe."""
    if one.exchange_order_id in noted:
        return
    noted.add(one.exchange_order_id)
    content = {
        "exchange_order_id": one.exchange_order_id,
        "client_order_id": one.client_order_id,
        "side": one.side.value,
        "executed_qty": text(one.executed_qty),
        "state": one.state.value,
        "reason": reason,
    }
    with desk.ledger.transaction() as tx:
        desk.ledger.log_event(tx, "EXTERNAL", content, desk.clock.now())


def accept_balances(desk: Desk, reason: str) -> Acceptance:
    """Take the account as it is: more than our book says is foreign, what is missing has left the book at its cost.

    A testnet that was wiped begins a new epoch instead: all of the book has left.

    Raises UpstreamError; OrderUnknownError while an order is unsettled; ConfigError where there is no account.
    """
    if desk.ledger.epoch() is None:
        raise ConfigError("there is no account to accept: paper money is this ledger's own", "Nothing to do.")
    scan(desk)  # an order of ours that the ledger lost explains a difference; taken for one, it would count twice
    for order in desk.ledger.open_orders():
        raise OrderUnknownError(
            f"order {order.intent.client_order_id} is not settled: its fill would count twice", "First: trader recover"
        )
    market, held = desk.exchange.market(), desk.exchange.balances()
    book = desk.ledger.book(market.base, market.quote)
    if _wiped(desk, wait=True):
        open_epoch(desk, reason)
        return Acceptance(Balances(held.base, ZERO), Balances(book.base, book.quote), desk.ledger.epoch())
    with desk.ledger.transaction() as tx:
        beyond = Balances(sub(held.base, book.base), sub(held.quote, book.quote))
        accepted = Acceptance(
            foreign=Balances(max(beyond.base, ZERO), max(beyond.quote, ZERO)),
            withdrawn=Balances(_missing(beyond.base, book.base), _missing(beyond.quote, book.quote)),
        )
        content = {
            "foreign_base": text(accepted.foreign.base),
            "foreign_quote": text(accepted.foreign.quote),
            "withdrawn_base": text(accepted.withdrawn.base),
            "withdrawn_quote": text(accepted.withdrawn.quote),
            "reason": reason,
        }
        if (last := desk.ledger.last_snapshot()) is not None:  # what was taken out is no loss: peak and day count anew
            left = accounting.withdraw(book, accepted.withdrawn.base, accepted.withdrawn.quote)
            content["equity_usdt"] = text(accounting.equity(left, last.mark_price))
        desk.ledger.log_event(tx, "ACCEPTED", content, desk.clock.now())
    return accepted


def _missing(beyond: Decimal, ours: Decimal) -> Decimal:
    """How much of what is ours is not there; never more than there is."""
    return min(max(sub(ZERO, beyond), ZERO), max(ours, ZERO))
