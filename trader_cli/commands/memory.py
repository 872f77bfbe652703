"""trader memory: what trading has taught."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli import looks
from trader_cli.commands.busy import Busy
from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import UsageError
from trader_cli.tools import lessons
from trader_cli.views.memory import POLICIES, REGIMES, belief_rows, memory_notes
from trader_cli.wiring import open_reader

Policy = Annotated[
    str | None, typer.Option("--policy", metavar="P", help="One policy, regime by regime, with its newest outcomes.")
]


@command
def show(g: Globals, policy: Policy = None) -> None:
    """What is believed of each policy after its outcomes, and whether stated confidence is worth what it says.

    An outcome is a closed lot: its net return after fees and the models' cost, in basis points. Outcomes fade.

    Example: trader memory show --policy rsi_reversion
    """
    if policy is not None and policy not in lessons.BUYERS:
        raise UsageError(f'--policy must be one of {", ".join(lessons.BUYERS)}, was "{policy}"')
    with Busy(g.out, "reading the ledger"), open_reader(g.settings()) as ledger:
        document = looks.memory(ledger, policy)
    if g.json:
        g.out.record(document)
        return
    g.out.table(REGIMES if policy else POLICIES, belief_rows(document), schema="trader.memory/1", key="policies")
    if g.out.is_terminal:
        g.out.lines(*memory_notes(document))
