"""The status of a ledger as lines for a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import brief, text


def status_lines(status: dict[str, Any]) -> list[str]:
    """State first, then money, then time."""
    if status["mode"] is None:
        return [f"The ledger {status['ledger']} was made and nothing was written yet. Begin: trader cycle"]
    state = _state(status)
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
    left = status["next_due_secs"]
    due = f"overdue {_span(-left)}, since" if left < 0 else "in " + _span(left) + ","
    models = []
    if status["model_cost_today_usd"]:
        spent, budget = brief(status["model_cost_today_usd"]), text(status["model_budget_usd_per_day"])
        models = [f"models    {spent} of {budget} USD spent today"]
    ago = _span(status["last_cycle_age_secs"])
    time = [
        *models,
        f"cycles    {status['cycles']}, last {status['last_cycle_at']} (market time), {ago} ago",
        f"next due  {due} {status['next_due_wall_at']} (on the wall)",
    ]
    if status["equity"] is None:
        return [*lines, *time]
    base, _, quote = str(status["symbol"]).partition("/")
    gain = status["equity"] - status["deposits"]
    lines.append(
        f"equity    {brief(status['equity'])} {quote} ({gain:+.4f}, {gain_pct(status['equity'], status['deposits'])} %)"
    )
    lines.append(f"holds     {brief(status['quote'])} {quote} + {text(status['base'])} {base}")
    lines.append(f"profit    realized {brief(status['realized_pnl'])}  unrealized {brief(status['unrealized_pnl'])}")
    return [*lines, *time]


def _state(status: dict[str, Any]) -> str:
    """The one word: what keeps trading, else whether anybody trades."""
    if status["unsettled_orders"]:
        return "BLOCKED"
    if status["state"] != "RUN":
        return str(status["state"])
    return "STALE" if status["is_late"] else "RUNNING"


def _failing(status: dict[str, Any]) -> str:
    """That the newest cycles were no decisions of a model, and why."""
    cycles = status["models_failing_cycles"]
    if status["models_failing"]:
        return f"MODELS FAILING for {cycles} cycles, nothing is bought: {status['models_failure']}"
    return f"FALLBACK in the last {'cycle' if cycles == 1 else f'{cycles} cycles'}: {status['models_failure']}"


def short_line(status: dict[str, Any]) -> str:
    """One line of at most 80 columns for a status bar: whose money, state, equity, gain, position, next cycle."""
    mode = str(status["mode"])
    words = ["NEW"] if status["mode"] is None else ["REAL" if mode == "real" else mode, _state(status)]
    if status["account_differs"] is not None:
        words.append("ACCOUNT DIFFERS")
    if status["models_failing"]:
        words.append("MODELS FAILING")
    if status["equity"] is not None:
        base = str(status["symbol"]).partition("/")[0]
        words += [
            f"{status['equity']:.2f}",
            f"{gain_pct(status['equity'], status['deposits'])}%",
            f"{brief(status['base'])} {base}",
        ]
    left = status["next_due_secs"]
    if left is None:
        words.append("no cycles yet")
    else:
        words.append(f"next {_span(left)}" if left > 0 else f"due {_span(-left)} ago" if left < 0 else "due now")
    return " ".join(words)[:80]


def gain_pct(equity: Decimal, deposits: Decimal) -> str:
    """What was gained, in percent of what was put in, with its sign; a zero that is shown has none."""
    pct = (equity - deposits) / deposits * 100 if deposits else equity - deposits
    return f"{pct:+.2f}" if abs(pct) >= Decimal("0.005") else "0.00"


def _span(secs: int) -> str:
    """A length of time in its largest unit, rounded down: 200 -> 3m."""
    for name, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if secs >= length:
            return f"{secs // length}{name}"
    return f"{secs}s"
