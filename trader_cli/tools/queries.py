"""What the screens read: cycles as rows, one trace whole, traces by the beginning of their id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, text
from trader_cli.core.documents import opened
from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.question import Agent
from trader_cli.tools.ledger import Ledger

Row = dict[str, Any]
Condition = tuple[str, tuple[Any, ...]]
"""A term of a WHERE, and the values of its question marks."""

PLANNER, TRADER, JUDGE = (agent.value for agent in Agent)

_CYCLE = """
SELECT p.id AS plan_id, p.ts_utc, p.trace_id,
  json_extract(p.payload_json, '$.mode') AS mode,
  json_extract(t.payload_json, '$.action') AS action,
  json_extract(t.payload_json, '$.qty') AS qty,
  json_extract(t.payload_json, '$.confidence') AS confidence,
  json_extract(t.payload_json, '$.policy_id') AS policy,
  CASE WHEN json_extract(t.payload_json, '$.action') <> 'HOLD' THEN json_extract(j.payload_json, '$.decision') END
    AS verdict,
  nullif(replace(trim(json_extract(j.payload_json, '$.violations'), '[]"'), '","', ', '), '') AS violations,
  CASE 'fallback' WHEN p.source THEN 'PLANNER' WHEN t.source THEN 'TRADER' WHEN j.source THEN 'JUDGE' END AS fallback,
  (SELECT e.state FROM order_events AS e WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1)
    AS order_state,
  x.qty AS filled, x.price AS price, x.fee, x.fee_asset,
  (SELECT s.equity_usdt FROM portfolio AS s WHERE s.trace_id = p.trace_id ORDER BY s.id DESC LIMIT 1) AS equity,
  t.id AS proposal_id, j.id AS verdict_id, p.wall_ts,
  coalesce(p.cause, t.cause, j.cause, json_extract(t.payload_json, '$.hypothesis')) AS why
"""
_UNDER_PLAN = """
LEFT JOIN decisions AS j ON j.proposal_id = t.id AND j.agent = 'JUDGE'
LEFT JOIN orders AS o ON o.verdict_id = j.id
LEFT JOIN trades AS x ON x.idempotency_key = o.client_order_id
"""
_CYCLES = f"""{_CYCLE} FROM decisions AS p
LEFT JOIN decisions AS t ON t.plan_id = p.id AND t.agent = 'TRADER' {_UNDER_PLAN}"""
_CYCLES_BY_PROPOSAL = f"""{_CYCLE} FROM decisions AS t
CROSS JOIN decisions AS p ON p.id = t.plan_id {_UNDER_PLAN}"""

_DECISIONS = """
SELECT d.id, d.ts_utc, d.trace_id, d.agent,
  coalesce(json_extract(d.payload_json, '$.mode'), json_extract(d.payload_json, '$.action'),
    json_extract(d.payload_json, '$.decision')) AS said,
  coalesce(json_extract(d.payload_json, '$.qty'), json_extract(d.payload_json, '$.revised_qty')) AS qty,
  json_extract(d.payload_json, '$.confidence') AS confidence,
  json_extract(d.payload_json, '$.policy_id') AS policy,
  d.source, d.prompt_sha256, d.model_call_id, d.wall_ts,
  coalesce(d.cause, json_extract(d.payload_json, '$.hypothesis'), json_extract(d.payload_json, '$.notes')) AS why
FROM decisions AS d
"""

_TRADES = """
SELECT x.id, x.ts_utc, x.trace_id, x.symbol, x.side, x.qty, x.price, x.quote_qty, x.fee, x.fee_asset, x.status,
  json_extract(t.payload_json, '$.policy_id') AS policy,
  json_extract(t.payload_json, '$.hypothesis') AS why,
  x.idempotency_key AS client_order_id, x.order_id AS exchange_order_id, x.wall_ts
FROM trades AS x LEFT JOIN decisions AS t ON t.id = x.proposal_id
"""

_ERRORS = (
    """
SELECT d.ts_utc, d.trace_id, CAST('FALLBACK' AS TEXT) AS kind, d.agent AS who, d.cause AS message,
  'decisions' AS table_name, d.id AS row_id, d.link
FROM decisions AS d WHERE d.source = 'fallback'""",
    """
SELECT c.ts_utc, c.trace_id, CAST('MODEL ' || upper(c.status) AS TEXT), c.agent,
  CAST(coalesce(c.error, c.reply) AS TEXT), 'model_calls', c.id, c.link
FROM model_calls AS c WHERE c.status <> 'ok'""",
    """
SELECT s.ts_utc, s.trace_id, CAST('MARKET' AS TEXT), s.source,
  CAST(json_extract(s.defects_json, '$[#-1].detail') AS TEXT), 'observations', s.id, s.link
FROM observations AS s WHERE instr(s.defects_json, '"kind":"unavailable"')""",
    """
SELECT e.ts_utc, (SELECT o.trace_id FROM orders AS o WHERE o.client_order_id = e.client_order_id),
  CAST('ORDER ' || e.state AS TEXT), e.client_order_id,
  CAST(coalesce(json_extract(e.evidence_json, '$.message'), e.evidence_json) AS TEXT), 'order_events', e.id, e.link
FROM order_events AS e WHERE e.state IN ('UNKNOWN','REJECTED','ABANDONED','NEEDS_HUMAN')""",
    """
SELECT v.ts_utc, v.trace_id, v.kind, CAST(NULL AS TEXT),
  CAST(coalesce(json_extract(v.data_json, '$.reason'), v.data_json) AS TEXT), 'events', v.id, v.link
FROM events AS v WHERE +v.kind IN ('ERROR','NOT_SENT')""",
)
"""What went wrong, where it is written. The terms are those of the partial indexes that find it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are looked for.

    Attributes:
        since: market time, ms UTC: the first moment that counts.
        until: market time, ms UTC: the first moment that no longer counts.
        agent: whose decisions.
        action: what the trader proposed: BUY, SELL or HOLD; of trades, their side.
        before: a whole trace id; its rows and all newer ones are left out.
    """

    since: Moment | None = None
    until: Moment | None = None
    agent: Agent | None = None
    action: str | None = None
    before: str | None = None

    @property
    def is_timed(self) -> bool:
        """Whether time bounds the rows."""
        return self.since is not None or self.until is not None


ALL = Filter()


def cycles(ledger: Ledger, rows: int, where: Filter = ALL) -> Iterator[Row]:
    """The newest cycles, newest first, read as they are asked for; 0 rows for all of them."""
    if where.action is None:
        return _found(ledger, _CYCLES, _decided("p", PLANNER, where), rows)
    return _found(ledger, _CYCLES_BY_PROPOSAL, _proposed("t", where), rows)


def cycles_after(ledger: Ledger, plan_id: int) -> Iterator[Row]:
    """The cycles whose plan came after that one, oldest first, in the order they were written."""
    terms = _Terms([("p.agent = ?", (PLANNER,)), ("p.id > ?", (plan_id,))], "p.id")
    return _found(ledger, _CYCLES, terms, 0)


def decisions(ledger: Ledger, rows: int, agent: Agent, where: Filter = ALL) -> Iterator[Row]:
    """The newest decisions of one agent, newest first; 0 rows for all of them."""
    terms = _decided("d", agent.value, where) if where.action is None else _proposed("d", where)
    return _found(ledger, _DECISIONS, terms, rows)


def trades(ledger: Ledger, rows: int, where: Filter = ALL) -> Iterator[Row]:
    """The newest trades, newest first; 0 rows for all of them."""
    terms = _Terms(_timed("x", where), "x.ts_utc DESC, x.id DESC")
    if where.action is not None:
        terms.conditions.append(("x.side = ?", (where.action,)))
    return _found(ledger, _TRADES, terms, rows)


def failures(ledger: Ledger, rows: int, where: Filter = ALL) -> Iterator[Row]:
    """What went wrong, newest first: fallbacks, failed model calls, outages, troubled orders, what was not sent."""
    parts, values = [], []
    for part in _ERRORS:
        row = part[: part.index(".ts_utc")][-1]
        terms = _Terms(_timed(row, where), "")
        if where.agent is not None:
            if row not in "dc":
                continue
            terms.conditions.append((f"{row}.agent = ?", (where.agent.value,)))
        parts.append(part + terms.where(" AND "))
        values += terms.values
    sql = " UNION ALL ".join(parts) + " ORDER BY 1 DESC, 8 DESC"
    return _whole_traces(_read_all(ledger, sql, tuple(values), 0), rows)


def _whole_traces(found: Iterator[Row], rows: int) -> Iterator[Row]:
    """So many rows, and those that follow of the last one's trace: the next page begins before that trace."""
    trace_id = None
    for number, row in enumerate(found):
        if 0 < rows <= number and row["trace_id"] != trace_id:
            return
        trace_id = row["trace_id"]
        yield row


@dataclass(frozen=True, slots=True)
class _Terms:
    """Conditions with their values, and an order that an index gives."""

    conditions: list[Condition]
    order: str

    def where(self, first: str = " WHERE ") -> str:
        return first + " AND ".join(sql for sql, _ in self.conditions) if self.conditions else ""

    @property
    def values(self) -> list[Any]:
        return [value for _, values in self.conditions for value in values]


def _decided(row: str, agent: str, where: Filter) -> _Terms:
    """Decisions of an agent in the order of their ids; of a time, in its order, by the index over time."""
    if not where.is_timed:
        before = [] if where.before is None else [(f"{row}.id < {_FIRST_ID}", (where.before,))]
        return _Terms([(f"{row}.agent = ?", (agent,)), *before], f"{row}.id DESC")
    return _Terms([(f"+{row}.agent = ?", (agent,)), *_until(row, where)], f"{row}.ts_utc DESC, {row}.id DESC")


def _proposed(row: str, where: Filter) -> _Terms:
    """Proposals of an action: a few by their own index, HOLD among all the others."""
    said = f"json_extract({row}.payload_json, '$.action')"
    if where.action == "HOLD":
        terms = _decided(row, TRADER, where)
        terms.conditions.append((f"+{said} = 'HOLD'", ()))
        return terms
    rare = f"{row}.agent = 'TRADER' AND {said} <> 'HOLD' AND {said} = ?"
    return _Terms([(rare, (where.action,)), *_until(row, where)], f"{row}.ts_utc DESC, {row}.id DESC")


_FIRST_ID = "(SELECT min(b.id) FROM decisions AS b WHERE b.trace_id = ?)"
_FIRST_LINK = "(SELECT min(b.link) FROM decisions AS b WHERE b.trace_id = ?)"
_FIRST_TIME = "(SELECT min(b.ts_utc) FROM decisions AS b WHERE b.trace_id = ?)"


def _until(row: str, where: Filter) -> list[Condition]:
    """The bounds of decisions in the order of time: those of one moment are told apart by their ids."""
    before: list[Condition] = []
    if where.before is not None:
        before = [
            (f"{row}.ts_utc <= {_FIRST_TIME}", (where.before,)),
            (f"+{row}.id < {_FIRST_ID}", (where.before,)),
        ]
    return [*_span(row, where), *before]


def _timed(row: str, where: Filter) -> list[Condition]:
    """The bounds of rows that are no decisions: before a trace means before its time and its first link."""
    before: list[Condition] = []
    if where.before is not None:
        before = [
            (f"{row}.ts_utc <= {_FIRST_TIME}", (where.before,)),
            (f"+{row}.link < {_FIRST_LINK}", (where.before,)),
        ]
    return [*_span(row, where), *before]


def _span(row: str, where: Filter) -> list[Condition]:
    bounds = ((">=", where.since), ("<", where.until))
    return [(f"{row}.ts_utc {sign} ?", (iso(at),)) for sign, at in bounds if at is not None]


def _found(ledger: Ledger, sql: str, terms: _Terms, rows: int) -> Iterator[Row]:
    return _read_all(ledger, f"{sql}{terms.where()} ORDER BY {terms.order}", tuple(terms.values), rows)


def _read_all(ledger: Ledger, sql: str, values: tuple[Any, ...], rows: int) -> Iterator[Row]:
    limit = (" LIMIT ?", (rows,)) if rows else ("", ())
    return _each(ledger.db.execute(sql + limit[0], (*values, *limit[1])))


def newest_plan_ids(ledger: Ledger, rows: int) -> list[int]:
    """The ids of the newest plans, newest first."""
    sql = "SELECT id FROM decisions WHERE agent = ? ORDER BY id DESC LIMIT ?"
    return [row_id for (row_id,) in ledger.db.execute(sql, (PLANNER, rows))]


def cycle_count(ledger: Ledger) -> int:
    """How many traces there are."""
    return int(ledger.db.execute("SELECT count(*) FROM decisions WHERE agent = 'PLANNER'").fetchone()[0])


_ORDERS = """
SELECT o.id, o.ts_utc, o.trace_id, o.client_order_id, o.origin, o.symbol, o.side, o.qty, o.worst_price,
  (SELECT e.state FROM order_events AS e WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1)
    AS state,
  x.qty AS filled, x.price AS price, x.fee, x.fee_asset, x.order_id AS exchange_order_id, o.proposal_id, o.verdict_id,
  o.wall_ts
FROM orders AS o LEFT JOIN trades AS x ON x.idempotency_key = o.client_order_id
"""

_PORTFOLIO = """
SELECT s.id, s.ts_utc, s.trace_id, s.symbol, s.equity_usdt AS equity, s.balance_usdt AS quote, s.balance_btc AS base,
  s.mark_price, s.cost_usdt AS cost, s.deposits_usdt AS deposits, s.fees_usdt AS fees,
  s.realized_pnl_usdt AS realized_pnl, s.unrealized_pnl_usdt AS unrealized_pnl, s.peak_usdt AS peak_equity,
  s.drift_usdt AS drift_quote, s.drift_btc AS drift_base, s.wall_ts
FROM portfolio AS s
"""

_PAGED = {
    "cycles": (_CYCLES, "p", (("p.agent = ?", (PLANNER,)),)),
    "decisions": (_DECISIONS, "d", ()),
    "trades": (_TRADES, "x", ()),
    "orders": (_ORDERS, "o", ()),
    "portfolio": (_PORTFOLIO, "s", ()),
}
PAGED = tuple(_PAGED)
"""The lists that can be read page by page."""


def page(ledger: Ledger, what: str, rows: int, before: int | None = None, agent: Agent | None = None) -> list[Row]:
    """The newest rows of a list of `PAGED`, newest first; of a page, those with an id below `before`.

    The id of a cycle is that of its plan. `agent`: the decisions of one.
    """
    sql, row, always = _PAGED[what]
    terms = _Terms([*always], f"{row}.id DESC")
    if before is not None:
        terms.conditions.append((f"{row}.id < ?", (before,)))
    if agent is not None:
        terms.conditions.append((f"{row}.agent = ?", (agent.value,)))
    return list(_found(ledger, sql, terms, rows))


def costs(ledger: Ledger, first: Moment, end: Moment) -> list[Row]:
    """What each model was asked for and cost on each UTC day (of the wall) of a span, newest first."""
    found: dict[tuple[str, str], Row] = {}
    if "model_reserves" not in ledger.tables:
        return []  # a reader of an older ledger
    for day, model, amount, tokens_in, tokens_out, answered in ledger.db.execute(
        "SELECT substr(r.wall_ts, 1, 10), r.model, coalesce(c.cost_usd, r.amount_usd), c.input_tokens, "
        "c.output_tokens, c.status = 'ok' FROM model_reserves AS r LEFT JOIN model_calls AS c ON c.reserve_id = r.id "
        "WHERE r.wall_ts >= ? AND r.wall_ts < ?",
        (iso(first), iso(end)),
    ):
        row = found.setdefault(
            (day, model),
            {
                "day": day,
                "model": model,
                "calls": 0,
                "failed": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "cost_usd": ZERO,
            },
        )
        row["calls"] += 1
        row["failed"] += not answered
        row["input_tokens"] += tokens_in or 0
        row["output_tokens"] += tokens_out or 0
        row["cost_usd"] = add(row["cost_usd"], dec(amount))
    return [{**found[key], "cost_usd": text(found[key]["cost_usd"])} for key in sorted(found, reverse=True)]


def full_trace_id(ledger: Ledger, word: str) -> str:
    """A trace by `last`, or by the beginning of its id if only one begins so.

    Raises NotFoundError, or UsageError for a beginning that is too short or fits several.
    """
    if word == "last":
        newest = ledger.newest_plan()
        if newest is None:
            raise NotFoundError("no cycles yet in this ledger", "Make one: trader cycle")
        return newest.trace_id
    word = word.lower()
    if len(word) < 4:
        raise UsageError(f'a trace needs at least 4 characters of its id, was "{word}"', "See them: trader ledger show")
    if not word.isascii():  # as no trace is; and bytes that are no text could not even be asked for
        raise NotFoundError(f'no trace "{word}" in this ledger', "See them: trader ledger show")
    found = ledger.db.execute(
        "SELECT DISTINCT trace_id FROM decisions WHERE trace_id >= ? AND trace_id < ? ORDER BY trace_id LIMIT 6",
        (word, word + "\x7f"),
    ).fetchall()
    if not found:
        raise NotFoundError(f'no trace "{word}" in this ledger', "See them: trader ledger show")
    if len(found) > 1:
        candidates = ", ".join(row[0][: len(word) + 8] for row in found)
        raise UsageError(f'"{word}" fits several traces: {candidates}', "Give more of its id.")
    return str(found[0][0])


def trace(ledger: Ledger, trace_id: str) -> dict[str, list[Row]]:
    """Every row of one trace, table by table."""
    by_trace = {
        table: _rows(ledger, f"SELECT * FROM {table} WHERE trace_id = ? ORDER BY id", (trace_id,))
        for table in ("decisions", "observations", "model_calls", "orders", "trades", "portfolio", "events")
    }
    keys = [row["client_order_id"] for row in by_trace["orders"]]
    for table in ("order_events", "fills"):
        by_trace[table] = [
            row
            for key in keys
            for row in _rows(ledger, f"SELECT * FROM {table} WHERE client_order_id = ? ORDER BY id", (key,))
        ]
    return by_trace


def question_of(ledger: Ledger, model_call_id: int | None) -> Row | None:
    """The exact question behind a decision, as it was put; None when no model was asked."""
    found = _rows(
        ledger,
        "SELECT c.agent, c.model, p.prompt, c.facts_json, p.schema_json, c.max_output_tokens FROM model_calls AS c "
        "JOIN prompts AS p ON p.sha256 = c.prompt_sha256 WHERE c.id = ?",
        (model_call_id,),
    )
    return found[0] if found else None


def prompts(ledger: Ledger, hashes: set[str]) -> list[Row]:
    """The prompts with these hashes."""
    marks = ",".join("?" * len(hashes))
    return _rows(
        ledger, f"SELECT sha256, agent, prompt, schema_json FROM prompts WHERE sha256 IN ({marks})", tuple(hashes)
    )


def links(ledger: Ledger, seqs: set[int]) -> list[Row]:
    """These links of the chain, in order."""
    return _rows(
        ledger,
        "SELECT seq, prev_hash, hash FROM audit_chain WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
        (json.dumps(sorted(seqs)),),
    )


def _rows(ledger: Ledger, sql: str, values: tuple[Any, ...]) -> list[Row]:
    return list(_each(ledger.db.execute(sql, values)))


def _each(cursor: Any) -> Iterator[Row]:
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield opened(dict(zip(names, row, strict=True)))
