"""What `trader replay --model` does: it asks another model the recorded questions and tells what it would have done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from decimal import Decimal

from trader_cli.commands.arguments import model_name, usd
from trader_cli.commands.desks import signals
from trader_cli.commands.options import Globals
from trader_cli.config import Settings
from trader_cli.core.agreement import summed
from trader_cli.core.decimals import ZERO, add
from trader_cli.core.errors import ConfigError, LedgerError, NotFoundError, TraderError, UpstreamError, UsageError
from trader_cli.core.pricing import most_input_tokens, worst_case
from trader_cli.phases.compare import compare
from trader_cli.schemas.comparison import Asking, Compared, Comparison, Cut
from trader_cli.tools.questions import Load, load_of
from trader_cli.tools.replays import check_schema
from trader_cli.tools.verification import UNCHECKABLE
from trader_cli.views.comparison import (
    COLUMNS,
    SCHEMA,
    comparison_cells,
    comparison_document,
    comparison_lines,
    opening_line,
    progress_line,
)
from trader_cli.wiring import RULES, left_today, open_reader, other_minds, tariff

PATIENCE_SECS, BEAT_SECS = 1.0, 0.2
"""How long a comparison takes in silence, and how long a bar stands before the next takes its place."""


def run_comparison(
    g: Globals, settings: Settings, traces: Iterable[str], model: str, max_cost: str | None = None
) -> None:
    """Ask `model` the recorded questions of some traces, and print what it would have done. Nothing is written.

    Raises UsageError for a paid model without --max-cost, NotFoundError where there is no question to ask; and, once
    what was compared is printed, ConfigError for a key or name that is refused, UpstreamError for no answer.
    """
    free = model == RULES
    name = model if free else str(model_name(model, settings))
    most = usd(max_cost)
    if not free and most is None:
        raise UsageError("--model needs --max-cost", f"Say what it may cost: --model {name} --max-cost 0.50")
    stop, wanted = signals(g), list(traces)
    with open_reader(settings, steady=False) as ledger:
        check_schema(ledger)
        load = load_of(ledger, wanted)
        if not load.questions:
            raise NotFoundError("no model was asked anything in these cycles", "See them: trader ledger show")
        minds = other_minds(settings, ledger, name, most, stop)
        asking = Asking(name, minds.host, None if free else most, len(wanted))
        costs = () if free else (_worst(settings, name, load), left_today(settings, ledger))
        g.out.say(opening_line(asking, load.questions, *costs))
        try:
            cycles = list(_shown(g, compare(ledger, wanted, minds, lambda: stop.name), asking))
        finally:
            minds.leave()
    _finish(g, cycles, summed(cycles, asking))


def _worst(settings: Settings, name: str, load: Load) -> Decimal | None:
    """The most that all the questions may cost, asked once each, in USD; None where that is not known."""
    known = tariff(settings, name)
    if not known.known or known.price is None:
        return None
    return worst_case(known.price, most_input_tokens(load.chars), load.output_tokens)


def _shown(g: Globals, cycles: Iterator[Compared], asking: Asking) -> Iterator[Compared]:
    """Each cycle as it comes: a line in a pipe, a bar on a terminal. Unreadable rows are the ledger's fault."""
    in_pipe, spent, last = not (g.json or g.out.is_terminal), ZERO, "none"
    shows_at = time.monotonic() + PATIENCE_SECS
    if in_pipe:
        g.out.record({"schema": SCHEMA}, (), COLUMNS)
    try:
        for done, one in enumerate(cycles, 1):
            spent, last = add(spent, one.spent.cost_usd), one.trace_id[:8]
            if in_pipe:
                g.out.record({"schema": SCHEMA}, (), comparison_cells(one))
            elif (now := time.monotonic()) >= shows_at:
                shows_at = now + BEAT_SECS
                g.out.passing(progress_line(done, asking.cycles, spent))
            yield one
    except TraderError:
        raise
    except UNCHECKABLE as error:
        raise LedgerError(
            f"the cycle after {last} cannot be read: {type(error).__name__}: {error}", "Look: trader ledger verify"
        ) from error


def _finish(g: Globals, cycles: list[Compared], whole: Comparison) -> None:
    """Print what it comes to, then say why not all was asked. Raises ConfigError, UpstreamError."""
    lines = list(comparison_lines(whole, cycles))
    if g.json or g.out.is_terminal:
        g.out.record(comparison_document(whole, cycles), lines)
    else:
        g.out.say("\n".join(lines))
    if whole.cut is None:
        return
    because = whole.cut_because or whole.cut.value
    until = ". What was compared until then is printed" if whole.compared else ""
    if whole.cut is Cut.MISCONFIGURED:
        raise ConfigError(because + until, "Check --model, OPENAI_API_KEY and OPENAI_BASE_URL; see: trader models")
    if whole.cut is Cut.UNREACHED:
        raise UpstreamError(because + until, "Try again later.")
    g.out.say(f"Not all was asked: {because}.")
