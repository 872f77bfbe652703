"""A backtest on a screen: how far it is, and whether anything knew the future."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

_CELLS = 24


class Peek(Protocol):
    """A decision made again under another future."""

    @property
    def way(self) -> str:
        """How the future was altered."""

    @property
    def difference(self) -> str | None:
        """What came out otherwise."""


def progress_line(bars: tuple[int, int, int], secs: float, cycles: int) -> str:
    """`bars` of this process, of the run so far, and of the whole run; and what is left, at the pace so far."""
    now, done, of = bars
    full = _CELLS * done // max(of, 1)
    pace = now / secs if secs > 0 else 0.0
    left = f"{(of - done) / pace:.0f} s left" if pace > 0 else "…"
    return (
        f"[{'#' * full}{'.' * (_CELLS - full)}] {done:,} of {of:,} bars, {cycles:,} cycles, {pace:,.0f} bars/s, "
        f"{left} | Ctrl-C stops"
    )


def lookahead_lines(found: Sequence[Peek]) -> Iterator[str]:
    """What a look for look-ahead found."""
    ways = sorted({one.way for one in found})
    wrong = sum(one.difference is not None for one in found)
    verdict = "none knew a later bar" if not wrong else f"{wrong} knew a later bar"
    yield f"look-ahead: {len(found)} decisions made again with other bars ahead ({', '.join(ways)}): {verdict}"
