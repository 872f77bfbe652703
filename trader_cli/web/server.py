"""The server's life: it answers until it is told to stop, and leaves nothing behind."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import uvicorn

from trader_cli.config import Loaded
from trader_cli.tools.clock import Signals
from trader_cli.web.app import make_app
from trader_cli.web.guard import Guard, is_loopback
from trader_cli.web.proof import Prover
from trader_cli.wiring import ledger_path

__all__ = ["Place", "is_loopback", "serve_until_stopped"]

_LOOK_SECS = 5.0
"""How often it is looked whether the server is still there."""
MOST_AT_ONCE = 64
"""Connections that are answered at a time; more are refused with 503."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, under which other names, and with which token."""

    host: str
    names: tuple[str, ...]
    token: str | None


def serve_until_stopped(
    listening: Any, place: Place, loaded: Loaded, signals: Signals, docs: bool, verify_every_secs: float
) -> None:
    """Answer until a signal comes; what is being answered then is answered."""
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a request that is none is everyday's
    ledger = ledger_path(loaded.settings)
    with Prover(ledger, verify_every_secs) as prover:
        guarded = Guard(make_app(loaded, prover, docs), (place.host, *place.names), place.token)
        config = uvicorn.Config(
            guarded,
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
