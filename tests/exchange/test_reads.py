"""Faults of what is only read: nothing is sent on a guess, the safe answer is recorded, and trading goes on later."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.binance_server import Fault, faults
from tests.exchange.scenes import all_at_once, scene

READS = ("exchangeInfo", "klines", "account", "ticker/bookTicker")
"""What an ordinary cycle asks before it orders."""

BROKEN: dict[str, Fault] = {
    "closed": faults.drop_before(),
    "cut": faults.cut_answer(),
    "code -1000": faults.error(-1000),
    "code -1008": faults.error(-1008),
    "page 502": faults.html(502),
    "truncated": faults.truncated(),
    "null": faults.null(),
    "empty object": faults.empty_object(),
    "page": faults.page(),
    "bad gzip": faults.bad_gzip(),
    "redirect": faults.redirect(),
}
"""Trouble that lasts: each is answered to every attempt."""


@pytest.mark.parametrize(
    "read, names",
    [
        *((read, list(BROKEN)[start::4]) for start, read in enumerate(READS)),
        *(pytest.param(read, list(BROKEN), marks=pytest.mark.soak) for read in READS),
    ],
    ids=[*READS, *(f"{read}, all" for read in READS)],
)
def test_a_read_that_keeps_failing_ends_with_5_and_sends_nothing(
    read: str, names: list[str], env: dict[str, str], tmp_path: Path
) -> None:

    def act(row: str, of: list[str]) -> None:
        with scene(tmp_path / row, env) as at:
            at.cycle()
            for name in of:
                asked, thought, posted = len(at.server.requests), len(at.minds.requests), at.server.posts()
                at.server.faults.always("GET", f"/api/v3/{read}", BROKEN[name])
                came = at.cycle(0 if (read, name) == ("klines", "empty object") else 5)  # no bars at all: not a fault
                assert came["execution"]["order"] is None, name
                assert at.server.posts() == posted, name
                if read != "ticker/bookTicker":
                    assert came["plan"]["plan"]["mode"] == "OBSERVE", name
                    assert len(at.minds.requests) == thought, f"{name}: a model was asked about a market unseen"
                assert at.asked(asked).count(f"GET {read}") <= 3, name
                at.server.faults.clear()
                at.later(15_000)
            at.assert_it_goes_on()

    all_at_once({f"row {start}": names[start::3] for start in range(3)}, act)


@pytest.mark.parametrize("read", READS)
def test_a_read_that_fails_once_is_asked_again(read: str, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.error(-1000), "GET", f"/api/v3/{read}")
        assert at.cycle()["execution"]["order"]["state"] == "FILLED"
        assert at.server.faults.left == []
        at.assert_books_agree()


@pytest.mark.parametrize("read", READS[:3])
def test_an_exchange_that_is_down_at_the_first_start_ends_with_5_and_the_next_start_is_the_first(
    read: str, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.server.faults.always("GET", f"/api/v3/{read}", faults.html(503))
        at.trader("cycle", code=5)
        at.trader("cycle", code=5)
        assert at.server.posts() == 0
        assert not at.minds.asked()
        at.server.faults.clear()
        at.later(15_000)
        at.assert_it_goes_on()
        assert len(at.events("EPOCH")) == 1


# ---------------------------------------------------------------- asking about an order


LOST: Mapping[str, tuple[str, Fault]] = {
    "look-up": ("order", faults.html(502)),
    "look-up, truncated": ("order", faults.truncated()),
    "look-up, empty": ("order", faults.empty_object()),
    "look-up of another's": ("order", faults.wrong_client_id()),
    "trades": ("myTrades", faults.error(-1001)),
    "trades, null": ("myTrades", faults.null()),
    "trades without a fee": ("myTrades", faults.missing("commission", "commissionAsset")),
    "trades of other sizes": ("myTrades", faults.changed(qty="0.00001")),
}


@pytest.mark.soak
def test_an_order_that_cannot_be_asked_about_stays_unknown_however_long_that_takes(
    env: dict[str, str], tmp_path: Path
) -> None:
    names = list(LOST)

    def act(row: str, of: list[str]) -> None:
        with scene(tmp_path / row, env) as at:
            for name in of:
                path, fault = LOST[name]
                at.spoil(faults.accept_then_drop())
                at.server.faults.always("GET", f"/api/v3/{path}", fault)
                assert at.cycle(10)["execution"]["order"]["state"] == "UNKNOWN", name
                at.later(600_000)
                at.trader("recover", code=10)
                assert at.states[-1] == "UNKNOWN", name
                at.server.faults.clear()
                assert at.recover() == ["FILLED"], name
                at.assert_books_agree()

    all_at_once({f"row {start}": names[start::4] for start in range(4)}, act)


@pytest.mark.soak
def test_an_order_is_not_given_up_while_the_lists_cannot_be_read(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.drop_before())
        at.cycle(10)
        at.later()
        for path in ("allOrders", "myTrades"):
            at.server.faults.always("GET", f"/api/v3/{path}", faults.html(500))
            said = at.trader("recover", code=10)
            assert "cannot read" in said.stderr
            assert at.states == ["UNKNOWN"]
            at.server.faults.clear()
        assert at.recover() == ["ABANDONED"]
        at.assert_it_goes_on()


# ---------------------------------------------------------------- keys, clocks, limits


def test_a_key_that_is_refused_ends_with_3_and_nothing_is_sent(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        other = secrets.token_hex(32)
        for wrong in ({"EXCHANGE_API_KEY": other}, {"EXCHANGE_API_SECRET": other}, {"EXCHANGE_API_KEY": "short"}):
            said = at.trader("cycle", code=3, **wrong)
            assert "EXCHANGE_API_KEY" in said.stderr
            assert other not in said.stdout + said.stderr
        at.server.unknown_key = -2015
        at.trader("cycle", code=3, EXCHANGE_API_KEY=other)
        assert at.server.posts() == 0
        at.assert_it_goes_on()


@pytest.mark.parametrize("ms", [10_000, -10_000])
def test_a_clock_that_is_ten_seconds_off_places_no_order(ms: int, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.server.advance(ms)
        said = at.trader("cycle", code=5)
        assert "clock" in said.stderr
        assert "10.0 s" in said.stderr
        assert at.server.posts() == 1
        at.server.advance(-ms)
        at.assert_it_goes_on()


def test_a_clock_that_is_two_seconds_off_is_reckoned_with(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        for ms in (2_000, -4_000):
            at.server.advance(ms)
            at.assert_it_goes_on()


@pytest.mark.parametrize(
    "fault, read",
    [(faults.rate_limited(60), "exchangeInfo"), (faults.banned(120), "klines"), (faults.rate_limited(60), "account")],
    ids=["429 for the market", "418 for the bars", "429 for the balances"],
)
def test_who_is_told_to_wait_asks_nothing_in_any_later_process_until_then(
    fault: Fault, read: str, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        asked = len(at.server.requests)
        at.spoil(fault, "GET", f"/api/v3/{read}")
        at.cycle(5)
        assert at.asked(asked)[-1] == f"GET {read}", "it went on asking"
        asked = len(at.server.requests)
        for words in (("cycle",), ("plan",)):
            at.trader(*words, code=5)
        assert len(at.server.requests) == asked
        at.later(50_000)
        at.trader("cycle", code=5)
        assert len(at.server.requests) == asked
        at.later(71_000)
        at.assert_it_goes_on()


@pytest.mark.parametrize("fault", [faults.waf(), faults.geo_blocked()], ids=["403", "451"])
def test_a_door_that_is_closed_for_good_is_not_knocked_at_again(
    fault: Fault, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.server.faults.always("*", "*", fault)
        at.trader("cycle", code=5)
        assert at.asked() == ["GET exchangeInfo"]
