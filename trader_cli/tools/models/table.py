"""The models this version knows, as dated data: what they take, what they cost, until when they exist.

Prices: the price map of litellm 1.106.2. Effort, temperature: OpenAI's documentation of 2026-09-25, live probes of
2026-08 and 2026-09. Shutdown days: the openai SDK's list of models. Successors: OpenAI's deprecations page, 2026-08.
Training cut-offs: OpenAI's model pages, from memory; of later models they are not known here.
Prices fall (gpt-5.6-sol was 5/30 in June 2026): the ledger keeps tokens, so that a cost can be reckoned anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal

from trader_cli.core.moments import DAY_MS, Moment, day_start, parse_iso
from trader_cli.schemas.model import SOON_DAYS, ModelSpec, Price
from trader_cli.schemas.question import Agent

AS_OF = "2026-11-22"
"""The day on which all of this was last looked up."""

DEFAULTS = {Agent.PLANNER: "gpt-5-mini", Agent.TRADER: "gpt-5", Agent.JUDGE: "gpt-5-mini"}
"""The specification's model of each agent."""

_GONE = "2026-12-11"  # some of OpenAI's notices say the 10th; the SDK and the deprecations page say the 11th
_WRITES = Decimal("1.25")  # from gpt-5.6 on, writing to the prompt cache costs this much of the input price
_OLD = ("minimal", "low", "medium", "high")
_NEW = ("none", "low", "medium", "high", "xhigh", "max")
_SNAPSHOT = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)


def _price(given: str, cached: str, written: str, *, writes: Decimal | None = _WRITES) -> Price:
    read = Decimal(given)
    return Price(read, Decimal(cached), Decimal(written), None if writes is None else read * writes)


def _gpt_5(name: str, price: Price, successor: str, cutoff: str) -> ModelSpec:
    return ModelSpec(name, _OLD, "medium", "never", True, 128_000, price, _GONE, successor, cutoff)


def _later(name: str, price: Price, ceiling: int | None = None) -> ModelSpec:
    """gpt-5.6 and gpt-6: the default effort is documented for none of gpt-5.6, and certainly not "none"."""
    return ModelSpec(name, _NEW, "medium", "at none", True, ceiling, price)


_SPECS = (
    _gpt_5("gpt-5", _price("1.25", "0.125", "10", writes=None), "gpt-5.6-sol", "2024-09-30"),
    _gpt_5("gpt-5-mini", _price("0.25", "0.025", "2", writes=None), "gpt-5.6-terra", "2024-05-31"),
    _gpt_5("gpt-5-nano", _price("0.05", "0.005", "0.4", writes=None), "gpt-5.6-luna", "2024-05-31"),
    ModelSpec(
        name="gpt-5.4-mini",
        efforts=("none", "low", "medium", "high", "xhigh"),
        default_effort="none",
        temperature="at none",
        verbosity=True,
        max_output_tokens=128_000,
        price=_price("0.75", "0.075", "4.5", writes=None),
    ),
    _later("gpt-5.6-sol", _price("4", "0.4", "20"), 128_000),
    _later("gpt-5.6-terra", _price("2", "0.2", "12"), 128_000),
    _later("gpt-5.6-luna", _price("0.2", "0.02", "1.2"), 128_000),
    _later("gpt-6-sol", _price("2", "0.2", "10")),
    _later("gpt-6-luna", _price("0.1", "0.01", "0.5")),
    ModelSpec("gpt-6-astra", _NEW[1:], "medium", "never", True, None, _price("10", "1", "50")),
)

TABLE: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def spec_of(name: str) -> ModelSpec | None:
    """What is known of a model; of a snapshot (`gpt-5-2025-08-07`) what is known of its family. None: nothing."""
    return TABLE.get(name) or TABLE.get(_SNAPSHOT.sub("", name))


def default_model(agent: Agent, on: Moment) -> str:
    """The agent's model when no setting names one: the specification's, from its shutdown day on its successor."""
    return successor_of(DEFAULTS[agent], on)


def successor_of(name: str, on: Moment) -> str:
    """The first in the line of successors that is not shut down: `name` itself while it exists or is not known."""
    spec = spec_of(name)
    if spec is None or spec.successor is None or not is_gone(spec, on):
        return name
    return successor_of(spec.successor, on)


def is_gone(spec: ModelSpec, on: Moment) -> bool:
    """Whether a model is shut down. Its shutdown day counts as gone: nobody says at which hour."""
    left = days_left(spec, on)
    return left is not None and left <= 0


def days_left(spec: ModelSpec, on: Moment) -> int | None:
    """Whole days (UTC) from `on` to the shutdown, below zero after it; None when none is announced."""
    return None if spec.shutdown is None else (parse_iso(spec.shutdown) - day_start(on)) // DAY_MS


def dearest() -> Price:
    """A price that no known model is above in any part: for a bound on what a model without a price may cost."""
    prices = [spec.price for spec in TABLE.values() if spec.price is not None]
    return Price(
        input=max(price.input for price in prices),
        cached=max(price.cached for price in prices),
        output=max(price.output for price in prices),
        cache_write=max(price.cache_write or price.input for price in prices),
    )


# ---------------------------------------------------------------- what to tell about the models in use


def remarks(used: Mapping[Agent, str], chosen: Collection[Agent], on: Moment) -> list[str]:
    """What an operator should know: defaults that were replaced, shutdowns within SOON_DAYS, missing prices.

    `chosen` are the agents whose model a setting names.
    """
    said = []
    for (model, by_setting), agents in _grouped((used[agent], agent in chosen, agent) for agent in used):
        spec = spec_of(model)
        if spec is None:
            said.append(
                f'"{model}" ({_who(agents)}) has no price in this version\'s table (as of {AS_OF}): '
                "what it costs is not known"
            )
        elif (left := days_left(spec, on)) is not None and left <= SOON_DAYS:
            said.append(_ending(spec, model, agents, left, by_setting))
    replaced = ((DEFAULTS[agent], False, agent) for agent in used if agent not in chosen)
    for (model, _), agents in _grouped(replaced):
        heir = successor_of(model, on)
        if heir != model:
            said.append(
                f'"{heir}" ({_who(agents)}) has taken the place of "{model}" since its shutdown on '
                f"{TABLE[model].shutdown}; to choose another, set {_settings(agents)}"
            )
    return said


def _ending(spec: ModelSpec, model: str, agents: list[Agent], left: int, by_setting: bool) -> str:
    """That a model in use is gone, or will be soon, and what then."""
    heir = successor_of(spec.name, parse_iso(spec.shutdown or AS_OF))
    when = f"shuts down on {spec.shutdown}, in {left} day{'s' * (left != 1)}"
    if left <= 0:
        when = f"was shut down on {spec.shutdown} and answers no more"
    if heir == spec.name:
        then = f"set {_settings(agents)} to another model"
    elif by_setting:
        then = f'set {_settings(agents)} to its successor "{heir}"'
    else:
        then = f'then "{heir}" takes its place'
    return f'"{model}" ({_who(agents)}) {when}; {then}'


def _grouped(lines: Iterable[tuple[str, bool, Agent]]) -> list[tuple[tuple[str, bool], list[Agent]]]:
    """Agents by their model and by who chose it, in the order of their first mention."""
    groups: dict[tuple[str, bool], list[Agent]] = {}
    for model, by_setting, agent in lines:
        groups.setdefault((model, by_setting), []).append(agent)
    return list(groups.items())


def _who(agents: Iterable[Agent]) -> str:
    return ", ".join(agent.value.lower() for agent in agents)


def _settings(agents: Iterable[Agent]) -> str:
    return " and ".join(f"OPENAI_MODEL_{agent.value}" for agent in agents)
