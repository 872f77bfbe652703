"""trader replay: the steps of a trace made again from the ledger, with recorded answers."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from trader_cli.commands.options import Globals, TraceId, command
from trader_cli.core.errors import DiffersError, LedgerError, TraderError
from trader_cli.phases.replay import Rewind
from trader_cli.phases.replay import replay as replay_step
from trader_cli.schemas.question import Agent
from trader_cli.schemas.replay import Replay
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.queries import full_trace_id
from trader_cli.tools.verification import UNCHECKABLE
from trader_cli.views.replay import replay_document, replay_lines
from trader_cli.wiring import open_reader, rewinding

Step = Annotated[
    Literal["plan", "propose", "judge"] | None,
    typer.Option("--step", metavar="plan|propose|judge", help="Only this step; else all that the trace has."),
]

STEPS = {"plan": Agent.PLANNER, "propose": Agent.TRADER, "judge": Agent.JUDGE}


@command
def replay(g: Globals, trace_id: TraceId, step: Step = None) -> None:
    """Make a trace's decisions again, from what the ledger held before each and the answers its models gave then.

    Nothing is asked, nothing is paid, nothing is written. Exit code 9 when a decision differs.

    Example: trader replay last --step propose
    """
    settings = g.settings()
    with open_reader(settings) as ledger:
        whole = full_trace_id(ledger, trace_id)
        agents = [STEPS[step]] if step else [agent for agent in STEPS.values() if ledger.decision_of(whole, agent)]
        rewind = rewinding(settings)
        done = [_again(ledger, whole, agent, rewind) for agent in agents]
    document = replay_document(whole, done)
    g.out.record(document, replay_lines(document))
    different = sum(1 for one in done if one.differences)
    if different:
        raise DiffersError(
            f"{different} of {len(done)} steps came out differently", "See: trader ledger trace " + whole
        )


def _again(ledger: Ledger, trace_id: str, agent: Agent, rewind: Rewind) -> Replay:
    """One step; rows that cannot be read are the ledger's fault."""
    try:
        return replay_step(ledger, trace_id, agent, rewind)
    except TraderError:
        raise
    except UNCHECKABLE as error:
        raise LedgerError(
            f"the {agent.value} of trace {trace_id[:8]} cannot be read: {error}", "Look: trader ledger verify"
        ) from error
