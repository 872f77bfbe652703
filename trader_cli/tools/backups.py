"""Backups of a ledger: made while a loop writes it, checked before they count, pruned.

A backup is a ledger like any other: `trader report FILE` and every other reader can look into it.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trader_cli.core.errors import BusyError, LedgerError, TraderError, UsageError
from trader_cli.core.moments import Moment
from trader_cli.tools import migrations
from trader_cli.tools.clock import wall_now
from trader_cli.tools.copies import UnsoundError, write_copy
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import errors, make_folder

FOLDER = "backups"
"""Where backups go, beside the ledger, unless said otherwise."""

_STAMP = r"([0-9]{8}T[0-9]{6}\.[0-9]{3})Z"
_FORM = "%Y%m%dT%H%M%S.%f"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that passed its check.

    Attributes:
        size: bytes.
        links, head: how many links its audit chain has, and its newest hash.
        removed: older ones that were pruned.
    """

    path: Path
    size: int
    links: int
    head: str
    removed: tuple[Path, ...] = ()


def back_up(ledger: Path, place: Path | None = None, keep: int | None = None) -> Backup:
    """Copy a ledger, which may be in use, into a folder, or to a file whose name ends in `.db`.

    With `keep`, so many of this ledger's newest backups stay in the folder. Raises NotFoundError without a ledger,
    UsageError for a name that is taken, LedgerError where the copy cannot be written or does not pass its check.
    """
    place = ledger.parent / FOLDER if place is None else place
    alone = place.suffix == ".db" and not place.is_dir()
    if not alone and os.path.lexists(place) and not place.is_dir():
        raise UsageError(f'"{place}" is no folder', "Name a folder, or a file that ends in .db.")
    if alone and keep is not None:
        raise UsageError("--keep prunes a folder of backups, and DEST names a file", "Name a folder, or leave --keep.")
    with closing(Ledger.open_reader(ledger, wall_now)) as reader:
        make_folder(place.parent if alone else place, "Name another place for backups.")
        path, size = _write(reader, [place] if alone else _names(ledger, place))
    with closing(Ledger.open_reader(path, wall_now)) as copy:
        links, head = copy.next_link - 1, copy.head
    gone = () if keep is None else tuple(_prune(ledger, place, path, keep))
    return Backup(path, size, links, head, gone)


def _write(reader: Ledger, names: Iterator[Path] | list[Path]) -> tuple[Path, int]:
    """The first name that is free, with the size of the copy."""
    for path in names:
        try:
            return path, write_copy(reader.db, path, unsound)
        except FileExistsError:
            continue
        except (OSError, sqlite3.OperationalError) as error:
            full = isinstance(error, sqlite3.Error) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            mend = "Free some space, then again." if full else "Name another place for it."
            raise LedgerError(f'the backup "{path}" cannot be written: {error}', mend) from error
        except UnsoundError as error:
            raise LedgerError(f'the backup "{path}" is not sound: {error}', "Look: trader ledger verify") from error
    raise UsageError(f'"{path}" is there already', "A backup is never overwritten: name another.")


def _names(ledger: Path, folder: Path) -> Iterator[Path]:
    """By the time of day to the millisecond, which another process may have had as well."""
    for later_ms in range(1000):
        stamp = datetime.fromtimestamp((wall_now() + later_ms) / 1000, UTC).strftime(_FORM)[:-3]
        yield folder / f"{ledger.stem}-{stamp}Z.db"


def backups_of(ledger: Path, folder: Path) -> list[tuple[Moment, Path]]:
    """A ledger's backups in a folder and when each was made, on the wall; oldest first."""
    name = re.compile(re.escape(ledger.stem) + "-" + _STAMP + r"\.db")
    found = []
    with suppress(OSError):
        for one in folder.iterdir():
            if (fits := name.fullmatch(one.name)) is not None and one.is_file() and not one.is_symlink():
                made = datetime.strptime(fits[1], _FORM).replace(tzinfo=UTC)
                found.append((round(made.timestamp() * 1000), one))
    return sorted(found, key=lambda one: (one[0], one[1].name))


def _prune(ledger: Path, folder: Path, path: Path, keep: int) -> Iterator[Path]:
    """Remove all but so many of this very ledger's backups, never the one just made. What is no ledger is left alone.

    One process at a time; who comes meanwhile leaves it to the next.
    """
    with suppress(BusyError), FileLock(folder / f".{ledger.stem}.pruning.lock", 0.0, f'the folder "{folder}"'):
        whose = _ledger_id(path)
        older = [one for _, one in backups_of(ledger, folder) if one != path and _ledger_id(one) == whose]
        for old in older[: len(older) - (keep - 1)]:
            try:
                for end in ("", "-wal", "-shm"):  # what whoever looked into it left beside it goes with it
                    old.with_name(old.name + end).unlink(missing_ok=True)
            except OSError as error:
                raise LedgerError(f'cannot remove "{old}": {error.strerror}', "The new backup is made.") from error
            yield old


def _ledger_id(path: Path) -> str | None:
    """Whose backup a file is; None for what is no ledger."""
    try:
        with closing(Ledger.open_reader(path, wall_now)) as copy:
            return copy.ledger_id
    except TraderError:
        return None


def unsound(path: Path) -> str | None:
    """What is wrong with a copy of a ledger: pages, foreign keys, schema, every link; None where nothing is."""
    try:
        with closing(Ledger.open_reader(path, wall_now)) as copy, errors(path):
            if (pages := copy.db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                return f"damaged pages: {pages}"
            if copy.db.execute("PRAGMA foreign_key_check").fetchone() is not None:
                return "a row refers to one that is not there"
            if (strange := next(migrations.strange(copy.db), None)) is not None:
                return f"its schema was tampered with: {strange}"
            return next(copy.broken_links(), None)
    except TraderError as error:
        return error.message
