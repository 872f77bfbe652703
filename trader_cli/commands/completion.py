"""What a shell offers after TAB: read from the ledger, in silence, and nothing where that cannot be."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

OFFERED = 20
"""So many of the newest traces."""


def traces(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """`last`, and the newest traces that begin so, each with its time and what was proposed."""
    found = [("last", "the newest cycle")]
    with suppress(Exception):  # no ledger, none of ours, a setting that is wrong: there is just nothing to offer
        found += [(row["trace_id"][:8], f"{row['ts_utc'][:16]} {row['action'] or row['mode']}") for row in _newest(ctx)]
    return [one for one in found if one[0].startswith(incomplete)]


def _newest(ctx: Any) -> list[dict[str, Any]]:
    from trader_cli.commands.options import globals_of  # which offers this to its own arguments
    from trader_cli.tools import queries
    from trader_cli.wiring import open_reader

    with open_reader(globals_of(ctx).loaded().settings) as ledger:
        return queries.page(ledger, "cycles", OFFERED)
