"""The adapter's own clock and patience: the limit of a cycle, pauses that end, bodies without end, other traces."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests import responses_server as rs
from tests.desks import desk
from tests.fakes import NOW
from tests.responses_server import ResponsesServer
from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.core.redaction import redact
from trader_cli.schemas import planner
from trader_cli.schemas.question import Agent, Question
from trader_cli.tools.models.openai import CYCLE_SECS, MOST_BODY_BYTES, Known, Line, OpenAIModel, Server
from trader_cli.tools.models.purse import Purse, Tariff
from trader_cli.tools.models.table import spec_of

ASKED = Question(Agent.PLANNER, "t1", "Plan.", {"a": 1}, "plan", planner.WIRE, 1_500, at=NOW)
SOON = {"retry-after-ms": "1"}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as running:
        yield running


class Asking:
    """One model at the server's line, and every pause it asked for."""

    def __init__(self, server: ResponsesServer, timeout_secs: int = 30, patient: Callable[[], bool] = lambda: True):
        self.paused: list[float] = []

        def pause(secs: float) -> bool:
            self.paused.append(secs)
            return patient()

        self.line = Line(Server(server.url, server.key, timeout_secs), pause)
        purse = Purse(desk().ledger, Decimal(1))
        known = Known("gpt-5-mini", spec_of("gpt-5-mini"), Tariff(None, known=False))
        self.model = OpenAIModel(lambda: known, self.line, purse)


@pytest.fixture
def asking(server: ResponsesServer) -> Iterator[Asking]:
    made = Asking(server)
    with closing(made.line):
        yield made


def test_an_answer_may_take_what_the_cycle_has_left_and_no_more(server: ResponsesServer, asking: Asking) -> None:
    asking.line.left("t1")
    asking.line.took(CYCLE_SECS - 2)
    server.script("plan", rs.hang(9))
    answer = asking.model.answer(ASKED)
    assert (answer.status, answer.attempt, len(server.requests)) == ("unavailable", 1, 1)
    assert "no answer within 2 s" in str(answer.error)
    assert asking.line.left("t1") <= 0


def test_with_no_time_left_nothing_is_asked_or_held_back_until_the_next_trace(
    server: ResponsesServer, asking: Asking
) -> None:
    asking.line.left("t1")
    asking.line.took(CYCLE_SECS)
    answer = asking.model.answer(ASKED)
    assert (answer.status, answer.reserve_id, server.requests) == ("unavailable", None, [])
    assert answer.error == "no time is left for models in this cycle"
    assert asking.model.answer(replace(ASKED, trace_id="t2")).status == "ok"


def test_waiting_counts_and_what_would_pass_the_limit_is_not_waited_for(
    server: ResponsesServer, asking: Asking
) -> None:
    server.script("plan", rs.rate_limited(20), rs.rate_limited(20), rs.rate_limited(20))
    assert asking.model.answer(ASKED).attempt == 3
    assert asking.paused == [20, 20]
    assert asking.line.left("t1") < CYCLE_SECS - 40
    server.script("plan", rs.rate_limited(CYCLE_SECS - 40))
    answer = asking.model.answer(ASKED)
    assert (answer.attempt, asking.paused) == (1, [20, 20])


def test_a_limit_for_one_answer_that_is_longer_than_the_cycles_is_the_cycles(server: ResponsesServer) -> None:
    assert Asking(server, timeout_secs=600).line.left("t1") == 600


def test_pauses_grow_and_are_never_alike(server: ResponsesServer, asking: Asking) -> None:
    for _ in range(5):
        server.script("plan", *[rs.server_error(500)] * 3)
        asking.model.answer(ASKED)
    first, second = asking.paused[::2], asking.paused[1::2]
    assert all(0.375 <= secs <= 0.5 for secs in first)
    assert all(0.75 <= secs <= 1 for secs in second)
    assert len(set(asking.paused)) > 2


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_a_retry_after_that_is_no_number_of_seconds_is_as_if_not_there(
    value: str, server: ResponsesServer, asking: Asking
) -> None:
    server.script("plan", rs.rate_limited(value))
    assert asking.model.answer(ASKED).status == "ok"
    assert 0.375 <= asking.paused[0] <= 0.5


def test_a_run_that_ends_in_a_pause_asks_no_more_and_keeps_every_attempt(server: ResponsesServer) -> None:
    impatient = Asking(server, patient=lambda: False)
    server.script("plan", rs.server_error(503, SOON), rs.plan())
    with closing(impatient.line):
        answer = impatient.model.answer(ASKED)
    assert (answer.status, answer.attempt, answer.earlier, len(server.requests)) == ("unavailable", 1, (), 1)


def test_attempts_are_kept_in_order_each_with_its_own_reserve(server: ResponsesServer, asking: Asking) -> None:
    server.script("plan", rs.server_error(500, SOON), rs.rate_limited(retry_after_ms=1), rs.plan())
    answer = asking.model.answer(ASKED)
    attempts = [*answer.earlier, answer]
    assert [(one.attempt, one.status) for one in attempts] == [(1, "unavailable"), (2, "unavailable"), (3, "ok")]
    assert len({one.reserve_id for one in attempts}) == len({one.request_id for one in attempts}) == 3


def test_a_body_without_end_is_left_where_it_is(server: ResponsesServer, asking: Asking) -> None:
    server.script("plan", rs.other_body(b" " * (MOST_BODY_BYTES + 1), "application/json"))
    answer = asking.model.answer(ASKED)
    assert (answer.status, len(server.requests)) == ("malformed", 1)
    assert str(MOST_BODY_BYTES) in str(answer.error)


def test_an_error_whose_body_has_no_end_is_left_where_it_is(server: ResponsesServer, asking: Asking) -> None:
    server.script("plan", rs.status(500, message="x" * (MOST_BODY_BYTES + 1)))
    answer = asking.model.answer(ASKED)
    assert (answer.status, len(server.requests)) == ("malformed", 1)
    assert str(MOST_BODY_BYTES) in str(answer.error)


@pytest.mark.parametrize("code", [200, 400])
def test_a_body_that_is_packed_though_nobody_asked_is_not_unpacked(
    code: int, server: ResponsesServer, asking: Asking
) -> None:
    packed = gzip.compress(b"[" * 50_000_000, 1)
    assert len(packed) < MOST_BODY_BYTES
    wire = rs.other_body(packed, "application/json", code)
    server.script("plan", replace(wire, headers={"content-encoding": "gzip"}))
    answer = asking.model.answer(ASKED)
    assert (answer.status, len(server.requests)) == ("malformed", 1)
    assert "packed" in str(answer.error)
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_connection_whose_answer_was_given_up_is_not_used_again(server: ResponsesServer) -> None:
    made = Asking(server, timeout_secs=1)
    with closing(made.line):
        server.script("plan", rs.dribble(rs.plan(), 9), rs.plan())
        before = made.line.client()
        answer = made.model.answer(ASKED)
        assert [one.status for one in (*answer.earlier, answer)] == ["unavailable", "ok"]
        assert made.line.client() is not before


@pytest.mark.parametrize("name", ["message", "type", "code"])
@pytest.mark.parametrize("depth", [300, 975, 980, 5_000])
def test_an_error_that_is_nested_without_end_is_a_refusal_and_no_crash(
    name: str, depth: int, server: ResponsesServer, asking: Asking
) -> None:
    body = b'{"error":{"' + name.encode() + b'":' + b"[" * depth + b"]" * depth + b"}}"
    server.script("plan", rs.other_body(body, "application/json", 400))
    answer = asking.model.answer(ASKED)
    assert (answer.status, answer.usage.cost_basis) == ("invalid_request", "not billed")


@pytest.mark.parametrize("call_id", ["call_a\0b", "call_sk-abcdefgh12345678"])
def test_a_call_whose_id_cannot_be_kept_is_malformed(call_id: str, server: ResponsesServer, asking: Asking) -> None:
    server.script("plan", rs.tool_call("get_ohlcv", {"timeframe": "1h", "limit": 3}, call_id=call_id))
    assert asking.model.answer(ASKED).status == "malformed"


@pytest.mark.parametrize(
    ("url", "is_openai"),
    [
        ("https://api.openai.com/v1", True),
        ("https://API.OpenAI.com/v1", True),
        ("https://eu.api.openai.com./v1", True),
        ("https://openai.com.example.org/v1", False),
        ("https://notopenai.com/v1", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_openais_own_host_is_known_however_it_is_written(url: str, is_openai: bool) -> None:
    assert Server(url, "sk-x", 30).is_openai is is_openai


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1:80", True), ("localhost", True), ("[::1]:8000", True), ("127.evil.com", False), ("10.0.0.1", False)],
)
def test_only_this_machine_is_loopback(host: str, here: bool) -> None:
    assert Server(f"http://{host}/v1", "sk-x", 30).is_loopback is here


@pytest.mark.parametrize(
    ("code", "basis"), [(500, "not billed"), (503, "not billed"), (502, "unpriced"), (504, "unpriced")]
)
def test_a_gateway_that_gave_up_may_have_been_billed(
    code: int, basis: str, server: ResponsesServer, asking: Asking
) -> None:
    server.script("plan", *[rs.status(code, headers=SOON)] * 3)
    answer = asking.model.answer(ASKED)
    assert {one.usage.cost_basis for one in (*answer.earlier, answer)} == {basis}


def test_no_organisation_of_the_environment_is_told_to_another_server(
    server: ResponsesServer, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    asking.model.answer(ASKED)
    (request,) = server.requests
    assert not {"openai-organization", "openai-project"} & request.headers.keys()


def test_a_secret_in_a_header_of_the_environment_is_not_repeated(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Api-Key: gateway\rsecret-hush1234")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-hush5678@127.0.0.1:9")
    answer = asking.model.answer(ASKED)
    assert answer.status != "ok"
    assert "hush1234" not in str(answer.error)
    assert redact("proxy-hush5678") != "proxy-hush5678"


@pytest.mark.parametrize(("name", "value"), [("ALL_PROXY", "socks5://127.0.0.1:9"), ("SSL_CERT_FILE", "/nonexistent")])
def test_an_environment_the_sdk_cannot_be_made_in_is_a_wrong_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="the model's client cannot be made"):
        Line(Server("https://models.invalid/v1", "sk-x", 30), lambda secs: True).client()


def test_a_model_that_is_replaced_while_a_loop_runs_is_asked_no_more(server: ResponsesServer, asking: Asking) -> None:
    names = iter(["gpt-5-mini", "gpt-5-mini", "gpt-5.6-terra"])
    purse = Purse(desk().ledger, Decimal(1))
    model = OpenAIModel(
        lambda: Known(name := next(names), spec_of(name), Tariff(None, known=False)), asking.line, purse
    )
    for _ in range(2):
        model.answer(ASKED)
    assert [request.body["model"] for request in server.requests] == ["gpt-5-mini", "gpt-5.6-terra"]
    assert [request.body["reasoning"]["effort"] for request in server.requests] == ["minimal", "none"]


def test_the_sdk_is_loaded_without_the_transport_that_ccxt_brings() -> None:
    code = """
import sys
from trader_cli.tools.models.openai import Line, Server
Line(Server("http://127.0.0.1:9/v1", "k", 1), lambda secs: True).client()
import openai
print([name for name in sys.modules if name.split(".")[0] == "aiohttp"], hasattr(openai, "OpenAI"))
import aiohttp
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


# Whether a model is there at all.


def test_a_model_that_its_server_lists_is_there(asking: Asking) -> None:
    assert asking.model.prove() == {"host": asking.line.server.host, "listed": "yes"}


@contextmanager
def answers(status: int) -> Iterator[OpenAIModel]:
    """A model of a server that answers every question about models with a status."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Not on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        line = Line(Server(f"http://127.0.0.1:{listening.server_port}/v1", "k" * 20, 5), lambda secs: True)
        known = Known("gpt-5-mini", None, Tariff(None, known=False))
        try:
            with closing(line):
                yield OpenAIModel(lambda: known, line, Purse(desk().ledger, Decimal(1)))
        finally:
            listening.shutdown()


def test_a_server_that_lists_no_models_proves_nothing_and_is_no_fault() -> None:
    with answers(404) as model:
        assert model.prove()["listed"] == "no"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_taken_is_a_matter_of_settings(status: int) -> None:
    with answers(status) as model, pytest.raises(ConfigError, match="does not accept OPENAI_API_KEY"):
        model.prove()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_cannot_answer_now_is_an_outage(status: int) -> None:
    with answers(status) as model, pytest.raises(UpstreamError, match="could not be asked about its models"):
        model.prove()


def test_a_server_that_is_not_there_is_an_outage(server: ResponsesServer) -> None:
    made = Asking(server)
    server.__exit__(None, None, None)
    with closing(made.line), pytest.raises(UpstreamError, match="could not be asked about its models"):
        made.model.prove()
