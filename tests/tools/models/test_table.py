"""The table of models: whole, dated, without dead ends; which model a day's default is, and what is said of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.moments import DAY_MS, parse_iso
from trader_cli.schemas.question import Agent
from trader_cli.tools.models.table import (
    AS_OF,
    DEFAULTS,
    TABLE,
    days_left,
    dearest,
    default_model,
    is_gone,
    remarks,
    spec_of,
    successor_of,
)

GONE = parse_iso("2026-12-11")
"""When the specification's models are gone."""
EARLY = parse_iso("2026-03-01T12:00")
USED = {Agent.PLANNER: "gpt-5-mini", Agent.TRADER: "gpt-5", Agent.JUDGE: "gpt-5-mini"}


def test_every_entry_is_whole() -> None:
    for name, spec in TABLE.items():
        assert spec.name == name
        assert spec.default_effort in spec.efforts
        assert len(set(spec.efforts)) == len(spec.efforts)
        assert spec.temperature == ("at none" if "none" in spec.efforts else "never")
        assert spec.price is not None
        assert 0 < spec.price.cached < spec.price.input < spec.price.output
        assert spec.price.cache_write is None or spec.price.cache_write > spec.price.input
        assert (spec.shutdown is None) == (spec.successor is None)
        if spec.shutdown is not None:
            date.fromisoformat(spec.shutdown)
            assert spec.successor in TABLE


def test_the_figures_are_those_of_the_sources() -> None:
    assert date.fromisoformat(AS_OF) == date(2026, 11, 22)
    figures = {
        "gpt-5": "1.25 .125 10",
        "gpt-5-mini": ".25 .025 2",
        "gpt-5.4-mini": ".75 .075 4.5",
        "gpt-5.6-sol": "4 .4 20",
        "gpt-5.6-terra": "2 .2 12",
        "gpt-5.6-luna": ".2 .02 1.2",
        "gpt-6-sol": "2 .2 10",
        "gpt-6-luna": ".1 .01 .5",
        "gpt-6-astra": "10 1 50",
    }
    for name, words in figures.items():
        price = TABLE[name].price
        assert price is not None
        assert [price.input, price.cached, price.output] == [Decimal(word) for word in words.split()]
        newer = name.startswith(("gpt-5.6", "gpt-6"))
        assert price.cache_write == (price.input * Decimal("1.25") if newer else None)


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-mini", "gpt-5-nano"])
def test_only_the_old_models_think_minimally_and_only_the_new_ones_not_at_all(name: str) -> None:
    assert TABLE[name].efforts == ("minimal", "low", "medium", "high")
    heir = TABLE[TABLE[name].successor or ""]
    assert heir.efforts[0] == "none"
    assert "minimal" not in heir.efforts


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
        ("gpt-5-2025-08-07-x", None),
        ("gpt-5-2025-08-07\n", None),
        ("gpt-5-20250807", None),
        ("gpt-5-\u0662\u0660\u0662\u0665-\u0660\u0668-\u0660\u0667", None),
        ("GPT-5", None),
        ("openai/gpt-5", None),
        ("qwen3-2025-08-07", None),
        ("", None),
        ("-2025-08-07", None),
    ],
)
def test_a_snapshot_is_of_its_family_and_a_stranger_of_none(name: str, family: str | None) -> None:
    spec = spec_of(name)
    assert (spec and spec.name) == family


@pytest.mark.parametrize(
    ("agent", "before", "after"),
    [
        (Agent.PLANNER, "gpt-5-mini", "gpt-5.6-terra"),
        (Agent.TRADER, "gpt-5", "gpt-5.6-sol"),
        (Agent.JUDGE, "gpt-5-mini", "gpt-5.6-terra"),
    ],
)
def test_a_default_is_the_specifications_until_its_shutdown_day_begins(agent: Agent, before: str, after: str) -> None:
    assert default_model(agent, EARLY) == before == DEFAULTS[agent]
    assert default_model(agent, GONE - 1) == before
    assert default_model(agent, GONE) == after
    assert default_model(agent, GONE + 400 * DAY_MS) == after


@given(st.sampled_from(sorted(TABLE)), st.integers(parse_iso("2020-01-01"), parse_iso("2090-01-01")))
def test_every_line_of_successors_ends_at_a_model_that_exists(name: str, on: int) -> None:
    heir = TABLE[successor_of(name, on)]
    assert not is_gone(heir, on)
    assert is_gone(TABLE[name], on) or heir.name == name


def test_the_days_that_are_left_are_counted_by_the_calendar() -> None:
    spec = TABLE["gpt-5"]
    assert days_left(spec, GONE - 1) == 1
    assert days_left(spec, parse_iso("2026-11-25T23:59")) == 16
    assert days_left(spec, GONE + DAY_MS) == -1
    assert days_left(TABLE["gpt-6-sol"], GONE) is None


def test_nothing_known_is_dearer_than_the_dearest() -> None:
    bound = dearest()
    for spec in TABLE.values():
        assert spec.price is not None
        assert spec.price.input <= bound.input
        assert spec.price.cached <= bound.cached
        assert spec.price.output <= bound.output
        assert bound.cache_write is not None
        assert (spec.price.cache_write or spec.price.input) <= bound.cache_write


def test_long_before_a_shutdown_there_is_nothing_to_say() -> None:
    assert remarks(USED, (), EARLY) == []
    assert remarks(USED, (), GONE - 61 * DAY_MS) == []


def test_sixty_days_before_a_shutdown_it_is_said_and_who_comes_next() -> None:
    assert remarks(USED, (), GONE - 60 * DAY_MS) == [
        '"gpt-5-mini" (planner, judge) shuts down on 2026-12-11, in 60 days; then "gpt-5.6-terra" takes its place',
        '"gpt-5" (trader) shuts down on 2026-12-11, in 60 days; then "gpt-5.6-sol" takes its place',
    ]
    assert "in 1 day;" in remarks(USED, (), GONE - 1)[0]


def test_a_model_that_a_setting_names_is_the_operators_to_replace() -> None:
    used = USED | {Agent.TRADER: "gpt-5-2025-08-07"}
    assert remarks(used, {Agent.TRADER, Agent.JUDGE}, GONE - DAY_MS)[1:] == [
        '"gpt-5-2025-08-07" (trader) shuts down on 2026-12-11, in 1 day; '
        'set OPENAI_MODEL_TRADER to its successor "gpt-5.6-sol"',
        '"gpt-5-mini" (judge) shuts down on 2026-12-11, in 1 day; '
        'set OPENAI_MODEL_JUDGE to its successor "gpt-5.6-terra"',
    ]
    assert remarks(used, set(Agent), GONE)[0] == (
        '"gpt-5-mini" (planner, judge) was shut down on 2026-12-11 and answers no more; '
        'set OPENAI_MODEL_PLANNER and OPENAI_MODEL_JUDGE to its successor "gpt-5.6-terra"'
    )


def test_a_default_that_was_replaced_is_said_to_be_and_since_when() -> None:
    used = {agent: default_model(agent, GONE) for agent in Agent}
    assert remarks(used, (), GONE) == [
        '"gpt-5.6-terra" (planner, judge) has taken the place of "gpt-5-mini" since its shutdown on 2026-12-11; '
        "to choose another, set OPENAI_MODEL_PLANNER and OPENAI_MODEL_JUDGE",
        '"gpt-5.6-sol" (trader) has taken the place of "gpt-5" since its shutdown on 2026-12-11; '
        "to choose another, set OPENAI_MODEL_TRADER",
    ]


def test_a_model_that_is_not_in_the_table_is_said_to_be_unpriced() -> None:
    used = dict.fromkeys(Agent, "qwen3:32b")
    assert remarks(used, set(Agent), EARLY) == [
        '"qwen3:32b" (planner, trader, judge) has no price in this version\'s table (as of 2026-11-22): '
        "what it costs is not known"
    ]
