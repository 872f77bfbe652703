"""Whole copies of a ledger, made by SQLite while others read and write it.

A copy is whole or not there: written under another name, checked, synced, and only then given its own.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

Judge = Callable[[Path], str | None]
"""What is wrong with a copy; None where it may count."""


class UnsoundError(Exception):
    """A copy that was written and did not pass its check; says why."""


def unfinished(path: Path) -> Path:
    """A name that a copy has while it is made: of this process, and of no other that had its number."""
    return path.with_name(f"{path.name}.{mine()}.part")


def mine() -> str:
    """This process, in the name of a file that is not finished."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def write_copy(db: sqlite3.Connection, path: Path, judge: Judge) -> int:
    """Copy the ledger behind `db` to `path`, for its owner only; returns its size in bytes.

    `db` may be read-only, and is in no transaction. Raises OSError, sqlite3.Error or UnsoundError, FileExistsError
    for a path that is taken; then nothing is left behind.
    """
    part = unfinished(path)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        db.execute("VACUUM INTO ?", (str(part),))  # an empty file may be there
        if (wrong := judge(part)) is not None:
            raise UnsoundError(wrong)
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
        _name(part, path)
        sync_folder(path.parent)
        return size
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError if somebody made one of that name meanwhile."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # no links on this disk
        part.replace(path)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
