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
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hmac import compare_digest
from typing import Any

from trader_cli.web.errors import told

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str, str | None, dict[str, str]]
"""A status, what is wrong, what to do, and headers."""

BROKEN = "trader is wrong here, not you; who started it was told more"

OPEN = frozenset({"/healthz"})
"""Asked without a token: for whoever starts containers. It says no more than that."""

_LOG = logging.getLogger("trader.web")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]*)?", re.ASCII)

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


def is_everywhere(host: str) -> bool:
    """Whether an address to listen at stands for all that a machine has."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def own_name(words: str) -> str | None:
    """A name or an address without a port in the form that `host_of` gives; None for what is neither."""
    try:
        return ipaddress.ip_address(words.strip("[]")).compressed
    except ValueError:
        return None if ":" in words else host_of(words)


def host_of(header: str) -> str | None:
    """Whom a Host header names: an address in its short form, or a name in lower case. None for a malformed one.

    Source: RFC 9110, section 7.2, and RFC 3986, section 3.2.2; a port may be empty, a final dot is the root's.
    """
    found = _HOST.fullmatch(header)
    if found is None:
        return None
    if found["six"] is None:
        return found["name"].removesuffix(".").lower() or None
    try:
        return ipaddress.IPv6Address(found["six"]).compressed
    except ValueError:
        return None


class Guard:
    """An application behind the door.

    `names` are what it may be asked as, as `own_name` gives them; loopback always. `everywhere`: also as any address,
    for a page can point its name here but not an address. `tell` is given a line for whoever started the server.
    """

    def __init__(
        self, app: App, names: Iterable[str], token: str | None, everywhere: bool, tell: Callable[[str], None]
    ) -> None:
        self._app = app
        self._names = frozenset(names)
        self._token = token
        self._everywhere = everywhere
        self._tell = tell

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
            await _answer(sent, scope["path"], *refused)
            return
        try:
            await self._app({**scope, "method": "GET"}, receive, sent)
        except Exception as error:  # noqa: BLE001 - the boundary: an answer that says little, and who started it is told
            _LOG.critical("%s %s broke", scope["method"], scope["path"], exc_info=error)
            self._tell(
                f"{scope['method']} {scope['path']} broke: {type(error).__name__}: {error} (a bug; -v says more)"
            )
            if not begun:
                await _answer(sent, scope["path"], 500, BROKEN, None, {})

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
        """None for who may pass."""
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        name = host_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if name is None or not self._is_ours(name):
            return 421, "this server is not known by that name", "Start it with --allow-host NAME, if it is yours.", {}
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "only GET and HEAD: nothing can be changed from here", None, {"allow": "GET, HEAD"}
        if self._token is not None and scope["path"] not in OPEN and not self._knows(headers):
            asks = {"www-authenticate": 'Basic realm="trader", charset="UTF-8"'}
            return 401, "a token is needed", "It is the password, of any user.", asks
        return None

    def _is_ours(self, name: str) -> bool:
        return is_loopback(name) or name in self._names or (self._everywhere and _is_address(name))

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


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _answer(send: Send, path: str, status: int, words: str, hint: str | None, more: dict[str, str]) -> None:
    body, kind = told(path, status, words, hint)
    headers = {"content-type": kind, "content-length": str(len(body)), **more}
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})
