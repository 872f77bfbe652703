"""Features: what one window of candles says in numbers. A pure function, so that replay is exact."""

from __future__ import annotations

from trader_cli.core.indicators import UNDEFINED, features
from trader_cli.schemas.market import Features, Window

__all__ = ["UNDEFINED", "compute_indicators"]


def compute_indicators(window: Window) -> Features:
    """RSI(14), MA(20), average volume and the regime features of `window`; units in `Features`.

    A window with defects has no features; neither has anything undefined (a flat series has no RSI).
    """
    return features(window)
