"""Compared cycles summed up: how many act alike, how each agent agrees, what could not be used, what it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from trader_cli.core.decimals import ZERO, add
from trader_cli.schemas.comparison import Agreement, Asking, Choice, Compared, Comparison, Spent, Worth
from trader_cli.schemas.question import Agent

_WHAT: tuple[tuple[Agent, str, Callable[[Choice], str | None]], ...] = (
    (Agent.PLANNER, "mode", lambda choice: choice.mode),
    (Agent.TRADER, "action", lambda choice: choice.proposed),
    (Agent.TRADER, "policy", lambda choice: choice.policy_id),
    (Agent.JUDGE, "decision", lambda choice: choice.decision),
)
"""What is compared of each agent's answer to its own recorded question."""


def summed(cycles: Iterable[Compared], asking: Asking) -> Comparison:
    """What they come to. Cycles that `asking` is about and that never came have the reason of the last one."""
    every = list(cycles)
    both = [(one.recorded, one.other, one) for one in every if one.other is not None]
    last = every[-1] if every else None
    changes = Counter((was.action, other.action) for was, other, one in both if not one.same)
    unusable = Counter(named for one in every for named in one.unusable)
    return Comparison(
        asking=asking,
        compared=len(both),
        same=sum(one.same is True for _, _, one in both),
        changes=tuple((*pair, count) for pair, count in changes.most_common()),
        agreement=tuple(_agreement(both)),
        not_asked=tuple(_not_asked(every, asking.cycles).most_common()),
        not_followed=sum(not one.followed for _, _, one in both),
        unusable=tuple((*named, count) for named, count in unusable.most_common()),
        spent=_spent(every),
        worth=_worth(every),
        orders=_of_both(every, lambda choice: choice.ordered > ZERO),
        unfilled=_of_both(every, lambda choice: choice.is_unfilled),
        cut=last.cut if last else None,
        cut_because=last.cut_because if last else None,
    )


def _not_asked(every: list[Compared], cycles: int) -> Counter[str]:
    reasons = Counter(one.not_asked for one in every if one.not_asked is not None)
    if (rest := cycles - len(every)) > 0:
        cut = every[-1].cut if every else None
        reasons[cut.value if cut else "there is no plan"] += rest
    return reasons


def _agreement(both: list[tuple[Choice, Choice, Compared]]) -> Iterator[Agreement]:
    for agent, what, of in _WHAT:
        said = [(of(was), of(other)) for was, other, one in both if agent in one.asked]
        yield Agreement(agent, what, sum(was == other for was, other in said), len(said))


def _spent(every: list[Compared]) -> Spent:
    each = [one.spent for one in every]
    return Spent(
        sum(one.questions for one in each),
        sum(one.input_tokens for one in each),
        sum(one.cached_tokens for one in each),
        sum(one.output_tokens for one in each),
        sum(one.reasoning_tokens for one in each),
        add(*(one.cost_usd for one in each)),
        all(one.priced for one in each),
    )


def _worth(every: list[Compared]) -> Worth | None:
    """What it began with and what it ended as."""
    known = [one.worth for one in every if one.worth is not None]
    if not known:
        return None
    ledger = next((one.ledger for one in reversed(known) if one.ledger is not None), None)
    return Worth(known[0].before, known[-1].recorded, known[-1].other, ledger)


def _of_both(every: list[Compared], holds: Callable[[Choice], bool]) -> tuple[int, int]:
    """Of how many cycles something holds, for the recorded side and for the other."""
    return (
        sum(holds(one.recorded) for one in every if one.cut is None),
        sum(holds(one.other) for one in every if one.other is not None),
    )
