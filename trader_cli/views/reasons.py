"""The reasons of a trace as one document, in the order of their story; from the rows of the ledger alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import div, mul, sub, text
from trader_cli.core.regimes import regime
from trader_cli.schemas.market import Features

Row = Mapping[str, Any]


def order_document(tables: Mapping[str, Sequence[Row]], mode: str | None) -> dict[str, Any]:
    """An order that stands on no decision of this ledger, in the form of a trace."""
    (order,) = tables["orders"]
    return {"trace_id": None, "ts_utc": order["ts_utc"], "mode": mode, "cost_usd": Decimal(0), **tables}


def why_document(whole: Row, after: Row, mark: str | None) -> dict[str, Any]:
    """The reasons of a trace: its rows, put in the order of the story. `after` is what came of its order."""
    decisions = {one["agent"]: one for one in whole["decisions"]}
    plan, proposal, verdict = (decisions.get(agent) for agent in ("PLANNER", "TRADER", "JUDGE"))
    order = whole["orders"][-1] if whole["orders"] else None
    return {
        "schema": "trader.why/1",
        "trace_id": whole["trace_id"],
        "ts_utc": whole["ts_utc"],
        "mode": whole["mode"],
        "market": _market(whole["observations"], proposal or plan),
        "plan": plan and {**_decided(plan, whole["model_calls"]), "beliefs": _beliefs(plan, whole["model_calls"])},
        "proposal": proposal
        and {
            **_decided(proposal, whole["model_calls"]),
            "ungrounded": [{"said": one.said, "fact": one.fact} for one in after["claims"]],
        },
        "verdict": verdict and {**_decided(verdict, whole["model_calls"]), "law": verdict["law"]},
        "order": order and _ordered(order, whole),
        "not_sent": [one["data"] for one in whole["events"] if one["kind"] == "NOT_SENT"],
        "learnt": after["learnt"],
        "held": [_held(one, mark) for one in after["held"]],
        "equity_usdt": whole["portfolio"][-1]["equity_usdt"] if whole["portfolio"] else None,
        "cost_usd": whole["cost_usd"],
    }


def _market(seen: Sequence[Row], decision: Row | None) -> dict[str, Any] | None:
    """What the proposal stood on, else the plan: its observation."""
    if not seen:
        return None
    stood_on = None if decision is None else decision["observation_id"]
    first = next((one for one in seen if one["id"] == stood_on), seen[0])
    features = Features(**{name: first["features"].get(name) for name in Features.__slots__})
    return {
        "observation_id": first["id"],
        "ts_utc": first["ts_utc"],
        "source": first["source"],
        "price": first["price"],
        "candle_age_ms": first["age_ms"],
        "bars": first["bars"],
        "last_at": first["last_at"],
        "regime": regime(features).value,
        "features": first["features"],
        "defects": first["defects"],
    }


def _decided(decision: Row, calls: Sequence[Row]) -> dict[str, Any]:
    answered = next((call for call in calls if call["id"] == decision["model_call_id"]), None)
    return {
        "id": decision["id"],
        "ts_utc": decision["ts_utc"],
        "source": decision["source"],
        "model": answered["model"] if answered else None,
        "cause": decision["cause"],
        "payload": decision["payload"],
    }


def _beliefs(plan: Row, calls: Sequence[Row]) -> list[dict[str, Any]]:
    """The posteriors that the planner was told."""
    told = next((call["facts"].get("posteriors") for call in calls if call["id"] == plan["model_call_id"]), None)
    return [{"policy_id": name, **belief} for name, belief in (told or {}).items() if isinstance(belief, dict)]


def _ordered(order: Row, whole: Row) -> dict[str, Any]:
    key = order["client_order_id"]
    names = ("id", "client_order_id", "ts_utc", "side", "qty", "worst_price", "reserved_quote", "origin", "law")
    return {
        **{name: order[name] for name in names},
        "events": [_event(one) for one in whole["order_events"] if one["client_order_id"] == key],
        "fills": [
            {name: one[name] for name in ("trade_id", "ts_utc", "qty", "price", "quote_qty", "fee", "fee_asset")}
            for one in whole["fills"]
            if one["client_order_id"] == key
        ],
        "trade": next((_trade(one) for one in whole["trades"] if one["idempotency_key"] == key), None),
    }


def _event(event: Row) -> dict[str, Any]:
    names = ("ts_utc", "from_state", "state", "exchange_order_id", "evidence")
    return {name: event[name] for name in names}


def _trade(trade: Row) -> dict[str, Any]:
    names = ("id", "ts_utc", "side", "qty", "price", "quote_qty", "fee", "fee_asset", "status")
    return {name: trade[name] for name in names}


def _held(one: Any, mark: str | None) -> dict[str, Any]:
    """What is left of a purchase, at the newest mark: no outcome yet."""
    gain_bp = None
    if mark is not None and one.cost > 0:
        gain = sub(mul(one.qty, Decimal(mark)), one.cost)
        gain_bp = float(div(mul(gain, Decimal(10_000)), one.cost, Decimal("0.01")))
    return {"opened_by": one.opened_by, "qty": text(one.qty), "cost": text(one.cost), "mark": mark, "gain_bp": gain_bp}
