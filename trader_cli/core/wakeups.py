"""When to look again: at a close of a bar, and not at every one of short bars while nothing is held."""

from __future__ import annotations

UNHURRIED_SECS = 300
"""Short bars are passed over up to here while nothing is held: what they move rarely pays for a round trip."""
LEAST_SECS, MOST_SECS = 30, 3600
"""What the specification allows a plan."""


def secs_to_look(to_close: float, timeframe: float, held: bool) -> float:
    """Seconds until a close that is not nearer than 30: the next one, or with nothing held the last within 300.

    `to_close` is how many are left of the bar that is forming, `timeframe` (above 0) how many a bar has.
    """
    if not held and to_close <= UNHURRIED_SECS:
        to_close += (UNHURRIED_SECS - to_close) // timeframe * timeframe
    if to_close < LEAST_SECS:
        to_close += timeframe
    return min(max(to_close, LEAST_SECS), MOST_SECS)
