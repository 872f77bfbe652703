"""A backup put back in its ledger's place: nothing is lost of what was there, and nobody writes meanwhile.

The copy is made and finished beside the ledger; what was there gets another name; one rename puts the copy in its
place. Its newest row says that it was restored, so that the account is looked through before anything is decided:
orders that were placed after the backup are found there, and adopted.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trader_cli.core.errors import LedgerError, TraderError, UsageError
from trader_cli.tools.backups import unsound
from trader_cli.tools.clock import wall_now
from trader_cli.tools.copies import UnsoundError, sync_folder, write_copy
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import lock_path, loop_lock_path, make_folder

RESTORED = "RESTORED"
"""The kind of the event that says so."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, or would do.

    Attributes:
        links: of the backup's audit chain; `head` its newest hash.
        lost: how many links the ledger had beyond them; None where it cannot be read.
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
        kept = _aside(ledger) if os.path.lexists(ledger) else None
        plan = Restored(ledger, source.next_link - 1, source.head, lost, kept)
        if not dry_run:
            staged = _staged(source, backup, ledger, plan)
            _swap(staged, ledger, kept)
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
            return max(0, now.next_link - source.next_link)
    except UsageError:
        raise
    except TraderError:  # it is damaged: that is what backups are for
        return None


def _aside(ledger: Path) -> Path:
    stamp = datetime.fromtimestamp(wall_now() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{ledger.name}.before-restore-{stamp}{more}" for more in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(one for one in map(ledger.with_name, names) if not os.path.lexists(one))


def _staged(source: Ledger, backup: Path, ledger: Path, plan: Restored) -> Path:
    """The copy beside the ledger, as this program's schema has it, with the event."""
    staged = ledger.with_name(f".{ledger.name}.{os.getpid()}.restored")
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


def _swap(staged: Path, ledger: Path, kept: Path | None) -> None:
    try:
        if kept is not None:
            with suppress(sqlite3.Error):  # damaged: its log keeps its pages
                _fold(ledger)
            os.link(ledger, kept)  # so there is a ledger at every moment
            for end in ("-wal", "-shm"):
                beside = ledger.with_name(ledger.name + end)
                if beside.exists():
                    beside.replace(kept.with_name(kept.name + end))
        staged.replace(ledger)
        sync_folder(ledger.parent)
    except OSError as error:
        _remove(staged)
        raise LedgerError(f'cannot put the copy in the place of "{ledger}": {error.strerror}', "Try again.") from error


def _fold(path: Path) -> None:
    """Bring a ledger's log into its file: nobody else may be writing it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _remove(staged: Path) -> None:
    for one in (staged, *(staged.with_name(staged.name + end) for end in ("-wal", "-shm", ".lock"))):
        with suppress(OSError):
            one.unlink(missing_ok=True)
