"""What operators did by hand (a position sold, balances accepted): parts of documents, and lines for a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import brief, mul, sub, text
from trader_cli.schemas.book import Acceptance
from trader_cli.schemas.flatten import Flattened
from trader_cli.schemas.market import Market
from trader_cli.views.steps import order_document, order_lines, short, snapshot_lines


def flatten_document(came: Flattened) -> dict[str, Any]:
    """What was held, what was sent, what is left and why."""
    return {
        "flat": came.after == 0,
        "base_before": text(came.before),
        "base_after": text(came.after),
        "price": _money(came.price),
        "dust": came.dust,
        "account_base": _money(came.account_base),
        "foreign_base": text(came.foreign_base),
        "taken_back": [order.intent.client_order_id for order in came.taken_back],
        "unsettled": None if came.unsettled is None else came.unsettled.intent.client_order_id,
        "traces": [one.proposal.trace_id for one in came.rounds],
        "orders": [order_document(order) for order in came.orders],
        "refused": came.refused,
        "upstream": came.upstream,
    }


def flatten_lines(came: Flattened) -> list[str]:
    """Each order, then what is left."""
    lines = [f"Took back order {order.intent.client_order_id}, which was open." for order in came.taken_back]
    for one in came.rounds:
        order = one.execution.order
        if order is None:
            lines.append(f"Nothing sent {short(one.proposal.trace_id)}: {one.execution.reason}")
        else:
            lines += [f"Sale {short(one.proposal.trace_id)}", *order_lines(order)]
    taken = came.snapshot
    return [*lines, *(snapshot_lines(taken) if taken else []), _left(came), *_account(came)]


def position_words(came: Flattened) -> str:
    """What is held still."""
    return f"The position of {text(came.after)} {came.market.base} is kept."


def _left(came: Flattened) -> str:
    market = came.market
    if came.after == 0:
        return "Flat: everything our book held is sold." if came.rounds else "Flat: our book holds nothing to sell."
    if came.dust and came.price is not None:
        worth = brief(mul(came.after, came.price))
        return (
            f"Dust: {text(came.after)} {market.base} (about {worth} {market.quote}) stays: one order needs at least "
            f"{text(market.min_qty)} {market.base}, steps of {text(market.step)}, "
            f"and {text(market.min_notional)} {market.quote}."
        )
    return position_words(came)


def _account(came: Flattened) -> list[str]:
    """What the exchange holds beside, or short of, our book: looked up after the sale."""
    if came.account_base is None or not came.rounds:
        return ["The exchange could not be asked what the account holds now."] if came.orders else []
    beside, base = sub(sub(came.account_base, came.foreign_base), came.after), came.market.base
    if abs(beside) < came.market.step or beside == 0:
        others = f", {text(came.foreign_base)} of it not ours" if came.foreign_base else ""
        return [f"The exchange agrees: the account holds {text(came.account_base)} {base}{others}."]
    if beside > 0:
        return [f"DIFFERS: the account holds {text(beside)} {base} beside our book: not ours, so not sold."]
    return [f"DIFFERS: the account holds {text(-beside)} {base} less than our book. Look: trader recover"]


def _money(value: Decimal | None) -> str | None:
    return None if value is None else text(value)


def acceptance_document(taken: Acceptance) -> dict[str, Any]:
    """What is foreign from now on, and what left our book."""
    return {
        "foreign_base": text(taken.foreign.base),
        "foreign_quote": text(taken.foreign.quote),
        "withdrawn_base": text(taken.withdrawn.base),
        "withdrawn_quote": text(taken.withdrawn.quote),
        "epoch": taken.epoch,
    }


def acceptance_lines(taken: Acceptance, market: Market) -> list[str]:
    """What is foreign from now on, and what left our book, for a person."""

    def words(base: Decimal, quote: Decimal) -> str:
        return f"{text(base)} {market.base} and {text(quote)} {market.quote}"

    if taken.epoch is not None:
        return [
            f"The account was wiped: epoch {taken.epoch} begins, what it holds of {market.quote} is the deposit.",
            f"  gone        {words(taken.withdrawn.base, taken.withdrawn.quote)} of the epoch before",
            f"  not ours    {words(taken.foreign.base, taken.foreign.quote)} (never traded)",
        ]
    return [
        "Balances accepted: what the account holds now is right.",
        f"  not ours    {words(taken.foreign.base, taken.foreign.quote)} (never traded)",
        f"  withdrawn   {words(taken.withdrawn.base, taken.withdrawn.quote)} (left our book, at cost)",
    ]
