"""The status of a ledger as lines for a person."""

from __future__ import annotations

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
    lines += [f"UNSETTLED order {key}: trader recover" for key in status["unsettled_orders"]]
    if not status["cycles"]:
        return [*lines, "No cycles yet. Make one: trader cycle"]
    due = "now" if status["is_due"] else f"{status['next_due_wall_at']} (on the wall)"
    time = [f"cycles    {status['cycles']}, last {status['last_cycle_at']} (market time)", f"next due  {due}"]
    if status["equity"] is None:
        return [*lines, *time]
    base, _, quote = str(status["symbol"]).partition("/")
    gain = status["equity"] - status["deposits"]
    pct = gain / status["deposits"] * 100 if status["deposits"] else gain
    lines.append(f"equity    {brief(status['equity'])} {quote} ({gain:+.4f}, {pct:+.2f} %)")
    lines.append(f"holds     {brief(status['quote'])} {quote} + {text(status['base'])} {base}")
    lines.append(f"profit    realized {brief(status['realized_pnl'])}  unrealized {brief(status['unrealized_pnl'])}")
    return [*lines, *time]
