"""Whole copies of a ledger, made by SQLite while others read and write it.

A copy is whole or not there: written under another name, checked, synced, and only then given its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

Judge = Callable[[Path], str | None]
"""What is wrong with a copy; None where it may count."""


class UnsoundError(Exception):
    """A copy that was written and did not pass its check; says why."""


def unfinished(path: Path) -> Path:
    """The name that a copy has while it is made."""
    return path.with_name(f"{path.name}.{os.getpid()}.part")


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
        os.link(part, path)  # fails if somebody made it meanwhile
        sync_folder(path.parent)
        return size
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
