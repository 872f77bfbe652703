"""ResponsesServer: HTTP on a free port of 127.0.0.1, a script per agent, a record of every request.

A request is judged first; only a good one takes a step of the script.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from tests.responses.answers import Shape, approve, hold, observe, response, said
from tests.responses.models import MODELS
from tests.responses.refusal import RefusedError, error_document
from tests.responses.request import check_request, read_body
from tests.responses.transport import Listener
from tests.responses.wire import Step, Wire, on_wire, wrong_key_message

AGENTS = ("plan", "proposal", "verdict")
QUIET: dict[str, Step] = {"plan": observe(), "proposal": hold(), "verdict": approve()}
"""What is answered where a script has ended."""
CACHED_FROM, CACHED_STEP = 1_024, 128
"""The service caches prefixes from this many tokens on, in steps."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; `body` is empty for one that has none or none that could be read."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes
    received_at: float

    @property
    def agent(self) -> str | None:
        """Who asks, by the name of the answer's format."""
        form = (self.body.get("text") or {}).get("format") if isinstance(self.body.get("text"), dict) else None
        name = form.get("name") if isinstance(form, dict) else None
        return name if isinstance(name, str) else None


class ResponsesServer:
    """The service on loopback, in a `with`; leaving it raises what went wrong inside (a script's own exception).

    Attributes:
        latency_secs: silence before every scripted answer; refusals come at once.
        any_model: take models of any name, as a compatible server does.
        requests: every request, in the order of arrival.
        invalid: body and problem of every request that was refused for what it was.
    """

    def __init__(
        self,
        latency_secs: float = 0.0,
        *,
        port: int = 0,
        key: str | None = None,
        otherwise: Mapping[str, Step] | None = None,
        any_model: bool = False,
    ) -> None:
        self.latency_secs = latency_secs
        self.any_model = any_model
        self.key = key or f"sk-proj-{secrets.token_hex(24)}"
        self.requests: list[Request] = []
        self.invalid: list[tuple[dict[str, Any], str]] = []
        self._otherwise = {**QUIET, **(otherwise or {})}
        self._scripts: dict[str | None, deque[Step]] = {agent: deque() for agent in (*AGENTS, None)}
        self._stored: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._listener = Listener(port, self.answer)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()
        if error is None and self._listener.crashes:
            raise self._listener.crashes[0]

    @property
    def url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return f"http://127.0.0.1:{self._listener.port}/v1"

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a process needs to ask this server."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": self.key}

    # --- the script

    def script(self, agent: str | None, *steps: Step) -> None:
        """Queue answers for "plan", "proposal" or "verdict"; None is for whoever asks and has no other."""
        if agent not in self._scripts:
            raise ValueError(f"agent needs one of {', '.join(AGENTS)} or None, was {agent!r}")
        with self._lock:
            self._scripts[agent].extend(steps)

    def otherwise(self, agent: str, step: Step) -> None:
        """What an agent is answered when its queue is empty."""
        self._otherwise[agent] = step

    @property
    def unplayed(self) -> dict[str | None, int]:
        """How many steps are left, by agent."""
        return {agent: len(queue) for agent, queue in self._scripts.items() if queue}

    def asked(self, agent: str | None = None) -> list[Request]:
        """The requests for a response: all, or one agent's."""
        posts = [one for one in self.requests if (one.method, one.path) == ("POST", "/v1/responses")]
        return posts if agent is None else [one for one in posts if one.agent == agent]

    # --- answering

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Wire:
        """What a request gets. Called from a thread of its own for every connection."""
        received_at = time.monotonic()
        body: dict[str, Any] = {}
        try:
            if method == "POST" and path == "/v1/responses":
                body = read_body(raw, headers.get("content-type", ""))
        except RefusedError as refused:
            self._note(Request(method, path, headers, body, raw, received_at))
            return self._refuse(body, refused)
        request = Request(method, path, headers, body, raw, received_at)
        self._note(request)
        try:
            self._check_key(headers)
            if (method, path) != ("POST", "/v1/responses"):
                return self._model(method, path)
            with self._lock:
                stored = dict(self._stored)
            check_request(body, stored, self.any_model)
        except RefusedError as refused:
            return self._refuse(body, refused)
        return self._play(request)

    def _play(self, request: Request) -> Wire:
        with self._lock:
            queue = next((self._scripts[one] for one in (request.agent, None) if self._scripts.get(one)), None)
            step = queue.popleft() if queue else self._otherwise.get(request.agent or "", {"answer": "ok"})
        while callable(step) and not isinstance(step, Shape):
            step = step(request.body)
        wire = on_wire(step)
        body = wire.body
        if wire.said is not None:
            body = self._document(wire.said, request)
        return Wire(
            None,
            body,
            wire.status,
            wire.content_type,
            {**self._headers(), **wire.headers},
            wire.wait_secs + self.latency_secs,
            wire.head_secs,
            wire.body_secs,
            wire.ends,
        )

    def _document(self, step: Any, request: Request) -> bytes:
        shape = step if isinstance(step, Shape) else said(step)
        made = response(shape, request.body, len(request.raw) // 4, self._cached(request))
        if request.body.get("store") is not False:
            calls = {item["call_id"] for item in made["output"] if item["type"] == "function_call"}
            with self._lock:
                self._stored[made["id"]] = calls
        return json.dumps(made, indent=2).encode()

    def _cached(self, request: Request) -> int:
        """Tokens of the longest beginning that an earlier request had too."""
        lately = [one.raw for one in self.asked()[-6:] if one is not request]
        longest = max((_common(one, request.raw) for one in lately), default=0) // 4
        return longest // CACHED_STEP * CACHED_STEP if longest >= CACHED_FROM else 0

    def _headers(self) -> dict[str, str]:
        left = max(0, 499 - len(self.requests))
        return {
            "x-request-id": f"req_{secrets.token_hex(16)}",
            "openai-processing-ms": str(max(1, int(self.latency_secs * 1000))),
            "openai-version": "2020-10-01",
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-limit-tokens": "500000",
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-remaining-tokens": "499000",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-reset-tokens": "6m0s",
        }

    # --- refusing

    def _check_key(self, headers: dict[str, str]) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            message = "You didn't provide an API key. You need to provide your API key in an Authorization header"
            raise RefusedError(f"{message} using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).", status=401)
        if not secrets.compare_digest(key.encode(), self.key.encode()):
            raise RefusedError(wrong_key_message(masked(key)), "invalid_api_key", status=401)

    def _model(self, method: str, path: str) -> Wire:
        """GET /v1/models and /v1/models/NAME; nothing else is here."""
        if method == "GET" and path == "/v1/models":
            return self._json({"object": "list", "data": [_described(name) for name in MODELS]})
        name = path.removeprefix("/v1/models/")
        if method != "GET" or name == path:
            raise RefusedError(f"Invalid URL ({method} {path})", status=404)
        if name not in MODELS:
            message = f"The model '{name}' does not exist or you do not have access to it."
            raise RefusedError(message, "model_not_found", "model", status=404)
        return self._json(_described(name))

    def _json(self, document: dict[str, Any], status: int = 200) -> Wire:
        return Wire(body=json.dumps(document, indent=2).encode(), status=status, headers=self._headers())

    def _refuse(self, body: dict[str, Any], refused: RefusedError) -> Wire:
        with self._lock:
            self.invalid.append((body, refused.message))
        kind = "invalid_request_error"
        return self._json(error_document(refused.message, kind, refused.param, refused.code), refused.status)

    def _note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two requests have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def masked(key: str) -> str:
    """A key as the service repeats it: both ends, and stars."""
    if len(key) <= 12:
        return key[:2] + "*" * len(key[2:])
    return key[:8] + "*" * (len(key) - 12) + key[-4:]


def _described(name: str) -> dict[str, Any]:
    described = {"id": name, "object": "model", "created": 1_754_425_928, "owned_by": "system"}
    shutdown = MODELS[name].shutdown_date
    return described if shutdown is None else {**described, "shutdown_date": shutdown}
