"""The ledger's file: opening it safely, one writer, transactions, and the audit chain under them.

A writer holds the flock beside the file and works in BEGIN IMMEDIATE with synchronous=FULL.
A reader opens `mode=ro` and never creates anything. Every commit appends one link to the chain.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote

from trader_cli.core import audit
from trader_cli.core.errors import BusyError, LedgerError, NotFoundError, TraderError
from trader_cli.core.moments import Moment, iso
from trader_cli.tools import chain, logs, migrations
from trader_cli.tools.failpoints import failpoint
from trader_cli.tools.lock import FileLock
from trader_cli.tools.safety_copy import before_migration

BUSY_TIMEOUT_MS = 5_000
PATIENT_TIMEOUT_MS = 60_000
"""How long to wait for a locked file: ordinarily, and once an order has been sent."""

QUICK_CHECK_BYTES = 8 * 1024 * 1024
"""A ledger up to this size is checked whole at each start of a writer; a larger one by its chain's tail."""

TAIL_LINKS = 50
"""How many of the newest links a writer checks at its start."""


Inserts = dict[str, tuple[str, tuple[str, ...]]]
"""For each chained table the statement that appends a row, and its columns in order."""

_STORED = frozenset((str, int, type(None)))
_SEAL = "INSERT INTO audit_chain (seq, wall_ts, rows, rows_sha256, marks_json, prev_hash, hash) VALUES (?,?,?,?,?,?,?)"

T = TypeVar("T")


class Transaction:
    """Rows being written together. Each carries its link; the commit seals them into the chain."""

    def __init__(
        self,
        db: sqlite3.Connection,
        inserts: Inserts,
        written: Counter[str],
        seq: int,
        wall_ts: str,
        log: list[tuple[str, chain.Row]] | None = None,
    ) -> None:
        self._db = db
        self._log = log
        self._inserts = inserts
        self._written = written
        self._hashes: dict[str, list[bytes]] = {}
        self._first: dict[str, int] = {}
        self.seq = seq
        self.wall_ts = wall_ts

    def insert(self, table: str, **values: audit.Value) -> int:
        """Append one row; returns its id. Unknown tables and columns are bugs and raise."""
        statement, columns = self._inserts[table]
        values["wall_ts"], values["link"] = self.wall_ts, self.seq
        row = {column: values.get(column) for column in columns}
        if not values.keys() <= row.keys():
            raise KeyError(f"{table} has no column {', '.join(sorted(values.keys() - row.keys()))}")
        if not _STORED.issuperset(map(type, row.values())):  # a bool or float would be stored as another value
            column, value = next((name, one) for name, one in row.items() if type(one) not in _STORED)
            raise TypeError(f"{table}.{column} takes text or whole numbers, was {type(value).__name__}")
        row["id"] = row_id = int(self._db.execute(statement, [*row.values()]).lastrowid or 0)
        if table not in self._hashes:
            self._first[table], self._hashes[table] = row_id, []
        self._hashes[table].append(audit.row_hash(table, row))
        self._written[table] += 1
        if self._log is not None:
            self._log.append((table, row))
        return row_id

    def seal(self, ledger_id: str, prev_hash: str) -> str:
        """Append the link over the rows written so far; returns the chain's head."""
        ordered = [one for table in migrations.CHAINED for one in self._hashes.get(table, ())]
        if not ordered:
            return prev_hash
        marks = chain.marks_json(self._first, self._hashes)
        link: chain.Row = {
            "seq": self.seq,
            "wall_ts": self.wall_ts,
            "rows": len(ordered),
            "rows_sha256": audit.rows_hash(ordered),
            "marks_json": marks,
            "prev_hash": prev_hash,
        }
        head = audit.link_hash(ledger_id, link)
        self._db.execute(_SEAL, [*link.values(), head])
        return head


class Store:
    """An open ledger file: for writing (`open_writer`), reading (`open_reader`) or in memory."""

    def __init__(self, db: sqlite3.Connection, path: Path | None, wall: Callable[[], Moment]) -> None:
        self.db = db
        self.path = path
        self._wall = wall
        self._held = path is None
        self._together = False
        self._broken = False
        self._written: Counter[str] = Counter()
        self._log: list[tuple[str, chain.Row]] | None = None
        self._kept: dict[str, tuple[int, Any, Any]] = {}
        self._inode: tuple[int, int] | None = None
        self._tail: tuple[int, str] = (0, audit.GENESIS)
        self._columns = {
            table: tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})")) for table in migrations.tables(db)
        }
        self._inserts: Inserts = {
            table: (f"INSERT INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})", names)
            for table, names in self._columns.items()
        }
        self.ledger_id = ""
        self.refresh()

    # --- opening -----------------------------------------------------------------------------

    @classmethod
    def open_writer(cls, path: Path, wall: Callable[[], Moment], wait_secs: float = 5.0) -> Self:
        """Open for writing, creating and migrating under the lock.

        Raises LedgerError (corrupt, newer, not writable) or BusyError.
        """
        with errors(path):
            make_folder(path.parent, "Choose another with --db.")
            with FileLock(lock_path(path), wait_secs, f'the ledger "{path}"'):
                db = _connect(path, "rwc")
                try:
                    _check_ours(db, path)
                    db.execute("PRAGMA journal_mode=WAL")
                    before_migration(db, path)
                    migrations.apply(db)
                    store = cls(db, path, wall)
                    store.check_start()
                except BaseException:
                    db.close()
                    raise
                store._inode = _inode(path)
                return store

    @classmethod
    def open_reader(cls, path: Path, wall: Callable[[], Moment]) -> Self:
        """Open for reading; NotFoundError when there is no ledger. Creates nothing."""
        if not exists(path):
            raise NotFoundError(f'no ledger at "{path}"', "Make one: trader cycle")
        with errors(path):
            db = _connect(path, "ro")
            try:
                _check_ours(db, path, empty_is_ours=False)
                return cls(db, path, wall)
            except BaseException:
                db.close()
                raise

    @classmethod
    def in_memory(cls, wall: Callable[[], Moment]) -> Self:
        """A fresh ledger that is gone when it is closed: for rehearsals and tests."""
        db = sqlite3.connect(":memory:", isolation_level=None, uri=True)
        _pragmas(db)
        migrations.apply(db)
        return cls(db, None, wall)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def check_start(self) -> None:
        """What every writer checks first: pages (small ledgers) and the newest links. Raises LedgerError."""
        pages, page_size = (self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if pages * page_size <= QUICK_CHECK_BYTES:
            found = self.db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise LedgerError(f"the ledger is damaged: {found}", "Look: trader ledger verify. Restore a backup.")
        if bad := next(migrations.strange(self.db, triggers_only=True), None):
            raise LedgerError(f"the ledger's schema was tampered with: {bad}", "Look: trader ledger verify")
        if bad := next(self.broken_links(since=self._tail[0] - TAIL_LINKS), None):
            raise LedgerError(f"the audit chain is broken: {bad}", "Look: trader ledger verify")

    # --- writing -----------------------------------------------------------------------------

    @contextmanager
    def writing(self, wait_secs: float = 5.0, give_up: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the writer lock. Nothing can be written without it."""
        if self._held or self.path is None:
            yield
            return
        lock = FileLock(lock_path(self.path), wait_secs, f'the ledger "{self.path}"', give_up)
        with errors(self.path), lock:
            if self._inode != _inode(self.path):
                raise LedgerError(f'"{self.path}" was moved or replaced while in use', "Start again.")
            self._held = True
            try:
                self.refresh()  # names of traces follow from the chain's end, which another process may have moved
                yield
            finally:
                self._held = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One BEGIN IMMEDIATE … COMMIT whose rows become one link. The caller holds `writing()`."""
        if not self._held:
            raise RuntimeError("a transaction needs the writer lock: with store.writing(): …")
        with self._committed(alone=not self._together):
            seq, head = self._tail
            tx = Transaction(self.db, self._inserts, self._written, seq + 1, iso(self._wall()), self._log)
            yield tx
            if not self.ledger_id:
                self.ledger_id = self._ledger_id()
            if (new_head := tx.seal(self.ledger_id, head)) != head:
                self._tail = (tx.seq, new_head)
            failpoint("commit-before")
        failpoint("commit-after")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one commit of all transactions inside, each still with its own link: all of them stand, or none.

        Only for what leaves no trace outside this file: a market, a model and an exchange that are all ours.
        """
        if not self._held:
            raise RuntimeError("a transaction needs the writer lock: with store.writing(): …")
        with self._committed(alone=True):
            self._together = True
            try:
                yield
                if self._broken:
                    raise RuntimeError("a transaction inside failed, so none of them may stand")
            finally:
                self._together = self._broken = False

    @contextmanager
    def _committed(self, alone: bool) -> Iterator[None]:
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK of what was written and remembered; nothing inside a larger one."""
        if not alone:
            try:
                yield
            except BaseException:
                self._broken = True
                raise
            return
        with errors(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            before = None
            self._log = [] if self.path is not None and logs.wanted() else None
            try:
                self.refresh()
                before = self._tail
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self._tail = before or self._tail
                self.forget()
                raise
            logs.committed(self._log or ())

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Read all that follows as it stands now, whatever a writer does meanwhile."""
        with errors(self.path):
            self.db.execute("BEGIN")
            try:
                self.refresh()
                yield
            finally:
                if self.db.in_transaction:  # SQLite ends it by itself where a disk is full
                    self.db.execute("ROLLBACK")

    @contextmanager
    def looking(self) -> Iterator[None]:
        """As `steady`; inside a transaction, or another look, as that one sees it."""
        with nullcontext() if self.db.in_transaction else self.steady():
            yield

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Wait longer than usual for a file that another program has locked."""
        self.db.execute(f"PRAGMA busy_timeout={PATIENT_TIMEOUT_MS}")
        try:
            yield
        finally:
            self.db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    @property
    def tables(self) -> tuple[str, ...]:
        """The chained tables this ledger has: one of an older schema lacks some."""
        return tuple(self._columns)

    def has(self, table: str, column: str) -> bool:
        """Whether a chained table of this ledger has a column."""
        return column in self._columns.get(table, ())

    def wall(self) -> Moment:
        """What a clock on the wall shows, ms UTC."""
        return self._wall()

    @property
    def next_link(self) -> int:
        """The link that the next transaction will be."""
        return self._tail[0] + 1

    @property
    def head(self) -> str:
        """The audit chain's newest hash."""
        return self._tail[1]

    def refresh(self) -> None:
        """Look whether another process has written since; if so, forget what was remembered."""
        row = self.db.execute("SELECT seq, hash FROM audit_chain ORDER BY seq DESC LIMIT 1").fetchone()
        tail = (int(row[0]), str(row[1])) if row else (0, audit.GENESIS)
        if tail != self._tail:
            self._tail = tail
            self.ledger_id = self._ledger_id()
            self.forget()

    def forget(self) -> None:
        """Drop what is remembered of the file. Subclasses that remember more extend this."""
        self._kept.clear()

    def remember(self, what: str, tables: tuple[str, ...], value: object) -> None:
        """What `remembered` shall give until another row is written to one of `tables`."""
        self._kept[what] = (sum(map(self._written.__getitem__, tables)), None, value)

    def remembered(self, what: str, tables: tuple[str, ...], load: Callable[[], T], about: object = None) -> T:
        """What `load` reads, read again only after a row was written to one of `tables` (or by another process).

        And when it is asked `about` something else: one answer is kept.
        """
        stamp = sum(map(self._written.__getitem__, tables))
        kept = self._kept.get(what)
        if kept is None or kept[0] != stamp or kept[1] != about:
            kept = self._kept[what] = (stamp, about, load())
        return cast(T, kept[2])

    def _ledger_id(self) -> str:
        row = self.db.execute("SELECT value FROM meta WHERE key = 'ledger_id'").fetchone()
        return str(row[0]) if row else ""

    # --- a copy that moves on ----------------------------------------------------------------

    def follow(self, rows: Iterable[tuple[str, chain.Row]], link: int) -> None:
        """Take over rows of the ledger that this copy in memory was made of, up to a link; parents come first."""
        if self.path is not None:
            raise RuntimeError("only a copy in memory can follow another ledger")
        for table, row in rows:
            statement, columns = self._inserts[table]
            self.db.execute(statement, [row[column] for column in columns])
            self._written[table] += 1
        self._tail = (link, "")

    # --- the chain ---------------------------------------------------------------------------

    def rows_since(self, table: str, link: int) -> Iterator[chain.Row]:
        """The rows of one chained table from `link` on, in id order."""
        return chain.rows_since(self.db, table, self._columns[table], link)

    def broken_links(self, since: int = 0) -> Iterator[str]:
        """Walk the chain from link `since` on and say what does not fit, link by link."""
        return chain.broken_links(self.db, self._columns, self.ledger_id, since)


def exists(path: Path) -> bool:
    """Whether there is a file. Raises LedgerError when nobody may look."""
    try:
        return path.is_file()
    except OSError as error:
        raise cannot_look(path, error) from error


def cannot_look(path: Path, error: OSError) -> LedgerError:
    """What to say when the system does not tell whether there is a ledger."""
    mend = "Name a shorter path with --db." if error.errno == errno.ENAMETOOLONG else "Check who owns the folder."
    return LedgerError(f'cannot look at "{path}": {error.strerror}', mend)


def make_folder(folder: Path, mend: str) -> None:
    """Make a folder for ledgers, for its owner only. Raises LedgerError, which says `mend`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f'cannot make the folder "{folder}": {error.strerror}', mend) from error


def lock_path(path: Path) -> Path:
    """The writer lock's file."""
    return path.with_name(path.name + ".lock")


def loop_lock_path(path: Path) -> Path:
    """The lock a loop holds for its life."""
    return path.with_name(path.name + ".loop.lock")


@contextmanager
def errors(path: Path | None) -> Iterator[None]:
    """Say what SQLite means: locked is BusyError, anything else about the file is LedgerError."""
    try:
        yield
    except TraderError:
        raise
    except sqlite3.IntegrityError as error:
        raise LedgerError(f"the ledger refused a row: {error}", "This is a bug, or the ledger was edited.") from error
    except sqlite3.DatabaseError as error:
        where = f'"{path}"' if path else "the ledger in memory"
        words = str(error)
        if "locked" in words or "busy" in words:
            raise BusyError(f"{where} is locked by another program", "Close it there, then try again.") from error
        if "not a database" in words:
            raise LedgerError(f"{where} is not a trader ledger", "Name another file with --db.") from error
        if "full" in words:
            raise LedgerError(f"no space left to write {where}", "Free some space; then: trader recover") from error
        if "readonly" in words or "unable to open" in words:
            raise LedgerError(f"{where} cannot be opened or written: {words}", "Check who owns it.") from error
        if "disk I/O error" in words:
            mend = "Look whether the disk is full, has a limit or fails, then try again."
            raise LedgerError(f"{where} could not be read or written: {words}", mend) from error
        save = f"trader ledger restore BACKUP. What can be read of it: sqlite3 {where} .recover > saved.sql"
        raise LedgerError(f"{where} is damaged: {words}", save) from error


def _check_ours(db: sqlite3.Connection, path: Path, empty_is_ours: bool = True) -> None:
    """Raise LedgerError for another program's file or a newer ledger, before anything is written to it.

    For a reader an empty file is no ledger: NotFoundError.
    """
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if not names and not empty_is_ours:  # its first writer is about to fill it, or died before it could
        raise NotFoundError(f'no ledger at "{path}" yet', "Make one: trader cycle")
    if names and "audit_chain" not in names:
        raise LedgerError(f'"{path}" is not a trader ledger', "Name another file with --db.")
    migrations.check_version(db)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    previous = os.umask(0o077)
    try:
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000
        )
        _pragmas(db)
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # touches the file: errors show here
    finally:
        os.umask(previous)
    return db


def _pragmas(db: sqlite3.Connection) -> None:
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
        "synchronous=FULL",
        "fullfsync=ON",
        "temp_store=MEMORY",
        "cache_size=-10000",
    ):
        db.execute(f"PRAGMA {pragma}")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
