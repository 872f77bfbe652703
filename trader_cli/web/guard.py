"""Who may ask, and how: the one door before all pages. Nothing behind it changes anything, and it lets nobody try.

- Only GET and HEAD.
- Only under a name that is ours: a stranger's page that points its name at this address (DNS rebinding) is refused.
- With a token, only who knows it: as a bearer token, or as the password of HTTP's basic scheme, which browsers ask for.
- Answers may be framed, sniffed, referred to and read across origins by nobody.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hmac import compare_digest
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/healthz"})
"""Asked without a token: for whoever starts containers. It says no more than that."""

_LOG = logging.getLogger("trader.web")

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache, private",
}


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """An application behind the door. `names` are what it may be asked as, without a port; loopback always."""

    def __init__(self, app: App, names: Iterable[str] = (), token: str | None = None) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        is_head, begun = scope["method"] == "HEAD", False

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                given = [one for one in message["headers"] if one[0].lower() not in _OURS]
                message = {**message, "headers": [*given, *_OURS.items()]}
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        if refused is not None:
            await _answer(sent, *refused)
            return
        try:
            await self._app({**scope, "method": "GET"}, receive, sent)
        except Exception as error:  # noqa: BLE001 - the boundary: one answer that says little, one line that says all
            _LOG.critical("%s %s broke", scope["method"], scope["path"], exc_info=error)
            if not begun:
                await _answer(sent, 500, f"{type(error).__name__}: trader is wrong, not you; its log says more", {})

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, dict[str, str]] | None:
        """A status, what to say, and headers; None for who may pass."""
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0].decode("latin-1")):
            return 421, "this server is not known by that name", {}
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "only GET and HEAD: nothing can be changed from here", {"allow": "GET, HEAD"}
        if self._token is not None and scope["path"] not in OPEN and not self._knows(headers):
            return 401, "a token is needed", {"www-authenticate": 'Basic realm="trader", charset="UTF-8"'}
        return None

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or (host.startswith("[") and host.endswith("]")):
            name = host
        elif not port.isascii() or not port.isdigit():
            return False
        name = name.removeprefix("[").removesuffix("]").rstrip(".").lower()
        return bool(name) and (is_loopback(name) or name in self._names)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").strip().partition(b" ")
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given.strip(), validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != b"bearer":
            return False
        return compare_digest(given.strip(), (self._token or "").encode())


_OURS = {name.encode(): value.encode() for name, value in HEADERS.items()}


async def _answer(send: Send, status: int, words: str, more: dict[str, str]) -> None:
    body = json.dumps({"schema": "trader.error/1", "error": error_body(status, words)}).encode() + b"\n"
    headers = {"content-type": "application/json", "content-length": str(len(body)), **more}
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})


def error_body(status: int, words: str, hint: str | None = None) -> dict[str, Any]:
    """What went wrong, as `--json` says it; `exit` is the code that a command would end with."""
    name, code = {404: ("NOT_FOUND", 8), 422: ("USAGE", 2), 500: ("FAILURE", 1), 503: ("LEDGER", 6)}.get(
        status, ("REFUSED", 4)
    )
    return {"name": name, "exit": code, "message": words, "hint": hint}
