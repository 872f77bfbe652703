"""The status of a ledger as lines for a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import brief, text


def status_lines(status: dict[str, Any]) -> list[str]:
    """State first, then money, then time."""
    if status["mode"] is None:
        return [f"The ledger {status['ledger']} was made and nothing was written yet. Begin: trader cycle"]
    state = "RUNNING" if status["state"] == "RUN" else status["state"]
    if status["unsettled_orders"]:
        state = "BLOCKED"
    cause = f": {status['cause']}" if status["cause"] else ""
    lines = [f"{state}{cause}  {status['mode']} {status['symbol']}  {status['market']}  {status['ledger']}"]
    if status["state"] != "RUN":
        lines.append('Start again: trader resume --reason "..."')
    lines += [f"UNSETTLED order {key}: trader recover" for key in status["unsettled_orders"]]
    if status["account_differs"] is not None:
        lines.append(f"ACCOUNT DIFFERS: {status['account_differs']}: trader recover --accept-balances")
    if status["models_failing_cycles"]:
        lines.append(_failing(status))
    if not status["cycles"]:
        return [*lines, "No cycles yet. Make one: trader cycle"]
    due = "now" if status["is_due"] else f"{status['next_due_wall_at']} (on the wall)"
    models = []
    if status["model_cost_today_usd"]:
        spent, budget = brief(status["model_cost_today_usd"]), text(status["model_budget_usd_per_day"])
        models = [f"models    {spent} of {budget} USD spent today"]
    time = [*models, f"cycles    {status['cycles']}, last {status['last_cycle_at']} (market time)", f"next due  {due}"]
    if status["equity"] is None:
        return [*lines, *time]
    base, _, quote = str(status["symbol"]).partition("/")
    gain = status["equity"] - status["deposits"]
    lines.append(f"equity    {brief(status['equity'])} {quote} ({gain:+.4f}, {_gain_pct(status):+.2f} %)")
    lines.append(f"holds     {brief(status['quote'])} {quote} + {text(status['base'])} {base}")
    lines.append(f"profit    realized {brief(status['realized_pnl'])}  unrealized {brief(status['unrealized_pnl'])}")
    return [*lines, *time]


def _failing(status: dict[str, Any]) -> str:
    """That the newest cycles were no decisions of a model, and why."""
    cycles = status["models_failing_cycles"]
    if status["models_failing"]:
        return f"MODELS FAILING for {cycles} cycles, nothing is bought: {status['models_failure']}"
    return f"FALLBACK in the last {'cycle' if cycles == 1 else f'{cycles} cycles'}: {status['models_failure']}"


def short_line(status: dict[str, Any]) -> str:
    """One line of at most 80 columns for a status bar: state, equity, gain, position, next cycle."""
    state = "BLOCKED" if status["unsettled_orders"] else status["state"]
    words = [state if status["mode"] is not None else "NEW"]
    if status["account_differs"] is not None:
        words.append("ACCOUNT DIFFERS")
    if status["models_failing"]:
        words.append("MODELS FAILING")
    if status["equity"] is not None:
        base = str(status["symbol"]).partition("/")[0]
        words += [f"{status['equity']:.2f}", f"{_gain_pct(status):+.2f}%", f"{brief(status['base'])} {base}"]
    left = status["next_due_secs"]
    if left is None:
        words.append("no cycles yet")
    else:
        words.append(f"next {_span(left)}" if left > 0 else f"due {_span(-left)} ago" if left < 0 else "due now")
    return " ".join(words)[:80]


def _gain_pct(status: dict[str, Any]) -> Decimal:
    """What was gained, in percent of what was put in; never a negative zero."""
    gain: Decimal = status["equity"] - status["deposits"]
    pct = gain / status["deposits"] * 100 if status["deposits"] else gain
    return pct if abs(pct) >= Decimal("0.005") else Decimal(0)


def _span(secs: int) -> str:
    """A length of time in its largest unit, rounded down: 200 -> 3m."""
    for name, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if secs >= length:
            return f"{secs // length}{name}"
    return f"{secs}s"
