"""trader ledger show: what happened, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from trader_cli.commands.arguments import bound
from trader_cli.commands.options import Globals, Rows, command
from trader_cli.core.errors import UsageError
from trader_cli.schemas.question import Agent
from trader_cli.tools import queries
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.views.ledger import CYCLES, DECISIONS, DOCUMENTS, ERRORS, TRADES, upright, wide
from trader_cli.views.output import Column
from trader_cli.wiring import open_reader

Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="From this market time on: a date, ISO time, today, or 24h or 7d before the newest cycle.",
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only what came before this market time, said likewise.")
]
AgentOf = Annotated[
    Literal["PLANNER", "TRADER", "JUDGE"] | None,
    typer.Option("--agent", metavar="NAME", case_sensitive=False, help="The decisions of PLANNER, TRADER or JUDGE."),
]
Action = Annotated[
    Literal["BUY", "SELL", "HOLD"] | None,
    typer.Option("--action", metavar="WORD", case_sensitive=False, help="Where the trader said BUY, SELL or HOLD."),
]
Trades = Annotated[bool, typer.Option("--trades", metavar="", help="One row per trade.")]
Errors = Annotated[
    bool,
    typer.Option("--errors", metavar="", help="What failed: answers, models, the market, orders, what was not sent."),
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="TRACE", help="The page before that cycle: only what is older.")
]
Width = Annotated[
    Literal["short", "wide"],
    typer.Option("--output", "-o", metavar="short|wide", help="wide: more columns; on a terminal a line for each."),
]


@command
def show(
    g: Globals,
    rows: Rows = 20,
    since: Since = None,
    until: Until = None,
    agent: AgentOf = None,
    action: Action = None,
    trades: Trades = False,
    errors: Errors = False,
    before: Before = None,
    output: Width = "short",
) -> None:
    """The newest cycles, one line each. In a pipe: tab-separated, every value whole.

    A FALLBACK is an answer nobody decided: that agent failed, and the safe answer stands in for it.

    Example: trader ledger show --trades --since 7d
    """
    _check(agent, action, trades, errors)
    settings = g.settings()
    with open_reader(settings) as ledger:
        newest = ledger.newest_plan()
        now = newest.at if newest else wall_now()
        where = queries.Filter(
            since=bound("--since", since, now),
            until=bound("--until", until, now),
            agent=None if agent is None else Agent(agent),
            action=action,
            before=None if before is None else queries.full_trace_id(ledger, before),
        )
        columns, found = _listed(ledger, rows, where, trades, errors)
        seen = _Seen(found)
        if output == "wide" and g.out.is_terminal and not g.json:
            for row in seen:
                g.out.lines(*upright(wide(columns), row), "")
        else:
            schema, key = DOCUMENTS[columns]
            g.out.table(wide(columns) if output == "wide" else columns, seen, schema=schema, key=key)
        if not seen.last:
            nothing = "Nothing of that kind in" if newest else "No cycles yet in"
            hint = "See all: trader ledger show" if newest else "Make one: trader cycle"
            g.out.say(f'{nothing} "{settings.db_path}". {hint}')
        elif g.out.is_terminal and not g.json:
            whole = columns is CYCLES and where == queries.Filter(before=where.before)
            g.out.say(_footer(seen, queries.cycle_count(ledger) if whole else None))


def _listed(
    ledger: Ledger, rows: int, where: queries.Filter, trades: bool, errors: bool
) -> tuple[tuple[Column, ...], Iterator[queries.Row]]:
    """What kind of rows was asked for: their columns, and the rows."""
    if trades:
        return TRADES, queries.trades(ledger, rows, where)
    if errors:
        return ERRORS, queries.failures(ledger, rows, where)
    if where.agent is not None:
        return DECISIONS, queries.decisions(ledger, rows, where.agent, where)
    return CYCLES, queries.cycles(ledger, rows, where)


def _check(agent: str | None, action: str | None, trades: bool, errors: bool) -> None:
    """Refuse options that ask for rows which cannot be. Raises UsageError."""
    if trades and (errors or agent):
        raise UsageError(f"--trades and {'--errors' if errors else '--agent'} list different rows", "Give one of them.")
    if errors and action:
        raise UsageError("--errors and --action list different rows", "Give one of them.")
    if agent not in (None, "TRADER") and action:
        raise UsageError(f"--action is the TRADER's word, was asked of {agent}", "Leave --agent out.")
    if trades and action == "HOLD":
        raise UsageError("--trades needs an --action of BUY or SELL, was HOLD", "See them: --action HOLD")


class _Seen:
    """Rows on their way to the screen: how many passed, the first and the last."""

    def __init__(self, rows: Iterator[queries.Row]) -> None:
        self._rows = rows
        self.count = 0
        self.first: queries.Row = {}
        self.last: queries.Row = {}

    def __iter__(self) -> Iterator[queries.Row]:
        for row in self._rows:
            self.first = self.first or row
            self.last = row
            self.count += 1
            yield row


def _footer(seen: _Seen, cycles: int | None) -> str:
    of = f"{seen.count} rows" if cycles is None else f"{seen.count} of {cycles} cycles"
    first, last = str(seen.first["trace_id"] or "last")[:8], str(seen.last["trace_id"] or "TRACE")[:8]
    return f"{of}.  All: -n 0 | older: --before {last}\nOne: trader ledger trace {first}"
