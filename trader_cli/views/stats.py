"""The size of a ledger as lines for a person."""

from __future__ import annotations

from typing import Any

from trader_cli.core.decimals import brief


def stats_lines(doc: dict[str, Any]) -> list[str]:
    """Time and size first, then who decided, then rows of each table that has any."""
    growth = doc["bytes_per_1000_cycles"]
    grows = "" if growth is None or doc["cycles"] < 1_000 else f", {_size(growth)} per 1,000 cycles"
    said = "  ".join(f"{agent} {count:,}" for agent, count in doc["decisions"].items())
    lines = [
        f"ledger     {doc['ledger']}",
        f"size       {_size(doc['bytes'])}{grows}"
        + (f"  (+{_size(doc['wal_bytes'])} wal)" if doc["wal_bytes"] else ""),
        f"cycles     {doc['cycles']:,}" + (f", {doc['first_at']} to {doc['last_at']}" if doc["cycles"] else ""),
        f"decisions  {said}  fallbacks {doc['fallbacks']:,}",
        f"trades     BUY {doc['trades']['BUY']:,}  SELL {doc['trades']['SELL']:,}"
        + f"  unsettled orders {doc['unsettled_orders']}",
        f"models     cost {brief(doc['model_cost_usd'])} USD  failed calls {doc['failed_calls']:,}",
    ]
    return [*lines, *(f"rows       {table:<13} {count:>11,}" for table, count in doc["rows"].items() if count)]


def _size(count: int) -> str:
    """`12582912` -> `12.6 MB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
