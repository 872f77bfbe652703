"""The loopback Responses server behaves like the service: driven by the real SDK over real HTTP."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response

from tests import responses_server as rs
from tests.responses.models import MODELS
from tests.responses.official import WHERE, official
from tests.responses.refusal import RefusedError
from tests.responses.request import check_request
from tests.responses.strict import problem_of
from tests.responses_server import ResponsesServer
from trader_cli.schemas import judge, planner, trader

ROOT = Path(__file__).resolve().parent.parent
FORMATS = {"plan": planner.WIRE, "proposal": trader.WIRE, "verdict": judge.WIRE}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_ohlcv",
    "description": "Candles.",
    "parameters": {
        "type": "object",
        "properties": {"limit": {"type": "integer", "minimum": 1, "maximum": 200}},
        "required": ["limit"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(autouse=True)
def visited(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every address this process connects to; no test of this file leaves loopback."""
    addresses: list[Any] = []

    class Watched(socket.socket):
        def connect(self, address: Any, /) -> None:
            addresses.append(address)
            super().connect(address)

    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("OPENAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "socket", Watched)
    yield addresses
    assert {address[0] for address in addresses} <= {"127.0.0.1"}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _http() -> Iterator[None]:
    with openai.DefaultHttpxClient(trust_env=False) as Asking.http:
        yield


class Asking:
    """The real SDK, without retries, and a good request to begin from."""

    http: httpx2.Client
    """One for all of them: its TLS context takes a while."""

    def __init__(self, server: ResponsesServer, timeout_secs: float = 5.0) -> None:
        self.client = openai.OpenAI(
            base_url=server.url, api_key=server.key, max_retries=0, timeout=timeout_secs, http_client=self.http
        )

    def ask(self, agent: str = "proposal", **changes: Any) -> Response:
        request = good(agent) | changes
        given = {key: value for key, value in request.items() if value is not ...}
        answer = self.client.responses.create(**given)
        assert isinstance(answer, Response)
        return answer

    def refused(self, agent: str = "proposal", **changes: Any) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as caught:
            self.ask(agent, **changes)
        return caught.value


@pytest.fixture
def asking(server: ResponsesServer) -> Asking:
    return Asking(server)


def good(agent: str = "proposal") -> dict[str, Any]:
    form = {"type": "json_schema", "name": agent, "schema": FORMATS[agent], "strict": True}
    return {
        "model": "gpt-5",
        "instructions": "Output JSON only.",
        "input": json.dumps({"signals": [], "room": {}}),
        "text": {"format": form, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "max_output_tokens": 1_500,
        "store": False,
    }


def final(answer: Response) -> Any:
    spoken = [item for item in answer.output if item.type == "message" and item.phase != "commentary"]
    part = spoken[-1].content[0]
    assert part.type == "output_text"
    return json.loads(part.text)


# --- good requests ---------------------------------------------------------------------------


@pytest.mark.parametrize("agent", FORMATS)
def test_a_good_request_of_each_agent_gets_its_quiet_answer(
    server: ResponsesServer, asking: Asking, agent: str
) -> None:
    answer = asking.ask(agent)
    assert final(answer) == {"plan": rs.observe(), "proposal": rs.hold(), "verdict": rs.approve()}[agent]
    assert (answer.status, answer.to_dict()["store"]) == ("completed", False)
    assert answer.usage is not None and answer.usage.input_tokens == len(server.requests[0].raw) // 4
    assert server.invalid == [] and server.requests[0].agent == agent
    assert server.requests[0].headers["authorization"] == f"Bearer {server.key}"


def test_the_answer_is_a_whole_response_with_the_headers_of_the_service(
    server: ResponsesServer, asking: Asking
) -> None:
    raw = asking.client.responses.with_raw_response.create(**good())
    assert Response.model_validate(json.loads(raw.text)).id.startswith("resp_")
    assert raw.headers["x-request-id"].startswith("req_")
    assert {"openai-processing-ms", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests"} <= set(raw.headers)
    assert json.loads(raw.text)["model"] == "gpt-5-2025-08-07"


def test_scripts_are_played_in_order_by_agent_and_end_in_quiet_answers(server: ResponsesServer, asking: Asking) -> None:
    server.script("proposal", rs.buy("0.01"), lambda body: rs.sell(rs.facts(body)["room"].get("max_sell", "7")))
    server.script(None, rs.reject())
    assert final(asking.ask("verdict"))["decision"] == "REJECT"
    assert server.unplayed == {"proposal": 2}
    assert [final(asking.ask())["action"] for _ in range(3)] == ["BUY", "SELL", "HOLD"]
    assert server.unplayed == {} and len(server.asked("proposal")) == 3


def test_a_script_for_an_agent_that_does_not_exist_is_an_error_at_once(server: ResponsesServer) -> None:
    with pytest.raises(ValueError, match="plan, proposal, verdict or None, was 'planner'"):
        server.script("planner", rs.plan())


def test_a_script_that_breaks_is_raised_when_the_server_ends() -> None:
    with pytest.raises(KeyError, match="no such fact"), ResponsesServer() as server:
        server.script("plan", lambda body: body["no such fact"])
        with pytest.raises(openai.APIConnectionError):
            Asking(server).ask("plan")


def test_every_scripted_answer_obeys_the_wire_schema_it_was_asked_for() -> None:
    import jsonschema

    for agent, answers in {
        "plan": (rs.plan(), rs.observe(), rs.SENSIBLE["plan"]),
        "proposal": (rs.buy("1"), rs.sell("0.5"), rs.hold(), rs.sensible_proposal({})),
        "verdict": (rs.approve(), rs.revise("0.1"), rs.reject()),
    }.items():
        for answer in answers:
            jsonschema.Draft202012Validator(FORMATS[agent]).validate(answer)


def test_repeated_long_beginnings_are_counted_as_cached(asking: Asking) -> None:
    long = "words " * 2_000
    first, second = asking.ask(instructions=long), asking.ask(instructions=long)
    assert first.usage is not None and second.usage is not None
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert second.usage.input_tokens_details.cached_tokens >= 1_024


# --- the conversation ------------------------------------------------------------------------


def test_a_tool_round_without_a_store_goes_through_as_the_sdk_repeats_it(
    server: ResponsesServer, asking: Asking
) -> None:
    calls = (("get_ohlcv", {"limit": 5}), ("get_ohlcv", "{not json"))
    server.script("proposal", rs.tool_calls(*calls), rs.commentary(rs.hold()), rs.hold())
    first = asking.ask(tools=[TOOL], include=["reasoning.encrypted_content"])
    assert [item.type for item in first.output] == ["reasoning", "function_call", "function_call"]
    said: list[Any] = [{"role": "user", "content": "{}"}, *(o.model_dump(exclude_none=True) for o in first.output)]
    for item in first.output:
        if item.type == "function_call":
            said.append({"type": "function_call_output", "call_id": item.call_id, "output": "{}"})
    second = asking.ask(tools=[TOOL], input=said)
    said += [o.model_dump(exclude_none=True) for o in second.output] + [{"role": "user", "content": "{}"}]
    asking.ask(tools=[TOOL], input=said)
    assert server.invalid == []


CALL = {"type": "function_call", "call_id": "call_1", "name": "get_ohlcv", "arguments": "{}"}
DONE = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
USER = {"role": "user", "content": "{}"}


@pytest.mark.parametrize(
    ("items", "status", "words"),
    [
        ([USER, CALL], 400, "No tool output found for function call call_1."),
        ([USER, DONE], 400, "No tool call found for function call output with call_id call_1."),
        ([USER, DONE, CALL], 400, "No tool call found"),
        ([USER, CALL, CALL, DONE], 400, "Duplicate function call"),
        ([USER, CALL, DONE, DONE], 400, "Duplicate function call output"),
        ([USER, THOUGHT, CALL, DONE], 404, "Item with id 'rs_1' not found. Items are not persisted when `store`"),
        ([USER, {**THOUGHT, "encrypted_content": "x"}, CALL, DONE], 400, "could not be verified"),
        ([USER, {"type": "item_reference", "id": "msg_1"}], 404, "Items are not persisted"),
        ([USER, {**CALL, "parsed_arguments": {}}, DONE], 400, "Unknown parameter: 'input[1].parsed_arguments'."),
        ([USER, {**CALL, "arguments": {}}, DONE], 400, "Invalid type for 'input[1].arguments'"),
        ([USER, {**CALL, "id": "call_1"}, DONE], 400, "Expected an ID that begins with 'fc'."),
        ([{"role": "user", "content": [{"type": "output_text", "text": ""}]}], 400, "Invalid value: 'output_text'"),
        ([{"role": "nobody", "content": ""}], 400, "nobody"),
        ([USER, {"type": "function_call_output", "call_id": "call_1"}], 400, "Missing required parameter"),
        (["words"], 400, "Invalid type for 'input[0]'"),
    ],
)
def test_a_conversation_that_does_not_hang_together_is_refused(
    asking: Asking, items: list[Any], status: int, words: str
) -> None:
    error = asking.refused(input=items, tools=[TOOL])
    assert (error.status_code, words in error.message) == (status, True), error.message


def test_a_thought_without_what_followed_it_is_refused(server: ResponsesServer, asking: Asking) -> None:
    server.script("proposal", rs.tool_call("get_ohlcv", {"limit": 1}))
    thought = asking.ask(tools=[TOOL]).output[0].model_dump(exclude_none=True)
    assert "without its required following item" in asking.refused(input=[USER, thought]).message


def test_an_earlier_response_can_be_continued_only_where_it_was_stored(server: ResponsesServer, asking: Asking) -> None:
    server.script("proposal", rs.hold(), rs.tool_call("get_ohlcv", call_id="call_9"))
    forgotten, kept = asking.ask(), asking.ask(store=True, tools=[TOOL])
    for changes in ({"previous_response_id": forgotten.id, "store": True}, {"previous_response_id": kept.id}):
        assert asking.refused(**changes).code == "previous_response_not_found"
    assert "call_9" in asking.refused(previous_response_id=kept.id, store=True).message
    asking.ask(previous_response_id=kept.id, store=True, input=[{**DONE, "call_id": "call_9"}])


# --- refusals --------------------------------------------------------------------------------


def form(**changes: Any) -> dict[str, Any]:
    return {"format": {**good()["text"]["format"], **changes}}


REFUSALS: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    ({"extra_body": {"seed": 1}}, "unknown_parameter", "seed", "Unknown parameter: 'seed'."),
    ({"extra_body": {"max_tokens": 9}}, "unknown_parameter", "max_tokens", "Unknown parameter"),
    ({"extra_body": {"response_format": {}}}, "unsupported_parameter", "response_format", "moved to 'text.format'"),
    ({"extra_body": {"reasoning_effort": "low"}}, "unsupported_parameter", "reasoning_effort", "'reasoning.effort'"),
    ({"extra_body": {"messages": []}}, "unsupported_parameter", "messages", "moved to 'input'"),
    ({"model": "gpt-7"}, "model_not_found", "model", "The requested model 'gpt-7' does not exist."),
    ({"model": ...}, "missing_required_parameter", "model", "Missing required parameter: 'model'."),
    ({"input": ...}, "missing_required_parameter", "input", "Missing required parameter: 'input'."),
    ({"input": 7}, "invalid_type", "input", "Invalid type for 'input'"),
    ({"temperature": 0.5}, None, "temperature", "'temperature' is not supported with this model."),
    ({"top_p": 0.5}, None, "top_p", "'top_p' is not supported with this model."),
    ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens", "Expected a value >= 16"),
    ({"max_output_tokens": "200"}, "invalid_type", "max_output_tokens", "Invalid type"),
    ({"reasoning": {"effort": "none"}}, "unsupported_value", "reasoning.effort", "with the 'gpt-5' model"),
    ({"reasoning": {"speed": 1}}, "unknown_parameter", "reasoning.speed", "Unknown parameter"),
    ({"reasoning": {"generate_summary": "auto"}}, "unsupported_parameter", "reasoning.generate_summary", ""),
    ({"metadata": {str(n): "" for n in range(17)}}, "object_above_max_properties", "metadata", "16 properties"),
    ({"metadata": {"a": "x" * 513}}, "string_above_max_length", "metadata.a", "length 513"),
    ({"metadata": {"a": 1}}, "invalid_type", "metadata.a", "a string"),
    ({"text": form(name="two words")}, "invalid_value", "text.format.name", "does not match pattern"),
    ({"text": form(name="n" * 65)}, "string_above_max_length", "text.format.name", "maximum length 64"),
    ({"text": form(json_schema={})}, "unknown_parameter", "text.format.json_schema", "Unknown parameter"),
    (
        {"text": {"format": {"type": "json_schema", "json_schema": {}}}},
        "missing_required_parameter",
        "text.format.name",
        "'text.format.name'",
    ),
    ({"text": form(schema=planner.SCHEMA)}, "invalid_json_schema", "text.format.schema", "response_format 'proposal'"),
    (
        {"tools": [{"type": "function", "function": {"name": "x"}}]},
        "missing_required_parameter",
        "tools[0].name",
        "tools[0].name",
    ),
    ({"tools": [{**TOOL, "name": "a.b"}]}, "invalid_value", "tools[0].name", "does not match pattern"),
    (
        {"tools": [{**TOOL, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}]},
        "invalid_function_parameters",
        "tools[0].parameters",
        "Invalid schema for function 'get_ohlcv'",
    ),
    ({"tool_choice": "required"}, None, "tool_choice", "must be specified with 'tools'"),
    ({"tool_choice": {"type": "function", "name": "x"}, "tools": [TOOL]}, None, "tool_choice", "'x' not found"),
    ({"stream": True}, "not_played_here", None, "neither streams"),
]


@pytest.mark.parametrize(
    ("changes", "code", "param", "words"), REFUSALS, ids=[f"{n}-{one[2]}" for n, one in enumerate(REFUSALS)]
)
def test_a_wrong_request_is_refused_in_the_words_of_the_service(
    server: ResponsesServer, asking: Asking, changes: dict[str, Any], code: str | None, param: str | None, words: str
) -> None:
    server.script("proposal", rs.buy("1"))
    with pytest.raises(openai.BadRequestError) as caught:
        asking.client.responses.create(**{k: v for k, v in (good() | changes).items() if v is not ...})
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert words in error.message and error.request_id
    assert [problem for _, problem in server.invalid] == [error.body["message"]]  # type: ignore[index]  # it is a dict
    assert server.unplayed == {"proposal": 1}


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5.4-mini", "gpt-5.6-terra", "gpt-6-luna", "gpt-6-astra"])
def test_each_model_takes_its_own_efforts(asking: Asking, model: str) -> None:
    for effort in EFFORTS:
        if effort in MODELS[model].efforts:
            assert asking.ask(model=model, reasoning={"effort": effort}).status == "completed"
        else:
            error = asking.refused(model=model, reasoning={"effort": effort})
            assert (error.code, error.param) == ("unsupported_value", "reasoning.effort")


@pytest.mark.parametrize(
    ("model", "effort", "takes"),
    [
        ("gpt-5", None, False),
        ("gpt-5", "minimal", False),
        ("gpt-5.4-mini", None, True),
        ("gpt-5.4-mini", "low", False),
        ("gpt-5.6-sol", None, False),
        ("gpt-5.6-sol", "none", True),
        ("gpt-6-astra", "low", False),
        ("gpt-4.1", None, True),
    ],
)
def test_a_temperature_is_taken_only_where_the_effort_in_force_is_none(
    asking: Asking, model: str, effort: str | None, takes: bool
) -> None:
    changes: dict[str, Any] = {"model": model, "temperature": 0.5, "reasoning": {"effort": effort} if effort else ...}
    if model == "gpt-4.1":
        changes["text"] = form()
    if takes:
        assert asking.ask(**changes).temperature == 0.5
    else:
        assert (asking.refused(**changes).code, asking.refused(**changes).param) == (None, "temperature")


def test_a_model_that_does_not_reason_takes_no_effort_and_no_verbosity(asking: Asking) -> None:
    assert asking.refused(model="gpt-4.1").param == "reasoning.effort"
    assert asking.refused(model="gpt-4.1", reasoning=...).param == "text.verbosity"


def test_a_compatible_server_takes_any_model_and_nothing_else_that_is_wrong() -> None:
    with ResponsesServer(any_model=True) as server:
        asking = Asking(server)
        assert asking.ask(model="llama3:8b", temperature=0.5).model == "llama3:8b"
        assert asking.refused(model="llama3:8b", max_output_tokens=1).code == "integer_below_min_value"


@pytest.mark.skipif(official() is None, reason=f"{WHERE} is not beside this checkout")
@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"top_logprobs": "many"}, "top_logprobs"),
        ({"truncation": "sometimes"}, "truncation"),
        ({"text": {"verbosity": "chatty"}}, "text.verbosity"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"include": ["everything"]}, "include[0]"),
        ({"temperature": 3, "model": "gpt-4.1"}, "temperature"),
    ],
)
def test_the_official_schema_refuses_what_the_rules_do_not_name(
    asking: Asking, changes: dict[str, Any], param: str
) -> None:
    error = asking.refused(**changes)
    assert (error.status_code, error.param) == (400, param), error.message


def test_another_key_is_refused_with_a_masked_echo(server: ResponsesServer) -> None:
    client = Asking(server).client.with_options(api_key="sk-proj-somebodyelse9999")
    with pytest.raises(openai.AuthenticationError, match=r"sk-proj-\*{12}9999") as caught:
        client.responses.create(**good())
    assert caught.value.code == "invalid_api_key" and len(server.invalid) == 1


def test_other_paths_methods_types_and_bodies_are_refused_as_json(server: ResponsesServer) -> None:
    auth = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    with httpx2.Client(base_url=server.url, headers=auth) as client:
        answers = {
            "Invalid URL (POST /v1/chat/completions)": client.post("/chat/completions", json={}),
            "Invalid URL (GET /v1/responses)": client.get("/responses"),
            "Unsupported content type: 'text/plain'": client.post(
                "/responses", content=b"{}", headers={"content-type": "text/plain"}
            ),
            "could not parse the JSON body": client.post("/responses", content=b'{"model": NaN}'),
            "You didn't provide an API key": client.post("/responses", json={}, headers={"authorization": ""}),
        }
    for words, answer in answers.items():
        assert words in answer.json()["error"]["message"]
    assert [answer.status_code for answer in answers.values()] == [404, 404, 400, 400, 401]
    assert len(server.invalid) == 5


def test_models_can_be_looked_up_with_their_last_day(asking: Asking) -> None:
    assert asking.client.models.retrieve("gpt-5").to_dict()["shutdown_date"] == "2026-12-11"
    assert {"gpt-5", "gpt-6-luna"} <= {model.id for model in asking.client.models.list()}
    with pytest.raises(openai.NotFoundError):
        asking.client.models.retrieve("gpt-7")


# --- strict schemas --------------------------------------------------------------------------

TEXT: dict[str, Any] = {"type": "string"}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def nested(levels: int) -> dict[str, Any]:
    return obj(a=TEXT) if levels == 1 else obj(a=nested(levels - 1))


@pytest.mark.parametrize("schema", [*FORMATS.values(), TOOL["parameters"], obj(), nested(9)])
def test_schemas_of_the_strict_subset_pass(schema: dict[str, Any]) -> None:
    assert problem_of(schema) is None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (planner.SCHEMA, "schema must have a 'type' key"),
        (trader.SCHEMA, "schema must have a 'type' key"),
        (judge.SCHEMA, "Missing 'revised_qty'"),
        ({"type": "array", "items": TEXT}, "got 'type: \"array\"'"),
        ({**obj(a=TEXT), "anyOf": [obj()]}, "anyOf"),
        ({"type": "object", "properties": {}, "required": []}, "additionalProperties"),
        ({**obj(a=TEXT), "additionalProperties": True}, "additionalProperties"),
        ({**obj(a=TEXT, b=TEXT), "required": ["a"]}, "Missing 'b'"),
        ({**obj(a=TEXT), "required": ["a", "z"]}, "Extra required key 'z'"),
        (obj(a={"enum": ["x"]}), "In context=('properties', 'a'), schema must have a 'type' key."),
        (obj(a={"const": 1}), "'type' key"),
        (obj(a={"type": "string", "format": "uri"}), "'uri' is not a valid format"),
        (obj(a={"type": "string", "pattern": "("}), "regex"),
        (obj(a={"type": "string", "pattern": "^(?=a)"}), "look-around"),
        (obj(a={"type": "array"}), "array schema missing items"),
        (obj(a={"type": "money"}), "not valid"),
        (obj(a={"$ref": "#/$defs/none"}), "reference"),
        (obj(a={"anyOf": [TEXT, {"type": "object"}]}), "'properties', 'a', 'anyOf', '1'"),
        (nested(11), "levels of nesting exceeds limit of 10"),
        (obj(a={"type": "string", "enum": [str(n) for n in range(1_001)]}), "1000 enum values"),
        *(
            (obj(a={**TEXT, word: 1}), f"'{word}' is not permitted")
            for word in (
                "minLength", "maxLength", "uniqueItems", "allOf", "oneOf", "not", "if", "then", "else",
                "dependentRequired", "dependentSchemas", "patternProperties", "default", "contains", "minProperties",
            )
        ),
    ],
)  # fmt: skip
def test_schemas_outside_the_strict_subset_are_refused(schema: dict[str, Any], words: str) -> None:
    assert words in (problem_of(schema) or "")


# --- shapes ----------------------------------------------------------------------------------


def test_thoughts_come_before_the_message_unless_the_effort_is_none(asking: Asking, server: ResponsesServer) -> None:
    assert [item.type for item in asking.ask().output] == ["reasoning", "message"]
    quiet: dict[str, Any] = {"model": "gpt-5.6-luna", "reasoning": {"effort": "none"}}
    assert [item.type for item in asking.ask(**quiet).output] == ["message"]
    server.script(None, rs.reasoning_first(rs.hold()))
    first = asking.ask(**quiet).output
    assert [item.type for item in first] == ["reasoning", "message"]
    assert first[0].type == "reasoning" and first[0].encrypted_content


def test_a_commentary_spoils_the_joined_text_and_leaves_the_final_message(
    asking: Asking, server: ResponsesServer
) -> None:
    server.script(None, rs.commentary(rs.buy("1"), "Let me see."))
    answer = asking.ask(model="gpt-5.6-sol")
    assert answer.output_text.startswith("Let me see.") and final(answer) == rs.buy("1")


def test_refusals_failures_and_empty_answers_come_with_status_200(asking: Asking, server: ResponsesServer) -> None:
    server.script(None, rs.refusal("No."), rs.failed("server_error", "broke"), rs.empty(), rs.no_usage(rs.hold()))
    refused, failed, empty, uncounted = (asking.ask() for _ in range(4))
    assert (refused.status, refused.output_text) == ("completed", "")
    assert failed.status == "failed" and failed.error is not None and failed.error.message == "broke"
    assert (empty.status, empty.output) == ("completed", [])
    assert uncounted.usage is None and final(uncounted) == rs.hold()


def test_an_incomplete_answer_spends_all_tokens_with_cut_words_or_none(asking: Asking, server: ResponsesServer) -> None:
    server.script(None, rs.incomplete("max_output_tokens", '{"action":"BU'), rs.incomplete("content_filter"))
    cut, filtered = asking.ask(max_output_tokens=64), asking.ask()
    assert (cut.status, cut.output_text) == ("incomplete", '{"action":"BU')
    assert cut.usage is not None and cut.usage.output_tokens == 64
    assert filtered.incomplete_details is not None and filtered.incomplete_details.reason == "content_filter"
    assert filtered.output_text == ""


def test_raw_words_arrive_as_they_were_written(asking: Asking, server: ResponsesServer) -> None:
    spoken = ['{"a":1,"a":2}', "[NaN]", "[" * 5_000, "\u0661\u0000", ""]
    server.script(None, *(rs.raw_text(one) for one in spoken))
    assert [asking.ask().output_text for _ in spoken] == spoken


def test_usage_can_be_scripted(asking: Asking, server: ResponsesServer) -> None:
    server.script(None, rs.said(rs.hold(), {"input": 100, "cached": 60, "output": 50, "reasoning": 40}))
    usage = asking.ask().usage
    assert usage is not None
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.total_tokens) == (100, 60, 150)


def test_bodies_of_strangers_pass_through_the_sdk_unchecked(asking: Asking, server: ResponsesServer) -> None:
    server.script(
        None,
        rs.other_body(b"<html>hello</html>"),
        rs.other_body(b'{"ok":true}', "application/json"),
        rs.other_body(b'{"id": "resp_1", "output": [', "application/json"),
    )
    html: Any = asking.client.responses.create(**good())
    assert html == "<html>hello</html>"
    with pytest.raises(TypeError):
        _ = asking.ask().output_text
    with pytest.raises(json.JSONDecodeError):
        asking.ask()


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "kind", "code"),
    [
        (rs.rate_limited(retry_after=7), openai.RateLimitError, "rate_limit_exceeded"),
        (rs.out_of_quota(), openai.RateLimitError, "insufficient_quota"),
        (rs.server_error(), openai.InternalServerError, None),
        (rs.server_error(503), openai.InternalServerError, None),
        (rs.wrong_key(), openai.AuthenticationError, "invalid_api_key"),
        (rs.forbidden(), openai.PermissionDeniedError, "missing_scope"),
        (rs.no_such_model(), openai.BadRequestError, "model_not_found"),
        (rs.status(409, "conflict"), openai.ConflictError, "conflict"),
        (rs.status(422), openai.UnprocessableEntityError, None),
        (rs.status(520, message="odd"), openai.InternalServerError, None),
        (rs.other_body(b"<html>bad gateway</html>", code=502), openai.InternalServerError, None),
    ],
)
def test_a_scripted_status_is_the_error_the_sdk_has_for_it(
    server: ResponsesServer, asking: Asking, wire: rs.Wire, kind: type[Exception], code: str | None
) -> None:
    server.script("proposal", wire)
    error = asking.refused()
    assert (type(error), error.code) == (kind, code)
    assert server.invalid == []  # the request was good


def test_retry_after_is_sent_in_either_form(server: ResponsesServer, asking: Asking) -> None:
    server.script(None, rs.rate_limited(retry_after=7), rs.rate_limited(retry_after_ms="250"))
    seconds, milliseconds = asking.refused().response.headers, asking.refused().response.headers
    assert seconds["retry-after"] == "7" and "retry-after-ms" not in seconds
    assert milliseconds["retry-after-ms"] == "250"


@pytest.mark.parametrize(
    "wire",
    [rs.reset(), rs.hang_up(), rs.cut(rs.hold()), rs.reset_in_answer(rs.hold()), rs.cut(rs.raw_text("x" * 9999))],
)
def test_a_connection_that_breaks_is_a_connection_error_and_the_next_request_works(
    server: ResponsesServer, asking: Asking, wire: rs.Wire
) -> None:
    server.script("proposal", wire, rs.buy("1"))
    with pytest.raises(openai.APIConnectionError):
        asking.ask()
    assert final(asking.ask())["action"] == "BUY"


def test_a_reset_is_an_rst_and_not_a_quiet_close(server: ResponsesServer) -> None:
    server.script(None, rs.reset())
    with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])), 2) as raw:
        body = json.dumps(good()).encode()
        head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_a_hanging_answer_times_out_and_does_not_hold_the_server_up() -> None:
    with ResponsesServer() as server:
        server.script(None, rs.hang(600))
        with pytest.raises(openai.APITimeoutError):
            Asking(server, timeout_secs=0.2).ask()
        began = time.monotonic()
    assert time.monotonic() - began < 1


def test_slow_answers_and_the_servers_latency_add_up() -> None:
    with ResponsesServer(latency_secs=0.2) as server:
        server.script(None, rs.slow(rs.hold(), 0.2))
        began = time.monotonic()
        assert final(Asking(server).ask()) == rs.hold()
        assert 0.4 <= time.monotonic() - began < 1.5


@pytest.mark.parametrize("way", ["body", "head"])
def test_a_dribble_outlives_a_time_out_per_read(server: ResponsesServer, way: str) -> None:
    server.script(None, rs.dribble(rs.hold(), 0.8) if way == "body" else rs.dribble_headers(0.8, rs.hold()))
    began = time.monotonic()
    assert final(Asking(server, timeout_secs=0.5).ask()) == rs.hold()
    assert 0.6 <= time.monotonic() - began < 2


def test_a_redirect_is_followed_by_the_sdk_unless_it_is_told_not_to(server: ResponsesServer, asking: Asking) -> None:
    with ResponsesServer(key=server.key) as other:
        server.script(None, rs.redirect(f"{other.url}/responses"), rs.redirect(f"{other.url}/responses"))
        with pytest.raises(openai.AuthenticationError):
            asking.ask()  # it went there, and httpx2 took the key off on the way
        assert len(other.requests) == 1
        staying = openai.DefaultHttpxClient(follow_redirects=False)
        with asking.client.with_options(http_client=staying) as client, pytest.raises(openai.APIStatusError):
            client.responses.create(**good())
        assert len(other.requests) == 1


def test_the_sdks_own_retries_are_seen_as_requests(server: ResponsesServer) -> None:
    server.script(None, rs.rate_limited(retry_after_ms=1), rs.server_error(503, {"retry-after-ms": "1"}), rs.buy("1"))
    with openai.OpenAI(base_url=server.url, api_key=server.key, max_retries=2) as client:
        client.responses.create(**good())
    assert [one.headers["x-stainless-retry-count"] for one in server.requests] == ["0", "1", "2"]
    assert server.requests[0].received_at < server.requests[2].received_at


# --- for a person ----------------------------------------------------------------------------


def test_the_sensible_trader_buys_half_of_the_room_and_sells_all() -> None:
    def asked(action: str, **room: str) -> dict[str, Any]:
        facts = {"signals": [{"policy_id": "ma_trend", "action": action}], "room": {"step": "0.001"} | room}
        return rs.sensible_proposal({"input": [{"role": "user", "content": "Facts: " + json.dumps(facts)}]})

    assert asked("BUY", max_buy="0.005", min_qty="0.001") == rs.buy("0.002", "ma_trend")
    assert asked("BUY", max_buy="0.005", min_qty="0.004") == rs.buy("0.005", "ma_trend")
    assert asked("BUY", max_buy="0.005", min_qty="0.006")["action"] == "HOLD"
    assert asked("SELL", max_sell="0.3") == rs.sell("0.3", "ma_trend")
    assert asked("NONE", max_buy="1")["action"] == "HOLD"
    assert rs.sensible_proposal({"input": "no facts {"})["action"] == "HOLD"


def test_a_person_gets_two_lines_to_export_and_a_server_that_ends_on_a_signal(clean_env: dict[str, str]) -> None:
    words = [sys.executable, "-m", "tests.responses_server", "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, env=clean_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(2)]
        given = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        with openai.OpenAI(base_url=given["OPENAI_BASE_URL"], api_key=given["OPENAI_API_KEY"]) as client:
            assert json.loads(client.responses.create(**good("plan")).output_text)["mode"] == "TRADE"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        assert "1 requests, 0 of them refused" in process.stderr.read().decode()


def test_a_port_that_is_taken_or_senseless_is_a_usage_error(
    server: ResponsesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = server.url.split(":")[2].split("/")[0]
    for words, told in ((["--port", taken], "cannot be had"), (["--latency", "-1"], "--latency 0 to 600")):
        with pytest.raises(SystemExit) as ended:
            rs.main(words)
        assert ended.value.code == 2 and told in capsys.readouterr().err


def test_no_request_leaves_loopback(asking: Asking, visited: list[Any]) -> None:
    asking.ask()
    assert visited and {address[0] for address in visited} == {"127.0.0.1"}


JUNK: tuple[Any, ...] = (None, True, -1, 1.5, "", "x", [], {}, [[]], [{}], {"a": {}}, {"type": []}, {"$ref": "#"})


def test_no_request_however_odd_breaks_the_rules_themselves() -> None:
    chance = Random(7)
    for _ in range(300):
        body = copy.deepcopy({**good("plan"), "tools": [TOOL], "input": [USER, CALL, DONE], "metadata": {"a": "b"}})
        *way, last = chance.choice([one for one in places(body) if one])
        within: Any = body
        for step in way:
            within = within[step]
        within[last] = copy.deepcopy(chance.choice(JUNK))
        with suppress(RefusedError):
            check_request(body, {})


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inside:
        yield from places(one, (*way, step))
