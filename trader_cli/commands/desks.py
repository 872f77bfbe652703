"""What the commands share: a desk from the options, the parent a step works on, signals, notices."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader_cli.commands.busy import Busy
from trader_cli.commands.confirm import refuse_exposed
from trader_cli.commands.options import Globals
from trader_cli.core.decimals import ZERO, text
from trader_cli.core.errors import ConfigError, ExitCode, NotFoundError, OrderUnknownError, UpstreamError, UsageError
from trader_cli.core.moments import iso
from trader_cli.phases.cycle import MEND_MODELS
from trader_cli.phases.desk import Desk
from trader_cli.phases.startup import startup
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.order import SETTLED, Order, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.clock import Signals
from trader_cli.tools.models.shown import ShownModel
from trader_cli.tools.queries import full_trace_id
from trader_cli.views.steps import question_lines
from trader_cli.wiring import Bench, at_desk, notices, pays

DRY_RUN_SAID = "Dry run: nothing was written."

_MAKES = {Agent.PLANNER: "trader plan", Agent.TRADER: "trader propose", Agent.JUDGE: "trader judge"}
_WORD = {Agent.PLANNER: "plan", Agent.TRADER: "proposal", Agent.JUDGE: "verdict"}


@contextmanager
def step_desk(g: Globals, dry_run: bool, creates: bool = False, shows: bool = False) -> Iterator[Desk]:
    """A desk with the lock held, its startup done and every earlier order looked after. Signals end after the step.

    A step that `creates` can do without the exchange: it records what is missing. With `shows`, no model is asked and
    nothing is written: the minds keep the request that would be sent.
    """
    refuse_exposed(g, g.settings())
    busy = Busy(g.out, "the step is at work")
    bench = Bench(dry_run or shows, creates, signals=signals(g), shows=shows, thinks=busy.thinks)
    with busy, at_desk(g.settings(), bench) as desk:
        missing = None
        try:
            with nullcontext() if creates else unknown_first(desk):
                startup(desk)
        except UpstreamError as error:
            if not creates:
                raise
            missing = error.message
        yield replace(desk, missing=missing)


def signals(g: Globals, quietly: bool = False) -> Signals:
    """SIGINT, SIGTERM and SIGHUP taken over for the rest of the process; `quietly` where no step is to be ended."""
    taken = Signals() if quietly else Signals(g.out.interject)
    taken.install()
    return taken


def say_notices(g: Globals, desk: Desk, bench: Bench) -> None:
    """What an operator should know before the first cycle."""
    for words in notices(g.settings(), desk, bench):
        g.out.say(f"Note: {words}")


def opening(desk: Desk) -> str:
    """What is traded where by whom: so that nobody takes a made-up price for a real one."""
    pinned = desk.ledger.identity()
    return f"{pinned['mode']} {pinned['symbol']} {pinned['timeframe']} | {pinned['market']} | models {desk.minds.about}"


def finish(g: Globals, dry_run: bool, following: str | None = None, cost_usd: Decimal = ZERO) -> None:
    """The last words for a person: that nothing was written (and what it cost all the same), or the next command."""
    if dry_run:
        g.out.say(
            DRY_RUN_SAID + (f" Its models cost {text(cost_usd)} USD, which no budget counts." if cost_usd else "")
        )
    elif following and g.out.is_terminal:
        g.out.say(f"Next: {following}")


def with_question(
    document: dict[str, Any], lines: list[str], question: dict[str, Any] | None, cause: str | None
) -> tuple[dict[str, Any], list[str]]:
    """A dry run's document and lines with the exact question that was put, or why none was."""
    if not document["dry_run"]:
        return document, lines
    return {**document, "question": question}, [*lines, *question_lines(question, cause)]


def print_prompt(g: Globals, desk: Desk, agent: Agent, made: Decision[Any]) -> ExitCode:
    """Print the request that `made` would have asked with: the bare body, or a document around it with --json."""
    mind = {Agent.PLANNER: desk.minds.planner, Agent.TRADER: desk.minds.trader, Agent.JUDGE: desk.minds.judge}[agent]
    request = mind.request if isinstance(mind, ShownModel) else None
    cause = None if request is not None else made.cause or "the law decides alone"
    g.out.record(
        {"schema": "trader.prompt/1", "agent": agent.value, "request": request, "cause": cause},
        [] if request is None else json.dumps(request, indent=2).splitlines(),
    )
    if request is None:
        raise NotFoundError(f"no request would be made: {cause}", "See what there is: trader ledger trace last")
    g.out.say("Nothing was sent and nothing was written.")
    if not pays(g.settings()):
        g.out.say("With these settings the offline rules model answers instead, and nothing is ever sent.")
    return ExitCode.OK


def step_code(g: Globals, made: Decision[Any]) -> ExitCode:
    """5, with a warning, when what a step needed could not be reached, 3 when only other settings can mend it.

    It was recorded as its safe answer.
    """
    if made.misconfigured is not None:
        g.out.warn(f"{made.misconfigured}. The safe answer was recorded. {MEND_MODELS}")
        return ExitCode.CONFIG
    if made.upstream is None:
        return ExitCode.OK
    g.out.warn(f"{made.upstream}. The safe answer was recorded.")
    return ExitCode.UPSTREAM


def parent_plan(desk: Desk, word: str | None) -> Decision[Plan]:
    """The plan named, or the newest one if no proposal was made of it and it still holds."""
    if word is not None:
        return _named(desk, word, Agent.PLANNER)
    newest = desk.ledger.newest(Agent.PLANNER)
    if newest is None or desk.ledger.proposal_of(newest.id):
        raise _nothing(desk, newest, Agent.PLANNER)
    if newest.wake_at is not None and desk.clock.now() > newest.wake_at + desk.timeframe_ms:
        raise NotFoundError(
            f"no fresh plan: the newest wanted to be followed by {iso(newest.wake_at)}", "Make one: trader plan"
        )
    return newest


def parent_proposal(desk: Desk, word: str | None) -> Decision[Proposal]:
    """The proposal named, or the newest one if no verdict was given on it."""
    if word is not None:
        return _named(desk, word, Agent.TRADER)
    newest = desk.ledger.newest(Agent.TRADER)
    if newest is None or desk.ledger.verdict_of(newest.id):
        raise _nothing(desk, newest, Agent.TRADER)
    return newest


def parent_verdict(desk: Desk, word: str | None) -> Decision[Verdict]:
    """The verdict named, or the newest one (executing it twice sends nothing twice)."""
    if word is not None:
        return _named(desk, word, Agent.JUDGE)
    newest = desk.ledger.newest(Agent.JUDGE)
    if newest is None:
        raise _nothing(desk, None, Agent.JUDGE)
    return newest


def lineage(desk: Desk, proposal: Decision[Proposal]) -> Decision[Plan]:
    """The plan a proposal was made under."""
    agent, plan = desk.ledger.decision(proposal.plan_id or 0)
    if agent is not Agent.PLANNER:
        raise NotFoundError(f"proposal {proposal.id} has no plan in this ledger", "Look: trader ledger verify")
    return plan


def judged_proposal(desk: Desk, verdict: Decision[Verdict]) -> Decision[Proposal]:
    """The proposal a verdict was given on."""
    agent, proposal = desk.ledger.decision(verdict.proposal_id or 0)
    if agent is not Agent.TRADER:
        raise NotFoundError(f"verdict {verdict.id} has no proposal in this ledger", "Look: trader ledger verify")
    return proposal


def _nothing(desk: Desk, newest: Decision[Any] | None, agent: Agent) -> NotFoundError:
    used = "" if newest is None else f" (the newest, {newest.id}, is used)"
    return NotFoundError(f"there is no unused {_WORD[agent]}{used}", f"Make one: {_MAKES[agent]}")


def _named(desk: Desk, word: str, agent: Agent) -> Decision[Any]:
    """A decision by id, by a trace's id or the beginning of it, or from a document on stdin (`-`)."""
    if word == "-":
        return _from_stdin(desk, agent)
    a_number = word.isascii() and word.isdigit() and len(word) < 12
    if a_number and (len(word) < 4 or desk.ledger.has_decision(int(word))):  # else it may begin a trace's id
        return _of_agent(desk, int(word), agent)
    found = desk.ledger.decision_of(full_trace_id(desk.ledger, word), agent)
    if found is None:
        raise NotFoundError(f'trace "{word}" has no {_WORD[agent]}', f"Make one: {_MAKES[agent]}")
    return found


def _from_stdin(desk: Desk, agent: Agent) -> Decision[Any]:
    what = _WORD[agent]
    words = stdin_document()
    try:
        document = json.loads(words)
        row_id, trace_id = int(document["id"]), str(document["trace_id"])
        schema = document["schema"]
        if row_id.bit_length() > 63:
            raise ValueError(row_id)  # SQLite has no such number
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise UsageError(f"stdin holds no {what}: needs the output of {_MAKES[agent]} --json") from None
    if schema != f"trader.{what}/1":
        raise UsageError(f'stdin holds "{schema}", needs "trader.{what}/1"', f"Pipe in: {_MAKES[agent]} --json")
    if document.get("dry_run"):
        raise NotFoundError(f"that {what} was a dry run and is not in the ledger", f"Run: {_MAKES[agent]} --json")
    found = _of_agent(desk, row_id, agent)
    if found.trace_id != trace_id:
        raise NotFoundError(f"{what} {row_id} of trace {trace_id[:8]} is not in this ledger", "Is --db the same?")
    return found


def stdin_document() -> str:
    """What the command before in the pipe printed. Read before the lock is taken, and once."""
    global _piped  # noqa: PLW0603 - stdin can be read once
    if _piped is None:
        _piped = sys.stdin.read(1_000_000) if sys.stdin else ""
    return _piped


_piped: str | None = None


def await_pipe(word: str | None) -> None:
    """Read stdin now if a step will need it, so that the lock is taken only after the step before has let go."""
    if word == "-" and not stdin_document().strip():
        raise UsageError("stdin is empty: the command before in the pipe printed nothing", "See what it said.")


def _of_agent(desk: Desk, row_id: int, agent: Agent) -> Decision[Any]:
    found, decision = desk.ledger.decision(row_id)
    if found is not agent:
        raise NotFoundError(f"decision {row_id} is a {_WORD[found]}, needs a {_WORD[agent]}")
    return decision


@contextmanager
def unknown_first(desk: Desk) -> Iterator[None]:
    """Out of reach, or a key refused, is the lesser news while an order is unknown: OrderUnknownError then."""
    try:
        yield
    except (ConfigError, UpstreamError) as error:
        for order in unsettled(desk):
            worse = unknown(order)
            raise OrderUnknownError(f"{worse.message}; {error.message}", worse.hint) from error
        raise


def unsettled(desk: Desk) -> tuple[Order, ...]:
    """Orders whose outcome is still not known."""
    return tuple(order for order in desk.ledger.open_orders() if order.state not in SETTLED)


def refuse_while_unknown(desk: Desk) -> None:
    """Raise OrderUnknownError while an order is unsettled: nothing new may be sent."""
    for order in unsettled(desk):
        raise unknown(order)


def unknown(order: Order) -> OrderUnknownError:
    """The error that pages a human."""
    name = order.intent.client_order_id
    if order.state is OrderState.NEEDS_HUMAN:
        return OrderUnknownError(f"order {name} needs a human: {json.dumps(order.evidence)}", "Look: trader recover")
    return OrderUnknownError(
        f"order {name} was sent and its outcome is not known. It is NOT retried; new orders are blocked",
        "trader recover   (asks the exchange by client order id)",
    )


def order_code(g: Globals, order: Order | None) -> ExitCode:
    """10, with a warning, for an order whose outcome is not known."""
    if order is None or order.state in SETTLED:
        return ExitCode.OK
    error = unknown(order)
    g.out.warn(f"{error.message}. {error.hint}")
    return ExitCode.ORDER_UNKNOWN
