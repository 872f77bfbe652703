"""Secrets never leak: their exact values, and whatever looks like a key, are taken out of a text.

The values are kept for the whole process, not handed around: a traceback, a warning or a library's message must be
cleaned wherever it comes out, and no caller there has the settings at hand. They only ever make a text say less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

LEAST_CHARS = 8
"""A value shorter than this is no secret: words of everyday would be taken out with it."""
LEAST_KINDS = 3
"""Nor is one of fewer different characters, such as a row of dashes: our own tables are drawn with them."""
HIDDEN = "[redacted]"

_PART_CHARS = 16
"""A part of an address from this length on is a token by itself: a client may name the path without the host."""
_PARTS = re.compile(r"[/@:?&=#,\s]+")
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

# "risk-adjusted" is a word and no key: a key begins a word, also after an escaped character, or has the look of one.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
_MASKED = re.compile(_START + r"""sk-[^\s"'\\<>*]{0,100}\*[^\s"'\\<>]*""")
_KEY = re.compile(
    rf"{_START}sk-[A-Za-z0-9_\-]{{8,}}|sk-(?=[a-z0-9_\-]{{0,40}}[A-Z])(?=[A-Za-z_\-]{{0,40}}[0-9])[A-Za-z0-9_\-]{{20,}}"
)
_BEARER = re.compile(r"([Bb]earer(?:\s+|%20))[A-Za-z0-9\-._~+/=]{8,}")
_SIGNED = re.compile(r"(signature(?:=|%3[Dd]))[A-Za-z0-9%+/=_\-]{8,}")
"""What signs a request to an exchange: in an address for as long as its window is open, it is as good as a key."""

_kept: dict[str, str] = {}
"""What stands in the place of each form of each secret, the longest form first."""


def keep_secret(name: str, value: str) -> None:
    """From now on `redact` puts `[name]` in the place of `value`, unless that is too short or plain to be a secret."""
    forms = {form for piece in _pieces(value) for form in _forms(piece)} - _kept.keys()
    if not forms:
        return
    all_forms = _kept | dict.fromkeys(forms, f"[{name}]")
    _kept.clear()
    _kept.update(sorted(all_forms.items(), key=lambda item: -len(item[0])))


def forget_secrets() -> None:
    """Keep none any more: for tests, which share a process."""
    _kept.clear()


def redact(words: str) -> str:
    """`words` without any secret: `[NAME]` for one that is kept, `[redacted]` for what looks like a key."""
    if len(words) < LEAST_CHARS and "sk-" not in words:  # most cells of a table
        return words
    for form, label in _kept.items():
        if form in words:
            words = words.replace(form, label)
    if "sk-" in words:
        if "*" in words:
            words = _MASKED.sub(HIDDEN, words)
        words = _KEY.sub(HIDDEN, words)
    if "earer" in words:
        words = _BEARER.sub(rf"\1{HIDDEN}", words)
    if "signature" in words:
        words = _SIGNED.sub(rf"\1{HIDDEN}", words)
    return words


def _pieces(value: str) -> Iterator[str]:
    """What of a value is a secret: it without blanks around it; of addresses each one, and the long parts of each."""
    pieces = [value.strip()]
    if "://" in value:
        pieces += re.split(r"[,\s]+", value)
        pieces += [part for part in _PARTS.split(value) if len(part) >= _PART_CHARS and "." not in part]
    return (piece for piece in pieces if len(piece) >= LEAST_CHARS and len(set(piece)) >= LEAST_KINDS)


def _forms(value: str) -> frozenset[str]:
    """How it may be written inside another text: as it is, in JSON (also twice), Python, CSV, an address."""
    in_json, unescaped = (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    in_query = _percent(value, "", "02X")
    quoted = {in_query, in_query.replace("%20", "+"), _percent(value, "", "02x"), _percent(value, "/", "02X")}
    shown = {value, in_json, unescaped, repr(value)[1:-1], ascii(value)[1:-1]}
    plain = shown | {json.dumps(form)[1:-1] for form in shown}
    in_csv = {form.replace('"', '""') for form in plain}
    return frozenset(plain | in_csv | quoted)


def _percent(value: str, also_safe: str, digits: str) -> str:
    """Percent-encoded (RFC 3986, section 2.1)."""
    octets = value.encode("utf-8", "surrogatepass")
    return "".join(chr(octet) if chr(octet) in _UNRESERVED + also_safe else f"%{octet:{digits}}" for octet in octets)
