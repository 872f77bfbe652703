"""trader memory: what trading has taught."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.calibration import calibration
from trader_cli.core.errors import UsageError
from trader_cli.core.experiments import whole_lots
from trader_cli.tools import lessons
from trader_cli.tools.memory import all_learnt, experiment_document, still_held
from trader_cli.tools.reasons import mark
from trader_cli.tools.rows import readable
from trader_cli.views.memory import POLICIES, REGIMES, belief_rows, memory_document, memory_notes
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
    with open_reader(g.settings()) as ledger, readable("memory"):
        held = still_held(ledger)
        learnt = (one.experiment for one in all_learnt(ledger, policy))
        lots = whole_lots(learnt, {one.opened_by for one in held})
        found = lessons.beliefs_by_regime(ledger, policy, lots) if policy else lessons.beliefs(ledger, lots)
        scored = calibration((one.confidence, one.won) for one in lots if one.confidence is not None)
        outcomes = [experiment_document(one) for one in lots]
        mine = [one for one in held if policy is None or one.policy_id == policy]
        at, price = lessons.now_of(ledger), mark(ledger)
    document = memory_document((policy, at), found, outcomes, (mine, price), scored)
    if g.json:
        g.out.record(document)
        return
    g.out.table(REGIMES if policy else POLICIES, belief_rows(document), schema="trader.memory/1", key="policies")
    if g.out.is_terminal:
        g.out.lines(*memory_notes(document))
