"""trader ledger show|trace|verify: what happened, one cycle whole, and the proof."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trader_cli.commands.options import Globals, Rows, TraceId, command
from trader_cli.core.errors import DiffersError, ExitCode
from trader_cli.tools import queries
from trader_cli.tools.verification import content_sha256
from trader_cli.tools.verification import verify as check_ledger
from trader_cli.views.ledger import CYCLES, trace_lines, verification_lines
from trader_cli.wiring import open_reader

Prompts = Annotated[bool, typer.Option("--prompts", metavar="", help="Also the prompts and the models' raw replies.")]


@command
def show(g: Globals, rows: Rows = 20) -> None:
    """The newest cycles, one line each. In a pipe: tab-separated, every value whole."""
    settings = g.settings()
    with open_reader(settings) as ledger:
        found = queries.cycles(ledger, rows)
        count = queries.cycle_count(ledger)
    g.out.table(CYCLES, found, empty=f'No cycles yet in "{settings.db_path}". Make one: trader cycle')
    if found and g.out.is_terminal:
        g.out.say(f"{len(found)} of {count} cycles.  All: -n 0 | one: trader ledger trace {found[0]['trace_id'][:8]}")


@command
def trace(g: Globals, trace_id: TraceId, prompts: Prompts = False) -> None:
    """Everything about one cycle: what it saw, decided, was allowed, sent, filled, and stands at."""
    with open_reader(g.settings()) as ledger:
        whole = queries.trace(ledger, queries.full_trace_id(ledger, trace_id))
        linked = [row["link"] for table in whole.values() for row in table]
        chain = queries.links(ledger, min(linked), max(linked)) if linked else []
        hashes = {row["prompt_sha256"] for row in whole["model_calls"]}
        texts = queries.prompts(ledger, hashes) if prompts and hashes else []
    document: dict[str, Any] = {"schema": "trader.trace/1", **whole, "audit_chain": chain}
    if prompts:
        document["prompts"] = texts
    g.out.record(document, trace_lines(whole, chain, texts))


@command
def verify(g: Globals) -> ExitCode:
    """Prove that the ledger is whole and unaltered, its lineage and orders lawful, and its books right."""
    with open_reader(g.settings()) as ledger:
        checks = check_ledger(ledger)
        head, content = ledger.head, content_sha256(ledger)
    bad = [check for check in checks if not check.ok]
    document = {
        "schema": "trader.verification/1",
        "ok": not bad,
        "checks": [{"name": c.name, "ok": c.ok, "checked": c.checked, "problems": list(c.problems)} for c in checks],
        "head": head,
        "content_sha256": content,
    }
    g.out.record(document, verification_lines(checks, head, content))
    if bad and not g.json:
        raise DiffersError(f"{len(bad)} of {len(checks)} checks failed; the ledger was not modified")
    return ExitCode.DIFFERS if bad else ExitCode.OK
