"""One trace whole: the audit screen in the order of its story, and the files that `--out` leaves of it.

What a model said is shown as text; only files hold it raw, and they are for machines and editors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import text
from trader_cli.core.moments import parse_iso
from trader_cli.schemas.market import Candle
from trader_cli.views.output import significant

Row = Mapping[str, Any]
Rows = Sequence[Row]
Tables = Mapping[str, Rows]

STEPS = ("decisions", "orders", "portfolio")
"""The tables a step of a cycle leaves one row in."""


def trace_document(tables: Tables, mode: str | None, chain: Rows) -> dict[str, Any]:
    """Every row of a trace, and before them what they come to: wall time in ms, cost in USD."""
    walls = [parse_iso(row["wall_ts"]) for rows in tables.values() for row in rows]
    return {
        "schema": "trader.trace/1",
        "trace_id": tables["decisions"][0]["trace_id"],
        "ts_utc": tables["decisions"][0]["ts_utc"],
        "mode": mode,
        "steps": sum(len(tables[table]) for table in STEPS),
        "wall_ms": max(walls) - min(walls),
        "cost_usd": sum((Decimal(call["cost_usd"]) for call in tables["model_calls"]), Decimal(0)),
        **tables,
        "audit_chain": chain,
    }


def trace_lines(whole: Mapping[str, Any]) -> list[str]:
    """The whole story of one cycle, in its order; with the prompts, if the document holds them."""
    stamp = whole["ts_utc"][:19].replace("T", " ")
    lines = [
        f"{whole['trace_id'][:8]}  cycle of {stamp}Z  mode {whole['mode'] or '-'}  "
        f"{whole['steps']} steps, {_secs(whole['wall_ms'])}, ${text(whole['cost_usd'])}"
    ]
    for seen in whole["observations"]:
        lines += _observation(seen)
    for decision in whole["decisions"]:
        lines += _decision(decision, whole["model_calls"])
    for order in whole["orders"]:
        lines += _order(order, whole["order_events"], whole["fills"])
    lines += map(_trade, whole["trades"])
    for event in whole["events"]:
        lines += _event(event)
    for taken in whole["portfolio"]:
        lines += _snapshot(taken)
    lines += _links(whole["audit_chain"])
    if "prompts" in whole:
        lines += _asked(whole["model_calls"], whole["prompts"])
    return lines


def _observation(seen: Row) -> Iterator[str]:
    yield f"saw #{seen['id']}  {seen['ts_utc']}  {seen['bars']} bars of {seen['source']}  price {seen['price'] or '-'}"
    features = [f"{name} {significant(value, 6)}" for name, value in seen["features"].items() if value is not None]
    for at in range(0, len(features), 3):
        yield f"  {'' if at else 'features':<8}  {'  '.join(features[at : at + 3])}"
    for one in seen["defects"]:
        yield f"  defect    {one['kind']}: {one['detail']}"


def _decision(decision: Row, calls: Rows) -> Iterator[str]:
    """What was decided, by whom, how fast, why, and what the law did not let pass."""
    answered = next((call for call in calls if call["id"] == decision["model_call_id"]), None)
    took = "" if answered is None else _secs(answered["latency_ms"])
    prompt = f"  in sha256:{decision['prompt_sha256'][:8]}" if decision["prompt_sha256"] else ""
    said, why = _said(decision)
    head = f"#{decision['id']:<4} {decision['agent']:<7}"
    if decision["source"] == "fallback":
        yield f"{head} FALLBACK   {took:>5}  {said}, which nobody decided{prompt}"
    else:
        yield f"{head} {_who(decision, answered):<10} {took:>5}  {said}{prompt}"
    if decision["cause"]:
        yield f"  because   {decision['cause']}"
    elif why:
        yield f"  {'with' if decision['agent'] == 'PLANNER' else 'why':<8}  {why}"
    for call in calls:
        if call["agent"] != decision["agent"]:
            continue
        if call["status"] != "ok" or decision["source"] == "fallback":
            yield (
                f"  asked     {call['model']}, attempt {call['attempt']}: {call['status']} after "
                f"{_secs(call['latency_ms'])}{': ' + call['error'] if call['error'] else ''}"
            )
        for one in call.get("tools") or ():
            got = "refused" if one["output"] is None else f"{len(one['output'])} characters"
            yield f"  looked up {one['name']} {one['arguments']}: {got}"
    yield from _law(decision["law"], "law")


def _who(decision: Row, answered: Row | None) -> str:
    if answered is None:
        return str(decision["source"])
    return f"law+{answered['model']}" if decision["agent"] == "JUDGE" else str(answered["model"])


def _said(decision: Row) -> tuple[str, str]:
    """A decision in a few words, and the reason that was given with it."""
    said = decision["payload"]
    if decision["agent"] == "PLANNER":
        names = ", ".join(one["policy_id"] for one in said["strategies"])
        rest = f"explore {said['explore_ratio']:g}, wake {said['next_wakeup_secs']} s"
        return str(said["mode"]), f"{names or 'no policy'}; {rest}"
    if decision["agent"] == "TRADER":
        qty = "" if said["action"] == "HOLD" else f" {said['qty']}"
        return f"{said['action']}{qty} {said['policy_id']} {said['confidence']:.2f}", said["hypothesis"]
    revised = f" to {said['revised_qty']}" if "revised_qty" in said else ""
    return f"{said['decision']}{revised}", said.get("notes", "")


def _law(law: Row | None, name: str) -> Iterator[str]:
    """The rulings that did not pass, one by one, and how many did."""
    if not law:
        return
    rules = law["rules"]
    for rule in rules:
        if not rule["ok"]:
            yield f"  NO        {rule['name']:<15} {rule['value']}  (limit: {rule['limit']})"
    passed = sum(rule["ok"] for rule in rules)
    yield f"  {name:<9} {passed} of {len(rules)} rules passed, allowed {law['allowed']} at {law['price']}"


def _order(order: Row, events: Rows, fills: Rows) -> Iterator[str]:
    key = order["client_order_id"]
    mine = [event for event in events if event["client_order_id"] == key]
    state = mine[-1]["state"] if mine else "-"
    yield f"order #{order['id']}  {order['side']} {order['qty']}  {state}  reserved {order['reserved_quote']}"
    yield f"  key       {key}"
    yield from _law(order["law"], "law again")
    for event in mine:
        evidence = "  ".join(f"{name}={value}" for name, value in event["evidence"].items() if value)
        yield f"  {event['ts_utc']}  {event['state']:<11} {evidence}".rstrip()
    for fill in fills:
        if fill["client_order_id"] == key:
            yield f"  fill {fill['trade_id']}  {fill['qty']} @ {fill['price']}  fee {fill['fee']} {fill['fee_asset']}"


def _trade(trade: Row) -> str:
    fee = f"fee {trade['fee']} {trade['fee_asset']}"
    return f"trade #{trade['id']}  {trade['status']} {trade['side']} {trade['qty']} @ {trade['price']}  {fee}"


def _event(event: Row) -> Iterator[str]:
    """An event with what it says; the law's word on what was not sent, as elsewhere."""
    said = dict(event["data"])
    law = said.pop("law", None)
    yield f"event #{event['id']}  {event['kind']}  {json.dumps(said)}"
    yield from _law(law, "law again")


def _snapshot(taken: Row) -> Iterator[str]:
    yield f"snapshot #{taken['id']}  equity {taken['equity_usdt']}  deposits {taken['deposits_usdt']}"
    yield f"  holds     quote {taken['balance_usdt']}  base {taken['balance_btc']} @ {taken['mark_price']}"


def _links(chain: Rows) -> Iterator[str]:
    if chain:
        first, last = chain[0], chain[-1]
        hashes = f"{first['prev_hash'][:8]} -> {last['hash'][:8]}"
        yield f"chain {first['seq']}-{last['seq']}  {hashes}  proof: trader ledger verify"


def _asked(calls: Rows, prompts: Rows) -> Iterator[str]:
    for call in calls:
        yield from ("", f"{call['agent']} {call['model']} was told {json.dumps(call['facts'])}")
        yield f"and said {'nothing' if call['reply'] is None else call['reply']}"
        for one in call.get("tools") or ():
            yield f"and called {one['name']} {one['arguments']}, which gave {one['output'] or 'nothing'}"
    for prompt in prompts:
        yield from ("", f"prompt {prompt['sha256'][:12]} ({prompt['agent']})", *prompt["prompt"].splitlines())


def _secs(millis: int) -> str:
    return f"{millis / 1000:.1f} s"


def trace_files(document: str, whole: Mapping[str, Any]) -> dict[str, str]:
    """File names and contents: the document, and for each call its prompt, schema, facts and raw reply."""
    prompts = {prompt["sha256"]: prompt for prompt in whole["prompts"]}
    files = {"trace.json": document}
    for number, call in enumerate(whole["model_calls"], 1):
        name = f"{number}-{re.sub('[^a-z]', '', call['agent'].lower())}"
        files[f"{name}.facts.json"] = _pretty(call["facts"])
        if prompt := prompts.get(call["prompt_sha256"]):
            files[f"{name}.prompt.txt"] = prompt["prompt"]
            files[f"{name}.schema.json"] = _pretty(prompt["schema"])
        if call["reply"] is not None:
            files[f"{name}.reply.txt"] = call["reply"]
        if call.get("tools"):
            files[f"{name}.tools.json"] = _pretty(call["tools"])
        if call.get("request"):
            files[f"{name}.request.json"] = _pretty(call["request"])
    return files


def candles_csv(header: str, candles: Iterable[Candle]) -> str:
    """Bars in the form that MARKET takes, prices as plain numbers."""
    lines = [header]
    for bar in candles:
        lines.append(",".join([str(bar.opened_at), *map(text, (bar.open, bar.high, bar.low, bar.close, bar.volume))]))
    return "\n".join(lines) + "\n"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
