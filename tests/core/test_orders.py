"""What an exchange's answer proves: every kind of report, after the submission and after asking."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import NOW, PRICE, report
from trader_cli.core.orders import Doubt, after_find, after_submit, doubt
from trader_cli.schemas.order import Absent, Fill, Intent, OrderState, Report, Side

D = Decimal
INTENT = Intent("t1-1", 2, 3, "BTC/USDT", Side.BUY, D("0.001"), D(50_250), D("50.30025"), NOW)
FILLED = report(INTENT)
FILL = FILLED.fills[0]


def parted(*qtys: str) -> tuple[Fill, ...]:
    """Fills of these quantities, each with a trade of its own."""
    return tuple(
        replace(FILL, trade_id=f"x1-{n}", qty=D(qty), quote_qty=D(qty) * PRICE, fee=D(0), fee_quote=D(0))
        for n, qty in enumerate(qtys)
    )


def sound(state: OrderState, *qtys: str, **changes: Any) -> Report:
    """A report that adds up."""
    executed = sum(map(D, qtys), D(0))
    return replace(FILLED, state=state, executed_qty=executed, fills=parted(*qtys), **changes)


PROVED: dict[str, Report] = {
    "filled-at-once": FILLED,
    "filled-in-parts": sound(OrderState.FILLED, "0.0004", "0.0006"),
    "partial": sound(OrderState.PARTIAL, "0.0004"),
    "refused": Report("t1-1", None, Side.BUY, OrderState.REJECTED, D(0), code="-1013", message="NOTIONAL"),
    "refused-with-an-order-id": Report("t1-1", "x9", Side.BUY, OrderState.REJECTED, D(0), code="-2010"),
    "open-and-untouched": sound(OrderState.OPEN),
    "open-and-partly-filled": sound(OrderState.OPEN, "0.0004"),
}


@pytest.mark.parametrize("said", PROVED.values(), ids=PROVED)
def test_a_sound_report_proves_what_it_says(said: Report) -> None:
    assert doubt(INTENT, said) is None
    outcome = after_submit(INTENT, said)
    assert (outcome.state, outcome.report) == (said.state, said)
    found = after_find(INTENT, said)
    assert found is not None
    assert (found.state, found.report) == (said.state, said)


def test_a_sell_is_proved_like_a_buy() -> None:
    sell = replace(INTENT, side=Side.SELL, reserved_quote=D(0))
    assert after_submit(sell, report(sell)).state is OrderState.FILLED


def test_the_evidence_says_how_it_was_learnt_and_the_code_of_a_refusal() -> None:
    assert after_submit(INTENT, FILLED).evidence == {"by": "answer"}
    refused = after_submit(INTENT, PROVED["refused"])
    assert refused.evidence == {"by": "answer", "code": "-1013", "message": "NOTIONAL"}
    found = after_find(INTENT, FILLED)
    assert found is not None
    assert found.evidence == {"by": "found"}


NO_PROOF: dict[str, tuple[Report, str]] = {
    "another-order": (replace(FILLED, client_order_id="t1-2"), "names order 't1-2'"),
    "no-client-order-id": (replace(FILLED, client_order_id=""), "names order ''"),
    "no-exchange-order-id": (replace(FILLED, exchange_order_id=None), "no exchange order id"),
    "empty-exchange-order-id": (replace(FILLED, exchange_order_id=""), "no exchange order id"),
    "refused-without-a-code": (Report("t1-1", None, Side.BUY, OrderState.REJECTED, D(0)), "without a code"),
    "refused-and-executed": (replace(FILLED, state=OrderState.REJECTED, code="-2010"), "executed"),
    "refused-with-fills": (replace(FILLED, state=OrderState.REJECTED, code="-2010", executed_qty=D(0)), "executed 0"),
    "refused-after-executing": (
        Report("t1-1", "x1", Side.BUY, OrderState.REJECTED, D("0.001"), code="-2010"),
        "executed 0.001",
    ),
    "a-fill-of-nothing-among-others": (sound(OrderState.FILLED, "0.001", "0"), "0 at a price"),
    "filled-without-fills": (replace(FILLED, fills=()), "fills add up to 0"),
    "filled-with-too-few-fills": (replace(FILLED, fills=parted("0.0009")), "fills add up to 0.0009"),
    "filled-with-too-many-fills": (replace(FILLED, fills=parted("0.001", "0.001")), "fills add up to 0.002"),
    "filled-of-nothing": (sound(OrderState.FILLED), "fills add up to 0"),
    "partial-of-nothing": (sound(OrderState.PARTIAL), "fills add up to 0"),
    "filled-but-not-all": (sound(OrderState.FILLED, "0.0004"), "FILLED with 0.0004 of 0.001"),
    "partial-but-all": (sound(OrderState.PARTIAL, "0.001"), "PARTIAL with 0.001 of 0.001"),
    "negative-execution": (sound(OrderState.PARTIAL, "-0.0004"), "-0.0004"),
    "a-negative-fill-among-others": (sound(OrderState.FILLED, "0.002", "-0.001"), "-0.001"),
    "an-intent": (replace(FILLED, state=OrderState.INTENT), "cannot say INTENT"),
    "an-unknown": (replace(FILLED, state=OrderState.UNKNOWN), "cannot say UNKNOWN"),
    "abandoned": (replace(FILLED, state=OrderState.ABANDONED), "cannot say ABANDONED"),
    "needs-human": (replace(FILLED, state=OrderState.NEEDS_HUMAN), "cannot say NEEDS_HUMAN"),
    "one-trade-twice": (
        replace(FILLED, fills=tuple(replace(fill, trade_id="x1-0") for fill in parted("0.0004", "0.0006"))),
        "x1-0",
    ),
    "a-price-of-nothing": (replace(FILLED, fills=(replace(FILL, price=D(0), quote_qty=D(0)),)), "price"),
    "a-negative-price": (replace(FILLED, fills=(replace(FILL, price=D(-1), quote_qty=D("-0.001")),)), "price"),
    "a-sum-that-is-not-qty-times-price": (replace(FILLED, fills=(replace(FILL, quote_qty=D(5)),)), "5"),
    "a-price-that-is-no-number": (replace(FILLED, fills=(replace(FILL, price=D("NaN")),)), "NaN"),
    "a-fee-that-is-no-number": (replace(FILLED, fills=(replace(FILL, fee=D("NaN")),)), "NaN"),
    "a-fee-without-end": (replace(FILLED, fills=(replace(FILL, fee=D("Infinity")),)), "Infinity"),
    "a-fee-no-ledger-can-hold": (replace(FILLED, fills=(replace(FILL, fee=D("1e-19")),)), "18 digits"),
    "an-execution-that-is-no-number": (replace(FILLED, executed_qty=D("NaN")), "NaN"),
    "an-execution-that-signals": (replace(FILLED, executed_qty=D("sNaN")), "NaN"),
    "an-order-id-no-ledger-can-hold": (replace(FILLED, exchange_order_id="\ud800"), "surrogates"),
    "a-trade-id-no-ledger-can-hold": (replace(FILLED, fills=(replace(FILL, trade_id="\ud800"),)), "surrogates"),
}


@pytest.mark.parametrize(("said", "reason"), NO_PROOF.values(), ids=NO_PROOF)
def test_a_report_that_does_not_add_up_proves_nothing(said: Report, reason: str) -> None:
    found = doubt(INTENT, said)
    assert found is not None
    assert reason in found.reason
    assert not found.contradicts
    outcome = after_submit(INTENT, said)
    assert (outcome.state, outcome.report) == (OrderState.UNKNOWN, None)
    assert outcome.evidence == {"doubt": found.reason}
    assert after_find(INTENT, said) is None


CONTRADICTS: dict[str, tuple[Report, str]] = {
    "the-other-side": (replace(FILLED, side=Side.SELL), "shows a SELL, we sent a BUY"),
    "more-than-was-sent": (sound(OrderState.FILLED, "0.0011"), "executed 0.0011, we sent 0.001"),
    "more-than-was-sent-and-open": (sound(OrderState.OPEN, "0.0011"), "executed 0.0011, we sent 0.001"),
}


@pytest.mark.parametrize(("said", "reason"), CONTRADICTS.values(), ids=CONTRADICTS)
def test_what_contradicts_the_intent_is_unknown_after_the_submission_and_needs_a_human_when_found(
    said: Report, reason: str
) -> None:
    found = doubt(INTENT, said)
    assert found is not None
    assert found.contradicts
    assert reason in found.reason
    assert after_submit(INTENT, said).state is OrderState.UNKNOWN
    outcome = after_find(INTENT, said)
    assert outcome is not None
    assert (outcome.state, outcome.report) == (OrderState.NEEDS_HUMAN, None)
    assert outcome.evidence == {"contradiction": found.reason}


def test_an_order_the_exchange_does_not_know_yet_proves_nothing() -> None:
    assert after_find(INTENT, Absent(final=False, evidence="-2013 within the window")) is None


def test_an_order_the_exchange_can_no_longer_come_to_know_is_abandoned() -> None:
    outcome = after_find(INTENT, Absent(final=True, evidence="-2013 after the fence"))
    assert outcome is not None
    assert (outcome.state, outcome.report) == (OrderState.ABANDONED, None)
    assert outcome.evidence == {"absent": "-2013 after the fence"}


RUBBISH: dict[str, object] = {
    "nothing": None,
    "a-dictionary": {"status": "FILLED", "executedQty": "0.001"},
    "a-text": "<html>502 Bad Gateway</html>",
    "an-intent": INTENT,
    "fills-that-are-none": replace(FILLED, fills=cast(Any, None)),
    "a-fill-that-is-none": replace(FILLED, fills=cast(Any, (None,))),
    "a-quantity-as-text": replace(FILLED, executed_qty=cast(Any, "0.001")),
    "a-quantity-as-float": replace(FILLED, executed_qty=cast(Any, 0.001)),
    "a-price-as-float": replace(FILLED, fills=(replace(FILL, price=cast(Any, 50_000.0)),)),
    "a-fee-that-is-none": replace(FILLED, fills=(replace(FILL, fee=cast(Any, None)),)),
    "a-fee-asset-that-is-none": replace(FILLED, fills=(replace(FILL, fee_asset=cast(Any, None)),)),
    "a-time-that-is-none": replace(FILLED, fills=(replace(FILL, at=cast(Any, None)),)),
    "a-time-no-calendar-has": replace(FILLED, fills=(replace(FILL, at=10**18),)),
    "a-state-that-is-none": replace(FILLED, state=cast(Any, None)),
    "a-state-as-other-text": replace(FILLED, state=cast(Any, "EXPIRED")),
    "an-order-id-as-number": replace(FILLED, exchange_order_id=cast(Any, 1.5)),
}
"""What a broken adapter could hand over: none of it is a Report, or only its outside is."""


@pytest.mark.parametrize("said", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_proves_nothing_and_is_no_exception(said: Any) -> None:
    assert isinstance(doubt(INTENT, said), Doubt)
    outcome = after_submit(INTENT, said)
    assert (outcome.state, outcome.report) == (OrderState.UNKNOWN, None)
    assert after_find(INTENT, said) is None


numbers = st.one_of(
    st.sampled_from([D(0), D("0.0004"), D("0.0006"), D("0.001"), D("-0.001"), D("NaN"), D("Infinity"), D("1e-30")]),
    st.decimals(allow_nan=True, allow_infinity=True),
)
some_fills = st.lists(
    st.builds(
        Fill,
        st.sampled_from(["a", "b", "c"]),
        numbers,
        st.just(PRICE) | numbers,
        numbers,
        numbers,
        st.sampled_from(["BTC", "USDT", "BNB"]),
        numbers,
        st.just(NOW),
    ),
    max_size=3,
).map(tuple)
reports = st.builds(
    Report,
    st.sampled_from(["t1-1", "t1-1", "t1-1", "t1-2", ""]),
    st.sampled_from(["x1", "x1", None]),
    st.sampled_from([Side.BUY, Side.BUY, Side.SELL]),
    st.sampled_from(OrderState),
    numbers,
    some_fills,
    st.sampled_from([None, "-1013"]),
)


@settings(max_examples=60, deadline=None)
@given(said=reports)
def test_whatever_a_report_says_only_what_adds_up_is_believed(said: Report) -> None:
    outcome = after_submit(INTENT, said)
    if outcome.state is OrderState.UNKNOWN:
        assert outcome.report is None
        return
    assert outcome.report is said
    assert said.client_order_id == "t1-1"
    if said.state is OrderState.REJECTED:
        assert said.code
        assert said.executed_qty == 0
        assert said.fills == ()
        return
    assert said.side is Side.BUY
    assert 0 <= said.executed_qty <= INTENT.qty
    for fill in said.fills:
        assert fill.qty > 0
        assert fill.price > 0
        assert fill.quote_qty == fill.qty * fill.price
    if said.state in (OrderState.FILLED, OrderState.PARTIAL):
        assert sum(fill.qty for fill in said.fills) == said.executed_qty > 0
        assert (said.state is OrderState.FILLED) == (said.executed_qty == INTENT.qty)


@settings(max_examples=60, deadline=None)
@given(said=reports)
def test_asking_settles_an_order_only_by_a_proof(said: Report) -> None:
    outcome = after_find(INTENT, said)
    known = after_submit(INTENT, said)
    if outcome is None:
        assert known.state is OrderState.UNKNOWN
    elif outcome.state is OrderState.NEEDS_HUMAN:
        found = doubt(INTENT, said)
        assert found is not None
        assert found.contradicts
    else:
        assert (outcome.state, outcome.report) == (known.state, known.report)
