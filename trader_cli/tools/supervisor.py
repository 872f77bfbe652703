"""What a service manager wants to be told by a process it started (systemd's sd_notify(3)): over its socket, in words.

Elsewhere there is no NOTIFY_SOCKET, and nothing is told. A manager that is gone is no reason to stop trading.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Supervisor:
    """Tells that the loop is ready, alive, what it is at, and that it ends."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET") or None
        self.beat_secs = _beat_secs(environ) if self._address else None
        """How often it wants a sign of life: half of its patience; None where it does not."""

    def ready(self, status: str) -> None:
        """The work begins."""
        self._tell("READY=1", f"STATUS={_line(status)}")

    def working(self, status: str) -> None:
        """A sign of life, and what was done last."""
        self._tell("WATCHDOG=1", f"STATUS={_line(status)}")

    def beat(self) -> None:
        """A sign of life."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def _tell(self, *words: str) -> None:
        if self._address is None:
            return
        with suppress(OSError, ValueError):
            where = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(words).encode("utf-8", "replace"), where)


def _beat_secs(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None  # another process of the service is meant
    try:
        patience = int(environ.get("WATCHDOG_USEC", "")) / 1_000_000
    except ValueError:
        return None
    return patience / 2 if patience > 0 else None


def _line(words: str) -> str:
    return " ".join(words.split())
