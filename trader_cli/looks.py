"""What there is to look at in a ledger, as documents: the same for `--json`, the HTTP API and the dashboard."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader_cli.config import Settings
from trader_cli.core.accounting import net_cash_in
from trader_cli.core.brakes import at_stake, fallen, in_a_row, lost_today
from trader_cli.core.calibration import calibration
from trader_cli.core.decimals import ZERO, dec, percent, text
from trader_cli.core.experiments import whole_lots
from trader_cli.core.grounding import Claim, ungrounded
from trader_cli.core.limits import in_force
from trader_cli.core.moments import Moment, iso, parse_iso, span_ms
from trader_cli.phases.cycle import account_trouble, due_at
from trader_cli.phases.news import SILENT_MS
from trader_cli.phases.record import FAILING
from trader_cli.schemas.decision import FALLBACK
from trader_cli.schemas.metric import Metric
from trader_cli.schemas.performance import Deal
from trader_cli.tools import lessons, queries, reasons
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import all_learnt, experiment_document, learnt_document, still_held
from trader_cli.tools.metrics import metrics as read_metrics
from trader_cli.tools.performance import DEALS
from trader_cli.tools.reasons import Subject
from trader_cli.tools.rows import readable
from trader_cli.views.memory import memory_document
from trader_cli.views.reasons import order_document, why_document
from trader_cli.views.trace import trace_document
from trader_cli.wiring import limits as limits_of
from trader_cli.wiring import operator_stop


def status(settings: Settings, ledger: Ledger, now: Moment) -> dict[str, Any]:
    """`trader.status/1`: state, position, equity, open orders, when the next cycle is due (`now`: the wall).

    Raises LedgerError.
    """
    with readable("where we stand"):
        return _status(settings, ledger, now)


def _status(settings: Settings, ledger: Ledger, now: Moment) -> dict[str, Any]:
    pinned = ledger.identity()
    state, cause = in_force(ledger.trading_state(), operator_stop(settings).state())
    plan, taken, due = ledger.newest_plan(), ledger.last_snapshot(), due_at(ledger)
    failing, failure = ledger.failing()
    accepted = ledger.last_event("ACCEPTED")
    differs = None if plan is None or (accepted and accepted[0] >= plan.at) else account_trouble(plan)
    return {
        "schema": "trader.status/1",
        "ledger": str(settings.db_path),
        "mode": pinned.get("mode"),
        "symbol": pinned.get("symbol"),
        "market": pinned.get("market"),
        "state": state.name,
        "cause": cause,
        "cycles": queries.cycle_count(ledger),
        "last_cycle_at": None if plan is None else iso(plan.at),
        "last_cycle_wall_at": None if plan is None else iso(plan.wall_at),
        "last_cycle_age_secs": None if plan is None else max(0, now - plan.wall_at) // 1000,
        "last_trace_id": None if plan is None else plan.trace_id,
        "next_due_wall_at": None if due is None else iso(due),
        "next_due_secs": None if due is None else (due - now) // 1000,
        "is_due": due is None or now >= due,
        "is_late": due is not None and now - due > SILENT_MS,
        "account_differs": differs,
        "models_failing_cycles": failing,
        "models_failing": failing >= FAILING,
        "models_failure": failure,
        "model_cost_today_usd": ledger.spent_on(now),
        "model_budget_usd_per_day": settings.model_budget_usd_per_day,
        "unsettled_orders": [order.intent.client_order_id for order in ledger.open_orders()],
        "equity": None if taken is None else taken.equity,
        "quote": None if taken is None else taken.book.quote,
        "base": None if taken is None else taken.book.base,
        "deposits": None if taken is None else taken.book.deposits,
        "realized_pnl": None if taken is None else taken.book.realized,
        "unrealized_pnl": None if taken is None else taken.unrealized,
        "peak_equity": None if taken is None else taken.peak,
    }


def limits(settings: Settings, ledger: Ledger, now: Moment) -> dict[str, Any]:
    """`trader.limits/1`: each limit in force, with what counts against it now (`now`: the wall). Raises LedgerError."""
    with readable("what counts against the limits"):
        return _limits(settings, ledger, now)


def _limits(settings: Settings, ledger: Ledger, now: Moment) -> dict[str, Any]:
    taken, plan, pinned = ledger.last_snapshot(), ledger.newest_plan(), ledger.identity()
    settings = settings.model_copy(update={"mode": pinned.get("mode", settings.mode)})  # whose money it is, it knows
    bounds = limits_of(settings, span_ms(pinned.get("timeframe", settings.timeframe)))
    is_lived = pinned.get("market", "").startswith("live:")
    at = now if is_lived or plan is None else plan.at
    history = ledger.history(at)
    rest_ms = bounds.streak_cooldown_ms
    found: list[tuple[str, Any, Any]] = [
        ("orders_per_day", history.orders_today, bounds.max_orders_per_day),
        ("orders_per_hour", history.orders_last_hour, bounds.max_orders_per_hour),
    ]
    for name, times, most in (
        ("losing_streak", history.losses, bounds.max_losing_streak),
        ("rejected_streak", history.refusals, bounds.max_rejected_streak),
    ):
        found.append((name, in_a_row(times, most, rest_ms) if most and rest_ms else 0, most if rest_ms else None))
    found.append(("model_budget_usd", ledger.spent_on(now), settings.model_budget_usd_per_day))
    if taken is not None:
        book, peak = taken.book, history.peak_equity or taken.peak
        used = max(book.cost, net_cash_in(book), ZERO)
        deepest = percent(at_stake(bounds, book, peak), bounds.max_drawdown_pct)
        found += [
            ("deposit_cap", used, bounds.deposit_cap),
            ("daily_loss", lost_today(history, book, taken.equity), bounds.daily_loss),
            ("drawdown", fallen(peak, taken.equity, deepest)[0], deepest),
        ]
    rows = [
        {"name": name, "used": text(Decimal(used)), "limit": text(Decimal(most))}
        for name, used, most in found
        if most is not None
    ]
    return {"schema": "trader.limits/1", "limits": rows}


def deals(ledger: Ledger) -> tuple[Deal, ...]:
    """The newest trades as a chart draws them, oldest first."""
    rows = queries.page(ledger, "trades", DEALS)
    return tuple(Deal(parse_iso(r["ts_utc"]), r["side"], dec(r["price"]), dec(r["qty"])) for r in reversed(rows))


def memory(ledger: Ledger, policy: str | None = None) -> dict[str, Any]:
    """`trader.memory/1`: what is believed of each policy, or of one regime by regime. Raises LedgerError."""
    with readable("memory"):
        held = still_held(ledger)
        learnt = (one.experiment for one in all_learnt(ledger, policy))
        lots = whole_lots(learnt, {one.opened_by for one in held})
        found = lessons.beliefs_by_regime(ledger, policy, lots) if policy else lessons.beliefs(ledger, lots)
        scored = calibration((one.confidence, one.won) for one in lots if one.confidence is not None)
        outcomes = [experiment_document(one) for one in lots]
        mine = [one for one in held if policy is None or one.policy_id == policy]
        at, price = lessons.now_of(ledger), reasons.mark(ledger)
    return memory_document((policy, at), found, outcomes, (mine, price), scored)


def trace(ledger: Ledger, trace_id: str, prompts: bool = False) -> dict[str, Any]:
    """`trader.trace/1`: every row of a trace, named in full; with `prompts` what was asked, too."""
    tables = queries.trace(ledger, trace_id)
    chain = queries.links(ledger, {row["link"] for rows in tables.values() for row in rows})
    whole = trace_document(tables, ledger.identity().get("mode"), chain)
    if prompts:
        hashes = {call["prompt_sha256"] for call in tables["model_calls"]}
        whole["prompts"] = queries.prompts(ledger, hashes) if hashes else []
    return whole


def why(ledger: Ledger, asked: Subject) -> dict[str, Any]:
    """`trader.why/1`: a trace, or an order without one, with what became of the order. Raises LedgerError."""
    with readable("what it stands on"):
        rows, mode = reasons.rows_of(ledger, asked), ledger.identity().get("mode")
        whole = order_document(rows, mode) if asked.trace_id is None else trace_document(rows, mode, ())
        order = whole["orders"][-1] if whole["orders"] else None
        learnt, held = ([], []) if order is None else reasons.outcomes_of(ledger, order["client_order_id"])
        after = {
            "learnt": [{"id": one.id, **learnt_document(replace(one, standing=None))} for one in learnt],
            "held": held,
            "claims": _claims(whole),
        }
        return why_document(whole, after, reasons.mark(ledger))


def _claims(whole: dict[str, Any]) -> tuple[Claim, ...]:
    """The numbers of what a model proposed that the facts it was told do not bear out; its own order is a fact too."""
    proposal = next((one for one in whole["decisions"] if one["agent"] == "TRADER"), None)
    if proposal is None:
        return ()
    call = next((one for one in whole["model_calls"] if one["id"] == proposal["model_call_id"]), None)
    if call is None or proposal["source"] == FALLBACK:
        return ()
    said = proposal["payload"]
    facts = {**call["facts"], "confidence": said["confidence"], "qty": said["qty"]}
    return ungrounded(said["hypothesis"], facts, reasons.lookups(whole["model_calls"]))


def metrics(settings: Settings, ledger: Ledger) -> list[Metric]:
    """Everything that a monitor scrapes."""
    state = in_force(ledger.trading_state(), operator_stop(settings).state())
    return list(read_metrics(ledger, state, due_at(ledger)))
