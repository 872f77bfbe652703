"""lookahead: decisions made again while the bars after them are others. Whatever comes out otherwise knew the future.

Each is made by the whole cycle, on what the ledger held before it, in memory: nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trader_cli.core.errors import TraderError
from trader_cli.core.moments import Moment
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Desk
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lookahead import first_seen, sampled, story
from trader_cli.tools.markets.altered import WAYS

SAMPLES = 100

DeskAt = Callable[[int, Moment, str], Desk]
"""A desk over the ledger as it stood before a link, whose market is altered after a moment in one of `WAYS`."""


@dataclass(frozen=True, slots=True)
class Peeked:
    """A decision made again.

    Attributes:
        difference: what came out otherwise; None where nothing did.
    """

    trace_id: str
    at: Moment
    way: str
    difference: str | None


def lookahead(ledger: Ledger, desk_at: DeskAt, most: int = SAMPLES) -> Iterator[Peeked]:
    """At most `most` cycles, those with orders first, each decided again under every altered future."""
    for trace_id in sampled(ledger, most):
        link, at = first_seen(ledger, trace_id)
        was = story(ledger, trace_id)
        for way in WAYS:
            desk = desk_at(link, at, way)
            try:
                yield Peeked(trace_id, at, way, _difference(desk, was))
            finally:
                desk.ledger.close()


def _difference(desk: Desk, was: list[tuple[object, ...]]) -> str | None:
    """The first row that is another one."""
    try:
        with desk.ledger.writing():
            again = story(desk.ledger, cycle(desk).trace_id)
    except TraderError as error:
        return f"it ended with: {error.message}"
    for then, now in zip(was, again, strict=False):
        if then != now:
            return f"{str(then[0]).lower()} was {_brief(then)}, with other bars ahead {_brief(now)}"
    return None if len(was) == len(again) else f"it left {len(again)} rows, it was {len(was)}"


def _brief(row: tuple[object, ...]) -> str:
    said = " ".join(str(part) for part in row[1:] if part is not None)
    return said if len(said) <= 100 else f"{said[:99]}…"
