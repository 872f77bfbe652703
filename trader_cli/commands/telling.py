"""What loop and cycle tell somebody elsewhere, after it is in the ledger; and that nobody could be told, there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from trader_cli.config import Settings
from trader_cli.core.errors import TraderError
from trader_cli.core.moments import Moment
from trader_cli.phases.desk import Desk
from trader_cli.phases.news import Newsroom
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.news import News
from trader_cli.tools.notifier import Notifier, notifying
from trader_cli.wiring import receivers

_LOG = logging.getLogger("trader.news")


class Telling:
    """Tells of each cycle, to `notifiers` and the log. A failure to tell is a NOTICE, the first of a row of them."""

    def __init__(self, desk: Desk, notifiers: list[Notifier], goes_on: bool) -> None:
        self._desk = desk
        self._notifiers = notifiers
        heard = notifiers or _LOG.isEnabledFor(logging.INFO)
        self._room = Newsroom(desk.ledger, goes_on) if heard else None
        self._due: Moment | None = None

    def wakes_at(self, due: Moment | None) -> None:
        """When the next cycle should begin, on the wall."""
        self._due = due

    def cycle(self, came: Cycle) -> None:
        """What came of a cycle."""
        due, self._due = self._due, None
        if self._room is not None:
            self._send(self._room.of(came, due))

    def failed(self, error: TraderError) -> None:
        """That a cycle did not come to its end."""
        if self._room is not None:
            self._send(self._room.failed(error.message))

    def word(self, kind: str, text: str) -> None:
        """A piece of news by itself."""
        self._send([News(kind, text)])

    def _send(self, news: Iterable[News]) -> None:
        for one in news:
            _LOG.info("%s: %s", one.kind, one.text, extra={"trace_id": one.trace_id})
            for notifier in self._notifiers:
                notifier.send(one)
        self.note_failures()

    def note_failures(self) -> None:
        """That somebody could not be told, in the log and the ledger."""
        for notifier in self._notifiers:
            for words, is_first in notifier.failures():
                _LOG.warning("%s", words)
                if is_first:
                    self._note(words)

    def _note(self, words: str) -> None:
        desk = self._desk
        with suppress(TraderError), desk.ledger.writing(), desk.ledger.transaction() as tx:
            desk.ledger.log_event(tx, "NOTICE", {"code": "NOTIFY", "reason": words}, desk.clock.now())


@contextmanager
def telling(settings: Settings, desk: Desk, nobody: bool, goes_on: bool = True) -> Iterator[Telling]:
    """Where WEBHOOK_URL or NOTIFY_URLS name somebody; `nobody`: a dry run or a fast one. Raises ConfigError.

    `goes_on`: for a loop; one cycle alone goes by what the ledger tells of the last. The caller holds no lock, for the
    end waits for slow receivers.
    """
    about = {"mode": settings.mode, "symbol": settings.symbol}
    tell = None
    try:
        with notifying({} if nobody else receivers(settings), about) as notifiers:
            tell = Telling(desk, notifiers, goes_on)
            try:
                yield tell
            except TraderError as error:  # whoever waits for news hears why there will be none
                tell.word("loop", f"ended by an error: {error.message}")
                raise
    finally:
        if tell is not None:
            tell.note_failures()
