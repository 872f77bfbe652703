"""News sent by a thread of its own, so that a slow or dead receiver never keeps a cycle waiting."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from trader_cli.core.redaction import redact
from trader_cli.schemas.news import News
from trader_cli.tools.receivers import Receiver

ATTEMPTS = 2
MOST_WAITING = 100
"""News that waits when the receiver is slow; more is dropped, and said."""
PATIENCE_SECS = 6.0
"""How long the end of a run waits for the last of it."""


class Notifier:
    """`tell.send(news)` has it sent to one receiver. Raises nothing; `failures` says what was missed.

    `about` (mode, symbol) goes with each piece of news.
    """

    def __init__(self, name: str, receiver: Receiver, about: dict[str, str]) -> None:
        self._name = name
        self._receiver = receiver
        self._about = about
        self._waiting: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._dropping = False
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._thread.start()

    def send(self, news: News) -> None:
        """Have a piece of news sent; returns at once."""
        if self._waiting.qsize() < MOST_WAITING:
            self._dropping = False
            self._waiting.put(news)
        else:
            self._failed.put((f"{self._name} is too slow: news was dropped", not self._dropping))
            self._dropping = True

    def failures(self) -> Iterator[tuple[str, bool]]:
        """What went wrong since the last time, without addresses, and whether it is the first of a row."""
        while True:
            try:
                yield self._failed.get_nowait()
            except queue.Empty:
                return

    def end(self, until: float) -> None:
        """Wait until the last of it is sent, but no longer than `until` (monotonic seconds)."""
        self._waiting.put(None)
        self._thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        failing = False
        while (news := self._waiting.get()) is not None:
            said = f"trader {' '.join(self._about.values())} | {news.kind}: {redact(news.text)}"
            trouble = None
            for _ in range(ATTEMPTS):
                if (trouble := self._tried(news, said)) is None:
                    break
            if trouble is not None:
                self._failed.put((f"{self._name} did not take news of kind {news.kind}: {trouble}", not failing))
            failing = trouble is not None

    def _tried(self, news: News, said: str) -> str | None:
        try:
            return self._receiver(news, said, self._about)
        except Exception as error:  # noqa: BLE001 - a receiver is a stranger's code, and this thread must live
            return type(error).__name__


@contextmanager
def notifying(receivers: dict[str, Receiver], about: dict[str, str]) -> Iterator[list[Notifier]]:
    """A notifier for each receiver; at the end all of them together have `PATIENCE_SECS` for what still waits."""
    notifiers = [Notifier(name, receiver, about) for name, receiver in receivers.items()]
    try:
        yield notifiers
    finally:
        _end(notifiers)


def _end(notifiers: Iterable[Notifier]) -> None:
    until = time.monotonic() + PATIENCE_SECS
    for one in notifiers:
        one.end(until)
