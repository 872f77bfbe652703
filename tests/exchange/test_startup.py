"""What is asked at a first start and in an ordinary cycle, what is proved and for how long, and real money's door."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.scenes import Scene, scene
from tests.responses_server import hold

MARKET, BARS, HELD, PRICE, SENT = (
    "GET exchangeInfo",
    "GET klines",
    "GET account",
    "GET ticker/bookTicker",
    "POST order",
)
HOUR_MS = 3_600_000
REAL = {"MODE": "real", "DEPOSIT_CAP_USDT": "40"}
CONFIRMED = ("cycle", "--json", "--confirm-real", "40")


def asked_by_a_cycle(at: Scene) -> list[str]:
    """The requests of one cycle."""
    before = len(at.server.requests)
    at.cycle()
    return at.asked(before)


def test_a_cycle_asks_no_more_than_it_needs_however_many_symbols_there_are(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, symbols=3_500) as at:
        first = asked_by_a_cycle(at)
        assert first == [MARKET, HELD, HELD, "GET allOrders", BARS, HELD, PRICE, SENT]
        assert asked_by_a_cycle(at) == [MARKET, BARS, HELD, PRICE, SENT]
        at.minds.script("proposal", hold())
        assert asked_by_a_cycle(at) == [MARKET, BARS, HELD]
        infos = [one.params for one in at.server.requests if one.path.endswith("exchangeInfo")]
        assert {one.get("symbol") for one in infos} == {"BTCUSDT"}, "one market, not the universe"
        at.assert_books_agree()


def test_the_account_is_looked_through_once_an_hour_and_the_key_proved_once_a_day(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.minds.script("proposal", *[hold()] * 4)
        at.later(HOUR_MS - 60_000)
        assert asked_by_a_cycle(at) == [MARKET, BARS, HELD]
        at.later(61_000)
        assert asked_by_a_cycle(at) == [MARKET, "GET allOrders", BARS, HELD]
        assert asked_by_a_cycle(at) == [MARKET, BARS, HELD]
        at.later(24 * HOUR_MS)
        later = asked_by_a_cycle(at)
        assert later[:2] == [MARKET, HELD]
        assert later[-2:] == [BARS, HELD]
        assert set(later[2:-2]) == {"GET allOrders"}
        assert [proof["what"] for proof in at.events("PROOF")].count("key") == 2
        at.assert_books_agree()


def test_a_dry_run_reads_the_exchange_and_sends_and_writes_nothing(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        before = [path.read_bytes() for path in sorted(tmp_path.glob("x.db"))]
        at.trader("cycle", "--dry-run")
        at.trader("recover", "--dry-run")
        assert at.server.posts() == 1
        assert [path.read_bytes() for path in sorted(tmp_path.glob("x.db"))] == before
        at.assert_it_goes_on()


def test_a_ledger_never_meets_another_account(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.server.uid += 1
        at.later(25 * HOUR_MS)
        assert "another account" in at.trader("cycle", code=3).stderr
        assert at.server.posts() == 1


def test_a_testnets_ledger_never_meets_real_money(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        asked = len(at.server.requests)
        at.trader(*CONFIRMED, code=3, **REAL)
        assert len(at.server.requests) == asked


# ---------------------------------------------------------------- real money's door


def real(at: Scene, code: int, *words: str, **env: str) -> Any:
    """A cycle with real money."""
    return at.trader(*(words or CONFIRMED), code=code, **{**REAL, **env})


def test_real_money_trades_under_its_cap_with_a_harmless_key(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, testnet=False) as at:
        real(at, 0)
        assert at.states == ["FILLED"]
        assert "GET /sapi/v1/account/apiRestrictions" in at.asked()
        for _ in range(3):
            real(at, 0)
        assert sum(one.quote_qty for one in at.server.trades) <= Decimal(40)
        at.assert_books_agree()


@pytest.mark.parametrize("words", [("cycle",), ("cycle", "--confirm-real", "41")], ids=["no word", "another cap"])
def test_real_money_needs_the_word(words: tuple[str, ...], env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, testnet=False) as at:
        real(at, 4, *words)
        assert at.server.posts() == 0


def test_a_key_that_may_withdraw_is_refused_with_3(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, testnet=False) as at:
        assert at.server.restrictions is not None
        at.server.restrictions["enableWithdrawals"] = True
        assert "withdraw" in real(at, 3).stderr
        assert at.server.posts() == 0
        at.server.restrictions["enableWithdrawals"] = None
        assert "rights" in real(at, 3).stderr
        assert at.server.posts() == 0


def test_a_key_whose_rights_cannot_be_read_sends_nothing(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, testnet=True) as at:
        done = real(at, 5)
        assert "rights" in done.stderr
        assert at.server.posts() == 0
