"""Grounding: which numbers of a hypothesis the facts do not bear out.

A number right behind a fact's name ("RSI 28.1") must be that fact, and one behind a comparison ("RSI below 30") must
be true of it or be among the facts; any other number must be among the facts. Each is held at the precision it is
written with, as a share, in percent or in basis points. What belongs to a name or counts bars (MA20, RSI(14), 20-bar)
is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST_NUMBERS = 4_096
"""No agent is told more numbers than this."""
CLOSE = 0.001
"""A share of itself by which any number may be off: prices are said in round numbers."""

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-+\u2212]?)(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?:\s?(?P<unit>%|percent\b|bps?\b|k\b|x\b))?(?![\w(])",
    re.ASCII | re.IGNORECASE,
)
_PERIOD = re.compile(
    r"\s?-?\s?(?:bars?|periods?|candles?|closes|cycles?|trades?|days?|hours?|hrs?|min(?:ute)?s?|secs?|seconds|h|d|m|s)\b"
    r"|\s?/\s?\d|:\d",
    re.ASCII | re.IGNORECASE,
)
_BEHIND_PERIOD = re.compile(
    r"(?:\d\s?/|\d:|[a-z]\(|(?:last|past|previous|mean|ma|sma|ema|average|n)\s?[(=]?)$", re.IGNORECASE
)
_NAMES = {
    "rsi": "rsi",
    "ma20": "ma20",
    "sma20": "ma20",
    "mean 20": "ma20",
    "20-bar mean": "ma20",
    "volatility ratio": "volatility_ratio",
    "volatility_ratio": "volatility_ratio",
    "volume ratio": "volume_ratio",
    "volume_ratio": "volume_ratio",
    "volatility": "volatility",
    "trend": "trend",
    "drawdown": "drawdown",
    "price": "price",
    "close": "price",
    "equity": "equity",
}
_NAME = "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True))
_LINK = r"\s*(?:\(\d+\))?\s*(?:is|at|of|now|was|still|stands at|about|around|near|=|:|~)?\s*"
_DIRECT = re.compile(rf"(?<!\w)(?P<name>{_NAME}){_LINK}$", re.IGNORECASE)
_OVER, _UNDER = r"above|over|exceeds|greater than|more than|>=?", r"below|under|beneath|less than|<=?"
_COMPARED = re.compile(
    rf"(?<!\w)(?P<name>{_NAME}){_LINK}(?:[-+]?[\d.,]+\s?%?)?\s*(?:is|still|now|stays)?\s*"
    rf"(?:(?P<over>{_OVER})|(?P<under>{_UNDER}))\s*(?:the\s+)?$",
    re.IGNORECASE,
)
_REACH = 48
"""How many characters before a number tell what it is of."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A number of a text that the facts do not bear out.

    Attributes:
        said: the number as it is written, with its name where it has one.
        fact: the name and the value that it is held against; None where no fact has that value.
    """

    said: str
    fact: str | None


def ungrounded(words: str, facts: Mapping[str, Any], lookups: tuple[str, ...] = ()) -> tuple[Claim, ...]:
    """The numbers of `words` that are not in the facts, nor in what was looked up. Raises nothing for any text."""
    known: list[float] | None = None
    wrong = []
    for found in _NUMBER.finditer(words):
        if _is_period(words, found):
            continue
        number = _Number.of(found)
        before = words[max(0, found.start() - _REACH) : found.start()]
        direct, compared = _DIRECT.search(before), _COMPARED.search(before)
        value = _named(facts, direct or compared)
        if direct and value is not None:
            if not number.is_of(value):
                name = direct["name"]
                wrong.append(Claim(f"{name} {found.group().strip()}", f"{name} {value:.8g}"))
            continue
        if compared and value is not None and number.lies(value, over=bool(compared["over"])):
            continue
        if known is None:
            known = list(islice(_numbers([facts, *lookups]), MOST_NUMBERS))
        if not any(number.is_of(one) for one in known):
            wrong.append(Claim(found.group().strip(), None))
    return tuple(wrong)


def _is_period(words: str, found: re.Match[str]) -> bool:
    """Whether a whole number counts bars or is part of a name, a ratio of periods or a time."""
    if "." in found["digits"] or found["unit"] is not None:
        return False
    if _PERIOD.match(words, found.end()):
        return True
    before = words[max(0, found.start() - 12) : found.start()]
    return bool(_BEHIND_PERIOD.search(before)) and len(found["digits"]) <= 3


def _named(facts: Mapping[str, Any], found: re.Match[str] | None) -> float | None:
    """The fact of a name, as a number."""
    if found is None:
        return None
    name = _NAMES[found["name"].lower()]
    features = facts.get("features")
    value = facts.get(name, features.get(name) if isinstance(features, Mapping) else None)
    return _float(value)


@dataclass(frozen=True, slots=True)
class _Number:
    """A number as a text claims it: its value, what its last digit is worth, its unit."""

    value: float
    digit: float
    unit: str
    signed: bool

    @classmethod
    def of(cls, found: re.Match[str]) -> _Number:
        digits = found["digits"].replace(",", "")
        value = float(digits)
        digit = 10.0 ** -len(digits.partition(".")[2])
        unit = (found["unit"] or "").lower()
        if unit == "k":
            value, digit, unit = value * 1000, digit * 1000, ""
        minus = found["sign"] in ("-", "\u2212")
        return cls(-value if minus else value, digit, unit, bool(found["sign"]))

    def is_of(self, fact: float) -> bool:
        """Whether it is that fact, rounded or cut off, in its unit or in the fact's own."""
        return any(self._near(fact * scale) for scale in self._scales())

    def lies(self, fact: float, over: bool) -> bool:
        """Whether the fact lies over it, or under it."""
        scaled = fact * self._scales()[0]
        return scaled > self.value if over else scaled < self.value

    def _scales(self) -> tuple[float, ...]:
        if self.unit in ("%", "percent"):
            return 100.0, 1.0, 0.01
        if self.unit.startswith("bp"):
            return 10_000.0, 1.0, 100.0
        return (1.0,)

    def _near(self, fact: float) -> bool:
        off = abs(fact - self.value) if self.signed else min(abs(fact - self.value), abs(fact + self.value))
        return off < self.digit or off <= CLOSE * abs(fact)


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a document, and in its texts."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, Mapping):
            rest.extend(one.values())
        elif isinstance(one, list | tuple):
            rest.extend(one)
        elif isinstance(one, str):
            yield from (_Number.of(found).value for found in _NUMBER.finditer(one))
            yield from (float(piece) for piece in re.findall(r"\d+(?:\.\d+)?", one))
        elif (number := _float(one)) is not None:
            yield number


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
