"""The brakes: how much was lost, what stands in a row, and when trading slows down by itself.

RUN becomes REDUCE where the day's loss or the fall from the peak reaches its limit, and REDUCE becomes HALT once
nothing is left to sell, so that no model is paid for nothing. Only `resume` goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, brief, percent, sub
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.situation import History, Limits, TradingState

SECOND = 2
"""The edition since which there are these rules, and since which the worst price adds up all that may be added."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the trading state by the law, and why."""

    start: TradingState
    to: TradingState
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The trading state that the ledger keeps, why, and whether the law set it."""

    state: TradingState
    reason: str | None
    by_law: bool


def brake(kept: Kept, limits: Limits, history: History, taken: Snapshot, flat: bool) -> tuple[Step, ...]:
    """What a snapshot whose mark can be believed does to the trading state: at most RUN to REDUCE to HALT.

    `history` is the one before the snapshot; `flat`: nothing that can be sold is held, and no order is out.
    """
    steps: list[Step] = []
    if kept.state is TradingState.RUN and (words := _reached(limits, history, taken)) is not None:
        steps.append(Step(TradingState.RUN, TradingState.REDUCE, words))
        kept = Kept(TradingState.REDUCE, words, by_law=True)
    if kept.state is TradingState.REDUCE and kept.by_law and flat:
        steps.append(Step(TradingState.REDUCE, TradingState.HALT, f"nothing left to sell after {kept.reason}"))
    return tuple(steps)


def _reached(limits: Limits, history: History, taken: Snapshot) -> str | None:
    """The limit of the account that its equity has reached, in words."""
    lost = lost_today(history, taken.book, taken.equity)
    if limits.daily_loss is not None and lost >= limits.daily_loss:
        return f"daily_loss: {brief(lost)} lost since the day began, the limit is {brief(limits.daily_loss)}"
    stake = at_stake(limits, taken.book, taken.peak)
    fall, reached = fallen(taken.peak, taken.equity, percent(stake, limits.max_drawdown_pct))
    if reached:
        of = f"{brief(limits.max_drawdown_pct)} % of {brief(stake)}"
        return f"drawdown: equity fell {brief(fall)} from its peak, the limit is {of}"
    return None


def lost_today(history: History, book: Book, equity: Decimal) -> Decimal:
    """How much less than the day began with `equity` is, in quote; nothing for a gain."""
    opened = book.deposits if history.day_equity is None else history.day_equity
    return max(ZERO, sub(opened, equity))


def at_stake(limits: Limits, book: Book, peak: Decimal) -> Decimal:
    """What a drawdown is a share of, in quote: the peak; where a cap is in force no more than it and what was gained.

    An account may hold a thousand where five may be traded: a fifth of the thousand could never be lost.
    """
    if limits.deposit_cap is None or limits.edition < SECOND:
        return peak
    return min(peak, add(limits.deposit_cap, max(ZERO, sub(peak, book.deposits))))


def fallen(peak: Decimal, equity: Decimal, most: Decimal) -> tuple[Decimal, bool]:
    """How far `equity` lies below its peak, in quote, and whether that is `most` or more."""
    fall = max(ZERO, sub(peak, equity))
    return fall, peak > ZERO and fall >= most


def in_a_row(times: Sequence[int], most: int, rest_ms: int) -> int:
    """How many of a streak count now. One that was sat out, `rest_ms` after a `most`th or later one, counts anew.

    `times` are moments of market time, oldest first.
    """
    count, last = 0, 0
    for at in times:
        count = 1 if count >= most and at - last >= rest_ms else count + 1
        last = at
    return count
