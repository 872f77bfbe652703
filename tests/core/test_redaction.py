"""Redaction: kept secrets go in every form they are written in, things like keys go too, all other words stay."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core import redaction
from trader_cli.core.hostile import storable
from trader_cli.core.redaction import HIDDEN, forget_secrets, keep_secret, redact

ODD = 'caf\u00e9 "odd" back\\slash/100% it\'s+so'
"""A secret that is written differently in every notation."""


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Secrets of this test only."""
    before = dict(redaction._kept)
    forget_secrets()
    yield
    forget_secrets()
    redaction._kept.update(before)


@pytest.mark.parametrize(
    "written",
    [
        ODD,
        json.dumps(ODD),
        json.dumps(ODD, ensure_ascii=False),
        json.dumps({"reply": json.dumps({"said": ODD})}),
        repr(ODD),
        repr(["x", ODD]),
        ascii(ODD),
        quote(ODD),
        quote(ODD, safe=""),
        quote_plus(ODD),
        urlencode({"key": ODD}),
        f"POST https://x.example/{quote(ODD, safe='')}?a=1 failed",
    ],
)
def test_a_secret_is_taken_out_in_whatever_notation_it_is_written(written: str) -> None:
    keep_secret("EXCHANGE_API_SECRET", ODD)
    done = redact(written)
    assert "[EXCHANGE_API_SECRET]" in done
    for form in (ODD, "odd", "slash", "100%", "caf"):
        assert form not in done


def test_the_percent_digits_may_be_small_letters() -> None:
    keep_secret("X", "a/b/c+Secret")
    assert redact("a%2fb%2fc%2bSecret") == "[X]"


def test_what_was_json_stays_json() -> None:
    keep_secret("X", ODD)
    document = {"a": ODD, "b": [f"it is {ODD}!", "sk-abcdefgh12345"], "c": "Bearer abcdefgh.ijkl", "d": "sk-ab***yz"}
    for compact in ((", ", ": "), (",", ":")):
        done = json.loads(redact(json.dumps(document, separators=compact)))
        assert done == {"a": "[X]", "b": ["it is [X]!", HIDDEN], "c": f"Bearer {HIDDEN}", "d": HIDDEN}


def test_the_longer_of_two_secrets_goes_first() -> None:
    keep_secret("SHORT", "abcdefgh")
    keep_secret("LONG", "abcdefgh-ijklmnop")
    assert redact("abcdefgh-ijklmnop, abcdefgh") == "[LONG], [SHORT]"


@pytest.mark.parametrize("value", ["", "short", "1234567", "        ", "--------", "abababab", " \t\n short "])
def test_a_value_too_short_or_too_plain_is_no_secret(value: str) -> None:
    keep_secret("X", value)
    said = f"the {value} word -------- abababab and         blanks"
    assert redact(said) == said


def test_blanks_around_a_secret_do_not_hide_it() -> None:
    keep_secret("X", "  Secret-Value-1 ")
    assert redact("was Secret-Value-1") == "was [X]"


def test_of_addresses_each_one_and_its_token_alone_are_secrets_and_the_host_is_not() -> None:
    keep_secret(
        "NOTIFY_URLS", "tgram://123456:ABC-def_ghiJKLmno/42, https://hooks.example.com/services/T1/abcdefghijklmnop"
    )
    assert redact("cannot reach tgram://123456:ABC-def_ghiJKLmno/42") == "cannot reach [NOTIFY_URLS]"
    assert redact("POST /services/T1/abcdefghijklmnop: 404") == "POST /services/T1/[NOTIFY_URLS]: 404"
    assert redact("bot ABC-def_ghiJKLmno") == "bot [NOTIFY_URLS]"
    assert redact("no route to hooks.example.com") == "no route to hooks.example.com"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("key sk-abcdefgh", f"key {HIDDEN}"),
        ("sk-proj-Abc_def-123456789", HIDDEN),
        ("'sk-svcacct-0123456789'", f"'{HIDDEN}'"),
        ("a=sk-admin-0123456789&b=1", f"a={HIDDEN}&b=1"),
        ("Incorrect API key provided: sk-abc12***************wxyz.", f"Incorrect API key provided: {HIDDEN}"),
        ("sk-***", HIDDEN),
        ('{"error":"bad sk-a*b","code":1}', f'{{"error":"bad {HIDDEN}","code":1}}'),
        (r"line\nsk-abcdefgh1", rf"line\n{HIDDEN}"),
        (r"\u2028sk-abcdefgh1", rf"\u2028{HIDDEN}"),
        ("Bearer%20sk-abcdefgh1", f"Bearer%20{HIDDEN}"),
        ("xsk-proj-AbCdEf0123456789012345678901234567890", f"x{HIDDEN}"),
        ("{'Authorization': 'Bearer eyJhbGciOi.abc_def-ghi'}", f"{{'Authorization': 'Bearer {HIDDEN}'}}"),
        ("authorization: bearer  0123456789abcdef", f"authorization: bearer  {HIDDEN}"),
    ],
)
def test_what_looks_like_a_key_is_taken_out_although_nobody_kept_it(said: str, left: str) -> None:
    assert redact(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "a risk-adjusted return, disk-encryption, task-scheduler, desk-12345678",
        'OPENAI_API_KEY must be a key that begins with "sk-"',
        "sk-short",
        "sk-learn",
        "/home/me/disk-20260101/x.db",
        "ask-price*2 and mask-**",
        "the bearer of bad news",
        "set (\u2026k3Qz)",
        "",
    ],
)
def test_words_that_are_no_key_stay(said: str) -> None:
    assert redact(said) == said


def test_stored_text_of_strangers_holds_no_secret() -> None:
    keep_secret("X", "Secret-Value-1")
    assert storable("Secret-Value-1\0 \ud800 sk-abcdefgh1") == rf"[X]\x00 \ud800 {HIDDEN}"


@given(
    st.text(max_size=60), st.text(max_size=60), st.text(st.characters(exclude_characters="["), min_size=8, max_size=40)
)
def test_no_kept_value_survives_between_any_words(before: str, after: str, value: str) -> None:
    forget_secrets()
    keep_secret("~", value)
    trimmed = value.strip()
    if len(trimmed) >= 8 and len(set(trimmed)) >= 3:
        assert trimmed not in redact(before + value + after)


@given(st.text())
def test_redacting_twice_is_redacting_once(words: str) -> None:
    keep_secret("EXCHANGE_API_KEY", "Secret-Value-1")
    assert redact(redact(words)) == redact(words)


@pytest.mark.parametrize(
    "words",
    [
        "sk-" * 300_000,
        "sk-." * 200_000,
        " sk-.*" * 150_000,
        "xsk-" * 250_000,
        "Bearer " * 150_000,
        "sk-a" + " " * 900_000,
    ],
)
def test_a_megabyte_of_bait_takes_no_time(words: str) -> None:
    began = time.perf_counter()
    redact(words)
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("sign", ["signature=", "signature%3D"])
def test_a_signature_in_an_address_is_no_secret_that_is_kept_and_is_taken_out_all_the_same(sign: str) -> None:
    said = f"GET https://api.example/api/v3/account?timestamp=1&{sign}{'0a' * 32} refused"
    assert redact(said) == f"GET https://api.example/api/v3/account?timestamp=1&{sign}[redacted] refused"
    assert redact("the signature of the contract = fine") == "the signature of the contract = fine"
