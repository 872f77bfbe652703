"""A model behind the Responses API, through the SDK: bounded attempts, deadlines that hold, errors by their class.

The SDK carries bytes and names errors. Retries, redirects and deadlines are ours, and the body is read by `replies`.
It is loaded at the first request: what never asks a model does not pay for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.core.hostile import storable
from trader_cli.core.redaction import keep_secret
from trader_cli.schemas.model import ModelSpec
from trader_cli.schemas.question import OK, Answer, Question
from trader_cli.tools.models import replies, requests
from trader_cli.tools.models.purse import OverBudgetError, Purse, Tariff
from trader_cli.tools.rows import dumps

T = TypeVar("T")

_LOG = logging.getLogger("trader.model")

PROOF_SECS = 10.0
"""The longest wait for a server to say that it knows a model."""

OPENAI_URL = "https://api.openai.com/v1"
ATTEMPTS = 3
BACKOFF_SECS, MOST_BACKOFF_SECS = 0.5, 8.0
MOST_BODY_BYTES = 4_000_000
CYCLE_SECS = 60
"""For how long all models of one cycle may be waited for; longer only where one answer may take longer."""

_FATAL_CODES = {
    "insufficient_quota": "quota",
    "credit_balance_exhausted": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "model_not_found": "unknown_model",
    "invalid_api_key": "denied",
    "invalid_prompt": "refused",
    "content_policy_violation": "refused",
}
_FATAL_STATUSES = {
    400: "invalid_request",
    401: "denied",
    402: "quota",
    403: "denied",
    404: "unknown_model",
    413: "invalid_request",
    422: "invalid_request",
}
_ERROR_FIELDS = ("code", "type", "message")
"""What an error's body may say in words; anything else in their places is nothing."""
_PERHAPS_BILLED = frozenset({408, 502, 504, *range(520, 528)})
"""A gateway gave up on a server that may have answered."""
_RETRIED_STATUSES = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class Server:
    """Where models are asked.

    Attributes:
        url: of the API, without a slash at its end.
        key: sent as a bearer token to this host and no other.
        timeout_secs: the longest wait for one answer.
    """

    url: str
    key: str
    timeout_secs: int

    @property
    def host(self) -> str:
        """The host's name, and its port where one is named."""
        return urlsplit(self.url).netloc

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, whatever way its address is written."""
        name = (urlsplit(self.url).hostname or "").rstrip(".")
        return name == "openai.com" or name.endswith(".openai.com")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine: no proxy stands between."""
        name = urlsplit(self.url).hostname or ""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name).is_loopback
        return name == "localhost"


class Line:
    """The connection to a server, shared by all models behind it, and the time a cycle has left for them.

    `pause` waits so many seconds and is False when the run is about to end; `halted` says why nothing more may be
    asked, if so.
    """

    def __init__(
        self, server: Server, pause: Callable[[float], bool], halted: Callable[[], str | None] = lambda: None
    ) -> None:
        self.server = server
        self.pause = pause
        self.halted = halted
        self._client: Any = None
        self._trace = ""
        self._spent = 0.0

    def left(self, trace_id: str) -> float:
        """Seconds that a trace's models may still take."""
        if trace_id != self._trace:
            self._trace, self._spent = trace_id, 0.0
        return max(CYCLE_SECS, self.server.timeout_secs) - self._spent

    def took(self, secs: float) -> None:
        """Count time against the trace that was asked for last."""
        self._spent += secs

    def client(self) -> Any:
        """The SDK's client: no retries, no redirects, no proxy to this machine, nothing logged."""
        if self._client is None:
            os.environ.pop("OPENAI_LOG", None)  # its debug log would print whole requests, past our redaction
            _keep_secrets_of_the_environment()
            import httpx2

            with _absent("aiohttp"):  # ccxt brings it; the SDK would load 9 MB of it for a transport of no use here
                import openai

            with _named("OPENAI_CUSTOM_HEADERS"):
                http = httpx2.Client(
                    follow_redirects=False,
                    trust_env=not self.server.is_loopback,
                    event_hooks={"response": [_bounded]},
                )
                self._client = openai.OpenAI(
                    api_key=self.server.key,
                    base_url=self.server.url,
                    max_retries=0,
                    default_headers={
                        "Authorization": f"Bearer {self.server.key}",  # no other from the environment
                        "Accept-Encoding": "identity",
                    },
                    http_client=http,
                )
            if not self.server.is_openai:
                self._client.organization = self._client.project = None  # nobody else's business
        return self._client

    def close(self) -> None:
        """Let go of the connection, if one was made; a request that nobody waits for ends with it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


@dataclass(frozen=True, slots=True)
class _Came:
    """What one attempt brought.

    Attributes:
        wait: how long the server asks to wait, in seconds.
        billed: False when it cannot cost anything.
        late: a thread that nobody waits for may still be reading it.
    """

    reply: replies.Reply
    request_id: str | None = None
    body_sha256: str | None = None
    wait: float | None = None
    billed: bool | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A model's name, and what is known of it; `spec` is None where the table does not know it."""

    name: str
    spec: ModelSpec | None
    tariff: Tariff


class OpenAIModel:
    """A model of a server. `choose` says which, at each question: a loop goes on after a default's last day."""

    def __init__(self, choose: Callable[[], Known], line: Line, purse: Purse) -> None:
        self._choose = choose
        self._known = choose()
        self._line = line
        self._purse = purse

    @property
    def name(self) -> str:
        """The model that is asked."""
        return self._known.name

    def answer(self, question: Question) -> Answer:
        """Ask, again where that may help, until an answer, a fatal error, or no time, money or permission is left."""
        self._known = self._choose()
        request = requests.body(question, self.name, self._known.spec)
        earlier: tuple[Answer, ...] = ()
        while True:
            made, came = self._attempt(question, request, len(earlier) + 1)
            wait = self._wait(question, len(earlier) + 1, came)
            if wait is None or not self._line.pause(wait):
                return replace(made, earlier=earlier)
            self._line.took(wait)
            earlier = (*earlier, made)

    def prove(self) -> dict[str, str]:
        """That the server knows the model and takes the key, as evidence; costs nothing.

        Raises ConfigError where only another key or name helps, UpstreamError where nobody answers. Only OpenAI's own
        host is believed when it lists no such model: others need not list theirs at all.
        """
        client = self._line.client()
        import httpx2
        import openai

        host, listed = self._line.server.host, "yes"
        try:
            client.models.retrieve(self.name, timeout=min(PROOF_SECS, self._line.server.timeout_secs))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ConfigError(
                f"{host} does not accept OPENAI_API_KEY (HTTP {error.status_code})", "Check the key and its project."
            ) from None
        except openai.NotFoundError:
            if self._line.server.is_openai:
                raise ConfigError(f'{host} knows no model "{self.name}"', "See: trader models") from None
            listed = "no"
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise UpstreamError(f"{host} could not be asked about its models: {type(error).__name__}") from None
        return {"host": host, "listed": listed}

    def _attempt(self, question: Question, request: dict[str, Any], number: int) -> tuple[Answer, _Came | None]:
        """One request, or why it was not made. Its worst cost is in the ledger before the first byte leaves."""
        noted = requests.noted(request, self._line.server.host)
        blank = Answer(self.name, OK, None, attempt=number, request=noted)
        secs = min(self._line.left(question.trace_id), self._line.server.timeout_secs)
        if (why := self._line.halted()) is not None:
            return replace(blank, status="stopped", error=why), None
        if secs <= 0:
            return replace(blank, status="unavailable", error="no time is left for models in this cycle"), None
        client = self._line.client()  # made, and its library loaded, before money is held and the clock runs
        try:
            held = self._purse.hold_back(question, self.name, self._known.tariff, len(dumps(request)))
        except OverBudgetError as error:
            return replace(blank, status="over_budget", error=str(error)), None
        began = time.monotonic()
        came = _send(client, request, secs)
        took = time.monotonic() - began
        self._line.took(took)
        if came.late:
            self._line.close()
        reply = came.reply
        made = replace(
            blank,
            status=reply.status,
            text=reply.text,
            usage=self._purse.settle(held, self._known.tariff, reply.usage, came.billed),
            latency_ms=round(took * 1000),
            request_id=came.request_id,
            error=reply.error,
            calls=reply.calls,
            items=reply.items,
            body_sha256=came.body_sha256,
            reserve_id=held.reserve_id,
        )
        _log(question, made)
        return made, came

    def _wait(self, question: Question, number: int, came: _Came | None) -> float | None:
        """Seconds before another attempt: as long as the server asks, or twice as long each time; None for no other."""
        if came is None or not came.reply.again or number >= ATTEMPTS:
            return None
        jitter = 0.75 + secrets.randbelow(1000) / 4000
        wait = min(BACKOFF_SECS * 2 ** (number - 1), MOST_BACKOFF_SECS) * jitter if came.wait is None else came.wait
        return wait if wait < self._line.left(question.trace_id) else None


def _log(question: Question, made: Answer) -> None:
    """A line on an attempt."""
    usage, why = made.usage, "" if made.error is None else f": {made.error}"
    words = f"{question.agent.value} asked {made.model}, attempt {made.attempt}: {made.status}{why}"
    _LOG.log(
        logging.INFO if made.status == OK else logging.WARNING,
        f"{words} in {made.latency_ms} ms, {usage.input_tokens}+{usage.output_tokens} tokens, {usage.cost_usd} USD",
        extra={"trace_id": question.trace_id},
    )


def _send(client: Any, request: dict[str, Any], secs: float) -> _Came:
    """One request under a deadline that neither headers nor a body sent byte by byte can pass."""
    import httpx2
    import openai

    over = threading.Event()
    try:
        return _within(secs, lambda: _fetch(client, request, secs, over))
    except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException):
        over.set()
        return _Came(_unavailable(f"no answer within {secs:.3g} s"), late=True)
    except openai.APIStatusError as error:
        return _refused(error)
    except (openai.APIConnectionError, httpx2.HTTPError) as error:
        cause = error.__cause__ or error
        words = storable(str(cause)) or type(cause).__name__
        if isinstance(cause, httpx2.DecodingError):
            return _Came(replies.Reply("malformed", None, words))
        never_sent = isinstance(cause, httpx2.ConnectError)
        return _Came(_unavailable(f"connection failed: {words}"), billed=False if never_sent else None)
    except (openai.OpenAIError, ValueError, TypeError, RecursionError) as error:
        return _Came(replies.Reply("malformed", None, storable(f"{type(error).__name__}: {error}")))


def _fetch(client: Any, request: dict[str, Any], secs: float, over: threading.Event) -> _Came:
    """The body as it comes. Raises what the SDK raises, or TimeoutError when nobody waits any more."""
    raw = bytearray()
    with client.responses.with_streaming_response.create(**request, timeout=secs) as response:
        for chunk in response.iter_bytes():
            raw += chunk
            if over.is_set():
                raise TimeoutError
        request_id = response.headers.get("x-request-id")
    return _Came(replies.read(bytes(raw)), request_id, hashlib.sha256(raw).hexdigest())


def _bounded(response: Any) -> None:
    """A hook on each response before its body is read, an error's too: nothing packed, and no more than a bound."""
    import httpx2

    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("the body is packed, though nobody asked for that", request=response.request)
    stream = response.stream

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in stream:
                size += len(chunk)
                if size > MOST_BODY_BYTES:
                    raise httpx2.DecodingError(f"a body of more than {MOST_BODY_BYTES} bytes", request=response.request)
                yield chunk

        def close(self) -> None:
            stream.close()

    response.stream = Bounded()


def _within(secs: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises, or TimeoutError after `secs`; the thread it is left in ends by itself."""
    box: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            box.put((None, error))

    threading.Thread(target=run, name="model request", daemon=True).start()
    try:
        result, error = box.get(timeout=secs)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # without an error it is a T


def _refused(error: Any) -> _Came:
    """An HTTP status that is not 2xx: what it means, whether to try again, whether it can have been billed."""
    body = error.body if isinstance(error.body, dict) else {}
    code, kind, message = (said if isinstance(said := body.get(name), str) else "" for name in _ERROR_FIELDS)
    code = code or kind
    status = _FATAL_CODES.get(code) or _FATAL_CODES.get(kind) or _FATAL_STATUSES.get(error.status_code)
    redirected = 300 <= error.status_code < 400
    if status is None:
        status = "invalid_request" if redirected else "unavailable"
    headers = error.response.headers
    wait = _retry_after(headers)
    retried = error.status_code in _RETRIED_STATUSES or error.status_code >= 500
    again = status == "unavailable" and retried and headers.get("x-should-retry") != "false"
    said = f"it points to {headers.get('location', 'nowhere')}" if redirected else message or "without a message"
    asked = "" if wait is None else f"; asks to wait {wait:.3g} s"
    words = storable(f"HTTP {error.status_code}{f' {code}' if code else ''}: {said}{asked}")[:500]
    billed = None if error.status_code in _PERHAPS_BILLED else False
    return _Came(replies.Reply(status, None, words, again=again), error.request_id, None, wait, billed)


def _retry_after(headers: Any) -> float | None:
    """Seconds the server asks to wait; None when it does not, or not in seconds."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(TypeError, ValueError):
            secs = float(headers.get(name)) * scale
            if 0 <= secs < float("inf"):
                return secs
    return None


def _unavailable(why: str) -> replies.Reply:
    return replies.Reply("unavailable", None, why, again=True)


def _keep_secrets_of_the_environment() -> None:
    """What the SDK reads of the environment by itself may hold keys and passwords; errors repeat it."""
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        keep_secret("OPENAI_CUSTOM_HEADERS", line.partition(":")[2] or line)
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy") and (password := urlsplit(value).password):
            keep_secret(name, password)


@contextlib.contextmanager
def _absent(package: str) -> Iterator[None]:
    """As if a package that nobody has loaded were not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        del sys.modules[package]


@contextlib.contextmanager
def _named(name: str) -> Any:
    """Say which variable of the environment broke the client, if one did."""
    try:
        yield
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise ConfigError(
            f"the model's client cannot be made: {storable(str(error))}",
            f"Look at {name}, SSL_CERT_FILE and the proxies set here.",
        ) from error
