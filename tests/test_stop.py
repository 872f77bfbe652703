"""`trader stop`, `touch STOP`, TRADING=halt|reduce: no order after it, whatever runs; only `resume` ends it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import test_crash
from tests.conftest import Result
from tests.test_crash import Child, Forks, assert_books_in_order, one, rows, until

quick = test_crash.quick
before_a_sale = test_crash.before_a_sale

LEDGER = Path("data/agent.db")
STOP = Path("data/STOP")

STATES = "SELECT json_extract(data_json, '$.to'), json_extract(data_json, '$.reason') FROM events WHERE kind = 'STATE'"
PLANS = "SELECT json_extract(payload_json, '$.mode'), cause FROM decisions WHERE agent = 'PLANNER'"


def document(result: Result) -> Any:
    """The one JSON document a command printed."""
    assert result.code == 0, result.stderr
    return json.loads(result.stdout)


def assert_nothing_was_done_since_the_stop(cause: str) -> None:
    """After the newest HALT of the ledger: no order, no question to a model, every plan OBSERVE with its cause."""
    since = one(LEDGER, "SELECT max(link) FROM events WHERE kind = 'STATE'")
    assert one(LEDGER, "SELECT count(*) FROM orders WHERE link > ?", since) == 0
    assert one(LEDGER, "SELECT count(*) FROM paper_orders WHERE link > ?", since) == 0
    assert one(LEDGER, "SELECT count(*) FROM model_calls WHERE link > ?", since) == 0
    plans = rows(LEDGER, f"{PLANS} AND link > ?", since)
    assert plans
    assert set(plans) == {("OBSERVE", f"stopped: {cause}")}


def cycles_of(loop: Child) -> int:
    """How many cycles a loop has printed."""
    return loop.stdout.count("\n")


# ---------------------------------------------------------------- beside a loop


@pytest.mark.parametrize("by", ["trader stop", "touch STOP"])
def test_a_stop_beside_a_fast_loop_ends_its_orders_and_not_the_loop(by: str, quick: Forks) -> None:
    quick.env["TIMEFRAME"] = "1d"
    loop = quick.start("loop", "--speed", "fast")
    until(lambda: cycles_of(loop) >= 3, "three cycles")
    if by == "touch STOP":
        STOP.touch()
    else:
        stopped = quick("stop", "--reason", "enough")
        assert stopped.code == 0
        assert "Stopped: enough" in stopped.stdout
    until(lambda: rows(LEDGER, STATES) != [], "the stop in the ledger")  # lines may tell of cycles before it
    lines = cycles_of(loop)
    until(lambda: cycles_of(loop) > lines + 5, "cycles after the stop")
    assert not loop.ended()
    loop.send(signal.SIGTERM)
    assert loop.result().code == 0
    cause = "enough" if by == "trader stop" else "STOP file present"
    assert rows(LEDGER, STATES) == [("HALT", cause)]
    assert_nothing_was_done_since_the_stop(cause)
    assert_books_in_order(quick, LEDGER)


def test_what_a_stop_prevents_would_have_happened(before_a_sale: Path, quick: Forks) -> None:
    stopped = test_crash.copy_of(before_a_sale, "data")
    stopped.rename(LEDGER)
    assert quick("stop", "--reason", "enough").code == 0
    assert quick("loop", "--cycles", "5", "--speed", "fast").code == 0
    assert_nothing_was_done_since_the_stop("enough")
    assert one(LEDGER, "SELECT balance_btc FROM portfolio ORDER BY id DESC LIMIT 1") != "0", "positions are kept"
    assert quick("loop", "--cycles", "5", "--speed", "fast", "--db", str(before_a_sale)).code == 0
    assert one(before_a_sale, "SELECT count(*) FROM orders WHERE side = 'SELL'") >= 1, "the same without a stop"


def test_a_stop_beside_a_sleeping_loop_is_recorded_at_once_and_lets_it_sleep(quick: Forks) -> None:
    quick.env["TIMEFRAME"] = "1h"
    loop = quick.start("loop")
    until(lambda: loop.stdout, "the first cycle")
    stopped = document(quick("stop", "--reason", "enough", "--json"))
    assert (stopped["recorded"], stopped["already"]) == (True, False)
    assert not loop.ended()
    assert rows(LEDGER, STATES) == [("HALT", "enough")]
    assert quick("cycle").code == 0, "a cycle beside it observes"
    assert_nothing_was_done_since_the_stop("enough")
    loop.send(signal.SIGTERM)
    assert loop.result().code == 0


# ---------------------------------------------------------------- what it does to each command


def test_while_stopped_a_cycle_observes_and_an_execution_is_refused(quick: Forks) -> None:
    quick.after("plan", "propose", "judge")
    assert document(quick("stop", "--reason", "enough", "--json"))["recorded"]
    refused = quick("execute")
    assert (refused.code, refused.stdout) == (4, "")
    assert "trading is stopped: enough" in refused.stderr
    assert "trader resume --reason" in refused.stderr
    assert quick("execute", "--dry-run").code == 4
    assert one(LEDGER, "SELECT count(*) FROM orders") == 0
    observed = document(quick("cycle", "--json"))
    assert observed["plan"]["plan"]["mode"] == "OBSERVE"
    assert observed["snapshot"] is not None
    assert_nothing_was_done_since_the_stop("enough")
    assert document(quick("status", "--json"))["state"] == "HALT"
    assert quick("status").stdout.startswith("HALT: enough")
    assert [quick(step).code for step in ("plan", "propose", "judge", "execute", "snapshot")] == [0, 0, 0, 4, 0]
    assert_books_in_order(quick, LEDGER)


def test_an_approved_verdict_waits_for_the_end_of_a_stop(quick: Forks) -> None:
    quick.after("plan", "propose", "judge")
    assert quick("stop").code == 0
    assert quick("execute").code == 4
    assert quick("resume", "--reason", "looked into it").code == 0
    assert document(quick("execute", "--json"))["order"]["state"] == "FILLED"
    assert_books_in_order(quick, LEDGER)


def test_what_was_executed_before_a_stop_is_still_told(quick: Forks) -> None:
    assert quick("cycle").code == 0
    assert quick("stop").code == 0
    assert document(quick("execute", "--json"))["already"]


def test_a_stop_needs_no_ledger(quick: Forks) -> None:
    stopped = document(quick("stop", "--reason", "before it began", "--json"))
    assert (stopped["recorded"], Path(stopped["file"])) == (False, STOP)
    assert not LEDGER.exists()
    assert quick("cycle").code == 0
    assert_nothing_was_done_since_the_stop("before it began")
    assert quick("resume", "--reason", "now").code == 0
    assert document(quick("cycle", "--json"))["plan"]["plan"]["mode"] == "TRADE"


def test_a_stop_works_with_other_settings_than_the_loops(quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast", env={"SIMULATED_SEED": "8"})
    until(lambda: cycles_of(loop) >= 1, "the first cycle")
    stopped = quick("stop", "--reason", "enough", "--json")
    assert document(stopped)["recorded"] is False
    assert "could not be recorded" in stopped.stderr or "holds" in stopped.stderr or stopped.stderr == ""
    lines = cycles_of(loop)
    until(lambda: cycles_of(loop) > lines + 3, "cycles after the stop")
    loop.send(signal.SIGTERM)
    assert loop.result().code == 0
    assert_nothing_was_done_since_the_stop("enough")


def test_a_stop_works_on_a_damaged_ledger(quick: Forks) -> None:
    LEDGER.parent.mkdir()
    LEDGER.write_bytes(b"SQLite format 3\0" + b"no more" * 1000)
    stopped = quick("stop")
    assert stopped.code == 0
    assert "Stopped" in stopped.stdout
    assert "could not be recorded" in stopped.stderr
    assert STOP.exists()


# ---------------------------------------------------------------- and how it ends


def test_a_second_stop_says_so_and_changes_nothing(quick: Forks) -> None:
    assert quick("cycle").code == 0
    assert quick("stop", "--reason", "first").code == 0
    again = quick("stop", "--reason", "second")
    assert again.code == 0
    assert "Already stopped: first" in again.stdout
    assert document(quick("stop", "--json"))["already"]
    assert rows(LEDGER, STATES) == [("HALT", "first")]
    assert STOP.read_text(encoding="utf-8") == "first\n"


def test_the_ledger_remembers_a_stop_whose_file_was_taken_away(quick: Forks) -> None:
    assert quick("cycle").code == 0
    STOP.touch()
    assert quick("recover").code == 0, "any writing command writes it down"
    STOP.unlink()
    assert quick("status").stdout.startswith("HALT: STOP file present")
    quick.after("cycle", "plan", "propose", "judge")
    assert quick("execute").code == 4
    assert_nothing_was_done_since_the_stop("STOP file present")


def test_resume_wants_a_reason_and_records_it(quick: Forks) -> None:
    assert quick("cycle").code == 0
    assert quick("stop", "--reason", "enough").code == 0
    for words in ((), ("--reason",), ("--reason", ""), ("--reason", " ")):
        refused = quick("resume", *words)
        assert (refused.code, refused.stdout) == (2, ""), words
        assert "--reason" in refused.stderr
    assert STOP.exists()
    assert rows(LEDGER, STATES) == [("HALT", "enough")]
    resumed = document(quick("resume", "--reason", "looked into it", "--json"))
    assert (resumed["was"], resumed["cause"]) == ("HALT", "enough")
    assert not STOP.exists()
    assert rows(LEDGER, STATES) == [("HALT", "enough"), ("RUN", "looked into it")]
    assert document(quick("cycle", "--json"))["plan"]["plan"]["mode"] == "TRADE"
    assert_books_in_order(quick, LEDGER)


def test_resume_without_a_stop_changes_nothing(quick: Forks) -> None:
    assert quick("resume", "--reason", "x").code == 8, "there is nothing at all"
    assert quick("cycle").code == 0
    resumed = quick("resume", "--reason", "x")
    assert (resumed.code, resumed.stdout) == (0, "Nothing was stopped.\n")
    assert rows(LEDGER, STATES) == []


# ---------------------------------------------------------------- TRADING


def test_trading_halt_in_the_settings_is_a_stop_that_only_resume_ends(quick: Forks) -> None:
    halt = {"TRADING": "halt"}
    assert document(quick("cycle", "--json", env=halt))["plan"]["cause"] == "stopped: TRADING=halt"
    assert_nothing_was_done_since_the_stop("TRADING=halt")
    for step in ("plan", "propose", "judge"):
        assert quick(step, env=halt).code == 0
    assert quick("execute", env=halt).code == 4
    assert document(quick("cycle", "--json"))["plan"]["plan"]["mode"] == "OBSERVE", "the ledger remembers"
    still = quick("resume", "--reason", "x", env=halt)
    assert still.code == 0
    assert "TRADING=halt in the settings is still in force" in still.stderr
    assert document(quick("cycle", "--json", env=halt))["plan"]["plan"]["mode"] == "OBSERVE"
    assert quick("resume", "--reason", "x").code == 0
    assert document(quick("cycle", "--json"))["plan"]["plan"]["mode"] == "TRADE"


def test_trading_reduce_buys_nothing(quick: Forks) -> None:
    assert quick("loop", "--cycles", "2", "--speed", "fast", env={"TRADING": "reduce"}).code == 0
    assert one(LEDGER, "SELECT count(*) FROM orders") == 0
    assert rows(LEDGER, STATES) == [("REDUCE", "TRADING=reduce")]
    assert quick("cycle", "--db", "control.db").code == 0
    assert rows(Path("control.db"), "SELECT side FROM orders") == [("BUY",)], "the same without the setting"


def test_trading_reduce_lets_a_position_be_sold(before_a_sale: Path, quick: Forks) -> None:
    assert one(before_a_sale, "SELECT count(*) FROM orders WHERE side = 'SELL'") == 0
    quick.env["TRADING"] = "reduce"
    assert quick("loop", "--cycles", "5", "--speed", "fast", "--db", str(before_a_sale)).code == 0
    since = one(before_a_sale, "SELECT max(link) FROM events WHERE kind = 'STATE'")
    assert rows(before_a_sale, "SELECT side FROM orders WHERE link > ?", since) == [("SELL",)]
    assert_books_in_order(quick, before_a_sale)


def test_a_stop_is_stricter_than_reduce_and_is_not_softened_by_it(quick: Forks) -> None:
    reduce = {"TRADING": "reduce"}
    assert quick("cycle", env=reduce).code == 0
    assert quick("stop", "--reason", "enough", env=reduce).code == 0
    STOP.unlink()
    assert quick("cycle", env=reduce).code == 0
    assert rows(LEDGER, STATES) == [("REDUCE", "TRADING=reduce"), ("HALT", "enough")]
    assert document(quick("status", "--json", env=reduce))["state"] == "HALT"


# ---------------------------------------------------------------- --flatten


@pytest.fixture
def held(before_a_sale: Path) -> Path:
    """A ledger at the usual place that holds a position."""
    test_crash.copy_of(before_a_sale, "data").rename(LEDGER)
    assert float(one(LEDGER, "SELECT balance_btc FROM portfolio ORDER BY id DESC LIMIT 1")) > 0.00001
    return LEDGER


def test_a_flatten_sells_what_is_held_verifies_and_leaves_the_stop(held: Path, quick: Forks) -> None:
    sold = document(quick("stop", "--flatten", "--reason", "enough", "--json"))
    came = sold["flatten"]
    assert [(order["side"], order["state"]) for order in came["orders"]] == [("SELL", "FILLED")]
    assert (came["dust"] or came["flat"], came["refused"], came["upstream"]) == (True, None, None)
    assert came["account_base"] == came["base_after"]
    assert sold["recorded"]
    assert rows(held, "SELECT origin FROM orders ORDER BY id DESC LIMIT 1") == [("operator",)]
    assert one(held, "SELECT balance_btc FROM portfolio ORDER BY id DESC LIMIT 1") == came["base_after"]
    assert STOP.read_text(encoding="utf-8") == "enough\n"
    again = quick("stop", "--flatten")
    assert again.code == 0
    assert "Dust: " in again.stdout or "Flat: " in again.stdout
    assert one(held, "SELECT count(*) FROM orders WHERE origin = 'operator'") == 1
    assert document(quick("cycle", "--json"))["plan"]["cause"] == "stopped: enough"
    assert_books_in_order(quick, held)


def test_a_rehearsed_flatten_changes_no_byte_and_stops_nothing(held: Path, quick: Forks) -> None:
    before = held.read_bytes()
    said = quick("stop", "--flatten", "--dry-run")
    assert said.code == 0
    assert "FILLED  SELL" in said.stdout
    assert "Dry run: nothing was written." in said.stderr
    assert held.read_bytes() == before
    assert not STOP.exists()


def test_a_flatten_works_in_a_stop_that_stands_already(held: Path, quick: Forks) -> None:
    assert quick("stop", "--reason", "first").code == 0
    assert document(quick("stop", "--flatten", "--json"))["flatten"]["orders"]
    assert rows(held, STATES) == [("HALT", "first")]


def test_a_flatten_waits_for_the_cycle_of_another_process_and_says_so(held: Path, quick: Forks) -> None:
    lock = held.with_name("agent.db.lock")
    lock.touch()
    with test_crash.holding(lock):
        flattening = quick.start("stop", "--flatten", "--json")
        until(lambda: "Waiting for its cycle to end" in flattening.stderr, "the word that it waits")
        assert STOP.exists(), "the stop comes first"
    assert document(flattening.result())["flatten"]["orders"]


def test_a_flatten_without_a_ledger_stops_all_the_same(quick: Forks) -> None:
    said = quick("stop", "--flatten")
    assert (said.code, "nothing of ours to sell" in said.stdout) == (0, True)
    assert STOP.exists()
    assert not LEDGER.exists()


def test_a_flatten_that_cannot_open_its_ledger_leaves_the_stop_and_says_what_is_held(held: Path, quick: Forks) -> None:
    refused = quick("stop", "--flatten", env={"SYMBOL": "ETH/USDT"})
    assert (refused.code, refused.stdout) == (3, "")
    assert "Trading is stopped and stays so. Not everything was sold: 0." in refused.stderr
    assert STOP.exists()


@pytest.mark.parametrize("place", ["submit-before", "submit-after", "commit-before:1", "commit-after:2"])
def test_a_flatten_that_was_killed_is_repeated_without_a_second_sale(place: str, held: Path, quick: Forks) -> None:
    killed = quick("stop", "--flatten", env={"TRADER_FAILPOINT": place})
    assert killed.code == -signal.SIGKILL
    assert STOP.exists()
    assert quick("stop", "--flatten").code == 0
    sales = "SELECT count(*) FROM paper_orders WHERE json_extract(report_json, '$.side') = 'SELL'"
    assert one(held, f"{sales} AND id > 1") == 1
    assert_books_in_order(quick, held)


def test_resume_says_what_was_blocked_and_since_when(held: Path, quick: Forks) -> None:
    assert quick("stop", "--reason", "enough").code == 0
    assert quick("loop", "--cycles", "3", "--speed", "fast").code == 0
    since = one(held, "SELECT ts_utc FROM events WHERE kind = 'STATE'")
    words = quick("resume", "--reason", "x", "--dry-run").stdout
    assert f"Would resume. It was HALT since {since} (market time): enough" in words
    assert "Blocked meanwhile: 3 cycle(s) only observed, 0 order(s) refused." in words
    resumed = document(quick("resume", "--reason", "x", "--json"))
    assert (resumed["since"], resumed["blocked"]) == (since, {"cycles": 3, "orders": 0})
    nothing = document(quick("resume", "--reason", "x", "--json"))
    assert (nothing["since"], nothing["blocked"]) == (None, {"cycles": 0, "orders": 0})


def test_resume_counts_a_verdict_that_came_before_the_stop_and_was_not_sent(quick: Forks) -> None:
    quick.env["TRADING"] = "reduce"
    assert quick("loop", "--cycles", "2", "--speed", "fast").code == 0
    refused = one(LEDGER, "SELECT count(*) FROM decisions WHERE payload_json ->> 'action' = 'BUY'")
    resumed = document(quick("resume", "--reason", "x", "--json"))
    assert (resumed["was"], resumed["blocked"]["orders"]) == ("REDUCE", refused)
