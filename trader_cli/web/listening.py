"""The server's life: a socket, a process that answers until it is told to stop, and nothing left behind."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from trader_cli.config import Loaded
from trader_cli.core.errors import BusyError, UsageError
from trader_cli.web.app import make_app
from trader_cli.web.guard import Guard, is_loopback
from trader_cli.web.proof import Prover

__all__ = ["Place", "is_loopback", "listen", "serve_until_stopped"]

MOST_AT_ONCE = 64
"""Connections that are answered at a time; more are refused with 503."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, under which other names, and with which token."""

    host: str
    port: int
    names: tuple[str, ...]
    token: str | None


@contextmanager
def listen(place: Place) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and its address. Raises BusyError for a port that is taken, UsageError for no such address."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f'--host needs an address of this machine, was "{place.host}"', "Usually: 127.0.0.1"
        ) from error
    with socket.socket(family, kind, proto) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BusyError(
                    f"port {place.port} is in use by another process", f"Take another: --port {_free_port(place.host)}"
                ) from error
            raise UsageError(f"cannot listen at {place.host} port {place.port}: {error.strerror}") from error
        shown = f"[{place.host}]" if ":" in place.host else place.host
        yield listening, f"http://{shown}:{listening.getsockname()[1]}"


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


def serve_until_stopped(
    listening: socket.socket, place: Place, loaded: Loaded, ledger: Path, docs: bool, verify_every_secs: float
) -> None:
    """Answer until SIGINT or SIGTERM; what is being answered then is answered."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
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
        uvicorn.Server(config).run(sockets=[listening])
