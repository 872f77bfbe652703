"""What the trader's model may look up before it answers: bars and indicators of the window its facts were made of.

No request, no clock, no side effect: the cycle's stored window is all there is, so that nothing later is
ever seen and a replay gets the same answers. Longer timeframes are made of its bars.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trader_cli.agents.reading import UnreadableError, check, cut, parse
from trader_cli.core.candles import resample
from trader_cli.core.decimals import brief, text
from trader_cli.core.indicators import features
from trader_cli.core.moments import iso, span_ms, span_text
from trader_cli.schemas.market import Candle, Features, Window
from trader_cli.schemas.tool import Tool, ToolCall

TIMEFRAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
"""All that a window may have, whatever this one has: a schema that stays the same is compiled once by a server."""
MOST_BARS = 100
MOST_CHARS = 12_000
"""How long a result is at most, about: the oldest bars are left out first."""


def _strict(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TIMEFRAME = {"type": "string", "enum": list(TIMEFRAMES)}

TOOLS: tuple[Tool, ...] = (
    Tool(
        "get_ohlcv",
        "The newest closed candles of the facts' own window, oldest first: opened_at, open, high, low, close, volume. "
        "Timeframes are multiples of timeframe_secs.",
        _strict(timeframe=_TIMEFRAME, limit={"type": "integer", "minimum": 1, "maximum": MOST_BARS}),
    ),
    Tool(
        "compute_indicators",
        "The features of the facts' own window on a timeframe that is a multiple of timeframe_secs; null: few bars.",
        _strict(timeframe=_TIMEFRAME),
    ),
)
"""The functions that are offered; nothing with a side effect is ever among them."""


def lookup(window: Window, call: ToolCall) -> str:
    """What a call gets, as compact JSON: a result, or `{"error": …}` for a timeframe the window cannot give.

    Raises UnreadableError for a tool there is not, or arguments that are not exactly those of its schema.
    """
    tool = next((tool for tool in TOOLS if tool.name == call.name), None)
    if tool is None:
        raise UnreadableError(f"it calls {cut(call.name)!r}, which is no tool")
    try:
        given = parse(call.arguments)
        check(given, tool.parameters, "arguments")
    except UnreadableError as error:
        raise UnreadableError(f"{tool.name}: {error}") from None
    if not isinstance(given.get("limit", 1), int):
        raise UnreadableError(f"{tool.name}: arguments: limit: {given['limit']!r} is not of type 'integer'")
    seen = _on(window, given["timeframe"])
    if seen is None:
        return _compact({"error": _cannot(window, given["timeframe"])})
    return _SERVED[tool.name](seen, given)


def _on(window: Window, timeframe: str) -> Window | None:
    """The window on a timeframe, with the same defects; None when its bars do not make one."""
    wanted_ms = span_ms(timeframe)
    if wanted_ms % window.timeframe_ms:
        return None
    bars = resample(window.candles, window.timeframe_ms, wanted_ms)
    return replace(window, timeframe_ms=wanted_ms, candles=bars, closes=())


def _cannot(window: Window, timeframe: str) -> str:
    fit = ", ".join(name for name in TIMEFRAMES if span_ms(name) % window.timeframe_ms == 0)
    return (
        f"the window has bars of {span_text(window.timeframe_ms)}, not of {timeframe}; ask for one of {fit or 'none'}"
    )


def _get_ohlcv(window: Window, given: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    size = 0
    for bar in reversed(window.candles[-given["limit"] :]):
        row = _row(bar)
        size += len(_compact(row)) + 1
        if size > MOST_CHARS:
            break
        rows.append(row)
    return _compact({"timeframe": given["timeframe"], "rows": rows[::-1], **_defects(window)})


def _compute_indicators(window: Window, given: dict[str, Any]) -> str:
    found = features(window)
    named = {name: getattr(found, name) for name in Features.__slots__}
    return _compact({"timeframe": given["timeframe"], "bars": len(window.candles), **named, **_defects(window)})


_SERVED: dict[str, Callable[[Window, dict[str, Any]], str]] = {
    "get_ohlcv": _get_ohlcv,
    "compute_indicators": _compute_indicators,
}


def _defects(window: Window) -> dict[str, Any]:
    """Why the window may not be traded on, where that is so: kinds only, for the details are in the facts."""
    return {"defects": sorted({defect.kind for defect in window.defects})} if window.defects else {}


def _row(bar: Candle) -> list[str]:
    return [iso(bar.opened_at), *map(_number, bar[1:])]


def _number(value: Any) -> str:
    """Canonical; a volume that many bars add up to more than the ledger could hold, rounded."""
    try:
        return text(value)
    except ValueError:
        return brief(value)


def _compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)
