"""A backup put back in its ledger's place: nothing is lost of what was there, and nobody writes meanwhile.

The copy is made and finished beside the ledger; what was there is kept as a copy of its own; one rename puts the new
one in its place. Its newest row says that it was restored, so that the account is looked through before anything is
decided: orders that were placed after the backup are found there, and adopted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trader_cli.core.errors import BusyError, LedgerError, TraderError, UsageError
from trader_cli.tools.backups import unsound
from trader_cli.tools.clock import wall_now
from trader_cli.tools.copies import UnsoundError, mine, sync_folder, write_copy
from trader_cli.tools.failpoints import failpoint
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import lock_path, loop_lock_path, make_folder

_BESIDE = ("", "-wal", "-shm", "-journal")

RESTORED = "RESTORED"
"""The kind of the event that says so."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, or would do.

    Attributes:
        links: of the backup's audit chain; `head` its newest hash.
        lost: how many links the ledger had that are not in the backup; None where it cannot be read.
        kept: the new name of what was there; None where nothing was.
    """

    ledger: Path
    links: int
    head: str
    lost: int | None
    kept: Path | None


def restore(backup: Path, ledger: Path, force: bool = False, dry_run: bool = False) -> Restored:
    """Put a backup, which the caller has verified, in the ledger's place.

    Raises BusyError while a loop or another writer runs, UsageError for another ledger's backup unless forced,
    LedgerError where it cannot be written; then the ledger is as it was.
    """
    make_folder(ledger.parent, "Choose another with --db.")
    with (
        FileLock(loop_lock_path(ledger), 0.0, f'a loop: the ledger "{ledger}"'),
        FileLock(lock_path(ledger), 5.0, f'the ledger "{ledger}"'),
        closing(Ledger.open_reader(backup, wall_now)) as source,
    ):
        lost = _lost(ledger, source, force)
        kept = _aside(ledger) if any(map(os.path.lexists, _files(ledger))) else None
        plan = Restored(ledger, source.next_link - 1, source.head, lost, kept)
        if not dry_run:
            staged = _staged(source, backup, ledger, plan)
            _swap(staged, ledger, kept or _aside(ledger))
        return plan


def _lost(ledger: Path, source: Ledger, force: bool) -> int | None:
    if not os.path.lexists(ledger):
        return 0
    try:
        with closing(Ledger.open_reader(ledger, wall_now)) as now:
            if now.ledger_id != source.ledger_id and not force:
                raise UsageError(
                    f'"{source.path}" is a backup of another ledger than "{ledger}"',
                    "Name another with --db, or add --force.",
                )
            return now.next_link - 1 - _common(now, source)
    except UsageError:
        raise
    except TraderError:  # it is damaged: that is what backups are for
        return None


def _common(one: Ledger, other: Ledger) -> int:
    """The last link that two ledgers share: they are equal up to there, and differ from there on."""
    low, high = 0, min(one.next_link, other.next_link) - 1
    ask = "SELECT hash FROM audit_chain WHERE seq = ?"
    while low < high:
        middle = (low + high + 1) // 2
        same = one.db.execute(ask, (middle,)).fetchone() == other.db.execute(ask, (middle,)).fetchone()
        low, high = (middle, high) if same else (low, middle - 1)
    return low


def _files(ledger: Path) -> list[Path]:
    return [ledger.with_name(ledger.name + end) for end in _BESIDE]


def _aside(ledger: Path) -> Path:
    stamp = datetime.fromtimestamp(wall_now() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{ledger.name}.before-restore-{stamp}{more}" for more in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(one for one in map(ledger.with_name, names) if not os.path.lexists(one))


def _staged(source: Ledger, backup: Path, ledger: Path, plan: Restored) -> Path:
    """The copy beside the ledger, as this program's schema has it, with the event."""
    staged = ledger.with_name(f".{ledger.name}.{mine()}.restored")
    try:
        write_copy(source.db, staged, unsound)
        with closing(Ledger.open_writer(staged, wall_now)) as copy, copy.writing(), copy.transaction() as tx:
            content = {"from": backup.name, "head": plan.head, "links": str(plan.links)}
            if plan.lost is not None:
                content["lost_links"] = str(plan.lost)
            plan_at = copy.newest_plan()
            copy.log_event(tx, RESTORED, content, wall_now() if plan_at is None else plan_at.at)
        _fold(staged)
    except (OSError, sqlite3.Error, UnsoundError) as error:
        _remove(staged)
        raise LedgerError(f'"{backup}" cannot be copied: {error}', "The ledger is as it was.") from error
    except BaseException:
        _remove(staged)
        raise
    lock_path(staged).unlink(missing_ok=True)
    for older in staged.parent.glob(f"{staged.name}.before-schema-*"):  # the backup itself is that copy
        older.unlink(missing_ok=True)
    return staged


def _swap(staged: Path, ledger: Path, kept: Path) -> None:
    """The one step: what was there is copied under another name, its log is gone, and the copy takes its place.

    A process that dies in here leaves the old ledger as it was, or the new one; never one beside the other's log.
    """
    try:
        whole = _fold(ledger)
        for end in _BESIDE if not whole else ("",):
            _copy(ledger.with_name(ledger.name + end), kept.with_name(kept.name + end))
        sync_folder(ledger.parent)
        failpoint("restore-kept")
        for end in _BESIDE[1:]:  # empty, or copied: a log must never meet another ledger than its own
            ledger.with_name(ledger.name + end).unlink(missing_ok=True)
        sync_folder(ledger.parent)
        failpoint("restore-swap")
        staged.replace(ledger)
        sync_folder(ledger.parent)
    except OSError as error:
        _remove(staged)
        raise LedgerError(f'cannot put the copy in the place of "{ledger}": {error.strerror}', "Try again.") from error
    except TraderError:
        _remove(staged)
        raise


def _fold(path: Path) -> bool:
    """Bring a ledger's log into its file, if it is whole. Raises BusyError while somebody reads it."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:  # damaged: it is kept as it is, with its log
        return False
    if busy:
        raise BusyError(f'"{path}" is being read by another program', "Close it there, then try again.")
    return True


def _copy(old: Path, new: Path) -> None:
    """A durable copy, for its owner only: nobody must share a file with what is kept."""
    if not old.exists():
        return
    with old.open("rb") as given, os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
        shutil.copyfileobj(given, made, 1 << 20)
        made.flush()
        os.fsync(made.fileno())


def _remove(staged: Path) -> None:
    for one in (staged, *(staged.with_name(staged.name + end) for end in ("-wal", "-shm", ".lock"))):
        with suppress(OSError):
            one.unlink(missing_ok=True)
