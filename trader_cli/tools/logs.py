"""Log lines: what was committed, asked and answered, as it happens. The ledger is the truth; these are for eyes.

A line is one JSON object with time, level, logger, message and trace. The file is bounded: at `MOST_BYTES` it becomes
`FILE.1`, and `KEPT` of those are kept. Several processes may write to one file. Nobody ever waits for who reads lines,
and nobody fails because of them: what cannot be written is dropped, and that is said once. No secret is in a line; of
other libraries only warnings are kept.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import select
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from trader_cli.core.errors import ConfigError
from trader_cli.core.moments import iso
from trader_cli.core.redaction import redact

MOST_BYTES = 10_000_000
"""A log file is put aside before it is longer than this."""
KEPT = 4
"""How many of those put aside are kept."""
MOST_CHARS = 4_000
"""Of a message or a traceback; more is cut."""

_TRIES, _PAUSE_SECS = 50, 0.001
"""For so many milliseconds, at the very most, a line may wait for another process that puts the file aside."""
_PIECE = 4_096
_VALUE_CHARS = 300
_BEGINNING = b'{"ts": '
_BESIDE = ("", "-wal", "-shm", "-journal", ".lock", ".loop.lock")
_ALSO = ("STOP", "STOP.new")
"""The ledger itself, and what lies beside it under its name, or under one of its own."""

OURS = logging.getLogger("trader")
OURS.setLevel(logging.CRITICAL + 1)  # until somebody wants to see them, lines cost nothing
_LEDGER = logging.getLogger("trader.ledger")

_trace: ContextVar[str | None] = ContextVar("trace", default=None)

_TOLD = frozenset(("decisions", "orders", "order_events", "fills", "trades", "portfolio", "events", "meta"))
"""Tables whose rows are worth a line at INFO."""
_TOLD_AT_LENGTH = frozenset(("observations", "model_reserves", "model_calls", "paper_orders", "memory"))
"""And at DEBUG. Rows of the others are parts of these."""
_BAD = frozenset(("ERROR", "NOT_SENT", "STATE", "BAN", "NOTICE", "UNKNOWN", "REJECTED", "ABANDONED", "NEEDS_HUMAN"))
"""Kinds of events, and states of orders, that are warnings."""


def on_trace(trace_id: str | None) -> None:
    """The trace that lines belong to from now on, where they do not name another."""
    _trace.set(trace_id)


def trace_of(record: logging.LogRecord) -> str | None:
    """The trace that a line belongs to."""
    return getattr(record, "trace_id", None) or _trace.get()


def wanted() -> bool:
    """Whether anybody sees what is committed."""
    return _LEDGER.isEnabledFor(logging.WARNING)


def committed(rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Rows that are in the ledger now: a line each. Long values, hashes and the chain's own columns are left out."""
    for table, row in rows:
        word = row.get("kind") or row.get("state")
        level = logging.DEBUG if table not in _TOLD else logging.WARNING if word in _BAD else logging.INFO
        if (table in _TOLD or table in _TOLD_AT_LENGTH) and _LEDGER.isEnabledFor(level):
            said = {name: value for name, value in row.items() if _worth(name, value)}
            facts = {"table": table, "id": row["id"], "row": said}
            _LEDGER.log(level, "%s %s", table, row["id"], extra={"facts": facts, "trace_id": row.get("trace_id")})


def _worth(name: str, value: Any) -> bool:
    own = name in ("id", "link", "wall_ts", "trace_id") or name.endswith("sha256")
    return not own and value is not None and len(str(value)) <= _VALUE_CHARS


class JsonLines(logging.Formatter):
    """A record as one line of JSON: ASCII, without secrets, and of bounded length."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "ts": iso(int(record.created * 1000)),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
            "trace_id": trace_of(record),
            "pid": record.process,
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["traceback"] = _cut(self.formatException(record.exc_info), last=True)
        return redact(json.dumps(line, default=str))


def _cut(words: str, last: bool = False) -> str:
    words = redact(words)
    if len(words) <= MOST_CHARS:
        return words
    return f"…{words[-MOST_CHARS:]}" if last else f"{words[:MOST_CHARS]}…"


class RotatingFile(logging.Handler):
    """Appends lines to a file of its owner's, put aside when it is full, by whichever process comes to that first.

    The lock for that is on the full file itself: who does not get it writes on meanwhile, up to as much again. A line
    is one write. What cannot be written is lost, and said once on stderr. A file that begins otherwise than these lines
    do is somebody else's, and is left alone.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> None:
        super().__init__()
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept
        self._lost = False
        self._fd: int | None = None  # opened at the first line: what has nothing to say makes no file

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = (self.format(record) + "\n").encode()
            fd = self._at_the_file()
            if self._is_full(fd, len(line), self._most_bytes):
                fd = self._put_aside(fd, len(line))
            os.write(fd, line)
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody's order fails because of a line
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            if not self._lost and sys.stderr is not None:
                with suppress(OSError, ValueError):
                    sys.stderr.write(f'Warning: no log lines: LOG_FILE "{self._path}": {why}\n')
            self._lost = True
        else:
            self._lost = False

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        super().close()

    def _opened(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is not waited for
        if not _is_a_log(self._path):
            raise OSError(errno.EEXIST, "it holds something else")
        fd = os.open(self._path, flags, 0o600)
        with suppress(PermissionError):  # another owner's
            if _is_regular(fd):
                os.fchmod(fd, 0o600)
        return fd

    def _at_the_file(self) -> int:
        """The file that has the name now: another process, or logrotate, may have put ours aside."""
        if self._fd is None or not self._is_the_file(self._fd):
            fd = self._opened()
            if self._fd is not None:
                os.close(self._fd)
            self._fd = fd
        return self._fd

    def _is_the_file(self, fd: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(fd))
        except FileNotFoundError:
            return False

    @staticmethod
    def _is_full(fd: int, more: int, most: int) -> bool:
        return _is_regular(fd) and os.fstat(fd).st_size + more > most

    def _put_aside(self, full: int, more: int) -> int:
        """Make room; returns where to write now. Raises OSError where there is none."""
        tries = 0
        while True:
            try:
                fcntl.flock(full, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # another is at it
                if not self._is_full(full, more, 2 * self._most_bytes):
                    return full
                if tries == _TRIES:
                    raise
            tries += 1
            time.sleep(_PAUSE_SECS)
        try:
            if self._is_the_file(full):  # nobody was faster
                for number in range(self._kept - 1, 0, -1):
                    self._move(self._aside(number), self._aside(number + 1))
                self._move(self._path, self._aside(1))
        finally:
            fcntl.flock(full, fcntl.LOCK_UN)
        return self._at_the_file()

    @staticmethod
    def _move(old: Path, new: Path) -> None:
        if not (_is_a_log(old) and _is_a_log(new)):
            raise OSError(errno.EEXIST, f'"{new}" is in the way')
        with suppress(FileNotFoundError):
            old.replace(new)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _is_regular(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _is_a_log(path: Path) -> bool:
    """Whether a file is not there, empty, no file of a disk's, or one that these lines were written to."""
    if not path.is_file():
        return not path.is_dir()
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) in (b"", _BEGINNING)
    except PermissionError:  # what may not be read may yet be written
        return True


class Unwaiting:
    """stderr for lines that nobody must wait for: what its reader does not take at once is dropped.

    A pipe or a terminal that is ready takes at least `_PIECE` bytes without blocking (POSIX, PIPE_BUF).
    """

    def write(self, text: str) -> int:
        """Write what can be written now."""
        stream = sys.stderr
        with suppress(OSError, ValueError, AttributeError):
            try:
                fd = stream.fileno()
            except (OSError, ValueError):  # a stand-in in memory
                stream.write(text)
                return len(text)
            octets = text.encode("utf-8", "backslashreplace")
            ready = select.poll()
            ready.register(fd, select.POLLOUT)
            for start in range(0, len(octets), _PIECE):
                if not ready.poll(_TRIES if start else 0):  # the rest of a line is worth a moment
                    break
                os.write(fd, octets[start : start + _PIECE])
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def _ours_or_grave(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OURS.name or record.levelno >= logging.WARNING


def attach(handler: logging.Handler, level: str) -> None:
    """Have lines from `level` on go there too, and others' warnings."""
    logging.raiseExceptions = False
    handler.setLevel(level)
    handler.addFilter(_ours_or_grave)
    logging.getLogger().addHandler(handler)
    _attached.append(handler)
    OURS.setLevel(min(one.level for one in _attached))


def attached() -> bool:
    """Whether lines go anywhere."""
    return bool(_attached)


def stderr_lines() -> logging.Handler:
    """JSON lines on stderr: for a service manager, a container, a file behind `2>`."""
    handler = logging.StreamHandler(Unwaiting())
    handler.setFormatter(JsonLines())
    return handler


def not_said(record: logging.LogRecord) -> bool:
    """Whether a line is not on stderr already, in other words."""
    return not hasattr(record, "said")


def log_file(path: Path, ledger: Path) -> RotatingFile:
    """Where LOG_FILE says. Raises ConfigError for the ledger and all that lies by it.

    A file that cannot be written, or is another's, is no error: a log keeps nobody from trading, or from stopping.
    """
    try:
        ledger = ledger.resolve()
        target = path.resolve()
        taken = {ledger.with_name(name) for name in (*(ledger.name + end for end in _BESIDE), *_ALSO)}
        names = [target, *(target.with_name(f"{target.name}.{number}") for number in range(1, KEPT + 1))]
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have that name"
        raise ConfigError(f'LOG_FILE cannot be used: "{path}": {why}', "Name another.") from None
    if not taken.isdisjoint(names) or target.is_dir():
        raise ConfigError(f'LOG_FILE must be a file of its own, and "{path}" is something else', "Name a new one.")
    given = path.absolute()
    a_device = given.is_relative_to("/dev") or given.is_relative_to("/proc")
    handler = RotatingFile(given, sys.maxsize) if a_device else RotatingFile(target, MOST_BYTES, KEPT)
    handler.setFormatter(JsonLines())
    return handler


def detach() -> None:
    """Let go of all that was attached: at the end of a command."""
    while _attached:
        handler = _attached.pop()
        logging.getLogger().removeHandler(handler)
        handler.close()
    OURS.setLevel(logging.CRITICAL + 1)
    on_trace(None)


_attached: list[logging.Handler] = []
