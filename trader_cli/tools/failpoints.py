"""Named places where a test may kill the process, to prove that recovery works from there.

`TRADER_FAILPOINT=submit-after:1` kills the first time that place is reached. Unset, nothing happens.
"""

from __future__ import annotations

import os
import signal

NAMES = ("commit-before", "commit-after", "submit-before", "submit-after", "restore-kept", "restore-swap")
"""Around every commit to the ledger (`:n` counts them), and around the one submission of an order."""

_reached: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die here by SIGKILL if the environment asks for it."""
    wanted = os.environ.get("TRADER_FAILPOINT")
    if not wanted:
        return
    place, _, count = wanted.partition(":")
    if place not in NAMES:
        raise ValueError(f"TRADER_FAILPOINT must name one of {', '.join(NAMES)}, was {place!r}")
    if place == name:
        _reached[name] = _reached.get(name, 0) + 1
        if _reached[name] == int(count or "1"):
            os.kill(os.getpid(), signal.SIGKILL)
