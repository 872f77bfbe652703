"""The socket side: a thread per connection, answers sent whole or in drops, connections cut and reset."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.responses.wire import Wire

DROP_SECS = 0.1
RST_ON_CLOSE = struct.pack("ii", 1, 0)
Answer = Callable[[str, str, dict[str, str], bytes], Wire]


class Listener(ThreadingHTTPServer):
    """A port of 127.0.0.1. `stop` ends every connection, whatever it waits for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, answer: Answer) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.port: int = self.server_address[1]
        self.answer = answer
        self.stopping = threading.Event()
        self.crashes: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._busy: set[threading.Thread] = set()
        self._main = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._main.start()

    def stop(self) -> None:
        """Answer no more; returns when no thread is left."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [self._main, *self._busy]:
            thread.join(timeout=5)

    def server_bind(self) -> None:
        """Bind without asking a name server who 127.0.0.1 is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, known from its first byte to its last."""
        self._open.add(request)
        self._busy.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)
            self._busy.discard(threading.current_thread())

    def shutdown_request(self, request: Any) -> None:
        """Close; without the FIN that would come before an RST."""
        with suppress(OSError):
            if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(RST_ON_CLOSE)) == RST_ON_CLOSE:
                self.close_request(request)
                return
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error; a script that breaks is kept for the end."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.crashes.append(error)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    do_PUT = do_DELETE = do_PATCH = do_HEAD = do_POST  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        raw = self.rfile.read(int(length)) if length.isdigit() else b""
        path = self.path.partition("?")[0]
        wire = self.server.answer(self.command, path, headers, raw)
        self.server.stopping.wait(wire.wait_secs)
        if not self.server.stopping.is_set():
            self._send(wire)
        self.close_connection = self.close_connection or wire.ends != "well" or self.server.stopping.is_set()

    def _send(self, wire: Wire) -> None:
        if wire.ends in ("nothing", "reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        if wire.ends in ("nothing", "closed"):
            return
        body = b"" if self.command == "HEAD" else wire.body
        body = body if wire.ends == "well" else body[: len(body) // 2]
        if not (wire.head_secs or wire.body_secs):
            self.wfile.write(_head(wire) + body)  # at once, so that no acknowledgement is waited for between them
            return
        self._drop(_head(wire), wire.head_secs)
        self._drop(body, wire.body_secs)

    def _drop(self, words: bytes, secs: float) -> None:
        """Send over `secs`: some bytes now, and some every 100 ms."""
        drops = max(1, round(secs / DROP_SECS))
        size = max(1, -(-len(words) // (drops + 1)))
        began = time.monotonic()
        for number, start in enumerate(range(0, len(words), size)):
            due = began + min(secs, number * DROP_SECS)
            self.server.stopping.wait(max(0.0, due - time.monotonic()))
            if self.server.stopping.is_set():
                return
            self.wfile.write(words[start : start + size])


def _head(wire: Wire) -> bytes:
    phrase = HTTPStatus(wire.status).phrase if wire.status in set(HTTPStatus) else "Unknown"
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": wire.content_type,
        "Content-Length": str(len(wire.body)),
        **wire.headers,
    }
    lines = [f"HTTP/1.1 {wire.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
