"""Memory again: every outcome and the evidence after it, folded from all fills and model calls since the beginning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from trader_cli.core.moments import iso
from trader_cli.schemas.memory import Evidence
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import key_of, learn, learnt_document
from trader_cli.tools.outcomes import Fold
from trader_cli.tools.rows import dumps
from trader_cli.tools.verification import Count, Problems


def outcomes(ledger: Ledger, count: Count) -> Problems:
    """Each row of memory as the sales make it, in their order; and no sale that a later row or snapshot passed over."""
    rows = iter(ledger.db.execute("SELECT id, ts_utc, key, value_json, link FROM memory ORDER BY id"))
    last = ledger.db.execute("SELECT coalesce(max(link), 0) FROM portfolio").fetchone()[0]
    owed = _began(ledger) <= last
    evidence: dict[str, Evidence] = {}
    fold = Fold(ledger)
    for link, piece, held in fold.closed():
        learnt = learn(ledger, piece, evidence, held)
        name = f"the sale {piece.closed_by} of what {piece.opened_by} bought"
        row = next(rows, None)
        if row is None:
            if owed and link < last:
                yield f"{name} is not in memory"
            continue
        count.seen += 1
        wanted = (iso(learnt.experiment.closed_at), key_of(learnt.experiment), dumps(learnt_document(learnt)))
        yield from (f"memory {row[0]}: {words}, {name} makes it {now}" for words, now in _differences(row, wanted))
        if row[4] < link:
            yield f"memory {row[0]} was written before its sale"
    for row in rows:
        count.seen += 1
        yield f"memory {row[0]} ({row[2]}) is the outcome of no sale"


def _began(ledger: Ledger) -> float:
    """The link from which on snapshots had to learn: what an older program sold may wait for the first of them."""
    first = ledger.db.execute("SELECT min(link) FROM memory").fetchone()[0]
    if first is None and ledger.has("orders", "terms_sha256"):  # the rows may be gone; its orders tell of the program
        first = ledger.db.execute("SELECT min(link) FROM orders WHERE terms_sha256 IS NOT NULL").fetchone()[0]
    return math.inf if first is None else int(first)


def _differences(row: tuple[Any, ...], wanted: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    for column, was, now in zip(("ts_utc", "key", "value_json"), row[1:4], wanted, strict=True):
        if was != now:
            at = next((n for n, pair in enumerate(zip(was, now, strict=False)) if pair[0] != pair[1]), 0)
            begin = max(0, at - 24)
            yield f"{column} is …{was[begin : at + 40]}", f"…{now[begin : at + 40]}"
