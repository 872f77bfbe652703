"""What happens to the account between cycles and around an order: parts of fills, fees, wipes, strangers, backups."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from tests.binance_server import faults
from tests.exchange.scenes import Scene, scene
from tests.ledgers import tampering
from tests.responses_server import buy, hold, sell


def test_a_partly_filled_order_is_booked_by_what_was_executed(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.server.exchange.liquidity = Decimal("0.4")
        order = at.cycle()["execution"]["order"]
        assert (order["state"], order["executed_qty"]) == ("PARTIAL", "0.0002")
        assert at.server.orders[-1].status == "EXPIRED"
        assert at.one("SELECT status FROM trades") == "PARTIALLY_FILLED"
        at.assert_books_agree()
        at.spoil(faults.accept_then_drop())
        assert at.cycle()["execution"]["order"]["state"] == "PARTIAL"
        at.assert_books_agree()
        at.server.exchange.liquidity = None
        at.assert_it_goes_on()


def test_what_the_law_lowered_is_proved_and_replayed(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, {**env, "MAX_ORDER_USDT": "20"}) as at:
        done = at.cycle()
        assert (done["verdict"]["verdict"]["decision"], done["execution"]["order"]["state"]) == ("REVISE", "FILLED")
        at.assert_books_agree()
        at.trader("replay", "last")


def test_an_order_that_met_nobody_is_no_trade(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.server.exchange.liquidity = Decimal(0)
        order = at.cycle()["execution"]["order"]
        assert (order["state"], order["executed_qty"]) == ("REJECTED", "0")
        at.assert_books_agree()
        at.server.exchange.liquidity = None
        at.assert_it_goes_on()


@pytest.mark.parametrize("status", ["BREAK", "HALT"])
def test_a_closed_market_gets_no_order(status: str, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.server.set_status(status)
        came = at.cycle()
        assert came["execution"]["order"] is None or came["execution"]["order"]["state"] == "REJECTED"
        assert at.server.posts() == 1
        at.server.set_status("TRADING")
        at.assert_it_goes_on()


def test_a_fee_in_bnb_is_kept_in_bnb(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, balances={"USDT": Decimal(1000), "BNB": Decimal(1)}) as at:
        at.server.exchange.bnb = True
        at.assert_it_goes_on()
        assert at.rows("SELECT DISTINCT fee_asset FROM fills") == [("BNB",)]
        at.spoil(faults.missing("fills"))
        at.assert_it_goes_on()
        at.minds.script("proposal", sell("0.001"))
        at.assert_it_goes_on()
        assert at.one("SELECT count(*) FROM fills WHERE CAST(fee_quote AS REAL) <= 0") == 0


def test_what_was_bought_can_be_sold_to_the_last_step(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.minds.script("proposal", sell("0.00049"))
        order = at.cycle()["execution"]["order"]
        assert (order["side"], order["state"]) == ("SELL", "FILLED")
        at.assert_books_agree()
        assert at.server.balance("BTC") == Decimal("0.0000095"), "less than a step: dust"


# ---------------------------------------------------------------- others at the same account


def test_base_that_was_there_before_is_foreign_and_never_sold(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, balances={"USDT": Decimal(1000), "BTC": Decimal(2)}) as at:
        at.assert_it_goes_on()
        at.minds.script("proposal", sell("1"))
        assert Decimal(at.cycle()["execution"]["order"]["qty"]) < Decimal("0.0005"), "no more than our book holds"
        assert at.server.balance("BTC") > 2
        at.assert_books_agree()


def assert_only_observes(at: Scene) -> None:
    """Cycles think nothing and send nothing, and end with 0."""
    posted, thought = at.server.posts(), len(at.minds.asked())
    came = at.cycle()
    assert came["plan"]["plan"]["mode"] == "OBSERVE"
    assert (at.server.posts(), len(at.minds.asked())) == (posted, thought)


@pytest.mark.parametrize(
    "asset, amount", [("USDT", "50"), ("USDT", "-50"), ("BTC", "0.1"), ("BTC", "-0.0002")], ids=str
)
def test_money_that_came_or_went_elsewhere_stops_trading_until_somebody_accepts_it(
    asset: str, amount: str, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.server.deposit(asset, Decimal(amount))
        assert_only_observes(at)
        how = f"the account holds {amount.lstrip('-')} {asset} {'less' if '-' in amount else 'more'} than"
        assert json.loads(at.trader("status", "--json").stdout)["account_differs"].startswith(how)
        assert f"ACCOUNT DIFFERS: {how}" in at.trader("status").stdout
        assert "ACCOUNT DIFFERS" in at.trader("status", "--short").stdout
        at.trader("recover", "--accept-balances", "--reason", "it was I")
        assert json.loads(at.trader("status", "--json").stdout)["account_differs"] is None
        at.assert_books_agree()
        at.assert_it_goes_on()


def test_an_order_by_another_hand_stops_trading_until_somebody_accepts_it(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.server.foreign_order("BUY", Decimal("0.001"))
        assert_only_observes(at)
        at.server.foreign_order("SELL", Decimal("0.000999"))
        at.later(3_700_000)
        assert_only_observes(at)
        assert len(at.events("EXTERNAL")) == 2
        assert_only_observes(at)
        assert len(at.events("EXTERNAL")) == 2, "each is noted once"
        at.trader("recover", "--accept-balances", "--reason", "my phone")
        at.assert_it_goes_on()


def test_a_limit_order_of_another_hand_is_left_alone(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        theirs = at.server.foreign_order("BUY", Decimal("0.001"), Decimal(30_000))
        at.later(3_700_000)
        assert_only_observes(at)
        at.trader("stop", code=None)
        assert next(one for one in at.server.orders if one.order_id == theirs.order_id).is_open
        assert not any(one.method == "DELETE" for one in at.server.requests)


# ---------------------------------------------------------------- wipes and backups


def test_a_wiped_testnet_begins_a_new_epoch_and_trades_on(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.cycle()
        before = at.rows("SELECT * FROM trades ORDER BY id")
        at.server.wipe()
        at.later(3_700_000)
        at.cycle()
        assert [event["number"] for event in at.events("EPOCH")] == [1, 2]
        assert at.rows("SELECT * FROM trades ORDER BY id")[:2] == before
        order = at.cycle()["execution"]["order"]
        assert order["state"] == "FILLED"
        at.trader("ledger", "verify")
        at.trader("recover")
        assert at.problems() == []
        assert at.server.trades[0].trade_id == 50_000_001, "its ids began anew"
        fills = "SELECT count(*) FROM fills WHERE trade_id = '50000001'"
        assert at.one(fills) == 2


def test_an_order_that_an_older_ledger_does_not_know_is_adopted(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        for suffix in ("", "-wal", "-shm"):
            if (file := Path(f"{at.db}{suffix}")).exists():
                shutil.copy(file, tmp_path / f"kept{suffix}")
        at.cycle()
        lost = at.server.orders[-1].client_order_id
        for suffix in ("", "-wal", "-shm"):
            Path(f"{at.db}{suffix}").unlink(missing_ok=True)
            if (file := tmp_path / f"kept{suffix}").exists():
                shutil.move(file, f"{at.db}{suffix}")
        at.later(3_700_000)
        at.cycle()
        assert at.rows("SELECT origin FROM orders WHERE client_order_id = ?", lost) == [("recovered",)]
        assert [event["code"] for event in at.events("ERROR")] == ["RECOVERED_ORDER"]
        at.assert_books_agree()
        at.assert_it_goes_on()


@pytest.mark.parametrize("word", ["recover", "cycle"])
def test_what_was_placed_after_a_backup_is_adopted_as_soon_as_it_is_restored(
    word: str, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.trader("ledger", "backup", str(tmp_path / "b.db"))
        at.cycle()
        at.cycle()
        lost = [order.client_order_id for order in at.server.orders[1:]]
        assert len(lost) == 2
        at.trader("ledger", "restore", str(tmp_path / "b.db"))
        posted = at.server.posts()
        at.trader(word)
        adopted = at.rows("SELECT client_order_id FROM orders WHERE origin = 'recovered' ORDER BY id")
        assert adopted == [(one,) for one in lost]
        assert at.server.posts() == posted + (word == "cycle"), "at most the one order of its own cycle"
        at.assert_books_agree()
        at.assert_it_goes_on()


def test_the_account_and_the_ids_on_it_prove_the_ledger(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        at.trader("ledger", "backup", str(tmp_path / "b.db"))
        at.cycle()
        document = json.loads(at.trader("ledger", "verify", "--online", "--json").stdout)
        assert [(one["name"], one["ok"], one["checked"]) for one in document["checks"][-2:]] == [
            ("order ids carry the chain", True, 2),
            ("orders on the account", True, 4),
        ]
        lost = at.server.orders[-1].client_order_id
        at.trader("ledger", "restore", str(tmp_path / "b.db"))
        said = at.trader("ledger", "verify", "--online", "--json", code=9)
        problems = json.loads(said.stdout)["checks"][-1]["problems"]
        assert problems == [f"the account has order {lost}, this ledger has not"]


def test_a_ledger_whose_chain_was_made_anew_no_longer_fits_the_ids_on_the_account(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        with tampering(Path(at.db)) as db:
            db.execute("UPDATE audit_chain SET hash = ? WHERE seq = (SELECT link - 1 FROM orders)", ("ab" * 32,))
        said = at.trader("ledger", "verify", "--online", "--json", code=None)
        ids = next(one for one in json.loads(said.stdout)["checks"] if one["name"] == "order ids carry the chain")
        assert len(ids["problems"]) == 1


def test_a_restored_ledger_meets_the_difference_at_once_and_does_not_trade_on_it(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        shutil.copy(at.db, tmp_path / "kept")
        at.cycle()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{at.db}{suffix}").unlink(missing_ok=True)
        shutil.move(tmp_path / "kept", at.db)
        posted = at.server.posts()
        at.cycle()
        assert at.server.posts() == posted, "the account is not as the book says: nothing is sent"


# ---------------------------------------------------------------- twice, and all at once


def test_a_verdict_that_is_executed_twice_sends_once(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        for step in ("plan", "propose", "judge"):
            at.trader(step)
        first, again = (json.loads(at.trader("execute", "--json").stdout) for _ in range(2))
        assert (first["already"], again["already"]) == (False, True)
        assert first["order"]["exchange_order_id"] == again["order"]["exchange_order_id"]
        assert at.server.posts() == 1
        at.assert_books_agree()


def test_eight_processes_that_execute_one_verdict_send_one_order(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        for step in ("plan", "propose", "judge"):
            at.trader(step)
        running = [at.start("execute") for _ in range(8)]
        assert {at.ended(one).code for one in running} <= {0, 7}
        assert at.server.posts() == 1
        at.assert_books_agree()


def test_eight_first_cycles_at_once_make_one_ledger_and_one_order_each_at_most(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        running = [at.start("cycle") for _ in range(8)]
        codes = [at.ended(one).code for one in running]
        assert set(codes) <= {0, 7}
        assert codes.count(0) == at.server.posts() >= 1
        at.assert_books_agree()
        assert len(at.events("EPOCH")) == 1


def test_two_equal_orders_in_one_minute_are_two_orders(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.minds.script("proposal", buy("0.0002"), buy("0.0002"), hold())
        for state in ("FILLED", "FILLED"):
            assert at.cycle()["execution"]["order"]["state"] == state
        assert at.cycle()["execution"]["order"] is None
        assert (at.server.posts(), len(at.server.orders)) == (2, 2)
        at.assert_books_agree()


# ---------------------------------------------------------------- the operator's look


def test_doctor_asks_the_exchange_sends_nothing_and_names_what_is_away(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        posted = at.server.posts()
        rows = json.loads(at.trader("doctor", "--json").stdout)["checks"]
        said = [f"{row['name']}: {row['said']}" for row in rows if row["level"] == "ok"]
        assert any(words.startswith("exchange: ") and "BTC/USDT" in words for words in said)
        assert any(words.startswith("exchange: its clock is") for words in said)
        assert any(words.startswith("key: ") and "withdraw" in words for words in said)
        assert at.server.posts() == posted
    with_nobody = at.trader("doctor", "--json", code=9)
    failed = [row["name"] for row in json.loads(with_nobody.stdout)["checks"] if row["level"] == "FAIL"]
    assert {"exchange", "key"} <= set(failed)
    assert "ledger" not in failed
