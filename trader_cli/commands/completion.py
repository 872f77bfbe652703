"""What a shell offers after TAB: read from the ledger, in silence, and nothing where that cannot be."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

OFFERED = 20
"""So many of the newest traces."""


def traces(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """`last`, and the newest traces that begin so, each with its time and what was proposed."""
    found = [("last", "the newest cycle")]
    with suppress(Exception):  # no ledger, none of ours, a setting that is wrong: there is just nothing to offer
        found += [(row["trace_id"][:8], _told(row)) for row in _newest(_option(ctx, "db"), _option(ctx, "env_file"))]
    return [one for one in found if one[0].startswith(incomplete)]


def _told(row: dict[str, Any]) -> str:
    return f"{row['ts_utc'][:16]} {row['action'] or row['mode']}"


def _newest(db: Path | None, env_file: str | None) -> list[dict[str, Any]]:
    from trader_cli.config import load_settings
    from trader_cli.tools import queries
    from trader_cli.wiring import open_reader

    named = env_file or os.environ.get("TRADER_ENV_FILE") or (".env" if Path(".env").exists() else "none")
    options = {} if db is None else {"DB_PATH": str(db)}
    settings = load_settings(None if named == "none" else Path(named), os.environ, options).settings
    with open_reader(settings) as ledger:
        return queries.page(ledger, "cycles", OFFERED)


def _option(ctx: Any, name: str) -> Any:
    """A global option, wherever it stands on the line."""
    while ctx is not None:
        if (value := ctx.params.get(name)) is not None:
            return value
        ctx = ctx.parent
    return None
