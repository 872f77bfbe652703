"""The server's life: it answers until it is told to stop, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from trader_cli.config import Loaded
from trader_cli.tools.clock import Signals
from trader_cli.web.app import make_app
from trader_cli.web.guard import Guard, is_everywhere, is_loopback, own_name
from trader_cli.web.ledgers import Looking
from trader_cli.web.proof import Prover
from trader_cli.wiring import ledger_path

__all__ = ["Place", "is_everywhere", "is_loopback", "own_name", "serve_until_stopped"]

_LOOK_SECS = 5.0
"""How often it is looked whether the server is still there."""
MOST_AT_ONCE = 64
"""Connections that are answered at a time; more are refused with 503."""
HEAD_SECS = 10.0
"""So long a client may take to say what it wants."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, under which other names (as `own_name` gives them), and with which token."""

    host: str
    names: tuple[str, ...]
    token: str | None


def serve_until_stopped(
    listening: Any,
    place: Place,
    loaded: Loaded,
    signals: Signals,
    docs: bool,
    verify_every_secs: float,
    tell: Callable[[str], None],
) -> None:
    """Answer until a signal comes; what is being answered then is answered. `tell` is told of what broke."""
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a request that is none is everyday's
    looking = Looking(loaded.settings)
    with Prover(ledger_path(loaded.settings), verify_every_secs, looking.whose_now) as prover:
        app, names = make_app(loaded, looking, prover, docs), (own_name(place.host) or place.host, *place.names)
        config = uvicorn.Config(
            Guard(app, names, place.token, is_everywhere(place.host), tell),
            http=_Impatient,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MOST_AT_ONCE,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=16_384,
        )
        server = uvicorn.Server(config)
        answering = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server")
        answering.start()
        while answering.is_alive() and signals.wait(_LOOK_SECS):
            pass
        server.should_exit = True
        answering.join()


class _Impatient(H11Protocol):
    """Hangs up on who does not get to the end of saying what it wants: idle lines would keep others out."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hear()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._hear()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECS, self.transport.close)

    def _hear(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
