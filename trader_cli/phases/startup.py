"""The startup sequence of specification 12.2, after settings and ledger: exchange and market, account and key, models.

Proofs that need the network are events, valid for a day. Paper has no account, so there is nothing to prove.
"""

from __future__ import annotations

from contextlib import suppress

from trader_cli.core.errors import BusyError, ConfigError, UpstreamError
from trader_cli.phases.account import open_epoch, scan, scan_due
from trader_cli.phases.desk import Desk
from trader_cli.phases.recover import note_stop, recover
from trader_cli.phases.snapshot import snapshot
from trader_cli.schemas.order import Order
from trader_cli.tools.logs import on_trace

SHUTDOWN_WAIT_SECS = 5.0
"""How long the end of a run waits for another process that is writing."""

PROOF_MS = 86_400_000
"""How long a proof holds, on the wall."""


def startup(desk: Desk, thorough: bool = False) -> list[Order]:
    """All that must hold before a cycle or a step; cheap where it was proved lately.

    See that exchange, clock and market are there and whose account it is, settle what is open, prove the models, look
    through the account's orders (hourly, and where it is `thorough`). Returns the orders that were asked about or
    found. Raises UpstreamError when one of them is out of reach, ConfigError when only other settings can help.
    """
    on_trace(None)
    note_stop(desk)
    desk.exchange.connect()
    if desk.exchange.fingerprint is not None:  # before the first question about an order: another account knows none
        _prove_key(desk, desk.exchange.fingerprint)
    found = recover(desk)
    if desk.exchange.fingerprint is not None:
        _prove_models(desk)
        if desk.ledger.epoch() is None:
            open_epoch(desk)
        if thorough or scan_due(desk):
            found += scan(desk)
    return found


def shutdown(desk: Desk) -> None:
    """The end of a run that a signal ended: own orders that are still open are taken back, and the book marked.

    The step in hand has ended and its snapshot is written; with no order open there is nothing left to do.
    """
    if desk.stop.ending() is None or not desk.ledger.open_orders():
        return
    with suppress(BusyError, UpstreamError), desk.ledger.writing(SHUTDOWN_WAIT_SECS):
        recover(desk)
        snapshot(desk)


def _prove_key(desk: Desk, fingerprint: str) -> None:
    """Whose account it is and what the key may do. A ledger never meets another account."""
    if _holds(desk, "key", fingerprint):
        return
    evidence = desk.exchange.prove()
    pinned = desk.ledger.account()
    if pinned is not None and evidence.get("account") != pinned:
        raise ConfigError(
            "this ledger belongs to another account of the exchange than EXCHANGE_API_KEY",
            "Use that account's key, or a ledger of its own: --db PATH",
        )
    _note(desk, "key", fingerprint, evidence)


def _prove_models(desk: Desk) -> None:
    """That every model in use is there. What cannot be reached now will be told by the first question."""
    for name, prove in desk.minds.proofs:
        if _holds(desk, "model", name):
            continue
        try:
            evidence = prove()
        except UpstreamError:
            continue
        _note(desk, "model", name, evidence)


def _holds(desk: Desk, what: str, of: str) -> bool:
    known = desk.ledger.proof(what, of)
    return known is not None and 0 <= desk.clock.wall() - known[0] < PROOF_MS


def _note(desk: Desk, what: str, of: str, evidence: dict[str, str]) -> None:
    with desk.ledger.transaction() as tx:
        desk.ledger.log_event(tx, "PROOF", {"what": what, "of": of, **evidence}, desk.clock.now())
