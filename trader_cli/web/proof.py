"""The proof of the whole ledger while it is served: `trader ledger verify` in a process of its own, out of the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trader_cli.core.moments import Moment
from trader_cli.tools.clock import wall_now


@dataclass(frozen=True, slots=True)
class Proved:
    """What came of the newest proof.

    Attributes:
        at: when it ended, ms UTC on the wall.
        checks: how many there were; `failed` the names of those that did.
    """

    at: Moment
    checks: int
    failed: tuple[str, ...]


class Prover:
    """Proves a ledger at once and every so many seconds; `newest` is what came of it. Use it in a `with`."""

    def __init__(self, ledger: Path, every_secs: float) -> None:
        self.newest: Proved | None = None
        self._ledger = ledger
        self.every_secs = every_secs
        self._over = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="prover", daemon=True)

    def __enter__(self) -> Prover:
        if self.every_secs > 0:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._running is not None:
            self._running.kill()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _work(self) -> None:
        while not self._over.is_set():
            found = self._prove()
            if found is not None:
                self.newest = found
            self._over.wait(self.every_secs)

    def _prove(self) -> Proved | None:
        words = [sys.executable, "-m", "trader_cli.main", "--env-file", "none", "--json", "ledger", "verify"]
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "HOME") if name in os.environ}
        self._running = subprocess.Popen(
            ["nice", "-n", "19", *words, "--db", str(self._ledger)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        said, _ = self._running.communicate()
        try:
            document: dict[str, Any] = json.loads(said)
            checks = document["checks"]
            return Proved(wall_now(), len(checks), tuple(one["name"] for one in checks if not one["ok"]))
        except (ValueError, KeyError, TypeError):
            return None  # no ledger yet, or the process was ended
