"""Calls over the network against one another: attempts and rounds in order, money held back, what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, dec, text
from trader_cli.core.pricing import cost
from trader_cli.schemas.model import Price
from trader_cli.schemas.question import Usage
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems

_SQL = """
SELECT c.id, c.trace_id, c.agent, c.model, c.round, c.attempt, c.status, c.cost_usd, c.cost_basis, c.price_json,
  c.input_tokens, c.cached_tokens, c.output_tokens, c.tools_json, c.reserve_id, r.trace_id, r.agent, r.model,
  r.amount_usd, r.link < c.link, c.cache_write_tokens
FROM model_calls AS c LEFT JOIN model_reserves AS r ON r.id = c.reserve_id
WHERE c.request_json IS NOT NULL ORDER BY c.trace_id, c.agent, c.id"""

_ANSWERED = ("ok", "incomplete", "empty")
"""Statuses of an answer that came, whatever it holds."""

UNSENT = ("stopped", "over_budget")
"""Statuses of a call that was never made; one for which no time was left is the third."""


def calls(ledger: Ledger, count: Count) -> Problems:
    """Each call over the network: its place in its trace, its reserve, its cost from its tokens and its price."""
    if not ledger.has("model_calls", "reserve_id"):
        return
    last: tuple[Any, ...] | None = None
    held: set[int] = set()
    for row in ledger.db.execute(_SQL):
        count.seen += 1
        name = f"model call {row[0]}"
        yield from (f"{name}: {words}" for words in _in_order(row, last))
        yield from (f"{name}: {words}" for words in _held(row, held))
        yield from (f"{name}: {words}" for words in _cost(row))
        last = row
    yield from _offline(ledger)
    yield from _sources(ledger)


def looked_up(ledger: Ledger) -> Iterator[tuple[int, str, int | None]]:
    """Each call that looked something up: its id, its tools, and the observation its trace's proposal stands on."""
    if not ledger.has("model_calls", "tools_json"):
        return
    yield from ledger.db.execute(
        "SELECT c.id, c.tools_json, d.observation_id FROM model_calls AS c LEFT JOIN decisions AS d "
        "ON d.trace_id = c.trace_id AND +d.agent = 'TRADER' WHERE c.tools_json IS NOT NULL ORDER BY c.id"
    )


def _in_order(row: tuple[Any, ...], last: tuple[Any, ...] | None) -> Iterator[str]:
    """Attempts count from 1 within a round, rounds from 0; only a round that called tools has one after it."""
    number, attempt = row[4], row[5]
    if last is None or last[1:3] != row[1:3]:
        if (number, attempt) != (0, 1):
            yield f"it is attempt {attempt} of round {number}, and none of its trace and agent came before it"
        return
    again = (last[4], last[5] + 1)
    then = (last[4] + 1, 1)
    if (number, attempt) not in (again, then):
        yield f"it is attempt {attempt} of round {number} after attempt {last[5]} of round {last[4]}"
    elif (number, attempt) == then and (last[13] is None or any(one["output"] is None for one in json.loads(last[13]))):
        yield f"it is in round {number}, though the answer before it looked nothing up"
    elif (number, attempt) == again and last[6] == "ok":
        yield f"it is attempt {attempt}, though the one before it was answered"


def _held(row: tuple[Any, ...], held: set[int]) -> Iterator[str]:
    """What was held back for it, before it, and for nothing else."""
    reserve_id, amount = row[14], row[18]
    if reserve_id is None:
        if row[6] not in UNSENT and row[6] != "unavailable":
            yield f"status is {row[6]}, and nothing was held back for it"
        return
    if amount is None:
        yield f"what was held back for it ({reserve_id}) is not there"
        return
    if reserve_id in held:
        yield f"reserve {reserve_id} was held back for another call too"
    held.add(reserve_id)
    if row[1:4] != row[15:18]:
        yield f"reserve {reserve_id} is of another trace, agent or model"
    if not row[19]:
        yield f"reserve {reserve_id} was written with or after it, not before"


def _cost(row: tuple[Any, ...]) -> Iterator[str]:
    """Its cost again, by what it is said to rest on."""
    was, basis = dec(row[7]), row[8]
    if any(tokens is not None and tokens < 0 for tokens in (*row[10:13], row[20])):
        yield "it has fewer tokens than none"
    if (basis is None) != (row[14] is None):
        yield f"cost_basis is {basis!r}, and {'something' if row[14] else 'nothing'} was held back for it"
    if basis == "not billed" and row[6] in _ANSWERED:
        yield f"status is {row[6]}, so it was billed"
    amount = ZERO if row[18] is None else dec(row[18])
    price = None if row[9] is None else Price(**{name: dec(value) for name, value in json.loads(row[9]).items()})
    exact = None if price is None else cost(price, Usage(row[10], row[11], row[12], cache_write_tokens=row[20]))
    now: dict[str | None, Decimal | None] = {
        None: ZERO,
        "not billed": ZERO,
        "usage": exact,
        "worst case": amount,
        "unpriced": amount if exact is None else exact,
    }
    if basis not in now:
        yield f"cost_basis is {basis!r}, needs one of {', '.join(str(one) for one in now if one)}"
    elif now[basis] is None:
        yield "its cost rests on its tokens, and they or the price are not there"
    elif (expected := now[basis]) is not None and expected != was:
        yield f"cost_usd is {row[7]}, its {basis or 'nothing'} makes it {text(expected)}"


def _sources(ledger: Ledger) -> Iterator[str]:
    """A decision is of the kind of model that it stands on."""
    for row_id, source, model in ledger.db.execute(
        "SELECT d.id, d.source, c.model FROM decisions AS d JOIN model_calls AS c ON c.id = d.model_call_id "
        "WHERE (d.source = 'rules' AND c.request_json IS NOT NULL) "
        "OR (d.source = 'openai' AND c.request_json IS NULL AND c.model = 'rules') ORDER BY d.id"
    ):
        yield f"decision {row_id}: source is {source}, its model {model} was of the other kind"


def _offline(ledger: Ledger) -> Iterator[str]:
    """A model of this program answers once, costs nothing and holds nothing back."""
    for row_id, model, cost_usd, reserve_id in ledger.db.execute(
        "SELECT id, model, cost_usd, reserve_id FROM model_calls WHERE request_json IS NULL "
        "AND (cost_usd <> '0' OR reserve_id IS NOT NULL) ORDER BY id"
    ):
        yield f"model call {row_id}: {model} was asked over no network, and cost {cost_usd} (reserve {reserve_id})"
    asked: tuple[str, str] | None = None
    for row_id, model, number, attempt, *whose in ledger.db.execute(
        "SELECT id, model, coalesce(round, 0), attempt, trace_id, agent FROM model_calls WHERE request_json IS NULL "
        "ORDER BY trace_id, agent, id"
    ):
        if asked == tuple(whose) or (number, attempt) != (0, 1):
            yield f"model call {row_id}: attempt {attempt} of round {number} of {model}, which answers once"
        asked = whose[0], whose[1]
