"""What doctor and health found: a line each, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trader_cli.schemas.vital import Finding, Level
from trader_cli.views.output import clean

_WORDS = {Level.SKIP: "skip", Level.OK: "ok", Level.WARN: "warn", Level.FAIL: "FAIL"}


def doctor_document(found: Sequence[Finding]) -> dict[str, Any]:
    """Everything."""
    return {
        "schema": "trader.doctor/1",
        "ok": count(found, Level.FAIL) == 0,
        "failures": count(found, Level.FAIL),
        "warnings": count(found, Level.WARN),
        "checks": [_row(one) for one in found],
    }


def _row(one: Finding) -> dict[str, Any]:
    return {"name": one.name, "level": _WORDS[one.level], "said": one.said, "fix": one.fix}


def doctor_lines(found: Sequence[Finding]) -> Iterator[str]:
    """A line for each finding, what to do about it below."""
    for one in found:
        yield f"{_WORDS[one.level]:<5} {one.name:<13} {clean(one.said)}"
        if one.fix is not None and one.level >= Level.WARN:
            yield f"{'':<19} {clean(one.fix)}"
    failures, warnings = count(found, Level.FAIL), count(found, Level.WARN)
    yield f"{_many(failures, 'failure')}, {_many(warnings, 'warning')}"


def health_document(found: Sequence[Finding]) -> dict[str, Any]:
    """What is wrong, if anything is."""
    return {
        "schema": "trader.health/1",
        "ok": count(found, Level.FAIL) == 0,
        "checks": [_row(one) for one in found],
    }


def health_line(found: Sequence[Finding]) -> str:
    """All of it on one line."""
    bad = [f"{one.name}: {clean(one.said)}" for one in found if one.level is Level.FAIL]
    if bad:
        return f"FAIL  {'; '.join(bad)}"
    told = {one.name: clean(one.said) for one in found if one.name in ("decisions", "books")}
    return "ok  " + ", ".join(told.values())


def count(found: Sequence[Finding], level: Level) -> int:
    """How many findings there are of a level."""
    return sum(one.level is level for one in found)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
