"""The audit screens: cycles in a table, one trace whole, the result of a verification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from trader_cli.schemas.check import Check
from trader_cli.views.output import Column

Rows = Sequence[dict[str, Any]]


def _price(value: str) -> str:
    return f"{float(value):.8g}"


def _money(value: str) -> str:
    return f"{Decimal(value):.2f}"


def _confidence(value: float) -> str:
    return f"{value:.2f}"


CYCLES = (
    Column("ts_utc", "TIME (UTC)", brief=lambda value: value[5:16].replace("T", " ")),
    Column("trace_id", "TRACE", brief=lambda value: value[:8]),
    Column("mode", "MODE", gives_way=4),
    Column("action", "ACTION"),
    Column("qty", "QTY", number=True, brief=lambda value: "-" if value == "0" else value),
    Column("confidence", "CONF", number=True, brief=_confidence, gives_way=7),
    Column("policy", "POLICY", gives_way=3),
    Column("verdict", "VERDICT"),
    Column("order_state", "ORDER", gives_way=6),
    Column("filled", "FILLED", number=True, gives_way=8),
    Column("price", "PRICE", number=True, brief=_price, gives_way=1),
    Column("equity", "EQUITY", number=True, brief=_money, gives_way=2),
    Column("why", "WHY", fills=True, gives_way=5),
)
"""What gives way first on a narrow terminal has the highest number; a pipe gets all of it."""


def trace_lines(whole: dict[str, list[dict[str, Any]]], chain: Rows, prompts: Rows) -> list[str]:
    """The whole story of one cycle, in its order."""
    lines = []
    for seen in whole["observations"]:
        lines += _observation(seen)
    for decision in whole["decisions"]:
        lines += _decision(decision)
    for order in whole["orders"]:
        lines += _order(order, whole["order_events"], whole["fills"])
    for trade in whole["trades"]:
        lines.append(
            f"trade #{trade['id']}  {trade['status']} {trade['side']} {trade['qty']} @ {trade['price']}"
            f"  fee {trade['fee']} {trade['fee_asset']}"
        )
    for event in whole["events"]:
        lines.append(f"event #{event['id']}  {event['kind']}  {json.dumps(event['data'])}")
    for taken in whole["portfolio"]:
        lines.append(
            f"snapshot #{taken['id']}  equity {taken['equity_usdt']}  quote {taken['balance_usdt']}"
            f"  base {taken['balance_btc']}  mark {taken['mark_price']}"
        )
    if chain:
        lines.append(
            f"chain links {chain[0]['seq']}-{chain[-1]['seq']}  "
            f"{chain[0]['prev_hash'][:12]} -> {chain[-1]['hash'][:12]}"
        )
    for call in whole["model_calls"] if prompts else ():
        lines += [
            "",
            f"{call['agent']} {call['model']} was told {json.dumps(call['facts'])}",
            f"and said {call['reply']}",
        ]
    for prompt in prompts:
        lines += ["", f"prompt {prompt['sha256'][:12]} ({prompt['agent']})", *prompt["prompt"].splitlines()]
    return lines


def _observation(seen: dict[str, Any]) -> list[str]:
    head = f"saw #{seen['id']}  {seen['ts_utc']}  {seen['bars']} bars of {seen['source']}  price {seen['price'] or '-'}"
    features = "  ".join(f"{name} {value:.6g}" for name, value in seen["features"].items() if value is not None)
    defects = [f"  defect    {one['kind']}: {one['detail']}" for one in seen["defects"]]
    return [head, *([f"  features  {features}"] if features else []), *defects]


def _decision(decision: dict[str, Any]) -> list[str]:
    prompt = f"  in sha256:{decision['prompt_sha256'][:8]}" if decision["prompt_sha256"] else ""
    lines = [f"#{decision['id']} {decision['agent']:<8} {decision['source']:<8} {_payload(decision)}{prompt}"]
    if decision["cause"]:
        lines.append(f"  because   {decision['cause']}")
    law = decision["law"]
    if law:
        for rule in law["rules"]:
            lines.append(
                f"  {'ok' if rule['ok'] else 'NO'}  {rule['name']:<15} {rule['value']}  (limit: {rule['limit']})"
            )
    return lines


def _payload(decision: dict[str, Any]) -> str:
    said = decision["payload"]
    if decision["agent"] == "PLANNER":
        names = ", ".join(one["policy_id"] for one in said["strategies"])
        return f"{said['mode']} explore {said['explore_ratio']:g} wake {said['next_wakeup_secs']} s  {names}"
    if decision["agent"] == "TRADER":
        return f"{said['action']} {said['qty']} {said['policy_id']} {said['confidence']:.2f}  {said['hypothesis']}"
    revised = f" to {said['revised_qty']}" if "revised_qty" in said else ""
    return f"{said['decision']}{revised}  {said.get('notes', '')}"


def _order(order: dict[str, Any], events: Rows, fills: Rows) -> list[str]:
    key = order["client_order_id"]
    lines = [f"order #{order['id']}  {order['side']} {order['qty']}  key {key}  reserved {order['reserved_quote']}"]
    for event in events:
        if event["client_order_id"] == key:
            evidence = "  ".join(f"{name}={value}" for name, value in event["evidence"].items() if value)
            lines.append(f"  {event['ts_utc']}  {event['state']:<11} {evidence}".rstrip())
    for fill in fills:
        if fill["client_order_id"] == key:
            lines.append(
                f"  fill {fill['trade_id']}  {fill['qty']} @ {fill['price']}  fee {fill['fee']} {fill['fee_asset']}"
            )
    return lines


def verification_lines(checks: Sequence[Check], head: str, content: str) -> list[str]:
    """A line per check, and what is wrong below it."""
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<28} {check.checked} checked")
        lines += [f"      {problem}" for problem in check.problems]
    return [*lines, f"head {head}", f"content {content}"]
