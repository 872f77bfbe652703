"""What one row says again of another: who made an order, whose trade and snapshot it is, when, and for what fee.

Each fact that stands in two rows must be the same in both; a label that frees an order of the law most of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trader_cli.core.decimals import add, dec, text
from trader_cli.core.moments import iso, parse_iso
from trader_cli.schemas.decision import OPERATOR
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems


def echoes(ledger: Ledger, count: Count) -> Problems:
    """Rows that tell of the same thing, held against one another. Yields each difference with its row."""
    yield from _origins(ledger, count)
    yield from _trades(ledger, count)
    yield from _decisions(ledger, count)
    yield from _snapshots(ledger, count)
    yield from _ends(ledger, count)
    yield from _revisions(ledger, count)
    yield from _reports(ledger, count)


def _origins(ledger: Ledger, count: Count) -> Problems:
    """Who made an order: an operator's label frees it of the law, so that all three decisions must bear it."""
    sql = """
    SELECT o.client_order_id, o.origin, o.side, o.trace_id, j.source, t.source, p.source, t.trace_id,
      (SELECT json_extract(e.evidence_json, '$.by') FROM order_events AS e
       WHERE e.client_order_id = o.client_order_id ORDER BY e.id LIMIT 1)
    FROM orders AS o LEFT JOIN decisions AS j ON j.id = o.verdict_id LEFT JOIN decisions AS t ON t.id = o.proposal_id
    LEFT JOIN decisions AS p ON p.id = t.plan_id ORDER BY o.id"""
    for key, origin, side, trace_id, verdict, proposal, plan, of_trace, by in ledger.db.execute(sql):
        count.seen += 1
        sources = {verdict, proposal, plan}
        if origin == "recovered":
            if (proposal, verdict, trace_id) != (None, None, None):
                yield f"order {key}: origin is recovered, though it stands on a trace of this ledger"
            if by != "scan":
                yield f"order {key}: origin is recovered, though no look through the account's orders found it"
            continue
        if (origin == OPERATOR) != (sources == {OPERATOR}) or (OPERATOR in sources and len(sources) > 1):
            made = ", ".join(str(one) for one in (plan, proposal, verdict))
            yield f"order {key}: origin is {origin}, its plan, proposal and verdict are by {made}"
        if origin == OPERATOR and side != "SELL":
            yield f"order {key}: {side} by an operator, who only sells"
        if trace_id != of_trace:
            yield f"order {key}: trace_id is {trace_id}, its proposal's is {of_trace}"


def _trades(ledger: Ledger, count: Count) -> Problems:
    """A trade's fee, exchange order, trace and time, from its fills, its order and the order's last event."""
    sql = """
    SELECT t.id, t.fee, t.fee_asset, t.order_id, t.trace_id, t.ts_utc, o.trace_id, e.exchange_order_id, e.ts_utc,
      (SELECT json_group_array(json_array(f.fee, f.fee_asset)) FROM fills AS f
       WHERE f.client_order_id = o.client_order_id)
    FROM trades AS t JOIN orders AS o ON o.client_order_id = t.idempotency_key
    LEFT JOIN order_events AS e ON e.id = (SELECT max(x.id) FROM order_events AS x
      WHERE x.client_order_id = o.client_order_id AND x.state IN ('FILLED', 'PARTIAL'))
    ORDER BY t.id"""
    for row_id, fee, asset, order_id, trace_id, at, of_trace, of_exchange, of_at, fills in ledger.db.execute(sql):
        count.seen += 1
        paid = json.loads(fills)
        assets = {one for _, one in paid}
        one_asset = next(iter(assets)) if len(assets) == 1 else None
        total = text(add(*(dec(each) for each, _ in paid))) if one_asset is not None else None
        yield from _same(
            f"trade {row_id}",
            (
                ("fee", fee, total, "its fills"),
                ("fee_asset", asset, one_asset, "its fills"),
                ("order_id", order_id, of_exchange, "its order's event"),
                ("trace_id", trace_id, of_trace, "its order"),
                ("ts_utc", at, of_at, "its order's event"),
            ),
        )


def _decisions(ledger: Ledger, count: Count) -> Problems:
    """A decision against its observation, its model's answer and its own words."""
    sql = """
    SELECT d.id, d.agent, d.ts_utc, d.wake_at, d.payload_json, c.ts_utc, s.trace_id, d.trace_id,
      s.link <= d.link, s.ts_utc
    FROM decisions AS d LEFT JOIN model_calls AS c ON c.id = d.model_call_id
      AND c.trace_id = d.trace_id AND c.agent = d.agent
    LEFT JOIN observations AS s ON s.id = d.observation_id ORDER BY d.id"""
    for row in ledger.db.execute(sql):
        count.seen += 1
        row_id, agent, at, wake_at, payload, asked_at, seen_in, trace_id, before, seen_at = row
        if agent == "PLANNER":
            due = iso(parse_iso(at) + int(json.loads(payload)["next_wakeup_secs"]) * 1000)
            yield from _same(f"decision {row_id}", (("wake_at", wake_at, due, "its plan"),))
        if asked_at is not None:
            yield from _same(f"decision {row_id}", (("ts_utc", at, asked_at, "its model's answer"),))
        if seen_at is not None and (not before or seen_in != trace_id or seen_at > at):
            yield f"decision {row_id} stands on an observation of {seen_in} at {seen_at}, not on one of its own trace"


def _snapshots(ledger: Ledger, count: Count) -> Problems:
    """A snapshot's symbol and trace; and no trace with two of them."""
    symbol = ledger.identity().get("symbol")
    sql = """
    SELECT s.id, s.symbol, s.trace_id,
      s.trace_id IS NULL OR EXISTS (SELECT 1 FROM decisions AS d WHERE d.trace_id = s.trace_id)
    FROM portfolio AS s ORDER BY s.id"""
    for row_id, of_symbol, trace_id, known in ledger.db.execute(sql):
        count.seen += 1
        if of_symbol != symbol:
            yield f"snapshot {row_id}: symbol is {of_symbol}, the ledger is for {symbol}"
        if not known:
            yield f"snapshot {row_id}: trace_id is {trace_id}, which no decision bears"


def _ends(ledger: Ledger, count: Count) -> Problems:
    """The bars that an observation names as its first and last are there."""
    sql = """
    SELECT s.id, s.first_at, s.last_at, EXISTS (SELECT 1 FROM candles AS c WHERE c.opened_at = s.first_at),
      EXISTS (SELECT 1 FROM candles AS c WHERE c.opened_at = s.last_at)
    FROM observations AS s WHERE s.bars > 0 ORDER BY s.id"""
    for row_id, first_at, last_at, has_first, has_last in ledger.db.execute(sql):
        count.seen += 1
        for name, stamp, there in (("first_at", first_at, has_first), ("last_at", last_at, has_last)):
            if not there:
                yield f"observation {row_id}: {name} is {stamp}, and no bar opened then"


def _revisions(ledger: Ledger, count: Count) -> Problems:
    """A bar restated is a new revision, counted from 0 without a gap."""
    sql = """
    SELECT c.id, c.opened_at, c.revision, (SELECT count(*) FROM candles AS b
      WHERE b.opened_at = c.opened_at AND b.id < c.id) FROM candles AS c ORDER BY c.id"""
    for row_id, opened_at, revision, before in ledger.db.execute(sql):
        count.seen += 1
        if revision != before:
            yield f"candle {row_id} ({opened_at}): revision is {revision}, {before} came before it"


def _reports(ledger: Ledger, count: Count) -> Problems:
    """What the paper exchange wrote down of an order against the side, quantity and fills that we booked."""
    sql = """
    SELECT p.id, p.client_order_id, p.report_json, o.side, (SELECT json_group_array(json_array(f.trade_id, f.qty,
      f.price, f.quote_qty, f.fee, f.fee_asset, f.fee_quote)) FROM (SELECT * FROM fills AS x
      WHERE x.client_order_id = p.client_order_id ORDER BY x.id) AS f)
    FROM paper_orders AS p JOIN orders AS o ON o.client_order_id = p.client_order_id ORDER BY p.id"""
    for row_id, key, report_json, side, booked in ledger.db.execute(sql):
        count.seen += 1
        report, ours = json.loads(report_json), json.loads(booked)
        name = f"paper order {row_id}"
        theirs = [fill[:-1] for fill in report["fills"]]  # the last is the time, as a number
        yield from _same(name, (("client_order_id", report["client_order_id"], key, "its order"),))
        yield from _same(name, (("side", report["side"], side, "its order"),))
        if ours and theirs != ours:
            yield f"{name}: its fills are {theirs}, order {key} has {ours}"


def _same(name: str, facts: tuple[tuple[str, Any, Any, str], ...]) -> Iterator[str]:
    for column, was, now, where in facts:
        if was != now:
            yield f"{name}: {column} is {was}, {where} say{'' if where.endswith('fills') else 's'} {now}"
