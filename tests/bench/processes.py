"""Processes that are measured: their wall time and peak memory, free of anybody's settings."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

Row = tuple[str, str, str]
"""What, its figure, and what else there is to say."""


def median(taken: list[tuple[float, int]]) -> tuple[float, float]:
    """The median seconds and the median bytes."""
    secs, peaks = zip(*taken, strict=True)
    return statistics.median(secs), statistics.median(peaks)


def environment(market: str = "simulated", more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nobody's settings: the rules trade, on paper, unless `more` says otherwise."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    ours = {"PYTHONPATH": str(ROOT), "AGENTS": "rules", "TRADER_ENV_FILE": "none", "MARKET": market}
    return {**kept, **ours, **(more or {})}


def process(path: str, *words: str, more: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Seconds and peak bytes of one `trader` process."""
    return spawned("-m", "trader_cli.main", "--db", path, *words, more=more)


def spawned(*words: str, more: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Seconds and peak bytes of one Python process."""
    command = [sys.executable, *words]
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment(more=more), file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    secs = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return secs, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
