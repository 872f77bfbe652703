"""Times, models and amounts as people write them on a command line."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from trader_cli.core.decimals import ZERO, dec
from trader_cli.core.errors import UsageError
from trader_cli.core.moments import Moment, day_start, parse_iso, span_ms

if TYPE_CHECKING:
    from trader_cli.config import Settings

MOST_USD = 1_000_000

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


def is_span(words: str) -> bool:
    """Whether a time is told as a span (24h), which counts from another moment."""
    try:
        return span_ms(words) > 0
    except ValueError:
        return False


def bound(option: str, words: str | None, now: Moment) -> Moment | None:
    """What --since or --until asks for, within the years that a ledger can name. Raises UsageError."""
    if words is None:
        return None
    try:
        return min(max(0, moment(words, now)), _LAST)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}", f"Try: {option} 24h") from error


def model_name(words: str | None, settings: Settings) -> str | None:
    """What --model asks for. Raises UsageError for what is no model's name, or where AGENTS=rules was said."""
    from trader_cli.config import problem_with

    if words is None:
        return None
    if (problem := problem_with("OPENAI_MODEL_TRADER", words)) is not None:
        raise UsageError(problem.replace("OPENAI_MODEL_TRADER", "--model"), "See: trader models")
    if settings.agents == "rules":
        raise UsageError("--model asks for a model, AGENTS=rules for none", "Leave one of the two out.")
    return words


def usd(words: str | None) -> Decimal | None:
    """What --max-cost asks for, in USD. Raises UsageError."""
    try:
        amount = None if words is None else dec(words)
    except ValueError as error:
        raise UsageError(f"--max-cost {error}", "Try: --max-cost 0.50") from None
    if amount is not None and not ZERO <= amount <= MOST_USD:
        raise UsageError(f'--max-cost must be from 0 to {MOST_USD} USD, was "{words}"', "Try: --max-cost 0.50")
    return amount
