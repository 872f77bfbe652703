"""News sent by a thread of its own, so that a slow or dead receiver never keeps a cycle waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from trader_cli.core.redaction import redact
from trader_cli.schemas.news import News
from trader_cli.tools.receivers import Receiver

ATTEMPTS = 2
MOST_WAITING = 100
"""News that waits when the receiver is slow; more is dropped, and said."""
PATIENCE_SECS = 6.0
"""How long the end of a run waits for the last of it."""


class Notifier:
    """`with Notifier(name, receiver, about) as tell: tell.send(news)`. Raises nothing; `failures` says what was missed.

    `about` (mode, symbol) goes with each piece of news; `failing` is whether the newest was missed.
    """

    def __init__(self, name: str, receiver: Receiver, about: dict[str, str]) -> None:
        self._name = name
        self._receiver = receiver
        self._about = about
        self._waiting: queue.Queue[News | None] = queue.Queue(MOST_WAITING)
        self._failed: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self.failing = False
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)

    def __enter__(self) -> Notifier:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.send(None)
        self._thread.join(PATIENCE_SECS)

    def send(self, news: News | None) -> None:
        """Have a piece of news sent; returns at once. None is the last."""
        try:
            self._waiting.put_nowait(news)
        except queue.Full:
            self._note(f"{self._name} is too slow: news was dropped")

    def failures(self) -> Iterator[str]:
        """What went wrong since the last time, without addresses."""
        while True:
            try:
                yield self._failed.get_nowait()
            except queue.Empty:
                return

    def _note(self, words: str) -> None:
        try:
            self._failed.put_nowait(words)
        except queue.Full:
            return

    def _work(self) -> None:
        while (news := self._waiting.get()) is not None:
            said = f"trader {' '.join(self._about.values())} | {news.kind}: {redact(news.text)}"
            trouble = None
            for _ in range(ATTEMPTS):
                if (trouble := self._tried(news, said)) is None:
                    break
            self.failing = trouble is not None
            if trouble is not None:
                self._note(f"{self._name} did not take news of kind {news.kind}: {trouble}")

    def _tried(self, news: News, said: str) -> str | None:
        try:
            return self._receiver(news, said, self._about)
        except Exception as error:  # noqa: BLE001 - a receiver is a stranger's code, and this thread must live
            return type(error).__name__
