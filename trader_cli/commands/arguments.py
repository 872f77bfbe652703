"""Times as people write them on a command line."""

from __future__ import annotations

import re

from trader_cli.core.errors import UsageError
from trader_cli.core.moments import Moment, day_start, parse_iso, span_ms

_LAST = parse_iso("9999-12-31T23:59:59.999Z")
"""The last moment whose text has four digits for its year, as all times in a ledger have."""

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,]{2,15}(Z|[+-][0-9:]{2,8})?)?", re.IGNORECASE)
"""What Python reads as a time is more than that, and some of it is a slip of the finger (`11111111111`)."""


def moment(words: str, now: Moment, *, ahead: bool = False) -> Moment:
    """A date, an ISO time, `today`, or a span such as 24h: before `now`, or after it when `ahead`."""
    if words == "today":
        return day_start(now)
    try:
        return now + span_ms(words) if ahead else now - span_ms(words)
    except ValueError:
        pass
    try:
        if _ISO.fullmatch(words):
            return parse_iso(words)
    except ValueError:
        pass
    was = words if len(words) <= 60 else words[:59] + "…"
    raise UsageError(
        f'a time must be a date (2026-11-22), an ISO time, today, or a span such as 24h or 7d; was "{was}"'
    )


def bound(option: str, words: str | None, now: Moment) -> Moment | None:
    """What --since or --until asks for, within the years that a ledger can name. Raises UsageError."""
    if words is None:
        return None
    try:
        return min(max(0, moment(words, now)), _LAST)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}", f"Try: {option} 24h") from error
