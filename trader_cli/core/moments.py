"""Moments: milliseconds since 1970-01-01 UTC as int, and their ISO-8601 text in the ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

Moment = int
"""Milliseconds since the epoch, UTC."""

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_WRITTEN = re.compile(r"([0-9]{1,15})(ms|[smhd])", re.ASCII)
_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
HOUR_MS, DAY_MS = _UNIT_MS["h"], _UNIT_MS["d"]


@lru_cache(maxsize=4096)
def iso(moment: Moment) -> str:
    """`1621296000000` -> `2021-05-18T00:00:00.000Z`."""
    days, rest = divmod(moment, DAY_MS)
    minutes, rest = divmod(rest, 60_000)
    return f"{_date(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}Z"


@lru_cache(maxsize=64)
def _date(days: int) -> str:
    """The date so many days after 1970-01-01; asked for far more often than it changes."""
    return f"{datetime.fromtimestamp(days * 86_400, UTC):%Y-%m-%d}"


@lru_cache(maxsize=4096)
def parse_iso(value: str) -> Moment:
    """Read what `iso` wrote, or any ISO-8601 date or time (UTC when it names no zone).

    Raises ValueError.
    """
    stamp = datetime.fromisoformat(value)
    try:
        stamp = stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"needs a time of the calendar, was {value!r}") from None
    delta = stamp - datetime.fromtimestamp(0, UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def span_ms(value: str) -> int:
    """A length of time such as `5m`, `24h` or `7d`, in milliseconds. Raises ValueError."""
    found = _SPAN.fullmatch(value)
    if not found:
        raise ValueError(f"needs a length of time like 5m, 24h or 7d, was {value!r}")
    return int(found[1]) * _UNIT_MS[found[2]]


def span_text(millis: int) -> str:
    """A length of time in its largest whole unit: `300000` -> `5m`."""
    unit = next((name for name in "dhms" if millis % _UNIT_MS[name] == 0), None)
    return f"{millis}ms" if unit is None else f"{millis // _UNIT_MS[unit]}{unit}"


def read_span(value: str) -> int:
    """What `span_text` wrote, in milliseconds. Raises ValueError."""
    found = _WRITTEN.fullmatch(value)
    if not found:
        raise ValueError(f"needs a length of time as a ledger writes it, was {value!r}")
    return int(found[1]) * (1 if found[2] == "ms" else _UNIT_MS[found[2]])


def day_start(moment: Moment) -> Moment:
    """The UTC midnight at or before `moment`."""
    return moment - moment % DAY_MS


def ceil_to(moment: Moment, step_ms: int) -> Moment:
    """The first multiple of `step_ms` at or after `moment`."""
    return -(-moment // step_ms) * step_ms
