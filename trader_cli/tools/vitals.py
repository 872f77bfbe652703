"""What the machine and the files around a ledger tell, for doctor and health. Only `close` and `remove` change any."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from trader_cli.core.errors import BusyError, LedgerError
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import errors, lock_path, loop_lock_path

LEAST_FREE, LITTLE_FREE = 50 << 20, 500 << 20
"""Bytes: with less than the first nothing should be begun, with less than the second somebody should look."""

NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")
"""File systems over a network, where locks and write-ahead logs are not to be relied on."""

LEFT_SECS = 3_600
"""How long an unfinished file has not been written before it is taken for left over."""

ABANDONED_SECS = 86_400
"""No copy takes a day: a process of that number that lives is another one."""

_BY = r"([0-9]{1,10})(?:-[0-9a-f]{8})?"
_LEFT = (
    rf"NAME\.{_BY}\.part",
    rf"\.NAME\.{_BY}\.restored(?:\.[0-9a-f-]{{1,19}}\.part|-wal|-shm|-journal|\.lock)?",
    rf"NAME\.before-schema-[0-9]+(?:-[0-9]+)?\.bak\.{_BY}\.part",
    rf"STEM-[0-9]{{8}}T[0-9]{{6}}\.[0-9]{{3}}Z\.db\.{_BY}\.part",
)
"""Unfinished files of a ledger: they carry the process that makes them in their name."""


def versions() -> str:
    """Python's and SQLite's."""
    return f"python {platform.python_version()}, sqlite {sqlite3.sqlite_version}"


def may_reset_its_log(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether this SQLite can corrupt a ledger that two connections write at one moment (sqlite.org/wal.html).

    Fixed in 3.51.3, 3.50.7 and 3.44.6; there since 3.7.0.
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return version >= (3, 7) and not fixed


def free_bytes(path: Path) -> int:
    """What is free where a file is, or will be."""
    return shutil.disk_usage(_existing(path)).free


def file_system(path: Path) -> str | None:
    """The type of file system a file is on; None where the machine does not tell."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place = str(_existing(path).resolve())
    best, kind = -1, None
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        at = fields[1].replace("\\040", " ").rstrip("/") or "/"
        if (place == at or place.startswith(at.rstrip("/") + "/")) and len(at) > best:
            best, kind = len(at), fields[2]
    return kind


def unwritable(path: Path) -> str | None:
    """Why a file could not be written to and put aside, if so; nothing is made."""
    if path.exists() and not os.access(path, os.W_OK):
        return "it may not be written"
    if path.exists() and not path.is_file():
        return None  # a device, a pipe: nothing is put aside
    folder = _existing(path.absolute().parent)
    return None if os.access(folder, os.W_OK | os.X_OK) else f'no file may be made in "{folder}"'


def _existing(path: Path) -> Path:
    return next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))


def exposed(paths: Iterable[Path]) -> list[Path]:
    """Those that others than their owner may read or write."""
    found = []
    for path in paths:
        with suppress(OSError):
            if path.stat().st_mode & 0o077:
                found.append(path)
    return found


def files_of(ledger: Path) -> list[Path]:
    """A ledger's own files that are there."""
    ends = ("", "-wal", "-shm")
    named = (*(ledger.with_name(ledger.name + end) for end in ends), lock_path(ledger), loop_lock_path(ledger))
    return [path for path in named if path.exists()]


def leftovers(ledger: Path) -> Iterator[Path]:
    """Unfinished files around a ledger that nobody writes any more.

    Their process is gone, and they are old: a process in another container, whose number says nothing here, is not.
    """
    name, stem = re.escape(ledger.name), re.escape(ledger.stem)
    forms = [re.compile(form.replace("NAME", name).replace("STEM", stem)) for form in _LEFT]
    for folder in (ledger.parent, ledger.parent / "backups"):
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                fits = next((found for form in forms if (found := form.fullmatch(path.name))), None)
                if fits is not None and _is_left(path, int(fits[1])):
                    yield path


def _is_left(path: Path, pid: int) -> bool:
    try:
        found = path.lstat()
    except OSError:  # it is gone by now
        return False
    age = time.time() - found.st_mtime
    return stat.S_ISREG(found.st_mode) and age > (ABANDONED_SECS if _is_alive(pid) else LEFT_SECS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def close(path: Path) -> None:
    """Let nobody but its owner read or write a file. Raises LedgerError."""
    try:
        path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError as error:
        raise LedgerError(f'cannot change who may read "{path}": {error.strerror}', f"chmod 600 {path}") from error


def remove(path: Path) -> None:
    """Remove a leftover. Raises LedgerError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise LedgerError(f'cannot remove "{path}": {error.strerror}', "Remove it by hand.") from error


def newest_wall(ledger: Ledger) -> Moment | None:
    """When the newest link was written, on the wall."""
    row = ledger.db.execute("SELECT wall_ts FROM audit_chain ORDER BY seq DESC LIMIT 1").fetchone()
    return parse_iso(row[0]) if row else None


def can_write(ledger: Path) -> str:
    """Prove that a ledger can be written without changing it; returns how. Raises LedgerError.

    Where another process holds it, that one does.
    """
    try:
        with (
            FileLock(lock_path(ledger), 0.0, "the ledger"),
            errors(ledger),
            closing(sqlite3.connect(ledger, timeout=1.0, isolation_level=None)) as db,
        ):
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except BusyError as error:
        return f"in use: {error.message}"
    return "a transaction began and was taken back"
