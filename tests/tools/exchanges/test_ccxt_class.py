"""One class of ccxt alone: what it loads, what it leaves as it was, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from trader_cli.core.errors import ConfigError
from trader_cli.tools.exchanges.ccxt_class import exchange_class


def alone(code: str) -> dict[str, object]:
    """What a fresh interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


LOAD = """
import decimal, json, logging, sys
decimal.getcontext().rounding = decimal.ROUND_UP
from trader_cli.tools.exchanges.ccxt_class import exchange_class, exchange_errors
cls = exchange_class("binance")
"""


def test_one_exchange_is_loaded_without_the_other_hundred_and_nothing_stays_changed() -> None:
    found = alone(
        LOAD
        + """
print(json.dumps({
    "others": [name for name in ("ccxt.alpaca", "ccxt.kraken", "ccxt.async_support") if name in sys.modules],
    "stub": "ccxt" in sys.modules,
    "errors": exchange_errors().OrderNotFound.__name__,
    "rounding": decimal.getcontext().rounding,
    "underflow": decimal.getcontext().traps[decimal.Underflow],
    "levels": [logging.getLogger(name).getEffectiveLevel() for name in ("ccxt.base.exchange", "urllib3.util")],
}))
"""
    )
    assert found["others"] == []
    assert found["stub"] is False
    assert (found["errors"], found["rounding"], found["underflow"]) == ("OrderNotFound", "ROUND_UP", False)
    assert found["levels"] == [30, 30]


def test_a_genuine_import_later_finds_the_same_classes() -> None:
    found = alone(
        LOAD
        + """
import ccxt
print(json.dumps({
    "same": ccxt.binance is cls, "errors": ccxt.OrderNotFound is exchange_errors().OrderNotFound,
    "again": exchange_class("binance") is cls, "other": exchange_class("kraken") is ccxt.kraken,
}))
"""
    )
    assert found == {"same": True, "errors": True, "again": True, "other": True}


@pytest.mark.parametrize("name", ["nosuch", "base", "test", "__init__", "pro", "async_support", "abstract"])
def test_what_is_no_exchange_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f'knows, was "{name}"'):
        exchange_class(name)


def test_paper_trading_loads_no_part_of_it() -> None:
    found = alone(
        """
import json, sys
import trader_cli.wiring
heavy = ("ccxt", "ccxt.base.errors", "requests", "urllib3", "tenacity", "openai")
print(json.dumps({"loaded": [name for name in heavy if name in sys.modules]}))
"""
    )
    assert found == {"loaded": []}
