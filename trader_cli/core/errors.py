"""Everything that can go wrong, and the exit code each says it with.

TraderError
├── ConfigError        3   a setting, a key, a ledger pinned to something else
├── RefusedError       4   stopped, or real money not confirmed
├── UpstreamError      5   model, exchange or clock unavailable; nothing was sent
├── LedgerError        6   corrupt, newer schema, not writable, disk full
├── BusyError          7   another writer holds the lock
├── NotFoundError      8   no ledger, no such trace, nothing to act on
│   └── MarketEndedError   the recorded market has no bar left
├── DiffersError       9   a check found a difference
└── OrderUnknownError 10   an order was sent and its outcome is not known

`UsageError` (2) is for an argument whose form is right but whose value is not.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The process exit codes, the same for every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIG = 3
    REFUSED = 4
    UPSTREAM = 5
    LEDGER = 6
    BUSY = 7
    NOT_FOUND = 8
    DIFFERS = 9
    ORDER_UNKNOWN = 10
    INTERRUPTED = 130
    TERMINATED = 143


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done; HOLD, OBSERVE, REJECT, not due and already executed are successes",
    ExitCode.FAILURE: "a bug, or an aborted prompt",
    ExitCode.USAGE: "a wrong option or value",
    ExitCode.CONFIG: "a setting or key is missing or wrong, or the ledger is pinned to others",
    ExitCode.REFUSED: "trading is stopped, or real money was not confirmed",
    ExitCode.UPSTREAM: "model, exchange or clock unavailable; nothing was sent",
    ExitCode.LEDGER: "the ledger is corrupt, newer than this program, or cannot be written",
    ExitCode.BUSY: "another writer holds the ledger's lock",
    ExitCode.NOT_FOUND: "no ledger, no such trace, nothing to act on, or the recorded market ended",
    ExitCode.DIFFERS: "a check found a difference or a failure",
    ExitCode.ORDER_UNKNOWN: "an order was sent and its outcome is not known: never retry, look",
    ExitCode.INTERRUPTED: "a second Ctrl-C",
    ExitCode.TERMINATED: "a second SIGTERM",
}


class TraderError(Exception):
    """An expected failure: what happened, and what to do next (`hint`)."""

    code = ExitCode.FAILURE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TraderError):
    """An argument's value cannot be used."""

    code = ExitCode.USAGE


class ConfigError(TraderError):
    """A setting is missing or wrong, or the ledger belongs to other settings."""

    code = ExitCode.CONFIG


class RefusedError(TraderError):
    """The law or the operator says no."""

    code = ExitCode.REFUSED


class UpstreamError(TraderError):
    """A model, an exchange or a clock could not be reached; nothing was sent."""

    code = ExitCode.UPSTREAM


class LedgerError(TraderError):
    """The ledger cannot be trusted or cannot be written."""

    code = ExitCode.LEDGER


class BusyError(TraderError):
    """Another process is writing."""

    code = ExitCode.BUSY


class NotFoundError(TraderError):
    """There is nothing to read or to act on."""

    code = ExitCode.NOT_FOUND


class MarketEndedError(NotFoundError):
    """A recorded market has no bar left to trade on."""


class DiffersError(TraderError):
    """A check found a difference."""

    code = ExitCode.DIFFERS


class OrderUnknownError(TraderError):
    """An order was sent and nobody knows yet what became of it."""

    code = ExitCode.ORDER_UNKNOWN
