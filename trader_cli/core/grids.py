"""A grid: lists of values whose product is a set of runs, each told by what it differs in from the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from trader_cli.core.errors import UsageError
from trader_cli.schemas.backtest import Sole
from trader_cli.schemas.policy import BY_ID, Param

COIN = "coin"
_COIN = {"seed": Param("seed", 0, 2**31 - 1, 1), "every": Param("every", 1, 100_000, 24)}

MOST_RUNS = 100_000

Point = tuple[dict[str, str], Sole | None, dict[str, Any]]
"""Settings by NAME, the policy, and both together as they are told."""


def sole_of(name: str, params: Mapping[str, object]) -> Sole:
    """A policy of the catalogue, or the coin, with all its parameters, within their bounds. Raises UsageError."""
    known = _params(name)
    given = {key: int(param.default) if param.integer else float(param.default) for key, param in known.items()}
    for key, value in params.items():
        if key not in known:
            raise UsageError(f'policy {name} has no parameter "{key}"', f"It has: {', '.join(known) or 'none'}")
        given[key] = _number(name, known[key], value)
    return Sole(name, given)


def _params(name: str) -> dict[str, Param]:
    if name == COIN:
        return _COIN
    if name not in BY_ID:
        raise UsageError(f'there is no policy "{name[:40]}"', f"One of: {', '.join((*BY_ID, COIN))}")
    return {param.name: param for param in BY_ID[name].params}


def _number(policy: str, param: Param, value: object) -> int | float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    whole = number == int(number) if abs(number) < 2**53 else False
    if isinstance(value, bool) or not param.low <= number <= param.high or (param.integer and not whole):
        kind = "a whole number" if param.integer else "a number"
        raise UsageError(f'{policy}: "{param.name}" needs {kind} from {param.low:g} to {param.high:g}, was {value}')
    return int(number) if param.integer else number


def points(grid: Mapping[str, Any], names: Sequence[str]) -> list[Point]:
    """All points of a grid: `{"settings": {NAME: [..]}, "policy": {name: {param: [..]}}}`, each once.

    `names` are the settings that may vary. Raises UsageError for anything else, and for more than 100,000.
    """
    if odd := sorted(set(grid) - {"settings", "policy"}):
        raise UsageError(f'a grid has the tables [settings] and [policy.NAME], was "{odd[0]}"')
    settings = _lists(grid.get("settings", {}), "settings")
    if odd := sorted(set(settings) - set(names)):
        raise UsageError(f'"{odd[0]}" is no setting that a backtest depends on', f"One of: {', '.join(names)}")
    found = [
        (dict(zip(settings, map(_text, values), strict=True)), sole, told)
        for values in product(*settings.values())
        for sole, told in _policies(grid.get("policy", {}), dict(zip(settings, values, strict=True)))
    ]
    if not found or len(found) > MOST_RUNS:
        raise UsageError(f"a grid needs from 1 to {MOST_RUNS} runs, was {len(found)}")
    return list({repr(point): point for point in found}.values())


def _policies(policies: object, told: dict[str, Any]) -> Iterator[tuple[Sole | None, dict[str, Any]]]:
    if not isinstance(policies, Mapping):
        raise UsageError('needs tables [policy.NAME], such as "[policy.ma_trend]"')
    if not policies:
        yield None, told
    for name, params in policies.items():
        lists = _lists(params, f"policy.{name}")
        for values in product(*lists.values()):
            sole = sole_of(name, dict(zip(lists, values, strict=True)))
            yield sole, {**told, "policy": name, **sole.params}


def _lists(table: object, where: str) -> dict[str, list[Any]]:
    if not isinstance(table, Mapping):
        raise UsageError(f"[{where}] needs to be a table of lists")
    found = {}
    for name, given in table.items():
        values = given if isinstance(given, list) else [given]
        if not values or any(not isinstance(value, str | int | float) for value in values):
            raise UsageError(f'[{where}] "{name}" needs a list of numbers or texts')
        found[str(name)] = values
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
