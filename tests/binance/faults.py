"""What can go wrong between a client and the exchange, each for the next requests of a path.

A fault says three things: whether the deed is done, what is answered instead, and how the connection ends.
`dataclasses.replace` joins them: `replace(accept_then_drop(), hidden_ms=3_000)`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

HTML = "text/html; charset=utf-8"
JSON = "application/json;charset=UTF-8"
PAGE = b"<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong.

    Attributes:
        executed: whether the request is served at all; else nothing happened.
        delay_ms: wait before the engine, on the server's clock.
        hidden_ms: for how long the order this places cannot be looked up.
        status, body, content_type, headers: the answer instead, where `status` is not None.
        ends: `well`; `hang` (no answer, no close); `reset` (RST, no answer); `closed` (close, no answer);
            `cut` (half of the answer, then a close).
        changes: fields of the true answer that are replaced; None takes the field away.
        holds_secs: a 429 that is meant: who asks again before is banned.
    """

    name: str
    executed: bool = True
    delay_ms: int = 0
    hidden_ms: int = 0
    status: int | None = None
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: str = "well"
    changes: Mapping[str, Any] = field(default_factory=dict)
    holds_secs: int = 0


@dataclass(slots=True)
class _Queued:
    method: str
    path: str
    fault: Fault
    left: int | None


class Faults:
    """What goes wrong next, by method and path; `*` stands for any."""

    def __init__(self) -> None:
        self._queued: list[_Queued] = []
        self._lock = threading.Lock()

    def next(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """For the next so many requests."""
        with self._lock:
            self._queued.append(_Queued(method, path, fault, times))

    def always(self, method: str, path: str, fault: Fault) -> None:
        """Until cleared."""
        with self._lock:
            self._queued.append(_Queued(method, path, fault, None))

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._queued.clear()

    @property
    def left(self) -> list[tuple[str, str, str, int | None]]:
        """What still waits: method, path, the fault's name, for how many requests."""
        with self._lock:
            return [(one.method, one.path, one.fault.name, one.left) for one in self._queued]

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if it has one."""
        with self._lock:
            for one in self._queued:
                if one.method in ("*", method) and one.path in ("*", path):
                    if one.left is not None:
                        one.left -= 1
                    if one.left == 0:
                        self._queued.remove(one)
                    return one.fault
        return None


# --- connections


def drop_before() -> Fault:
    """The connection closes, nothing was done."""
    return Fault("drop_before", executed=False, ends="closed")


def accept_then_drop() -> Fault:
    """Done, and the connection is reset."""
    return Fault("accept_then_drop", ends="reset")


def accept_then_hang() -> Fault:
    """Done, and no answer ever comes."""
    return Fault("accept_then_hang", ends="hang")


def hang() -> Fault:
    """Not done, and no answer ever comes."""
    return Fault("hang", executed=False, ends="hang")


def delay(ms: int) -> Fault:
    """Waits before the engine; what has left its window by then is refused (-1021)."""
    return Fault("delay", delay_ms=ms)


def hidden(ms: int) -> Fault:
    """The order is taken and answered, and a look-up says -2013 for so long."""
    return Fault("hidden", hidden_ms=ms)


def cut_answer() -> Fault:
    """Done; half of the answer that was announced, then a close."""
    return Fault("cut_answer", ends="cut")


# --- statuses

WORDS = {
    -1000: (500, "An unknown error occurred while processing the request."),
    -1001: (500, "Internal error; unable to process your request. Please try again."),
    -1006: (500, "An unexpected response was received from the message bus. Execution status unknown."),
    -1007: (504, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."),
    -1008: (503, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    -1015: (429, "Too many new orders; current limit is 100 orders per 10 SECOND."),
    -1016: (503, "This service is no longer available."),
    -2010: (400, "Account has insufficient balance for requested action."),
    -2013: (400, "Order does not exist."),
    -2015: (401, "Invalid API-key, IP, or permissions for action."),
}


def error(code: int, executed: bool = False, status: int | None = None, message: str | None = None) -> Fault:
    """A JSON error, with the status and the words it usually has."""
    usual, words = WORDS.get(code, (500, "An error."))
    return _json(f"error {code}", {"code": code, "msg": message or words}, status or usual, executed)


def html(status: int, executed: bool = False) -> Fault:
    """A gateway's page: 500, 502, 503, 504."""
    titles = {500: b"500 Internal Server Error", 502: b"502 Bad Gateway", 503: b"503 Service Temporarily Unavailable"}
    title = titles.get(status, b"504 Gateway Time-out")
    return Fault(f"html {status}", executed, status=status, body=PAGE % (title, title), content_type=HTML)


def waf() -> Fault:
    """403: the firewall takes offence."""
    title = b"ERROR: The request could not be satisfied"
    return Fault("waf", False, status=403, body=PAGE % (title, title), content_type=HTML)


def geo_blocked() -> Fault:
    """451: not from here."""
    words = "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use."
    return _json("geo_blocked", {"code": 0, "msg": words}, 451, False)


def rate_limited(retry_after: int = 60, holds: bool = True) -> Fault:
    """429; who asks again before `retry_after` seconds is banned, unless the limit does not hold."""
    words = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
    made = _json("rate_limited", {"code": -1003, "msg": words}, 429, False)
    return replace(made, headers={"Retry-After": str(retry_after)}, holds_secs=retry_after if holds else 0)


def banned(retry_after: int = 120) -> Fault:
    """418, once; `server.ban` lasts."""
    made = _json("banned", {"code": -1003, "msg": "Way too much request weight used; IP banned."}, 418, False)
    return replace(made, headers={"Retry-After": str(retry_after)})


def duplicate(executed: bool = True) -> Fault:
    """-2010 of an id that is in use: the order is there."""
    return replace(error(-2010, executed, message="Duplicate order sent."), name="duplicate")


def redirect(path: str = "/api/v3/time") -> Fault:
    """302 to another path."""
    return Fault("redirect", False, status=302, headers={"Location": path}, content_type=HTML)


def redirect_to_self(path: str = "/api/v3/order") -> Fault:
    """307 to the same path: who follows sends the order again."""
    return Fault("redirect_to_self", False, status=307, headers={"Location": path}, content_type=HTML)


# --- broken answers, all of deeds that were done


def truncated() -> Fault:
    """Half an order, as if it were all."""
    return _body("truncated", b'{"symbol":"BTCUSDT","orderId":100')


def empty() -> Fault:
    """200 and nothing."""
    return _body("empty", b"")


def page() -> Fault:
    """200 and a page."""
    return replace(_body("page", PAGE % (b"Maintenance", b"Maintenance")), content_type=HTML)


def null() -> Fault:
    """200 and null."""
    return _body("null", b"null")


def empty_object() -> Fault:
    """200 and {}."""
    return _body("empty_object", b"{}")


def bad_gzip() -> Fault:
    """200 and a body that says it is gzip and is not."""
    return replace(_body("bad_gzip", b"\x1f\x8bnot gzip at all"), headers={"Content-Encoding": "gzip"})


def not_numeric(name: str = "executedQty") -> Fault:
    """A field that should be a number."""
    return changed(**{name: "not-a-number"})


def missing(*names: str) -> Fault:
    """The true answer without some of its fields; an order without its id by default."""
    return changed(**dict.fromkeys(names or ("orderId",)))


def changed(**fields: Any) -> Fault:
    """The true answer with other fields."""
    return Fault(f"changed {', '.join(fields)}", changes=fields)


def wrong_client_id() -> Fault:
    """An answer about somebody else's order."""
    return changed(clientOrderId="somebody-elses")


def wrong_side(side: str = "SELL") -> Fault:
    """An answer about the other side."""
    return changed(side=side)


def wrong_symbol(symbol: str = "ETHUSDT") -> Fault:
    """An answer about another symbol."""
    return changed(symbol=symbol)


def overfilled(qty: str = "9.00000000") -> Fault:
    """More executed than was sent."""
    return changed(executedQty=qty)


def _json(name: str, document: object, status: int, executed: bool) -> Fault:
    return Fault(name, executed, status=status, body=json.dumps(document).encode())


def _body(name: str, body: bytes) -> Fault:
    return Fault(name, status=200, body=body)


KINDS: dict[str, Callable[..., Fault]] = {
    made.__name__: made
    for made in (
        drop_before,
        accept_then_drop,
        accept_then_hang,
        hang,
        delay,
        hidden,
        cut_answer,
        error,
        html,
        waf,
        geo_blocked,
        rate_limited,
        banned,
        duplicate,
        redirect,
        redirect_to_self,
        truncated,
        empty,
        page,
        null,
        empty_object,
        bad_gzip,
        not_numeric,
        missing,
        changed,
        wrong_client_id,
        wrong_side,
        wrong_symbol,
        overfilled,
    )
}
"""By the name that `POST /control/fault` takes."""
