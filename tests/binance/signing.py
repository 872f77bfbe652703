"""What a signed request must carry: a known key, a signature over the very bytes sent, a timestamp in its window."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.binance.amounts import whole
from tests.binance.refusal import RefusedError, missing

AHEAD_MS = 1_000
DEFAULT_WINDOW_MS, LONGEST_WINDOW_MS = 5_000, 60_000


@dataclass(frozen=True, slots=True)
class Window:
    """For how long a request may still be taken, on the server's clock in ms."""

    timestamp: int
    recv_ms: int

    def check(self, now: int) -> None:
        """Raises RefusedError (-1021) outside of it."""
        if self.timestamp >= now + AHEAD_MS:
            raise RefusedError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - self.timestamp > self.recv_ms:
            raise RefusedError(-1021, "Timestamp for this request is outside of the recvWindow.")


def parameters(query: str, body: str) -> dict[str, str]:
    """All that was sent; the query wins. Raises RefusedError where a name comes twice in one of them."""
    sent: dict[str, str] = {}
    for part in (body, query):
        pairs = parse_qsl(part, keep_blank_values=True)
        if len({name for name, _ in pairs}) < len(pairs):
            raise RefusedError(-1101, "Duplicate values for a parameter detected.")
        sent.update(pairs)
    return sent


def check_key(headers: Mapping[str, str], known: str, unknown_code: int) -> None:
    """Raises RefusedError for no key, a key that cannot be, a key that is another one. `headers` in small letters."""
    key = headers.get("x-mbx-apikey", "")
    if re.fullmatch("[A-Za-z0-9]{64}", key, re.ASCII) is None:
        raise RefusedError(-2014, "API-key format invalid.", 401)
    if not hmac.compare_digest(key, known):
        raise bad_key(unknown_code)


def bad_key(code: int) -> RefusedError:
    """-2008 or -2015."""
    words = {-2008: "Invalid Api-Key ID.", -2015: "Invalid API-key, IP, or permissions for action."}
    return RefusedError(code, words[code], 401)


def check_signature(query: str, body: str, sent: Mapping[str, str], secret: str, now: int) -> Window:
    """The request's window, open at `now`. Raises RefusedError: -1102, -1131, -1021, -1022."""
    for name in ("timestamp", "signature"):
        if not sent.get(name):
            raise missing(name)
    timestamp = whole("timestamp", sent["timestamp"])
    recv_ms = whole("recvWindow", sent.get("recvWindow", str(DEFAULT_WINDOW_MS)))
    if recv_ms > LONGEST_WINDOW_MS:
        raise RefusedError(-1131, "recvWindow must be less than 60000")
    window = Window(timestamp, recv_ms)
    window.check(now)
    signed = "".join(_unsigned(part) for part in (query, body))
    due = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(due.encode(), sent["signature"].lower().encode()):
        raise RefusedError(-1022, "Signature for this request is not valid.")
    return window


def _unsigned(part: str) -> str:
    """The very text that was signed: all of it but the signature, which comes last."""
    head, found, _ = part.rpartition("signature=")
    return head.removesuffix("&") if found else part
