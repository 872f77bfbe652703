"""What the screens read: cycles as rows, one trace whole, traces by the beginning of their id."""

from __future__ import annotations

import json
from typing import Any

from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.tools.ledger import Ledger

Row = dict[str, Any]

_CYCLES = """
SELECT p.id AS plan_id, p.ts_utc, p.trace_id,
  json_extract(p.payload_json, '$.mode') AS mode,
  json_extract(t.payload_json, '$.action') AS action,
  json_extract(t.payload_json, '$.qty') AS qty,
  json_extract(t.payload_json, '$.confidence') AS confidence,
  json_extract(t.payload_json, '$.policy_id') AS policy,
  CASE WHEN json_extract(t.payload_json, '$.action') <> 'HOLD' THEN json_extract(j.payload_json, '$.decision') END
    AS verdict,
  (SELECT e.state FROM order_events AS e WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1)
    AS order_state,
  x.qty AS filled, x.price AS price,
  (SELECT s.equity_usdt FROM portfolio AS s WHERE s.trace_id = p.trace_id ORDER BY s.id DESC LIMIT 1) AS equity,
  coalesce(p.cause, t.cause, j.cause, json_extract(t.payload_json, '$.hypothesis')) AS why
FROM decisions AS p
LEFT JOIN decisions AS t ON t.plan_id = p.id AND t.agent = 'TRADER'
LEFT JOIN decisions AS j ON j.proposal_id = t.id AND j.agent = 'JUDGE'
LEFT JOIN orders AS o ON o.verdict_id = j.id
LEFT JOIN trades AS x ON x.idempotency_key = o.client_order_id
WHERE p.agent = 'PLANNER'
ORDER BY p.id DESC
"""


def cycles(ledger: Ledger, rows: int) -> list[Row]:
    """The newest cycles, newest first; 0 rows for all of them."""
    return _rows(ledger, _CYCLES + ("LIMIT ?" if rows else ""), (rows,) if rows else ())


def cycle_count(ledger: Ledger) -> int:
    """How many traces there are."""
    return int(ledger.db.execute("SELECT count(*) FROM decisions WHERE agent = 'PLANNER'").fetchone()[0])


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


def links(ledger: Ledger, first: int, last: int) -> list[Row]:
    """The chain's links from `first` to `last`."""
    return _rows(
        ledger, "SELECT seq, prev_hash, hash FROM audit_chain WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)
    )


def _rows(ledger: Ledger, sql: str, values: tuple[Any, ...]) -> list[Row]:
    cursor = ledger.db.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [_read(dict(zip(names, row, strict=True))) for row in cursor]


def _read(row: Row) -> Row:
    """JSON columns as what they hold, under their name without `_json`."""
    return {
        name.removesuffix("_json"): json.loads(value) if name.endswith("_json") and value is not None else value
        for name, value in row.items()
    }
