"""Words to a document: what JSON is taken, what is refused and why, and that no other exception comes of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.agents.reading import MAX_DEPTH, MAX_REPLY_CHARS, TEXT_CHARS, UnreadableError, check, cut, parse


def refusal(words: str) -> str:
    with pytest.raises(UnreadableError) as found:
        parse(words)
    return str(found.value)


@pytest.mark.parametrize(
    "document", [{}, [], None, True, 0, 1.5, -3, "", "Grüße \N{ROCKET}", {"a": [1, {"b": None}]}, [[]]]
)
def test_strict_json_is_taken_as_it_is(document: Any) -> None:
    assert parse(json.dumps(document)) == document
    assert parse(json.dumps(document, ensure_ascii=False)) == document


def test_white_space_around_the_document_is_no_prose() -> None:
    assert parse('\n\t {"a": 1} \r\n') == {"a": 1}


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("form", ["{}", "[1, {}]", '{{"a": {}}}', '{{"a": [{{"b": {}}}]}}'])
def test_a_constant_that_json_does_not_have_is_refused_anywhere(constant: str, form: str) -> None:
    assert refusal(form.format(constant)) == f"the reply holds {constant}, which is not JSON"


@pytest.mark.parametrize("words", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]', '{"a": 1, "\\u0061": 2}'])
def test_a_key_twice_is_refused_at_any_depth_and_however_it_is_spelt(words: str) -> None:
    assert refusal(words) == "the reply names a key twice"


@pytest.mark.parametrize(
    "words",
    [
        "",
        " ",
        "{",
        "{} {}",
        "{}x",
        "x{}",
        "```json\n{}\n```",
        "\ufeff{}",
        "{'a': 1}",
        '{"a": 1,}',
        "{a: 1}",
        "// comment\n{}",
        '{"a": 01}',
        '{"a": .5}',
        '{"a": +1}',
        '{"a": 0x10}',
        '{"a": "\x1b"}',
        '{"a": "\n"}',
        "[" + "1" * 5000 + "]",
        "undefined",
    ],
)
def test_what_is_not_json_is_refused_in_a_short_sentence(words: str) -> None:
    said = refusal(words)
    assert said.startswith("the reply is not JSON: ")
    assert len(said) <= 200


@pytest.mark.parametrize("words", ['"\\ud800"', '"\\udfff"', '{"\\ud83d": 1}', '["\\ude00\\ud83d"]', '"\ud800"'])
def test_a_lone_surrogate_is_refused_in_keys_and_values(words: str) -> None:
    assert refusal(words) == "the reply holds a lone surrogate"


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse('"\\ud83d\\ude80"') == "\N{ROCKET}"


def test_a_reply_up_to_the_limit_is_read_and_one_character_more_is_not() -> None:
    fits = '"' + "x" * (MAX_REPLY_CHARS - 2) + '"'
    assert len(parse(fits)) == MAX_REPLY_CHARS - 2
    assert refusal(fits + " ") == f"the reply has {MAX_REPLY_CHARS + 1} characters, at most {MAX_REPLY_CHARS} are read"


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_is_taken_up_to_the_limit_and_refused_beyond_it_however_deep(pair: tuple[str, str]) -> None:
    def nested(depth: int) -> str:
        layers = depth // (2 if len(pair[0]) > 5 else 1)
        return pair[0] * layers + "1" + pair[1] * layers

    assert parse(nested(MAX_DEPTH - 2))
    assert "nested" in refusal(nested(MAX_DEPTH + 2))
    assert "nested" in refusal(nested(2 * sys.getrecursionlimit()))
    assert "nested" in refusal(nested(9_000))


def test_a_wide_reply_is_not_a_deep_one() -> None:
    assert len(parse(json.dumps([[1]] * 9_000))) == 9_000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(words=st.text(st.characters(codec=None)) | anything.map(json.dumps) | st.text('{}[]",:0123456789eE.-tfn\\u '))
def test_any_words_at_all_are_a_document_or_a_refusal(words: str) -> None:
    try:
        document = parse(words)
    except UnreadableError as error:
        assert str(error)
        return
    json.dumps(document, ensure_ascii=False).encode("utf-8")


# Schemas and length.


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": {"type": "integer", "minimum": 1}}},
    "required": ["a"],
    "additionalProperties": False,
}


def test_a_document_that_obeys_its_schema_passes() -> None:
    check({"a": [1, 2]}, SCHEMA, "wire schema")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"a": [1, 0]}, "wire schema: a/1: 0 is less than the minimum of 1"),
        ({"a": 1}, "wire schema: a: 1 is not of type 'array'"),
        ({}, "wire schema: the document: 'a' is a required property"),
        ([], "wire schema: the document: [] is not of type 'object'"),
        ({"a": [True]}, "wire schema: a/0: True is not of type 'integer'"),
    ],
)
def test_one_that_does_not_is_told_where_and_why(document: Any, said: str) -> None:
    with pytest.raises(UnreadableError) as found:
        check(document, SCHEMA, "wire schema")
    assert str(found.value) == said


def test_a_long_reason_is_cut() -> None:
    with pytest.raises(UnreadableError) as found:
        check({"a": "x" * 60_000}, SCHEMA, "wire schema")
    assert len(str(found.value)) == 200


@pytest.mark.parametrize("length", [0, 1, TEXT_CHARS - 1, TEXT_CHARS])
def test_a_note_of_lawful_length_stays_whole(length: int) -> None:
    assert cut("x" * length) == "x" * length


@pytest.mark.parametrize("length", [TEXT_CHARS + 1, 10_000])
def test_a_longer_note_is_cut_to_the_specifications_length_and_shows_it(length: int) -> None:
    words = cut("x" * length)
    assert len(words) == TEXT_CHARS
    assert words.endswith("x...")
