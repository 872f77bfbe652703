"""The socket side: whole targets, keep-alive, answers that end in every way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.binance.faults import JSON
from tests.responses.transport import RST_ON_CLOSE, Listener
from tests.responses.wire import Wire

HANG_SECS = 3_600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its way, ends as a Fault names them; `then` is called once it has been sent."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: str = "well"
    then: Callable[[], None] | None = None


Respond = Callable[[str, str, dict[str, str], bytes], Reply]


class Door(Listener):
    """A port of 127.0.0.1 whose requests are answered by a function of method, target, headers and body."""

    def __init__(self, port: int, respond: Respond) -> None:
        super().__init__(port, _unused)
        self.RequestHandlerClass = _Conversation
        self.respond = respond


def _unused(*_: object) -> Wire:
    raise AssertionError("a Door answers through respond")


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Door

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        raw = self.rfile.read(int(length)) if length.isdigit() else b""
        reply = self.server.respond(self.command, self.path, headers, raw)
        self._send(reply)
        if reply.then is not None and reply.ends != "hang":
            reply.then()
        self.close_connection = self.close_connection or reply.ends != "well" or self.server.stopping.is_set()

    def _send(self, reply: Reply) -> None:
        if reply.ends == "hang":
            self.server.stopping.wait(HANG_SECS)
        if reply.ends == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        if reply.ends in ("hang", "reset", "closed") or self.server.stopping.is_set():
            return
        body = reply.body if reply.ends == "well" else reply.body[: len(reply.body) // 2]
        self.wfile.write(_head(reply) + body)  # at once, so that no acknowledgement is waited for between them


def _head(reply: Reply) -> bytes:
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else "Unknown"
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": reply.content_type,
        "Content-Length": str(len(reply.body)),
        **reply.headers,
    }
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
