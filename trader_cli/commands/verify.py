"""trader ledger verify: the proof of a ledger, check by check."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.desks import signals
from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import ConfigError, DiffersError
from trader_cli.phases.audit import NOT_CHECKED
from trader_cli.phases.audit import verify as audit
from trader_cli.tools.anchors import anchors_of, carried, compared, on_the_account
from trader_cli.tools.verification import Look, content_of
from trader_cli.views.output import Output
from trader_cli.views.verification import verification_document, verification_lines
from trader_cli.wiring import Bench, open_desk, open_reader

PATIENCE_SECS = 1.0
"""How long a verification takes in silence."""

BEAT_SECS = 0.2
"""How long a bar stands before the next takes its place."""


Anchors = Annotated[
    list[Path] | None,
    typer.Option("--anchors", metavar="FILE", help="Heads noted by `ledger anchor -o`; may be given more than once."),
]


Online = Annotated[
    bool, typer.Option("--online", metavar="", help="Also ask the exchange: its orders, and the heads their ids carry.")
]


@command
def verify(g: Globals, anchors: Anchors = None, online: Online = False) -> None:
    """Prove that the ledger is whole and unaltered, its decisions and orders lawful, and its books right.

    Everything a ledger alone can show is worked out again from its rows: features from candles, answers from
    replies, verdicts from the law, books from fills. Nothing is written; the end of the list is what was not checked.

    Example: trader ledger verify --json
    """
    noted = [one for path in anchors or () for one in anchors_of(path)]
    more: list[tuple[str, Look]] = [("anchors", compared(noted))] if anchors else []
    more += _online(g) if online else []
    with open_reader(g.settings()) as ledger:
        checks, content = audit(ledger, Waiting(g.out), more), content_of(ledger)
        head = ledger.head
    document = verification_document(checks, NOT_CHECKED, head, content)
    g.out.record(document, verification_lines(document))
    bad = sum(not check.ok for check in checks)
    if bad:
        raise DiffersError(f"{bad} of {len(checks)} checks failed; the ledger was not modified")


def _online(g: Globals) -> list[tuple[str, Look]]:
    """What the account shows of this epoch. Raises ConfigError on paper, UpstreamError."""
    settings = g.settings()
    if settings.mode == "paper":
        raise ConfigError("--online needs an account, and paper has none", "Leave it out.")
    with open_desk(settings, Bench(dry_run=True, creates=False, signals=signals(g))) as desk:
        desk.exchange.connect()
        since = desk.ledger.epoch_began()
        seen = () if since is None else desk.exchange.orders(since, desk.clock.now())
    return [("order ids carry the chain", carried), ("orders on the account", on_the_account(seen, since or 0))]


class Waiting:
    """A bar on a terminal's stderr, from the second second on."""

    def __init__(self, out: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._quiet_until = clock() + PATIENCE_SECS
        self._next = self._quiet_until
        self._named = ""

    def __call__(self, done: int, of: int, name: str) -> None:
        """Show it, if it has taken long enough; what begins now is named at once, for it may take minutes."""
        now = self._clock()
        if now >= (self._next if name == self._named else self._quiet_until):
            self._next, self._named = now + BEAT_SECS, name
            self._out.passing(f"[{'#' * done}{'.' * (of - done)}] {done} of {of} checks, now: {name}")
