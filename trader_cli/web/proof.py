"""The proof of the whole ledger while it is served: `trader ledger verify` in a process of its own, out of the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trader_cli.core.errors import TraderError
from trader_cli.core.moments import Moment
from trader_cli.tools.clock import wall_now

Whose = Callable[[], object]
"""Says which ledger stands at the path now; raises TraderError where there is none."""

RETRY_SECS = 30.0
"""So long after it could not be proved it is tried again."""

_PROGRAM = """
import os, sys, threading
def _alone():
    os.read(0, 1)  # ends with whoever started this, however that ended
    os._exit(1)
os.nice(19)
threading.Thread(target=_alone, daemon=True).start()
from trader_cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Proved:
    """What came of the newest proof.

    Attributes:
        at: when it ended, ms UTC on the wall.
        whose: the ledger that was proved.
        checks: how many there were; `failed` the names of those that did.
        trouble: why it could not be proved; there are no checks then.
    """

    at: Moment
    whose: object
    checks: int
    failed: tuple[str, ...]
    trouble: str | None = None


class Prover:
    """Proves a ledger at once, every so many seconds, and when asked for. Use it in a `with`."""

    def __init__(self, ledger: Path, every_secs: float, whose: Whose) -> None:
        self.every_secs = every_secs
        self._ledger = ledger
        self._whose = whose
        self._newest: Proved | None = None
        self._over, self._asked = threading.Event(), threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="prover", daemon=True)

    def __enter__(self) -> Prover:
        if self.every_secs > 0:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._asked.set()
        if self._running is not None:
            self._running.kill()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def of(self, whose: object) -> Proved | None:
        """What came of the newest proof of this ledger. Another one than was proved is proved soon."""
        if self._newest is not None and self._newest.whose == whose:
            return self._newest
        if self._newest is not None:
            self._asked.set()
        return None

    def _work(self) -> None:
        while not self._over.is_set():
            self._asked.clear()
            self._newest = found = self._prove()
            self._asked.wait(self.every_secs if found.trouble is None else min(RETRY_SECS, self.every_secs))

    def _prove(self) -> Proved:
        whose: object = None
        try:
            whose = self._whose()
            checks, failed = self._verified()
            after = self._whose()
        except (TraderError, OSError) as error:
            return Proved(wall_now(), whose, 0, (), str(error))
        if after != whose:
            return Proved(wall_now(), whose, 0, (), "another ledger took its place meanwhile")
        return Proved(wall_now(), whose, checks, failed)

    def _verified(self) -> tuple[int, tuple[str, ...]]:
        """How many checks there were, and those that failed. Raises OSError, TraderError with the command's words."""
        words = ("--env-file", "none", "--json", "--db", str(self._ledger), "ledger", "verify")
        self._running = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "HOME") if name in os.environ},
            start_new_session=True,
        )
        with self._running as running:
            said, complained = _all_of(running.stdout), _all_of(running.stderr)
            code = running.wait()
        try:
            checks = json.loads(said)["checks"]
            return len(checks), tuple(one["name"] for one in checks if not one["ok"])
        except (ValueError, KeyError, TypeError):
            raise TraderError(_reason(complained) or f"trader ledger verify ended with {code}") from None


def _all_of(stream: IO[bytes] | None) -> bytes:
    return b"" if stream is None else stream.read()


def _reason(complained: bytes) -> str | None:
    try:
        return str(json.loads(complained)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None
