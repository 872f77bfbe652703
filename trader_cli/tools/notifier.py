"""News to a webhook: sent from a thread of its own, so that a slow or dead receiver never keeps a cycle waiting.

One POST a piece of news, JSON that chats understand (`text` for Slack, `content` for Discord) with the facts beside it.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from trader_cli.core.redaction import redact
from trader_cli.schemas.news import News

TIMEOUT_SECS = 5.0
ATTEMPTS = 2
MOST_WAITING = 100
"""News that waits when the receiver is slow; more is dropped, and said."""
PATIENCE_SECS = 6.0
"""How long the end of a run waits for the last of it."""


def _opener() -> Callable[..., Any]:
    """urlopen without redirects: a webhook that leads elsewhere is an error."""
    from urllib.request import HTTPRedirectHandler, build_opener  # most runs tell nobody

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            del args

    return build_opener(NoRedirect).open


class Notifier:
    """`with Notifier(url, about) as tell: tell.send(news)`. Raises nothing; `failures` says what did not arrive."""

    def __init__(self, url: str | None, about: dict[str, str]) -> None:
        self._url = url
        self._about = about
        self._waiting: queue.Queue[News | None] = queue.Queue(MOST_WAITING)
        self._failed: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._open: Callable[..., Any] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Notifier:
        if self._url is not None:
            self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._put(None)
            self._thread.join(PATIENCE_SECS)

    def send(self, news: News) -> None:
        """Have a piece of news sent; returns at once."""
        if self._thread is not None:
            self._put(news)

    def failures(self) -> Iterator[str]:
        """What went wrong since the last time, without addresses."""
        while True:
            try:
                yield self._failed.get_nowait()
            except queue.Empty:
                return

    def _put(self, news: News | None) -> None:
        try:
            self._waiting.put_nowait(news)
        except queue.Full:
            self._note("the webhook is too slow: news was dropped")

    def _note(self, words: str) -> None:
        try:
            self._failed.put_nowait(words)
        except queue.Full:
            return

    def _work(self) -> None:
        self._open = _opener()
        while (news := self._waiting.get()) is not None:
            trouble = None
            for _ in range(ATTEMPTS):
                if (trouble := self._post(news)) is None:
                    break
            if trouble is not None:
                self._note(f"the webhook did not take news of kind {news.kind}: {trouble}")

    def _post(self, news: News) -> str | None:
        """Send one; what went wrong, without the address, for it may hold a secret."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import Request

        said = f"trader {' '.join(self._about.values())} | {news.kind}: {redact(news.text)}"
        document = {
            "schema": "trader.news/1",
            "kind": news.kind,
            "trace_id": news.trace_id,
            **self._about,
            "text": said,
            "content": said,
        }
        request = Request(  # noqa: S310 - the setting takes http(s) only
            str(self._url),
            json.dumps(document).encode("ascii"),
            {"Content-Type": "application/json", "User-Agent": "trader"},
            method="POST",
        )
        try:
            with (self._open or _opener())(request, timeout=TIMEOUT_SECS) as answer:
                answer.read(1000)
        except HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            return type(error).__name__
        return None
