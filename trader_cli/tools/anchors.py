"""Anchors: heads of the audit chain that were noted elsewhere, against the ledger as it is now."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trader_cli.core.decimals import text
from trader_cli.core.errors import LedgerError, UsageError
from trader_cli.core.moments import Moment, iso
from trader_cli.core.orders import PREFIX
from trader_cli.schemas.order import SETTLED, Sighting
from trader_cli.tools.files import read_text
from trader_cli.tools.ids import anchor_of
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Look, Problems

MOST_CHARS = 100_000_000
_CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK


def append(path: Path, line: str) -> None:
    """Add a line to a file of anchors, made for its owner only, and make it durable.

    Raises UsageError for what is no such file, LedgerError when the disk does not take it.
    """
    octets = line.encode("ascii") + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | _CAREFUL, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if not stat.S_ISREG(os.fstat(descriptor).st_mode) or os.pread(descriptor, 1, 0) not in (b"", b"{"):
                raise UsageError(f'--out: "{path}" holds something else than anchors', "Name another file.")
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                octets = b"\n" + octets  # whoever wrote last was cut short
            if os.write(descriptor, octets) < len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise LedgerError(f'--out: cannot write "{path}": {error.strerror}', "Free some space.") from error
        raise UsageError(f'--out: cannot write "{path}": {error.strerror}', "Name another file.") from error


def anchors_of(path: Path) -> list[dict[str, Any]]:
    """The anchors in a file, one JSON object a line. Raises UsageError for anything else, ConfigError for no file."""
    if path.exists() and not path.is_file():  # a pipe may never end
        raise UsageError(f'--anchors: "{path}" is no file', "Name what trader ledger anchor -o wrote.")
    lines = read_text(path, "--anchors", MOST_CHARS).splitlines()
    found = [_anchor(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise UsageError(f"{path} holds no anchor: it proves nothing", "Make some: trader ledger anchor -o FILE")
    return found


def _anchor(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        links = found["links"]
        fits = type(links) is int and 0 <= links < 2**63
        if fits and isinstance(found["head"], str) and isinstance(found["ledger_id"], str):
            return dict(found)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise UsageError(f"{path}: line {number} is no anchor", "Lines are what trader ledger anchor -o writes.")


def compared(anchors: list[dict[str, Any]]) -> Look:
    """The check of a ledger against anchors, as `verification.CHECKS` has them."""

    def look(ledger: Ledger, count: Count) -> Problems:
        for one in anchors:
            count.seen += 1
            yield from _differences(ledger, one)

    return look


def carried(ledger: Ledger, count: Count) -> Problems:
    """That every client order id carries the chain's head from before its order: as the exchange has kept it since."""
    for order, head in ledger.db.execute(
        "SELECT o.client_order_id, a.hash FROM orders AS o LEFT JOIN audit_chain AS a ON a.seq = o.link - 1 "
        "WHERE o.origin <> 'recovered' ORDER BY o.id"
    ):
        count.seen += 1
        if order.rpartition("-")[2] != anchor_of(head or ""):
            yield f"order {order} carries {order.rpartition('-')[2]}, the chain before it has {anchor_of(head or '')}"


def on_the_account(sightings: Sequence[Sighting], since: Moment) -> Look:
    """The check of a ledger against the orders that its account shows since a moment: no more, no fewer, no others."""

    def look(ledger: Ledger, count: Count) -> Problems:
        shown = {one.client_order_id: one for one in sightings if one.client_order_id.startswith(PREFIX)}
        for name, one in shown.items():
            count.seen += 1
            known = ledger.order(name)
            if known is None:
                yield f"the account has order {name}, this ledger has not"
            elif known.state in SETTLED and known.executed_qty != one.executed_qty:
                executed = text(one.executed_qty)
                yield f"order {name}: {executed} is executed on the account, {text(known.executed_qty)} here"
        for (name,) in ledger.db.execute(
            "SELECT idempotency_key FROM trades WHERE ts_utc >= ? ORDER BY id", (iso(since),)
        ):
            count.seen += 1
            if name not in shown:
                yield f"order {name} was executed here, and the account does not show it"

    return look


def _differences(ledger: Ledger, one: dict[str, Any]) -> Iterator[str]:
    said = f"anchor of {str(one.get('wall_at'))[:24]} at link {one['links']}"
    if one["ledger_id"] != ledger.ledger_id:
        yield f"{said} is of another ledger, {one['ledger_id'][:36]}"
        return
    row = ledger.db.execute("SELECT hash FROM audit_chain WHERE seq = ?", (one["links"],)).fetchone()
    if row is None:
        yield f"{said}: the ledger ends before it, at link {ledger.next_link - 1}"
    elif row[0] != one["head"]:
        yield f"{said} was {one['head'][:12]}, the ledger has {row[0][:12]}"
