"""Times as people write them on a command line."""

from __future__ import annotations

from trader_cli.core.errors import UsageError
from trader_cli.core.moments import Moment, day_start, parse_iso, span_ms


def moment(words: str, now: Moment, *, ahead: bool = False) -> Moment:
    """A date, an ISO time, `today`, or a span such as 24h: before `now`, or after it when `ahead`."""
    if words == "today":
        return day_start(now)
    try:
        return now + span_ms(words) if ahead else now - span_ms(words)
    except ValueError:
        pass
    try:
        return parse_iso(words)
    except ValueError:
        raise UsageError(
            f'a time must be a date (2026-11-22), an ISO time, today, or a span such as 24h or 7d; was "{words}"'
        ) from None
