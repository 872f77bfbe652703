"""Every fault around an order: it goes out once, the exit code says what is known, and the books agree afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.binance_server import Fault, faults
from tests.exchange.scenes import Scene, all_at_once, scene

CODES = (-1000, -1001, -1006, -1007, -1008)
"""Answers of a server in trouble: all of them leave open what became of the order."""
STATUSES = (500, 502, 503, 504)

TAKEN: dict[str, Fault] = {
    "reset": faults.accept_then_drop(),
    "reset, and not to be seen for 2 s": replace(faults.accept_then_drop(), hidden_ms=2_000),
    "cut": faults.cut_answer(),
    "late, within its window": faults.delay(2_000),
    "not to be seen": faults.hidden(20_000),
    **{f"code {code}": faults.error(code, executed=True) for code in CODES},
    **{f"page {status}": faults.html(status, executed=True) for status in STATUSES},
    "duplicate": faults.duplicate(),
    "truncated": faults.truncated(),
    "empty": faults.empty(),
    "page": faults.page(),
    "null": faults.null(),
    "empty object": faults.empty_object(),
    "bad gzip": faults.bad_gzip(),
    "no number": faults.not_numeric(),
    "no number in cost": faults.not_numeric("cummulativeQuoteQty"),
    "not a list": faults.changed(fills="none"),
    **{
        f"no {name}": faults.missing(name)
        for name in ("orderId", "clientOrderId", "status", "side", "symbol", "executedQty", "fills", "transactTime")
    },
    "somebody else's": faults.wrong_client_id(),
    "other side": faults.wrong_side(),
    "other symbol": faults.wrong_symbol(),
    "more than was sent": faults.overfilled(),
    "less than was taken": faults.overfilled("0.00010000"),
    "a state nobody knows": faults.changed(status="MOLTEN"),
    "rejected, it says": faults.changed(status="REJECTED"),
}
"""The exchange takes the order, and its answer says little, nothing or something else."""

NOT_TAKEN: dict[str, Fault] = {
    "closed": faults.drop_before(),
    **{f"code {code}": faults.error(code) for code in (*CODES, -1016)},
    **{f"page {status}": faults.html(status) for status in STATUSES},
    "firewall": faults.waf(),
    "country": faults.geo_blocked(),
    "duplicate": faults.duplicate(executed=False),
    "redirect": faults.redirect(),
    "redirect to itself": faults.redirect_to_self(),
    "an empty 200": replace(faults.empty(), executed=False),
}
"""The exchange does not take it, and nothing in its answer proves that."""

REFUSED: dict[str, Fault] = {
    "funds": faults.error(-2010),
    "key": faults.error(-2015),
    "after its window": faults.delay(6_000),
    "filter": faults.error(-1013, status=400, message="Filter failure: NOTIONAL"),
    "closed market": faults.error(-1013, status=400, message="Market is closed."),
    "clock": faults.error(-1021, status=400, message="Timestamp for this request is outside of the recvWindow."),
}
"""Answers that prove that it was not taken."""

RICH = {"USDT": Decimal(10_000)}


def in_rows(
    cases: Mapping[str, Fault], folder: Path, env: Mapping[str, str], act: Callable[[Scene, Fault], None]
) -> None:
    """One fault after another in the same ledger, six ledgers at once: what comes next shows that trading goes on."""
    names = list(cases)

    def one_row(row: str, of: list[str]) -> None:
        with scene(folder / row, env, balances=RICH) as at:
            for name in of:
                try:
                    act(at, cases[name])
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error
            at.later()
            at.assert_it_goes_on()

    all_at_once({f"row {start}": names[start::6] for start in range(min(6, len(names)))}, one_row)


def test_an_order_that_was_taken_is_found_and_booked_whatever_came_back(env: dict[str, str], tmp_path: Path) -> None:
    def act(at: Scene, fault: Fault) -> None:
        before = at.server.posts()
        at.spoil(fault)
        assert at.cycle()["execution"]["order"]["state"] == "FILLED"
        assert at.server.posts() == before + 1
        at.assert_books_agree()

    in_rows(TAKEN, tmp_path, env, act)


def test_an_order_that_may_have_been_taken_blocks_all_others_until_nobody_can_take_it_any_more(
    env: dict[str, str], tmp_path: Path
) -> None:
    def act(at: Scene, fault: Fault) -> None:
        before = at.server.posts()
        at.spoil(fault)
        assert at.cycle(10)["execution"]["order"]["state"] == "UNKNOWN"  # the one before was given up on the way
        blocked = at.cycle()
        assert (blocked["trading"], blocked["execution"]["order"]) == ("blocked", None)
        assert at.server.posts() == before + 1
        assert at.states == [*["ABANDONED"] * before, "UNKNOWN"]
        at.assert_each_sent_once()
        at.later()

    in_rows(NOT_TAKEN, tmp_path, env, act)


def test_no_option_of_ccxt_makes_an_order_go_out_twice(env: dict[str, str], tmp_path: Path) -> None:
    repeats = {"maxRetriesOnFailure": 3}
    with scene(tmp_path, env) as at:
        at.server.faults.always("POST", "/api/v3/order", faults.error(-1001))
        for options in (repeats, {"order": repeats}, {"createOrder": repeats}, {"defaultMaxRetriesOnFailure": 3}):
            posted = at.server.posts()
            config = at.server.ccxt_config(options=options, maxRetriesOnFailure=3)
            at.cycle(10, CCXT_CONFIG=json.dumps(config))
            assert at.server.posts() == posted + 1, options
            at.later()


def test_recover_exits_with_10_while_an_order_is_unknown_and_with_0_once_it_is_given_up(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.drop_before())
        at.cycle(10)
        assert at.recover(10) == ["UNKNOWN"]
        assert "Nothing sent" in at.trader("execute", code=10).stdout
        assert at.server.posts() == 1
        at.later()
        assert at.recover() == ["ABANDONED"]
        assert at.recover() == []
        at.assert_books_agree()
        at.assert_it_goes_on()


def test_a_refusal_that_proves_itself_is_settled_at_once(env: dict[str, str], tmp_path: Path) -> None:
    def act(at: Scene, fault: Fault) -> None:
        before = at.server.posts()
        at.spoil(fault)
        assert at.cycle()["execution"]["order"]["state"] == "REJECTED"
        assert (at.server.posts(), at.server.trades) == (before + 1, [])
        at.assert_books_agree()

    in_rows(REFUSED, tmp_path, env, act)


def test_an_order_that_gets_no_answer_at_all_is_waited_for_and_then_asked_about(
    env: dict[str, str], tmp_path: Path
) -> None:
    def act(name: str, fault: Fault) -> None:
        with scene(tmp_path / name, env) as at:
            at.spoil(fault)
            taken = name == "taken"
            assert at.cycle(0 if taken else 10)["execution"]["order"]["state"] == ("FILLED" if taken else "UNKNOWN")
            at.later()
            assert at.recover() == ([] if taken else ["ABANDONED"])
            at.assert_it_goes_on()

    all_at_once({"taken": faults.accept_then_hang(), "not taken": faults.hang()}, act)


@pytest.mark.parametrize(
    "fault", [faults.rate_limited(60), faults.banned(120), faults.error(-1015)], ids=["429", "418", "-1015"]
)
def test_an_order_turned_away_for_too_many_requests_was_not_taken_and_nothing_is_asked_until_it_is_welcome(
    fault: Fault, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(fault)
        assert at.cycle()["execution"]["order"]["state"] == "REJECTED"
        asked = len(at.server.requests)
        said = at.trader("cycle", code=5)
        assert "asked not to be called until" in said.stderr
        assert len(at.server.requests) == asked
        at.later(121_000)
        at.assert_it_goes_on()
