"""trader replay: the steps of a trace, or of many, made again from the ledger; or what another model would say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import typer

from trader_cli.commands.arguments import bound
from trader_cli.commands.completion import traces
from trader_cli.commands.options import Globals, command
from trader_cli.config import Settings
from trader_cli.core.errors import DiffersError, LedgerError, NotFoundError, TraderError, UsageError
from trader_cli.core.moments import Moment
from trader_cli.phases.replay import replay as replay_steps
from trader_cli.schemas.replay import Replay, Step
from trader_cli.tools import replays
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.past import Rewind
from trader_cli.tools.queries import full_trace_id
from trader_cli.tools.replays import Done
from trader_cli.tools.rows import readable
from trader_cli.tools.verification import UNCHECKABLE
from trader_cli.views.output import Output
from trader_cli.views.replay import Tally, progress_line, replay_document, replay_lines, told_first
from trader_cli.wiring import open_reader, rewinding

PATIENCE_SECS, BEAT_SECS = 1.0, 0.2
"""How long a replay takes in silence, and how long a bar stands before the next takes its place."""

Trace = Annotated[
    str | None,
    typer.Argument(
        help="A trace id, the first 4 or more of its characters, or last.", metavar="TRACE|last", autocompletion=traces
    ),
]
StepName = Annotated[
    Literal["plan", "propose", "judge", "execute", "snapshot"] | None,
    typer.Option("--step", metavar="plan|propose|judge|execute|snapshot", help="Only this step; else all there are."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Every cycle from a date, an ISO time or 7d on.")
]
To = Annotated[str | None, typer.Option("--until", "--to", metavar="TIME", help="With --since: up to this time.")]
MaxCost = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="With --model: the most that may be spent on it.")
]
Verify = Annotated[
    bool, typer.Option("--verify", metavar="", help="Compare with what is recorded, without network (the default).")
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Ask another model the recorded questions, and compare. rules: free."),
]


@command
def replay(
    g: Globals,
    trace_id: Trace = None,
    step: StepName = None,
    since: Since = None,
    to: To = None,
    verify: Verify = False,
    model: Model = None,
    max_cost: MaxCost = None,
) -> None:
    """Work the steps of a cycle out again from what the ledger held before each, and compare byte for byte.

    Features come from stored candles, decisions from recorded answers, orders from the law, snapshots from the book.
    Nothing is asked, paid or written; exit code 9 and the first difference where something differs.
    With --model another model is asked the recorded questions, and what it would have done is compared.

    Example: trader replay --since 7d
    """
    _check((trace_id, since, to), (verify, step), (model, max_cost))
    settings = g.settings()
    with open_reader(settings) as ledger, readable("the newest plan, or a step,"):
        span = _Span.of(ledger, trace_id, since, to)
        traces = [] if model is None else list(span.traces(ledger))
    if model is not None:
        from trader_cli.commands.compare import run_comparison  # brings the SDK's neighbours along

        run_comparison(g, settings, traces, model, max_cost)
        return
    _verify(g, settings, span, step)


def _verify(g: Globals, settings: Settings, span: _Span, step: str | None) -> None:
    """Work the steps out again and tell what came of it."""
    with open_reader(settings) as ledger:
        tally = Tally(whole=span.trace_id is not None)
        for one in _again(ledger, _only(span.steps(ledger), step), rewinding(settings), _Waiting(g.out, span.cycles)):
            tally.add(one)
    if not tally.counts:
        where = f"trace {span.trace_id[:8]}" if span.trace_id else "these cycles"
        raise NotFoundError(f"no {step or 'step'} in {where}", "See: trader ledger trace last")
    document = replay_document(span.trace_id, span.cycles, tally)
    g.out.record(document, replay_lines(document))
    if tally.different:
        raise DiffersError(f"the first difference: {told_first(document['steps'])}", "See: trader ledger verify")


def _check(
    which: tuple[str | None, str | None, str | None],
    checked: tuple[bool, str | None],
    asked: tuple[str | None, str | None],
) -> None:
    """Refuse options that do not go together. Raises UsageError."""
    trace_id, since, to = which
    if (trace_id is None) == (since is None):
        raise UsageError("needs a TRACE, last, or --since TIME, and only one of them", "Try: trader replay last")
    if to is not None and since is None:
        raise UsageError("--until goes with --since", "Give both.")
    if asked[0] is None and asked[1] is not None:
        raise UsageError("--max-cost goes with --model", "Give both, or neither.")
    if asked[0] is not None and (checked[0] or checked[1]):
        raise UsageError("--model asks all questions of a cycle and verifies nothing", "Leave --verify and --step out.")


class _Span:
    """What is replayed: one trace, or the cycles between two links."""

    def __init__(self, trace_id: str | None, first: int, last: int | None, cycles: int) -> None:
        self.trace_id = trace_id
        self.first = first
        self.last = last
        self.cycles = cycles

    @classmethod
    def of(cls, ledger: Ledger, trace_id: str | None, since: str | None, to: str | None) -> _Span:
        """What the command line names. Raises NotFoundError, UsageError."""
        if trace_id is not None:
            return cls(full_trace_id(ledger, trace_id), 0, None, 1)
        newest = ledger.newest_plan()
        now: Moment = newest.at if newest else ledger.wall()
        links = replays.links_of(ledger, bound("--since", since, now) or 0, bound("--until", to, now))
        return cls(None, *links, replays.cycles_between(ledger, *links))

    def steps(self, ledger: Ledger) -> Iterable[Done]:
        """The steps to work out, in the order they were written."""
        if self.trace_id is not None:
            return replays.steps_of(ledger, self.trace_id)
        return replays.steps_between(ledger, self.first, self.last)

    def traces(self, ledger: Ledger) -> Iterator[str]:
        """The traces, oldest first."""
        if self.trace_id is not None:
            return iter([self.trace_id])
        steps = replays.steps_between(ledger, self.first, self.last)
        return (done.trace_id for done in steps if done.step is Step.PLAN and done.trace_id is not None)


def _only(steps: Iterable[Done], step: str | None) -> Iterator[Done]:
    return (done for done in steps if step is None or done.step == step)


def _again(ledger: Ledger, steps: Iterator[Done], rewind: Rewind, waiting: _Waiting) -> Iterator[Replay]:
    """Each step; rows that cannot be read are the ledger's fault."""
    try:
        for one in replay_steps(ledger, steps, rewind):
            waiting.see(one)
            yield one
    except TraderError:
        raise
    except UNCHECKABLE as error:
        raise LedgerError(
            f"the step after {waiting.last} cannot be read: {type(error).__name__}: {error}",
            "Look: trader ledger verify",
        ) from error


class _Waiting:
    """A bar on a terminal's stderr, from the second second on; and the step seen last."""

    def __init__(self, out: Output, cycles: int) -> None:
        self._out = out
        self._cycles = cycles
        self._next = time.monotonic() + PATIENCE_SECS
        self._plans = self._steps = 0
        self.last = "none"

    def see(self, one: Replay) -> None:
        """Count a step, and show how far it is when it is time."""
        self._steps += 1
        self._plans += one.step is Step.PLAN
        self.last = f"{one.step} of {(one.trace_id or '-')[:8]}"
        if (now := time.monotonic()) >= self._next:
            self._next = now + BEAT_SECS
            self._out.passing(progress_line(self._plans, self._cycles, self._steps))
