"""A comparison of two minds as a document, as rows for a pipe, and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import brief, sub, text
from trader_cli.core.moments import iso
from trader_cli.schemas.comparison import Asking, Choice, Compared, Comparison, Worth
from trader_cli.views.output import clean

SCHEMA = "trader.comparison/1"

COLUMNS = ("trace_id", "ts_utc", "recorded", "other", "same", "not_asked")
"""The columns of a pipe."""

RULE = "orders fill whole at the open of the next stored bar, half the spread, slippage and fee against them"
TOLD = 5
"""How many reasons and causes a terminal lists; a document has all."""


def comparison_cells(one: Compared) -> list[Any]:
    """A cycle as a line of a pipe."""
    other = one.other.action if one.other else None
    return [one.trace_id, iso(one.at), one.recorded.action, other, one.same, one.not_asked]


def comparison_document(whole: Comparison, cycles: list[Compared]) -> dict[str, Any]:
    """All of it, cycle by cycle at the end."""
    asking, spent = whole.asking, whole.spent
    return {
        "schema": SCHEMA,
        "model": asking.model,
        "host": asking.host,
        "max_cost_usd": asking.max_cost_usd,
        "whole": whole.cut is None,
        "ended_because": None if whole.cut is None else whole.cut_because or whole.cut.value,
        "cycles": asking.cycles,
        "compared": whole.compared,
        "same": whole.same,
        "different": whole.different,
        "changes": [{"from": was, "to": now, "count": count} for was, now, count in whole.changes],
        "agreement": [
            {"agent": one.agent.value, "of": one.what, "same": one.same, "compared": one.of} for one in whole.agreement
        ],
        "not_asked": [{"reason": reason, "count": count} for reason, count in whole.not_asked],
        "not_followed": whole.not_followed,
        "fallbacks": [{"agent": agent.value, "cause": cause, "count": count} for agent, cause, count in whole.unusable],
        "requests": spent.questions,
        "input_tokens": spent.input_tokens,
        "cached_tokens": spent.cached_tokens,
        "output_tokens": spent.output_tokens,
        "reasoning_tokens": spent.reasoning_tokens,
        "cost_usd": spent.cost_usd,
        "cost_known": spent.priced,
        "equity": None if whole.worth is None else _equity(whole, whole.worth),
        "traces": [_trace(one) for one in cycles],
    }


def _equity(whole: Comparison, worth: Worth) -> dict[str, Any]:
    return {
        "rule": RULE,
        "began": worth.before,
        "recorded": worth.recorded,
        "other": worth.other,
        "difference": sub(worth.other, worth.recorded),
        "ledger": worth.ledger,
        "orders": dict(zip(("recorded", "other"), whole.orders, strict=True)),
        "unfilled": dict(zip(("recorded", "other"), whole.unfilled, strict=True)),
    }


def _trace(one: Compared) -> dict[str, Any]:
    return {
        "trace_id": one.trace_id,
        "ts_utc": iso(one.at),
        "recorded": _choice(one.recorded),
        "other": _choice(one.other) if one.other else None,
        "same": one.same,
        "followed": one.followed,
        "not_asked": one.not_asked,
        "fallbacks": [{"agent": agent.value, "cause": cause} for agent, cause in one.unusable],
        "cost_usd": one.spent.cost_usd,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "mode": choice.mode,
        "action": choice.action,
        "proposed": choice.proposed,
        "policy_id": choice.policy_id,
        "decision": choice.decision,
        "qty": choice.qty,
        "ordered": choice.ordered,
        "price": choice.price,
    }


def comparison_lines(whole: Comparison, cycles: list[Compared]) -> Iterator[str]:
    """What it comes to; of one cycle alone also what both sides said."""
    if whole.asking.cycles == 1 and cycles and cycles[0].other is not None:
        yield from _both(cycles[0].recorded, cycles[0].other, whole.asking.model)
    if whole.compared:
        yield _acts(whole)
        yield from _money(whole)
        yield from _agreement(whole)
    else:
        yield "Nothing was compared."
    if whole.unusable:
        yield f"answers that could not be used: {sum(count for _, _, count in whole.unusable)}"
        causes = [f"{agent.value.lower()}: {cause}" for agent, cause, _ in whole.unusable]
        yield from _some(causes, [count for _, _, count in whole.unusable])
    if whole.not_followed:
        yield f"in {whole.not_followed} its plan trades where the recorded one only observed: no trader was asked there"
    if whole.not_asked:
        yield f"not asked: {sum(count for _, count in whole.not_asked)}"
        yield from _some([reason for reason, _ in whole.not_asked], [count for _, count in whole.not_asked])


def _acts(whole: Comparison) -> str:
    """How many cycles act alike, and how the others differ."""
    changes = [f"{was}→{now} {count}" for was, now, count in whole.changes[:2]]
    if (rest := sum(count for _, _, count in whole.changes[2:])) > 0:
        changes.append(f"other {rest}")
    differ = f"{whole.different} differ" + (f" ({', '.join(changes)})" if changes else "")
    return f"{_cycles(whole.compared)}: {whole.same} same action, {differ}"


def _agreement(whole: Comparison) -> Iterator[str]:
    """Each agent's answers to its own recorded questions."""
    yield "agreement"
    for one in whole.agreement:
        if one.of:
            yield f"  {f'{one.agent.value.lower()} {one.what}':<16} {one.same} of {one.of}"


def _money(whole: Comparison) -> Iterator[str]:
    """The equity of both sides, the cost, and how to read them."""
    spent, worth = whole.spent, whole.worth
    cost = f"cost ${_round(spent.cost_usd, 4 if spent.cost_usd < 1 else 2)}" if spent.priced else "cost not known"
    if whole.asking.host is None:
        cost = "cost nothing"
    if worth is None:
        yield cost
        return
    recorded, other = _round(worth.recorded), _round(worth.other)
    yield f"paper equity {recorded} → {other} ({_signed(sub(worth.other, worth.recorded))})   {cost}"
    ledger = "" if worth.ledger is None else f" The ledger itself says {_round(worth.ledger)}."
    orders = f"orders {whole.orders[0]} → {whole.orders[1]}{_unfilled(whole)}"
    yield f"  from {_round(worth.before)}, {orders}; both by one rule:"
    yield f"  {RULE[:_FOLD].rstrip()}"
    yield f"  {RULE[_FOLD:]}.{ledger}"
    yield "  Each question tells of the recorded position, not of what its own orders made."
    if spent.input_tokens or spent.output_tokens:
        yield (
            f"{spent.questions} requests, {spent.input_tokens} tokens in ({spent.cached_tokens} cached), "
            f"{spent.output_tokens} out ({spent.reasoning_tokens} of reasoning)"
        )


_FOLD = RULE.index("half the spread")
"""Where a terminal breaks the rule."""


def _unfilled(whole: Comparison) -> str:
    if not any(whole.unfilled):
        return ""
    return f" ({whole.unfilled[0]} → {whole.unfilled[1]} after the last bar, not filled)"


def _both(was: Choice, other: Choice, model: str) -> Iterator[str]:
    """What both sides of one cycle said, line by line."""
    told = [(one.mode, _proposal(one), one.decision or "-", _order(one)) for one in (was, other)]
    width = max(len("recorded"), *(len(words) for words in told[0])) + 2
    yield f"{'':<10}{'recorded':<{width}}{clean(model)}"
    for name, *words in zip(("plan", "proposal", "verdict", "order"), *told, strict=True):
        yield f"{name:<10}{words[0]:<{width}}{words[1]}"


def _proposal(choice: Choice) -> str:
    if choice.proposed is None:
        return "-"
    if choice.proposed == "HOLD":
        return "HOLD"
    return f"{choice.proposed} {brief(choice.qty)} {choice.policy_id}"


def _order(choice: Choice) -> str:
    if not choice.ordered:
        return "-"
    at = "no stored bar" if choice.price is None else brief(choice.price)
    return f"{choice.action} {brief(choice.ordered)} at {at}"


def _some(words: list[str], counts: list[int]) -> Iterator[str]:
    for each, count in list(zip(words, counts, strict=True))[:TOLD]:
        yield f"  {count:>5}  {each}"
    if (more := len(words) - TOLD) > 0:
        yield f"  {sum(counts[TOLD:]):>5}  for {more} other reasons (--json has them)"


def opening_line(
    asking: Asking, questions: int, worst_usd: Decimal | None = None, left_today: Decimal | None = None
) -> str:
    """What is about to be asked, of whom, and what it may cost (`left_today`: by the day's budget): a line for each."""
    what = f"{questions} recorded question{'s' * (questions != 1)} of {_cycles(asking.cycles)}."
    if asking.host is None:
        return f"Asking {asking.model}, in this program and for nothing: {what}"
    worst = "not known" if worst_usd is None else f"{_round(worst_usd, 4)} USD at worst"
    limits = ((asking.max_cost_usd, "--max-cost"), (left_today, "what is left of MODEL_BUDGET_USD_PER_DAY"))
    least = min(((limit, name) for limit, name in limits if limit is not None), default=None, key=lambda one: one[0])
    most = "" if least is None else f"; at most {text(least[0])} USD ({least[1]})"
    return (
        f"Asking {asking.model} at {asking.host}: {what}\n"
        f"Asked once each: {worst}{most}.\n"
        "They hold market data, position and limits. Nothing is written to the ledger."
    )


def progress_line(done: int, of: int, spent_usd: Decimal) -> str:
    """How far a long comparison is."""
    full = 20 * done // max(of, 1)
    return f"[{'#' * full}{'.' * (20 - full)}] {done} of {of} cycles, ${_round(spent_usd, 4)} | Ctrl-C stops"


def _cycles(count: int) -> str:
    return f"{count} cycle{'s' * (count != 1)}"


def _round(amount: Decimal, places: int = 2) -> str:
    return f"{amount:.{places}f}"


def _signed(amount: Decimal) -> str:
    said = f"{amount:+.2f}"
    return "0.00" if said in ("+0.00", "-0.00") else said
