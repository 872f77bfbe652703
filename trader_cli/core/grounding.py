"""Grounding: which numbers of a hypothesis the facts do not bear out.

A number right behind a fact's name ("RSI 28.1") must be that fact, and one behind a comparison ("RSI below 30") must
be true of it or be among the facts; any other number must be among the facts. Each is held at the precision it is
written with, as a share, in percent or in basis points. What belongs to a name or counts bars (MA20, RSI(14), 20-bar)
is no claim.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST_NUMBERS = 50_000
"""No agent is told more numbers than this."""
ROUND = 1_000.0
"""From here on a whole number may be a round one, as prices are said: off by so much of itself as CLOSE."""
CLOSE = 0.001

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<![%)])[-+\u2212])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})++(?:\.\d++)?+|\d++(?:\.\d++)?+)(?P<power>e[-+]?\d{1,3})?+"
    r"(?:\s?(?P<unit>%|\u00d7|(?:percent|bps?|k|x)\b)|(?![\w(]))",
    re.ASCII | re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\s?-?\s?(?:bars?|periods?|candles?|cycles?|days?|hours?|hrs?|min(?:ute)?s?|secs?|seconds|h|d|m|s"
    r"|polic(?:y|ies)|strateg(?:y|ies)|times)\b",
    re.ASCII | re.IGNORECASE,
)
_COUNTED_IF_SMALL = re.compile(
    r"\s?-?\s?(?:(?P<verb>trades?|signals?|reasons?|steps?|tests?|orders?)|closes|lows|highs|[se]?ma|average"
    r"|mean(?![ -]rever)|moving average)\b",
    re.ASCII | re.IGNORECASE,
)
"""Words that a small number counts, but that may also go on behind a value: "RSI 72 signals", "91,500 closes"."""
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_RATIO = re.compile(r"\s?/\s?\d|:\d")
_BEHIND_PERIOD = re.compile(
    r"(?:\d\s?/|\d:|[a-z]\(|(?:last|past|previous|mean|[se]?ma|average|n)\s?[-(=]?)$", re.IGNORECASE
)
_NAMES = {
    "rsi": r"rsi(?:[ -]?14|\s?\(14\))?",
    "ma20": r"s?ma(?:[ -]?20|\s?\(20\))|mean[ -]20|20[ -]?(?:bar |period |bar-|period-)?(?:s?ma|mean|average)",
    "volatility_ratio": "volatility[ _]ratio",
    "volume_ratio": "volume[ _]ratio|relative volume",
    "volume_avg": "volume[ _]avg|(?:average|avg|mean) volume",
    "volatility": "volatility",
    "trend": "trend",
    "drawdown": "drawdown",
    "price": r"price|(?<!previous )(?<!prior )(?<!earlier )(?<!hourly )(?<!daily )(?<!\dh )(?<!\dm )(?<!\dd )close",
    "equity": "equity",
    "confidence": "confidence",
}
"""How each fact is called in a sentence."""
_SIGNED = frozenset({"trend"})
"""Facts that mean the opposite without their sign."""
_NAME = "|".join(f"(?P<{name}>{words})" for name, words in _NAMES.items())
_LINK = (
    r"(?:\s*(?:is|at|of|now|was|still|stands|about|around|near|only|just|reads|reading|currently|roughly"
    r"|(?:fell|dropped|rose) to|=|:|~|\u2248|\$|\())*\s*"
)
_DIRECT = re.compile(rf"(?<!\w)(?:{_NAME}){_LINK}$", re.IGNORECASE)
_OVER, _UNDER = r"above|over|exceeds|greater than|more than|>=?", r"below|under|beneath|less than|<=?"
_COMPARED = re.compile(
    rf"(?<!\w)(?:{_NAME}){_LINK}(?:[-+]?[\d.,]+\s?%?\)?)?\s*(?:is|still|now|stays)?\s*"
    rf"(?:(?P<over>{_OVER})|(?P<under>{_UNDER}))\s*(?:the\s+)?$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(rf"\)?{_LINK}\d", re.IGNORECASE)
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
    """The numbers of `words` that neither the facts bear out nor what was looked up (JSON texts).

    Raises nothing for any text.
    """
    words = _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit.group())), words)
    known: list[float] | None = None
    looked_up = [_read(one) for one in lookups]
    wrong = []
    for found in _NUMBER.finditer(words):
        before = words[max(0, found.start() - _REACH) : found.start()]
        direct, compared = _DIRECT.search(before), _COMPARED.search(before)
        if _is_period(words, found, direct):
            continue
        number = _Number.of(found)
        name, values = _named(direct or compared, facts, looked_up)
        fact = f"{name} {values[0]:.8g}" if values else None
        if direct and values and not _RATIO.match(words, found.end()):
            if not any(number.is_of(value, signed=name in _SIGNED) for value in values):
                wrong.append(Claim(f"{name} {found.group().strip()}", fact))
            continue
        if compared and any(number.lies(value, over=bool(compared["over"])) for value in values):
            continue
        if known is None:
            known = list(islice(_numbers([facts, *looked_up]), MOST_NUMBERS))
        if not any(number.is_of(one) for one in known):
            wrong.append(Claim(found.group().strip(), fact))
    return tuple(wrong)


def _read(output: str) -> Any:
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return output


def _is_period(words: str, found: re.Match[str], named: re.Match[str] | None) -> bool:
    """Whether a number counts bars or is part of a name, a ratio of periods or a time; `named`: right behind a name."""
    if found["unit"] is not None:
        return False
    if _COUNTED.match(words, found.end()):
        return True
    if "." in found["digits"] or len(found["digits"]) > 3:
        return False
    if counted := _COUNTED_IF_SMALL.match(words, found.end()):
        return not (named and counted["verb"])
    before = words[max(0, found.start() - 12) : found.start()]
    if _RATIO.match(words, found.end()):
        return not (named and named["rsi"])  # "RSI 72/100" is a value, "trend 9/21" are periods
    if _BEHIND_PERIOD.search(before):
        return True
    return (
        found["digits"] == "14"
        and before.lower().endswith(("rsi ", "rsi-"))
        and bool(_GOES_ON.match(words, found.end()))
    )


def _named(found: re.Match[str] | None, facts: Mapping[str, Any], looked_up: list[Any]) -> tuple[str, list[float]]:
    """The name in front of a number, and the facts it may mean: the cycle's own first, then what was looked up."""
    if found is None:
        return "", []
    name = next(name for name in _NAMES if found[name] is not None)
    places = [facts, facts.get("features"), *looked_up]
    values = [_float(place.get(name)) for place in places if isinstance(place, Mapping)]
    return found[name], [value for value in values if value is not None]


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
        power = found["power"] or ""
        value, digit = float(digits + power), float(f"1e-{len(digits.partition('.')[2])}")
        worth = float("1" + power) if power else 1.0
        unit = (found["unit"] or "").lower()
        if unit == "k":
            value, worth, unit = value * 1000, worth * 1000, ""
        digit *= worth if value else 1.0  # no power makes nothing less exact
        minus = found["sign"] in ("-", "\u2212")
        return cls(-value if minus else value, digit, unit, bool(found["sign"]))

    def is_of(self, fact: float, signed: bool = False) -> bool:
        """Whether it is that fact, rounded or cut off, in its unit or in the fact's own; `signed`: of its sign."""
        return any(self._near(fact * scale, signed or self.signed) for scale in self._scales())

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

    def _near(self, fact: float, signed: bool) -> bool:
        value = self.value
        if not (math.isfinite(value) and math.isfinite(fact)):
            return False
        if not signed:
            fact, value = abs(fact), abs(value)
        off, slack = abs(fact - value), 1e-9 * abs(fact)
        if off <= self.digit / 2 + slack:
            return True
        if off < self.digit and abs(fact) >= abs(value):
            return True  # cut off, not rounded
        return self.digit >= 1 and abs(value) >= ROUND and off <= CLOSE * abs(fact)


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a document, and in its texts, from its beginning."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, Mapping):
            rest.extend(reversed(list(one.values())))
        elif isinstance(one, list | tuple):
            rest.extend(reversed(one))
        elif isinstance(one, str):
            yield from (_Number.of(found).value for found in _NUMBER.finditer(one))
            yield from (float(piece) for piece in re.findall(r"\d+(?:\.\d+)?", one, re.ASCII))
        elif (number := _float(one)) is not None:
            yield number


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
