"""place_market_order(): one submission, whatever happens, and what it proves."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.core.test_orders import INTENT, NO_PROOF, RUBBISH
from tests.fakes import FakeExchange, Killed, breaks, fills, fills_part, loses_the_answer, refuses, says
from trader_cli.core.errors import UpstreamError
from trader_cli.schemas.order import OrderState, Report
from trader_cli.tools.trade import place_market_order

D = Decimal


def exchange(manner: Any) -> FakeExchange:
    fake = FakeExchange()
    fake.manners = [manner]
    return fake


@pytest.mark.parametrize(
    ("manner", "state"),
    [
        (fills, OrderState.FILLED),
        (fills_part("0.3"), OrderState.PARTIAL),
        (refuses("-2010"), OrderState.REJECTED),
        (says(lambda i: Report(i.client_order_id, "x1", i.side, OrderState.OPEN, D(0))), OrderState.OPEN),
    ],
    ids=["filled", "partial", "rejected", "open"],
)
def test_a_proof_is_the_outcome_with_its_report(manner: Any, state: OrderState) -> None:
    fake = exchange(manner)
    outcome = place_market_order(fake, INTENT)
    assert outcome.state is state
    assert outcome.report is not None
    assert outcome.report.client_order_id == INTENT.client_order_id
    assert fake.submitted == [INTENT]


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("read timed out"),
        UpstreamError("503"),
        ValueError("bad number"),
        KeyError("orderId"),
        RecursionError("deep"),
        MemoryError(),
        OSError(28, "no space left"),
        ExceptionGroup("many", [ValueError("one")]),
        Exception(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("manner", [breaks, loses_the_answer])
def test_anything_it_raises_is_unknown_with_its_name_as_evidence(
    manner: Callable[[BaseException], Any], error: Exception
) -> None:
    fake = exchange(manner(error))
    outcome = place_market_order(fake, INTENT)
    assert (outcome.state, outcome.report) == (OrderState.UNKNOWN, None)
    assert (outcome.evidence["error"] or "").startswith(f"{type(error).__name__}: ")
    assert fake.sends == {"t1-1": 1}


def test_an_endless_error_is_cut_and_a_hostile_one_can_be_written_down() -> None:
    outcome = place_market_order(exchange(breaks(ValueError("\ud800\0\x1b" + "x" * 100_000))), INTENT)
    assert len(outcome.evidence["error"] or "") == 500
    assert json.dumps(outcome.evidence)


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_unknown_and_never_an_exception(rubbish: object) -> None:
    fake = exchange(says(lambda intent: rubbish))
    outcome = place_market_order(fake, INTENT)
    assert (outcome.state, outcome.report) == (OrderState.UNKNOWN, None)
    assert outcome.evidence["doubt"]
    assert fake.sends == {"t1-1": 1}


def test_a_report_that_does_not_add_up_is_unknown() -> None:
    for said, reason in NO_PROOF.values():
        outcome = place_market_order(exchange(says(lambda intent: said)), INTENT)  # noqa: B023 - called at once
        assert outcome.state is OrderState.UNKNOWN
        assert reason in (outcome.evidence["doubt"] or "")


def test_the_end_of_the_process_is_not_caught() -> None:
    fake = exchange(breaks(Killed()))
    with pytest.raises(Killed):
        place_market_order(fake, INTENT)
    assert fake.sends == {"t1-1": 1}


def test_it_asks_the_exchange_for_nothing_else() -> None:
    fake = exchange(fills)
    place_market_order(fake, INTENT)
    assert fake.calls == {"submit": 1}
