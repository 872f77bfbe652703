"""The line to an exchange: each request goes out once, follows nothing, and what came back is kept to be judged.

ccxt follows redirects (an order could be sent again), turns a broken body into an empty answer and one error into
another. So every judgement of ours rests on the reply as it came: its status, its JSON code, its headers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from requests import Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ConnectTimeout, ReadTimeout, RequestException
from requests.exceptions import ConnectionError as Unreachable
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

from trader_cli.tools.exchanges.reply import Reply, reply_of

MOST_BYTES = 32_000_000
"""A longer reply is not from an exchange's API: 1,000 bars are 0.2 million, all of a large one's symbols 10 million."""


_LOG = logging.getLogger("trader.exchange")


class Line(Session):
    """A session that never repeats and never follows. `last` is the reply to the request made last, if one came.

    `told_to_wait` hears of every reply that asks to wait.
    """

    def __init__(self, told_to_wait: Callable[[Reply], None]) -> None:
        super().__init__()
        self.trust_env = False
        self.last: Reply | None = None
        self.sent = False
        self._told_to_wait = told_to_wait
        self.mount("https://", HTTPAdapter(max_retries=0))
        self.mount("http://", HTTPAdapter(max_retries=0))

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> Any:
        """One request. `sent` is False afterwards only if no byte of it can have left."""
        if self.sent and str(method).upper() == "POST":  # whoever asks begins by setting `sent` to False
            raise Unreachable("an order goes out once")
        self.last, self.sent = None, True
        more["allow_redirects"], more["stream"] = False, True
        began = time.monotonic()
        until = began + 2 * float(more.get("timeout") or 10)
        try:
            response = super().request(method, url, *args, **more)
            _read(response, until)
        except RequestException as error:
            if isinstance(error, ConnectTimeout | Unreachable):
                self.sent = not _never_left(error)
            _log(method, url, type(error).__name__, began, bad=True)
            raise
        _log(method, url, response.status_code, began, bad=response.status_code >= 400)
        self.last = reply_of(response.status_code, response.text, response.headers)
        if self.last.wait_secs is not None:
            self._told_to_wait(self.last)
        if 300 <= response.status_code < 400:
            raise Unreachable(f"a redirect ({response.status_code}) is not followed")
        return response


def _log(method: Any, url: Any, came: object, began: float, bad: bool) -> None:
    """A line on a request: its address without the query, which holds the signature."""
    millis = round((time.monotonic() - began) * 1000)
    level = logging.WARNING if bad else logging.DEBUG
    _LOG.log(level, "%s %s: %s in %d ms", method, str(url).partition("?")[0], came, millis)


def _read(response: Any, until: float) -> None:
    """The whole body, if it is no longer than any of an exchange's and comes before `until` (monotonic seconds)."""
    pieces, size = [], 0
    for piece in response.iter_content(65_536):
        size += len(piece)
        if size > MOST_BYTES:
            response.close()
            raise ChunkedEncodingError("the reply is longer than any of an exchange's")
        if time.monotonic() > until:
            response.close()
            raise ReadTimeout("the reply came too slowly")
        pieces.append(piece)
    response._content = b"".join(pieces)  # what `response.text` is read from; there is no public way to set it


def _never_left(error: Exception) -> bool:
    """Whether a connection was never made: then nothing was sent."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(error, ConnectTimeout) or isinstance(reason, NewConnectionError | NameResolutionError)
