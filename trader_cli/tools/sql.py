"""Anybody's SQL, read-only: one statement, an authorizer that allows reading alone, and limits of time and size."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trader_cli.core.errors import UsageError

READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
"""Pragmas that only describe."""

_TOLD = frozenset({"user_version", "page_count", "page_size", "freelist_count"})
"""Pragmas that, without a value, only tell."""

MAX_VALUE_BYTES = 4 * 1024 * 1024
STEPS = 1_000
"""SQLite's steps between two chances for Ctrl-C. Time is up by a timer, for one step may take long."""

DAMAGE = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY}
)
"""What is the file's fault, and not the statement's."""


@contextmanager
def select(db: sqlite3.Connection, sql: str, timeout_secs: float) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
    """The columns of one reading statement, told apart, and its rows as they come: text, whole numbers,
    floats for REAL, hexadecimal for BLOB.

    Raises UsageError for what is no single SELECT, what SQLite refuses, and what takes longer than `timeout_secs`,
    sqlite3.Error when there is no room to sort, KeyboardInterrupt on Ctrl-C.
    """
    watch = _Watch(timeout_secs)
    db.execute("PRAGMA query_only=ON")
    db.execute("PRAGMA temp_store=FILE")  # a sort of millions of rows must not fill the memory
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    db.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    for table in ("json_each('[]')", "json_tree('[]')", *(f"pragma_{name}('')" for name in sorted(PRAGMAS))):
        db.execute(f"SELECT 1 FROM {table}").fetchall()  # made now: the authorizer would not let them be
    db.set_authorizer(_may)
    db.set_progress_handler(watch.stop, STEPS)
    timer = threading.Timer(timeout_secs, db.interrupt)
    timer.daemon = True
    timer.start()
    try:
        cursor = _refusing(watch, lambda: db.execute(sql))
        if cursor.description is None:
            raise UsageError("needs one statement that reads, there was none", 'Try: "select * from v_cycles limit 5"')
        yield _apart([column[0] for column in cursor.description]), _rows(cursor, watch)
    finally:
        timer.cancel()
        db.set_progress_handler(None, 0)
        db.set_authorizer(None)


def read_only(db: sqlite3.Connection) -> None:
    """From now on let a connection only read: no statement of anybody's writes, attaches, or makes a file.

    Its transactions may begin and end, so that several reads see one moment.
    """
    db.execute("PRAGMA query_only=ON")
    for table in ("json_each('[]')", "json_tree('[]')"):
        db.execute(f"SELECT 1 FROM {table}").fetchall()  # made now: the authorizer would not let them be
    db.set_authorizer(_may_read)


def _may_read(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    if action == sqlite3.SQLITE_TRANSACTION:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _TOLD and second is None:
        return sqlite3.SQLITE_OK
    return _may(action, first, second, database, source)


class _Watch:
    """Ends a statement that takes too long, or that a person interrupts."""

    def __init__(self, timeout_secs: float) -> None:
        self.timeout_secs = timeout_secs
        self._until = time.monotonic() + timeout_secs

    def stop(self) -> bool:
        """Whether time is up. SQLite swallows the KeyboardInterrupt that a signal raises in here, and stops too."""
        return time.monotonic() > self._until


def _may(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if first in PRAGMAS else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY


def _rows(cursor: sqlite3.Cursor, watch: _Watch) -> Iterator[list[Any]]:
    while (row := _refusing(watch, cursor.fetchone)) is not None:
        yield [_plain(value) for value in row]


def _refusing(watch: _Watch, call: Any) -> Any:
    """What `call` returns, or in our words what SQLite says against it."""
    try:
        return call()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        words, code = str(error), getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in DAMAGE:
            raise
        if "interrupted" in words:
            if not watch.stop():
                raise KeyboardInterrupt from error
            raise UsageError(
                f"the query took longer than {watch.timeout_secs:g} s", "Give it more: --timeout SECS, or ask for less."
            ) from error
        if "not authorized" in words or "prohibited" in words or "readonly" in words:
            raise UsageError("only reading is allowed here: one SELECT", "The ledger is append-only.") from error
        look = 'Tables: trader ledger query "select name, sql from sqlite_master"'
        if "no such table: v_" in words:
            look = "An older ledger gets the views with the next writing command, for example: trader snapshot"
        raise UsageError(f"SQLite says: {words}", look) from error


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _apart(names: list[str]) -> list[str]:
    """Column names, each once: a second `a` becomes `a_2`."""
    made: list[str] = []
    for name in names:
        count, fresh = 1, name
        while fresh in made:
            count += 1
            fresh = f"{name}_{count}"
        made.append(fresh)
    return made
