"""One exchange class of ccxt, without the other hundred: a plain `import ccxt` costs 35 MB and half a second more.

The trick: a bare package object with ccxt's path stands in `sys.modules` while the one module is imported, and is
taken away again. A genuine `import ccxt` later finds the same classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from decimal import getcontext, setcontext
from types import ModuleType
from typing import Any

from trader_cli.core.errors import ConfigError

LOUD = ("ccxt", "urllib3", "requests")
"""Loggers that at DEBUG write keys and signatures: they stay at WARNING whatever LOG_LEVEL says."""


def exchange_class(exchange_id: str) -> Any:
    """ccxt's class of that id. Raises ConfigError where there is none."""
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    context = getcontext().copy()  # ccxt changes the thread's decimal context when it is imported
    try:
        loaded = sys.modules.get("ccxt")
        found = getattr(loaded, exchange_id, None) if loaded is not None else _alone(exchange_id)
    finally:
        setcontext(context)
    if not isinstance(found, type):
        raise ConfigError(
            f'EXCHANGE_ID must be an exchange that ccxt knows, was "{exchange_id}"',
            "The usual one: EXCHANGE_ID=binance",
        )
    return found


def exchange_errors() -> Any:
    """ccxt's error classes; only after a class was loaded."""
    return sys.modules["ccxt.base.errors"]


def _alone(exchange_id: str) -> Any:
    spec = importlib.util.find_spec("ccxt")  # finds it, does not run it
    if spec is None or spec.submodule_search_locations is None:
        raise ConfigError("the package ccxt is not installed", "Install it: make .venv/.stamp")
    if not _has(exchange_id, list(spec.submodule_search_locations)):
        return None
    package = ModuleType("ccxt")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["ccxt"] = package
    try:
        return getattr(importlib.import_module(f"ccxt.{exchange_id}"), exchange_id)
    except (ImportError, AttributeError):  # a ccxt that is laid out otherwise: take all of it
        sys.modules.pop("ccxt", None)
        return getattr(importlib.import_module("ccxt"), exchange_id, None)
    finally:
        if sys.modules.get("ccxt") is package:
            del sys.modules["ccxt"]


def _has(exchange_id: str, folders: list[str]) -> bool:
    """Whether there is a module of that name: an id such as "base" or "test" names no exchange."""
    from pathlib import Path

    return any((Path(folder) / f"{exchange_id}.py").is_file() for folder in folders)
