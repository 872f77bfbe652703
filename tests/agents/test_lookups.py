"""Lookups: the trader's tools serve the cycle's own window, exactly, and nothing else."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, replace
from decimal import Decimal
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.agents.lookups import MOST_CHARS, TIMEFRAMES, TOOLS, lookup
from trader_cli.agents.reading import UnreadableError
from trader_cli.config import Timeframe
from trader_cli.core.candles import resample
from trader_cli.core.indicators import UNDEFINED, rsi, sma
from trader_cli.core.moments import iso, parse_iso, span_ms
from trader_cli.schemas.market import Candle, Defect, Window
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.strategy import compute_indicators

FIVE = 300_000
HOUR = 3_600_000
BEGIN = parse_iso("2026-01-01")


def walk(count: int, begin: int = BEGIN, frame_ms: int = FIVE, seed: int = 3) -> tuple[Candle, ...]:
    chance, price, rows = Random(seed), 30_000.0, []
    for number in range(count):
        opened, price = price, price * math.exp(chance.gauss(0, 0.002))
        low, high = min(opened, price) * 0.999, max(opened, price) * 1.001
        numbers = (opened, high, low, price, chance.expovariate(0.1) + 0.01)
        rows.append(Candle(begin + number * frame_ms, *(Decimal(f"{value:.5f}") for value in numbers)))
    return tuple(rows)


def window(rows: tuple[Candle, ...], frame_ms: int = FIVE, *defects: Defect) -> Window:
    return Window("recorded:x.csv", frame_ms, rows, defects, rows[-1].close if rows else None, 0 if rows else None)


def ask(seen: Window, tool: str, **arguments: Any) -> Any:
    return json.loads(lookup(seen, ToolCall("call_1", tool, json.dumps(arguments))))


def by_hand(rows: tuple[Candle, ...], size: int) -> list[Candle]:
    """Groups of `size` bars of a series that begins on the grid and has no gap."""
    groups = [rows[at : at + size] for at in range(0, len(rows) - size + 1, size)]
    return [
        Candle(
            group[0].opened_at,
            group[0].open,
            max(bar.high for bar in group),
            min(bar.low for bar in group),
            group[-1].close,
            sum((bar.volume for bar in group), Decimal(0)),
        )
        for group in groups
    ]


# What is offered.


def test_the_offered_timeframes_are_those_of_the_setting() -> None:
    assert get_args(Timeframe) == TIMEFRAMES


def test_the_schemas_are_strict_and_the_same_for_every_window() -> None:
    assert [tool.name for tool in TOOLS] == ["get_ohlcv", "compute_indicators"]
    for tool in TOOLS:
        assert tool.description
        assert tool.parameters["type"] == "object"
        assert tool.parameters["additionalProperties"] is False
        assert tool.parameters["required"] == list(tool.parameters["properties"])
        assert tool.parameters["properties"]["timeframe"] == {"type": "string", "enum": list(TIMEFRAMES)}
        allowed = {"type", "enum", "minimum", "maximum"}  # what a strict schema may say of a plain value
        assert all(set(one) <= allowed for one in tool.parameters["properties"].values())


# What is served.


def test_the_windows_own_timeframe_gives_its_newest_bars_oldest_first() -> None:
    rows = walk(200)
    got = ask(window(rows), "get_ohlcv", timeframe="5m", limit=3)
    assert got["timeframe"] == "5m"
    assert [row[0] for row in got["rows"]] == [iso(bar.opened_at) for bar in rows[-3:]]
    assert [[Decimal(cell) for cell in row[1:]] for row in got["rows"]] == [list(bar[1:]) for bar in rows[-3:]]
    assert all(isinstance(cell, str) for row in got["rows"] for cell in row)


def test_a_longer_timeframe_is_made_of_whole_groups_by_hand() -> None:
    rows = walk(200)  # sixteen hours and forty minutes from midnight
    got = ask(window(rows), "get_ohlcv", timeframe="1h", limit=100)
    hours = by_hand(rows, 12)
    assert len(hours) == 16
    assert [row[0] for row in got["rows"]] == [iso(BEGIN + number * HOUR) for number in range(16)]
    assert [[Decimal(cell) for cell in row[1:]] for row in got["rows"]] == [list(bar[1:]) for bar in hours]


@pytest.mark.parametrize(("timeframe", "size"), [("5m", 1), ("15m", 3), ("30m", 6), ("1h", 12)])
def test_indicators_are_those_of_bars_that_were_resampled_by_hand(timeframe: str, size: int) -> None:
    rows = walk(1000)
    bars = by_hand(rows, size)
    got = ask(window(rows), "compute_indicators", timeframe=timeframe)
    closes = [float(bar.close) for bar in bars]
    wanted = compute_indicators(window(tuple(bars), FIVE * size))
    assert got == {"timeframe": timeframe, "bars": len(bars), **asdict(wanted)}
    assert got["rsi"] == pytest.approx(rsi(closes), rel=1e-9)
    assert got["ma20"] == pytest.approx(sma(closes, 20), rel=1e-9)
    assert got["volume_avg"] == pytest.approx(sma([float(bar.volume) for bar in bars], 20), rel=1e-9)


def test_what_too_few_bars_leave_undefined_is_null() -> None:
    got = ask(window(walk(200)), "compute_indicators", timeframe="1h")
    assert got["bars"] == 16
    assert got["rsi"] is not None
    assert (got["ma20"], got["volume_avg"], got["trend"]) == (None, None, None)


def test_a_day_that_the_window_does_not_hold_has_no_bar() -> None:
    assert ask(window(walk(200)), "get_ohlcv", timeframe="1d", limit=5) == {"timeframe": "1d", "rows": []}
    assert ask(window(walk(200)), "compute_indicators", timeframe="1d")["bars"] == 0


def test_a_group_with_a_missing_bar_is_left_out_and_the_defect_is_named() -> None:
    rows = walk(36)
    seen = window(rows[:13] + rows[14:], FIVE, Defect("gap", "1 bar missing", rows[13].opened_at))
    got = ask(seen, "get_ohlcv", timeframe="1h", limit=100)
    assert [row[0] for row in got["rows"]] == [iso(BEGIN), iso(BEGIN + 2 * HOUR)]
    assert got["defects"] == ["gap"]
    told = ask(seen, "compute_indicators", timeframe="1h")
    assert told == {"timeframe": "1h", "bars": 2, **asdict(UNDEFINED), "defects": ["gap"]}


@pytest.mark.parametrize(
    ("frame_ms", "timeframe", "words"),
    [
        (FIVE, "1m", "bars of 5m, not of 1m; ask for one of 5m, 15m, 30m, 1h"),
        (FIVE, "3m", "bars of 5m, not of 3m"),
        (2 * HOUR, "1h", "bars of 2h, not of 1h; ask for one of 2h, 4h, 6h, 12h, 1d"),
        (7 * 24 * HOUR, "1d", "bars of 1w, not of 1d; ask for one of none"),
    ],
)
def test_a_timeframe_that_the_window_cannot_give_is_a_fair_question(frame_ms: int, timeframe: str, words: str) -> None:
    seen = window(walk(100, 0, frame_ms), frame_ms)
    for tool in ("get_ohlcv", "compute_indicators"):
        got = ask(seen, tool, timeframe=timeframe, **({"limit": 5} if tool == "get_ohlcv" else {}))
        assert list(got) == ["error"]
        assert words.replace("1w", "7d") in got["error"]


def test_an_empty_window_gives_nothing_and_breaks_nothing() -> None:
    seen = window((), FIVE, Defect("empty", "had no bar"))
    assert ask(seen, "get_ohlcv", timeframe="5m", limit=1) == {"timeframe": "5m", "rows": [], "defects": ["empty"]}
    assert ask(seen, "compute_indicators", timeframe="1h")["rsi"] is None


def test_a_lookup_changes_nothing_and_says_the_same_again() -> None:
    seen, same = window(walk(200)), window(walk(200))
    first = lookup(seen, ToolCall("a", "get_ohlcv", '{"timeframe": "30m", "limit": 100}'))
    assert first == lookup(seen, ToolCall("b", "get_ohlcv", '{"limit": 100, "timeframe": "30m"}'))
    assert seen == same


def test_the_longest_result_stays_bounded_and_keeps_the_newest_bars() -> None:
    wide = tuple(Candle(bar.opened_at, *(Decimal("123456789012345678.123456789012345678"),) * 5) for bar in walk(1000))
    words = lookup(window(wide), ToolCall("a", "get_ohlcv", '{"timeframe": "5m", "limit": 100}'))
    assert len(words) <= MOST_CHARS + 100
    assert json.loads(words)["rows"][-1][0] == iso(wide[-1].opened_at)
    usual = lookup(window(walk(200)), ToolCall("a", "get_ohlcv", '{"timeframe": "5m", "limit": 100}'))
    assert len(json.loads(usual)["rows"]) == 100
    assert len(usual) <= MOST_CHARS


def test_a_volume_that_adds_up_to_more_than_the_ledger_holds_is_served_all_the_same() -> None:
    rows = tuple(bar._replace(volume=Decimal("9e17")) for bar in walk(12))
    got = ask(window(rows), "get_ohlcv", timeframe="1h", limit=1)
    assert got["rows"][0][5] == "10800000000000000000"


# What is not served.


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("place_market_order", "{}", "no tool"),
        ("GET_OHLCV", '{"timeframe": "5m", "limit": 1}', "no tool"),
        ("x" * 1_000_000, "{}", "no tool"),
        ("", "{}", "no tool"),
        ("get_ohlcv", "", "JSON"),
        ("get_ohlcv", "null", "arguments"),
        ("get_ohlcv", "[]", "arguments"),
        ("get_ohlcv", '"5m"', "arguments"),
        ("get_ohlcv", "{}", "required"),
        ("get_ohlcv", '{"timeframe": "5m"}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": NaN}', "NaN"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": Infinity}', "Infinity"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 0}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": -1}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 101}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 1e3}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 1e1}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 5.0}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": "5"}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": true}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": null}', "limit"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": ' + "9" * 5000 + "}", "JSON"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 1, "limit": 2}', "twice"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 1, "since": "2020"}', "since"),
        ("get_ohlcv", '{"timeframe": "5m; DROP", "limit": 1}', "timeframe"),
        ("get_ohlcv", '{"timeframe": "5m\\n", "limit": 1}', "timeframe"),
        ("get_ohlcv", '{"timeframe": "1w", "limit": 1}', "timeframe"),
        ("get_ohlcv", '{"timeframe": "5m", "limit": 1} {}', "JSON"),
        ("get_ohlcv", '{"timeframe": "\\ud800", "limit": 1}', "surrogate"),
        ("get_ohlcv", '{"timeframe": "' + "x" * 1_000_000 + '", "limit": 1}', "characters"),
        ("get_ohlcv", "[" * 30_000 + "]" * 30_000, "nested"),
        ("compute_indicators", "{}", "timeframe"),
        ("compute_indicators", '{"timeframe": ["5m"]}', "timeframe"),
        ("compute_indicators", '{"timeframe": "5m", "limit": 1}', "limit"),
    ],
)
def test_a_call_that_is_not_exactly_valid_is_refused(tool: str, arguments: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words) as refused:
        lookup(window(walk(200)), ToolCall("call_1", tool, arguments))
    assert len(str(refused.value)) <= 300


@given(st.text(max_size=40), st.text(max_size=80))
def test_any_words_are_an_answer_or_a_refusal(tool: str, arguments: str) -> None:
    for name in (tool, "get_ohlcv"):
        with suppress(UnreadableError):
            json.loads(lookup(window(walk(30)), ToolCall("call_1", name, arguments)))


# Resampling.


_MONEY = st.decimals("0.00000001", "99999999", places=8)


@st.composite
def series(draw: st.DrawFn) -> tuple[tuple[Candle, ...], int, int]:
    """Sound bars that begin anywhere and lack some, their timeframe, and a longer one."""
    frame_ms = span_ms(draw(st.sampled_from(TIMEFRAMES[:-1])))
    longer_ms = draw(st.sampled_from([ms for ms in map(span_ms, TIMEFRAMES) if ms % frame_ms == 0]))
    first = draw(st.integers(0, 2000)) * frame_ms
    rows = []
    for number in range(draw(st.integers(0, 60))):
        if draw(st.integers(0, 9)):
            low, one, other, high = sorted(draw(st.tuples(_MONEY, _MONEY, _MONEY, _MONEY)))
            rows.append(Candle(first + number * frame_ms, one, high, low, other, draw(_MONEY)))
    return tuple(rows), frame_ms, longer_ms


@pytest.mark.untraced
@given(series())
def test_resampling_keeps_prices_and_volume_of_whole_groups_and_sees_nothing_later(
    drawn: tuple[tuple[Candle, ...], int, int],
) -> None:
    rows, frame_ms, longer_ms = drawn
    made = resample(rows, frame_ms, longer_ms)
    size = longer_ms // frame_ms
    whole = 0
    for start in sorted({bar.opened_at - bar.opened_at % longer_ms for bar in rows}):
        group = [bar for bar in rows if start <= bar.opened_at < start + longer_ms]
        found = [bar for bar in made if bar.opened_at == start]
        assert len(found) == (len(group) == size)
        if not found:
            continue
        whole += 1
        (bar,) = found
        assert (bar.open, bar.close) == (group[0].open, group[-1].close)
        assert (bar.high, bar.low) == (max(one.high for one in group), min(one.low for one in group))
        assert bar.volume == sum((one.volume for one in group), Decimal(0))
    assert len(made) == whole
    assert [bar.opened_at for bar in made] == sorted(bar.opened_at for bar in made)
    assert all(bar.opened_at % longer_ms == 0 for bar in made)
    assert all(bar.opened_at + longer_ms <= rows[-1].opened_at + frame_ms for bar in made)


@pytest.mark.untraced
@given(series())
def test_what_comes_later_never_changes_what_was_served(drawn: tuple[tuple[Candle, ...], int, int]) -> None:
    rows, frame_ms, longer_ms = drawn
    for seen in range(len(rows)):
        before = resample(rows[:seen], frame_ms, longer_ms)
        assert resample(rows, frame_ms, longer_ms)[: len(before)] == before


def test_a_window_that_begins_inside_a_group_leaves_that_group_out() -> None:
    seen = window(walk(24, BEGIN + FIVE))
    got = ask(seen, "get_ohlcv", timeframe="1h", limit=100)
    assert [row[0] for row in got["rows"]] == [iso(BEGIN + HOUR)]
    assert replace(seen, timeframe_ms=FIVE) == seen
