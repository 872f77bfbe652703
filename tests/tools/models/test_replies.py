"""Bodies read with suspicion: what is taken of a sound one, and that no body at all raises or is believed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.responses import answers
from trader_cli.core.pricing import MOST_TOKENS
from trader_cli.core.redaction import forget_secrets, keep_secret
from trader_cli.schemas.question import Usage
from trader_cli.tools.models.replies import Reply, read
from trader_cli.tools.rows import dumps

STATUSES = {"ok", "refused", "incomplete", "failed", "unavailable", "empty", "malformed"}
"""What a body can come to; the other statuses of an answer are about getting no body."""
ASKED = {"model": "gpt-5.6-terra", "input": "x", "tools": [{"type": "function", "name": "get_ohlcv"}]}
TEXT = '{"action":"HOLD"}'


def body(shape: answers.Shape) -> dict[str, Any]:
    """A body as the loopback service makes it."""
    return answers.response(shape, ASKED, 900, 300)


def come(document: Any) -> Reply:
    return read(json.dumps(document).encode())


REAL = {
    "said": body(answers.raw_text(TEXT)),
    "commentary": body(answers.commentary({"action": "HOLD"})),
    "refusal": body(answers.refusal()),
    "incomplete": body(answers.incomplete(cut_text='{"action"')),
    "failed": body(answers.failed()),
    "empty": body(answers.empty()),
    "no usage": body(answers.no_usage({"action": "HOLD"})),
    "tool call": body(answers.tool_call("get_ohlcv", {"timeframe": "5m", "limit": 3})),
    "two messages": body(answers.messages(TEXT, TEXT)),
}


def assert_sound(reply: Reply) -> None:
    """What holds of every reply, whatever the body was."""
    assert reply.status in STATUSES
    assert (reply.text is not None) == (reply.status == "ok" and not reply.calls)
    assert (reply.error is None) == (reply.status == "ok")
    assert bool(reply.calls) == bool(reply.items)
    assert reply.status == "ok" or not reply.calls
    assert reply.again <= (reply.status == "unavailable")
    usage = reply.usage
    for tokens in (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens):
        assert tokens is None or (type(tokens) is int and 0 <= tokens <= MOST_TOKENS)
    kept = [reply.text, reply.error, *(word for call in reply.calls for word in (call.call_id, call.name))]
    for words in filter(None, (*kept, *(call.arguments for call in reply.calls))):
        assert "\0" not in words
        words.encode("utf-8")
    dumps(reply.items).encode()


# Sound bodies.


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("said", "ok", TEXT),
        ("commentary", "ok", TEXT),
        ("refusal", "refused", None),
        ("incomplete", "incomplete", None),
        ("failed", "unavailable", None),
        ("empty", "empty", None),
        ("no usage", "ok", TEXT),
        ("tool call", "ok", None),
        ("two messages", "malformed", None),
    ],
)
def test_a_body_comes_to_its_final_message_or_to_why_there_is_none(name: str, status: str, text: str | None) -> None:
    reply = come(REAL[name])
    assert (reply.status, reply.text) == (status, text)
    assert_sound(reply)


def test_why_there_is_none_is_said_in_the_servers_words() -> None:
    said = {name: come(REAL[name]).error for name in ("refusal", "incomplete", "failed", "empty", "two messages")}
    assert said == {
        "refusal": "I can't help with that.",
        "incomplete": "max_output_tokens",
        "failed": "the response failed: server_error: The model failed to generate a response.",
        "empty": "no final message with text",
        "two messages": "2 final messages",
    }


@pytest.mark.parametrize(
    ("code", "again"), [("server_error", True), ("rate_limit_exceeded", True), ("invalid_prompt", False), ("", False)]
)
def test_only_a_failure_that_may_pass_is_worth_another_attempt(code: str, again: bool) -> None:
    assert come(body(answers.failed(code))).again is again


def test_tool_calls_come_with_every_item_that_must_be_handed_back_and_win_over_a_message() -> None:
    document = body(answers.tool_call("get_ohlcv", {"limit": 3}, "call_1"))
    reply = come({**document, "output": [*document["output"], answers.message(TEXT, "final_answer")]})
    assert [(call.call_id, call.name, call.arguments) for call in reply.calls] == [
        ("call_1", "get_ohlcv", '{"limit": 3}')
    ]
    assert [one["type"] for one in reply.items] == ["reasoning", "function_call", "message"]
    assert reply.text is None


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "1e999", r'"\ud800"', "[" * 40 + "]" * 40, "[" * 900 + "]" * 900])
def test_a_tool_call_is_not_taken_where_its_items_could_not_be_written_into_the_next_request(odd: str) -> None:
    words = json.dumps(body(answers.tool_call("get_ohlcv"))).replace('"summary": []', f'"summary": {odd}')
    assert odd in words
    reply = read(words.encode())
    assert (reply.status, reply.calls, reply.items) == ("malformed", (), ())
    assert reply.error == "a tool call among items that are no sound JSON"
    assert reply.usage.input_tokens == 900, "it was billed all the same"


def test_a_planted_key_is_in_nothing_that_is_kept() -> None:
    keep_secret("OPENAI_API_KEY", "sesame-open-4711")
    try:
        reply = come(body(answers.raw_text('{"hypothesis":"sesame-open-4711"}')))
        calls = come(body(answers.tool_call("get_ohlcv", '{"timeframe":"sesame-open-4711"}'))).calls
    finally:
        forget_secrets()
    assert "sesame" not in f"{reply.text}{calls}"


# Tokens.


@pytest.mark.parametrize("count", [-1, MOST_TOKENS + 1, 10**400, 1.0, True, "12", None, [], {}])
def test_a_count_of_tokens_that_nobody_can_mean_is_none(count: Any) -> None:
    usage = {
        "input_tokens": count,
        "output_tokens": count,
        "input_tokens_details": {"cached_tokens": count},
        "output_tokens_details": {"reasoning_tokens": count},
    }
    reply = come({**REAL["said"], "usage": usage})
    assert (reply.status, reply.usage) == ("ok", Usage())


@pytest.mark.parametrize("usage", [None, [], "many", 7, {"input_tokens_details": 3, "output_tokens_details": []}])
def test_a_server_that_counts_nothing_is_believed_in_what_it_says(usage: Any) -> None:
    reply = come({**REAL["said"], "usage": usage})
    assert (reply.text, reply.usage) == (TEXT, Usage())


def test_what_is_not_completed_was_counted_too() -> None:
    assert come(REAL["incomplete"]).usage.input_tokens == 900
    assert come(REAL["refusal"]).usage.cached_tokens == 300


# Any body.


def nodes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, but for the whole."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from nodes(value, (*path, key))


ODD: list[Any] = [
    *(None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\0\ud800", "sk-proj-abcdefgh"),
    *("completed", "message", "function_call", "output_text", "refusal", "final_answer"),
    *([], {}, [[]], [None], {"type": "message"}, [{"type": "refusal"}], [{"type": "output_text", "text": "{}"}]),
    {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
]
odd = st.sampled_from(ODD).map(copy.deepcopy)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A real body in which up to three values were dropped, replaced, doubled or put elsewhere."""
    document = copy.deepcopy(REAL[draw(st.sampled_from(sorted(REAL)))])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(nodes(document), key=str)))
        inner = document
        for step in path[:-1]:
            inner = inner[step]
        match draw(st.sampled_from(["drop", "replace", "double", "wrap"])):
            case "drop":
                del inner[path[-1]]
            case "double" if isinstance(inner, list):
                inner.append(copy.deepcopy(inner[path[-1]]))
            case "wrap":
                inner[path[-1]] = [inner[path[-1]]]
            case _:
                inner[path[-1]] = draw(odd)
    return document


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(document=mutated())
def test_a_real_body_with_any_value_gone_or_other_is_read_or_refused(document: Any) -> None:
    assert_sound(come(document))


@settings(deadline=None, max_examples=200)
@given(raw=st.binary(max_size=60), name=st.sampled_from(sorted(REAL)), at=st.floats(0, 1), gone=st.integers(0, 50))
def test_a_real_body_with_bytes_gone_and_others_in_their_place_is_read_or_refused(
    raw: bytes, name: str, at: float, gone: int
) -> None:
    whole = json.dumps(REAL[name]).encode()
    place = round(at * len(whole))
    assert_sound(read(whole[:place] + raw + whole[place + gone :]))


@settings(deadline=None)
@given(raw=st.binary() | st.text().map(str.encode) | odd.map(json.dumps).map(str.encode))
def test_any_bytes_at_all_are_a_malformed_body(raw: bytes) -> None:
    reply = read(raw)
    assert_sound(reply)
    assert reply.status == "malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"ok":true}',
        b'{"output":{}}',
        b"null",
        b"[]",
        json.dumps(REAL["said"]).encode()[:-5],
        json.dumps(REAL["said"]).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(REAL["said"]).encode(),
        b'{"output":' + b"[" * 100_000,
        b'{"output":[],"status":' + b"9" * 5_000 + b"}",
        b"\xff" * 300,
        b"x" * 4_000_000,
    ],
)
def test_what_is_no_response_says_so_with_its_beginning(raw: bytes) -> None:
    reply = read(raw)
    assert_sound(reply)
    assert reply.status == "malformed"
    assert reply.error is not None
    assert reply.error.startswith("the body is n")
    assert len(reply.error) < 1_000


@pytest.mark.parametrize("depth", [50, 500, 900, 950, 980, 985, 990, 995, 1_000, 5_000])
@pytest.mark.parametrize(
    "form",
    [
        '{"output":[],"status":@}',
        '{"output":@}',
        '{"output":[],"status":"failed","error":{"code":@}}',
        '{"output":[{"type":"message","content":[{"type":"refusal","refusal":@}]}]}',
        '{"output":[{"type":"function_call","call_id":"c","name":"n","arguments":"{}"},@]}',
    ],
)
def test_depth_is_no_way_to_break_the_reader(form: str, depth: int) -> None:
    assert_sound(read(form.replace("@", "[" * depth + "]" * depth).encode()))
