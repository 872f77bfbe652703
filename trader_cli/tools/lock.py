"""One writer at a time: a flock on a file beside the ledger (never on the ledger itself).

The kernel frees it when the holder dies, so there are no stale locks; the holder's process id
in the file is for messages only.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from trader_cli.core.errors import BusyError, LedgerError

_POLL_SECS = 0.02


def is_held(path: Path) -> bool:
    """Whether anybody holds a lock now, also in another container. Makes no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(fd)


class FileLock:
    """`with FileLock(path, wait_secs, what): …`; BusyError when it is not free in time, or on `give_up()`."""

    def __init__(self, path: Path, wait_secs: float, what: str, give_up: Callable[[], bool] = lambda: False) -> None:
        self._path = path
        self._wait_secs = wait_secs
        self._what = what
        self._give_up = give_up
        self._fd: int | None = None

    def __enter__(self) -> Self:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(
                f'cannot write "{self._path}": {error.strerror}',
                "The ledger's folder must exist and be writable; choose another with --db.",
            ) from error
        try:
            self._take(fd)
        except BaseException:
            os.close(fd)
            raise
        self._sign(fd)
        self._fd = fd
        return self

    @staticmethod
    def _sign(fd: int) -> None:
        """Leave our process id for messages, unless it stands there already: a loop takes its lock often."""
        name = f"{os.getpid()}\n".encode()
        if os.pread(fd, 32, 0) != name:
            os.truncate(fd, 0)
            os.pwrite(fd, name, 0)

    def _take(self, fd: int) -> None:
        deadline = time.monotonic() + self._wait_secs
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline or self._give_up():
                    holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise BusyError(
                        f"{self._what} is in use by another process (pid {holder})",
                        "Wait for it to end, or stop it; then try again.",
                    ) from None
                time.sleep(_POLL_SECS)
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)  # closing frees the lock
            self._fd = None
