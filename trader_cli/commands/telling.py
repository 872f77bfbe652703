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
from trader_cli.tools.notifier import Notifier

_LOG = logging.getLogger("trader.news")


class Telling:
    """Tells of each cycle. A failure to tell is a NOTICE in the ledger, the first of a row of them."""

    def __init__(self, desk: Desk, notifier: Notifier, symbol: str) -> None:
        self._desk = desk
        self._notifier = notifier
        self._room = Newsroom(symbol)
        self._due: Moment | None = None
        self._failing = False

    def wakes_at(self, due: Moment) -> None:
        """When the next cycle should begin, on the wall."""
        self._due = due

    def cycle(self, came: Cycle) -> None:
        """What came of a cycle."""
        due, self._due = self._due, None
        self._send(self._room.of(came, self._desk.ledger.failing()[0], due))

    def failed(self, error: TraderError) -> None:
        """That a cycle did not come to its end."""
        self._send(self._room.failed(error.message))

    def word(self, kind: str, text: str) -> None:
        """A piece of news by itself."""
        self._send([News(kind, text)])

    def _send(self, news: Iterable[News]) -> None:
        for one in news:
            _LOG.info("%s: %s", one.kind, one.text, extra={"trace_id": one.trace_id})
            self._notifier.send(one)
        trouble = list(self._notifier.failures())
        for words in trouble:
            _LOG.warning("%s", words)
        if trouble and not self._failing:
            desk = self._desk
            with suppress(TraderError), desk.ledger.writing(), desk.ledger.transaction() as tx:
                desk.ledger.log_event(tx, "NOTICE", {"code": "WEBHOOK", "reason": trouble[0]}, desk.clock.now())
        self._failing = bool(trouble)


@contextmanager
def telling(settings: Settings, desk: Desk, dry_run: bool) -> Iterator[Telling]:
    """Where WEBHOOK_URL names somebody; a dry run tells nobody."""
    url = None if dry_run or settings.webhook_url is None else settings.webhook_url.get_secret_value()
    with Notifier(url, {"mode": settings.mode, "symbol": settings.symbol}) as notifier:
        tell = Telling(desk, notifier, settings.symbol)
        try:
            yield tell
        except TraderError as error:  # whoever waits for news hears why there will be none
            tell.word("loop", f"ended by an error: {error.message}")
            raise
