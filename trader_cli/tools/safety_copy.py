"""The verified copy of a ledger that is made beside it before its schema changes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from urllib.parse import quote

from trader_cli.core.errors import LedgerError
from trader_cli.tools import migrations
from trader_cli.tools.copies import UnsoundError, write_copy

_HEAD = "SELECT seq, hash FROM audit_chain ORDER BY seq DESC LIMIT 1"


def before_migration(db: sqlite3.Connection, path: Path) -> Path | None:
    """Copy a ledger that has rows and lacks steps; returns the copy. The caller holds the writer lock.

    A copy is never overwritten: one of this very state is used again, beside another a number is added.
    Raises LedgerError when the copy cannot be written or does not pass its check; then nothing has changed.
    """
    steps = migrations.version(db)
    head = db.execute(_HEAD).fetchone() if 0 < steps < len(migrations.STEPS) else None
    if head is None:
        return None
    copy = next(one for one in _names(path) if not os.path.lexists(one) or _is_copy(one, head, steps))
    if copy.exists():
        return copy
    try:
        write_copy(db, copy, lambda made: None if _is_copy(made, head, steps) else "it is not as the ledger is")
    except UnsoundError as error:
        raise LedgerError(
            f'the copy "{copy}" that is made before the ledger\'s schema changes is not sound: {error}',
            "Look: trader ledger verify. The ledger is as it was.",
        ) from error
    except (OSError, sqlite3.OperationalError) as error:
        raise LedgerError(
            f'the copy "{copy}" that is made before the ledger\'s schema changes cannot be written: {error}',
            "Free some space, or let yourself write in its folder; the ledger is as it was.",
        ) from error
    return copy


def _names(path: Path) -> Iterator[Path]:
    name = f"{path.name}.before-schema-{len(migrations.STEPS)}"
    yield path.with_name(f"{name}.bak")
    for number in count(2):
        yield path.with_name(f"{name}-{number}.bak")


def _is_copy(path: Path, head: tuple[int, str], steps: int) -> bool:
    """Whether the file is a sound ledger that ends at this link and has had so many steps."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
            sound = db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
            return sound and migrations.version(db) == steps and db.execute(_HEAD).fetchone() == head
    except sqlite3.Error:
        return False
