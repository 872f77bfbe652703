"""trader models: which models think, what they take and cost, and until when they exist."""

from __future__ import annotations

from typing import Any

from trader_cli.commands.options import Globals, command
from trader_cli.config import Settings
from trader_cli.core.moments import Moment
from trader_cli.schemas.model import Price
from trader_cli.schemas.question import Agent
from trader_cli.tools.clock import wall_now
from trader_cli.tools.models.table import AS_OF, TABLE, days_left, remarks, spec_of
from trader_cli.views.models import columns, legend, rows
from trader_cli.wiring import chosen_models, models_in_use


@command
def models(g: Globals) -> None:
    """The models in use and the others this version knows: effort, temperature, price, shutdown, successor.

    Prices are USD per million tokens. Needs no ledger, no key and no network.
    """
    document = models_document(g.settings(), wall_now())
    if g.json:
        g.out.record(document)
    else:
        g.out.table(columns(document), rows(document))
    if g.out.is_terminal and not g.json:
        g.out.say(legend(document))
    for note in document["notes"]:
        g.out.say(f"Note: {note}")


def models_document(settings: Settings, today: Moment) -> dict[str, Any]:
    """The document `trader.models/1` as of a moment on the wall: the models in use first."""
    used = models_in_use(settings, today)
    names = dict.fromkeys([*used.values(), *TABLE])
    return {
        "schema": "trader.models/1",
        "as_of": AS_OF,
        "used": {agent.value.lower(): model for agent, model in used.items()},
        "models": [_model(name, [a for a in used if used[a] == name], today) for name in names],
        "notes": remarks(used, chosen_models(settings), today) + _elsewhere(settings) + _offline(settings),
    }


def _model(name: str, agents: list[Agent], today: Moment) -> dict[str, Any]:
    spec = spec_of(name)
    return {
        "model": name,
        "used_by": [agent.value.lower() for agent in agents],
        "known": spec is not None,
        "efforts": list(spec.efforts) if spec else [],
        "default_effort": spec.default_effort if spec else None,
        "temperature": spec.temperature if spec else None,
        "verbosity": spec.verbosity if spec else None,
        "max_output_tokens": spec.max_output_tokens if spec else None,
        "price": _price(spec.price) if spec and spec.price else None,
        "shutdown": spec.shutdown if spec else None,
        "shutdown_in_days": days_left(spec, today) if spec else None,
        "successor": spec.successor if spec else None,
    }


def _price(price: Price) -> dict[str, Any]:
    return {
        "input": price.input,
        "cached": price.cached,
        "output": price.output,
        "cache_write": price.cache_write or price.input,
    }


def _elsewhere(settings: Settings) -> list[str]:
    if settings.openai_base_url is None:
        return []
    return [f'the prices are OpenAI\'s own; OPENAI_BASE_URL is "{settings.openai_base_url}", which may take others']


def _offline(settings: Settings) -> list[str]:
    """That none of these models is asked as the settings stand, and why."""
    if settings.agents == "rules":
        return ["AGENTS=rules: the offline rules decide, and no model is asked"]
    if settings.agents == "auto" and settings.openai_api_key is None:
        return ["OPENAI_API_KEY is not set: the offline rules decide, and no model is asked"]
    return []
