"""The line on a terminal's stderr that says what is waited for, from the second second on and once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from trader_cli.views.output import Output

EVERY_SECS = 1.0
SELF = TypeVar("SELF", bound="Busy")


class Busy:
    """Use it in a `with`; nothing is shown in a pipe, with -q or --json, nor after its end. Whoever prints may."""

    def __init__(self, out: Output, words: str) -> None:
        self._out = out
        self._words = words
        self._doing = words, time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self: SELF) -> SELF:
        if self._out.is_watched:
            self._thread = threading.Thread(target=self._work, name="busy", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._out.passing("")

    @contextmanager
    def thinks(self, words: str) -> Iterator[None]:
        """For so long it is this that is waited for."""
        self.does(words)
        try:
            yield
        finally:
            self.does(self._words)

    def does(self, words: str) -> None:
        """What is waited for from now on."""
        self._doing = words, time.monotonic()

    def text(self) -> str:
        """The line of this moment."""
        words, since = self._doing
        return f"{words}: {int(time.monotonic() - since)} s"

    def _work(self) -> None:
        while not self._over.wait(EVERY_SECS):
            self._out.passing(self.text())
