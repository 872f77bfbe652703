"""SIGKILL, SIGTERM and SIGSTOP at moments of the network and of the ledger: no order twice, none lost, none made up."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.binance_server import Fault, Request, faults
from tests.exchange.scenes import Scene, all_at_once, scene
from tests.responses_server import sell
from tests.test_crash import KILLED, Child, until

RICH = {"USDT": Decimal(10_000)}
READS = ("exchangeInfo", "klines", "account", "ticker/bookTicker", "order")
PLACES = [
    *((moment, read) for read in READS for moment in ("before-request", "after-answer")),
    ("before-order", "order"),
    ("after-order-before-answer", "order"),
]
"""When the exchange strikes: at which moment of which request."""
FAILPOINTS = [f"commit-{side}:{n}" for side in ("before", "after") for n in range(1, 10)]
LOSSES: dict[str, Fault] = {
    "the request is lost": faults.drop_before(),
    "the answer is lost": faults.accept_then_drop(),
    "the answer is lost, and the order not to be seen": replace(faults.accept_then_drop(), hidden_ms=3_000),
    "the answer is half": faults.truncated(),
    "late": faults.delay(1_500),
    "too late": faults.delay(5_500),
}


def struck(at: Scene, number: int, place: tuple[str, str], *words: str, **env: str) -> Child:
    """A process that the exchange sends a signal at a moment of the first request of its kind; it may live on."""
    moment, read = place
    started, done = threading.Event(), threading.Event()
    victim: list[Child] = []

    def strike(request: Request) -> None:
        if request.path.endswith(f"/{read}") and not done.is_set():
            done.set()
            assert started.wait(30)
            os.kill(victim[0].pid, number)

    at.server.hook(moment, strike)
    victim.append(at.start(*(words or ("cycle",)), **env))
    started.set()
    until(lambda: done.is_set() or victim[0].ended(), "the moment of the strike")
    return victim[0]


def killed(at: Scene, place: tuple[str, str], *words: str, **env: str) -> None:
    """SIGKILL at that moment."""
    child = struck(at, signal.SIGKILL, place, *words, **env)
    at.ended(child, KILLED)
    at.server.unhook()


def assert_whole_again(at: Scene) -> None:
    """A restart at once sends nothing; once no order can be on its way any more, all is settled and the books agree."""
    posted = at.server.posts()
    assert at.trader("recover", code=None).code in (0, 8, 10)
    at.later()
    assert at.trader("recover", code=None).code in (0, 8)
    assert at.server.posts() == posted
    if at.rows("SELECT 1 FROM events WHERE kind = 'EPOCH'"):
        at.assert_books_agree()


def in_rows(folder: Path, env: dict[str, str], cases: list[Any], act: Callable[[Scene, Any], None]) -> None:
    """One after another in the same ledger, several ledgers at once."""

    def one_row(row: str, of: list[Any]) -> None:
        with scene(folder / row, env, balances=RICH) as at:
            at.cycle()
            for case in of:
                try:
                    act(at, case)
                except AssertionError as error:
                    raise AssertionError(f"{case}: {error}") from error
            at.assert_it_goes_on()

    all_at_once({f"row {start}": cases[start::4] for start in range(4)}, one_row)


def test_a_cycle_may_be_killed_at_every_moment_of_the_network(env: dict[str, str], tmp_path: Path) -> None:
    def act(at: Scene, place: tuple[str, str]) -> None:
        killed(at, place)
        assert_whole_again(at)

    in_rows(tmp_path, env, PLACES, act)


def test_a_cycle_may_be_killed_at_every_commit_and_around_the_submission(env: dict[str, str], tmp_path: Path) -> None:
    def act(at: Scene, name: str) -> None:
        at.trader("cycle", code=KILLED, TRADER_FAILPOINT=name)
        assert_whole_again(at)

    in_rows(tmp_path, env, ["submit-before", "submit-after", *FAILPOINTS[:7:2], *FAILPOINTS[10:17:2]], act)


@pytest.mark.soak
def test_a_cycle_may_be_killed_at_all_commits(env: dict[str, str], tmp_path: Path) -> None:
    def act(at: Scene, name: str) -> None:
        assert at.trader("cycle", code=None, TRADER_FAILPOINT=name).code in (0, KILLED)
        assert_whole_again(at)

    in_rows(tmp_path, env, FAILPOINTS, act)


@pytest.mark.parametrize("place", [("before-request", "exchangeInfo"), ("after-answer", "account")], ids=str)
def test_a_first_start_may_be_killed(place: tuple[str, str], env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        killed(at, place)
        at.assert_it_goes_on()
        assert len(at.events("EPOCH")) == 1


def test_a_recovery_may_be_killed_as_well(env: dict[str, str], tmp_path: Path) -> None:
    places = [("before-request", "order"), ("after-answer", "order"), ("before-request", "myTrades")]

    def act(at: Scene, how: Any) -> None:
        at.spoil(faults.accept_then_drop())
        at.server.faults.always("GET", "/api/v3/order", faults.html(502))
        at.cycle(10)
        at.server.faults.clear()
        if isinstance(how, str):
            at.trader("recover", code=KILLED, TRADER_FAILPOINT=how)
        else:
            killed(at, how, "recover")
        assert_whole_again(at)

    in_rows(tmp_path, env, [*places, "commit-before:1", "commit-after:1"], act)


def test_an_order_whose_sender_died_is_adopted_when_it_arrives_late_and_given_up_when_it_never_does(
    env: dict[str, str], tmp_path: Path
) -> None:
    def act(at: Scene, case: tuple[int, str]) -> None:
        ms, state = case
        at.spoil(faults.delay(ms))
        killed(at, ("before-order", "order"))
        assert at.recover(10) == ["UNKNOWN"]
        until(lambda: all(one.outcome for one in at.server.requests if one.places), "the exchange to decide")
        at.later()
        at.trader("recover")
        assert at.states[-1] == state
        at.assert_books_agree()

    in_rows(tmp_path, env, [(3_000, "FILLED"), (6_000, "ABANDONED")], act)


# ---------------------------------------------------------------- signals that are heard


def test_sigterm_while_an_order_is_under_way_lets_it_end_and_be_booked(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.delay(700))
        child = struck(at, signal.SIGTERM, ("before-order", "order"))
        at.ended(child, 0)
        assert (at.states, at.one("SELECT count(*) FROM portfolio")) == (["FILLED"], 1)
        at.server.unhook()
        at.assert_books_agree()
        at.assert_it_goes_on()


@pytest.mark.parametrize("read", ["klines", "ticker/bookTicker"])
def test_sigterm_before_an_order_sends_none(read: str, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.ended(struck(at, signal.SIGTERM, ("before-request", read)), 0)
        assert at.server.posts() == 0
        at.server.unhook()
        at.assert_books_agree()
        at.assert_it_goes_on()


def test_a_second_sigterm_leaves_at_once_and_the_order_is_found_later(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.delay(1_500))
        child = struck(at, signal.SIGTERM, ("before-order", "order"))
        until(lambda: "second signal" in child.stderr, "the first signal to be heard")
        child.send(signal.SIGTERM)
        at.ended(child, 143)
        at.server.unhook()
        until(lambda: at.server.orders, "the order to be taken")
        assert at.recover() == ["FILLED"]
        at.assert_it_goes_on()


def test_a_process_that_is_stopped_between_intent_and_order_sends_nothing_that_is_taken(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        at.cycle()
        child = at.start("cycle")
        until(lambda: at.one("SELECT count(*) FROM orders") == 2 or child.ended(), "the intent")
        child.send(signal.SIGSTOP)
        time.sleep(5.3)  # longer than the window: nothing can be awaited but time
        sent_before = at.server.posts() == 2  # what was on its way when it was stopped has arrived by now
        child.send(signal.SIGCONT)
        at.ended(child, 0)
        assert at.states[-1] == ("FILLED" if sent_before else "REJECTED")
        assert all(int(one.at) - stamped(at, one.client_order_id) <= 5_000 for one in at.server.orders)
        at.assert_books_agree()
        at.assert_it_goes_on()


def stamped(at: Scene, client_id: str) -> int:
    """The timestamp that an order was sent with, ms of the exchange's clock."""
    return next(one.timestamp or 0 for one in at.server.requests if one.places and one.client_id == client_id)


def test_a_process_that_is_stopped_while_it_waits_for_the_answer_reads_it_afterwards(
    env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        child = struck(at, signal.SIGSTOP, ("after-order-before-answer", "order"))
        time.sleep(1)
        child.send(signal.SIGCONT)
        at.ended(child, 0)
        at.server.unhook()
        at.assert_books_agree()
        at.assert_it_goes_on()


def test_a_loop_that_is_killed_at_an_order_is_followed_by_one_that_goes_on(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        killed(at, ("after-order-before-answer", "order"), "loop")
        at.later(400_000)
        at.trader("loop", "--cycles", "1")
        assert at.states == ["FILLED", "FILLED"]
        at.assert_books_agree()
        at.later(400_000)
        loop = at.start("loop")
        until(lambda: at.one("SELECT count(*) FROM portfolio") == 2 or loop.ended(), "the loop's first cycle")
        loop.send(signal.SIGTERM)
        at.ended(loop, 0)
        at.assert_books_agree()


# ---------------------------------------------------------------- at random


def storm(at: Scene, seed: int, deaths: int) -> None:
    """Kills at moments that chance chooses, of the clock, the network and the ledger, with losses on the line."""
    chance = random.Random(seed)
    for _ in range(deaths):
        if chance.random() < 0.3:
            at.minds.script("proposal", sell("0.0004"))
        if chance.random() < 0.5:
            at.spoil(LOSSES[chance.choice(list(LOSSES))])
        how = chance.randrange(3)
        words = ("recover",) if at.states and chance.random() < 0.2 else ("cycle",)
        if how == 0:
            child = at.start(*words)
            time.sleep(chance.random() * 0.9)  # the moment is the experiment: nothing is awaited
        elif how == 1:
            child = struck(at, signal.SIGKILL, chance.choice(PLACES), *words)
        else:
            child = at.start(*words, TRADER_FAILPOINT=chance.choice([*FAILPOINTS, "submit-before", "submit-after"]))
            until(child.ended, "the failpoint or the end")
        child.send(signal.SIGKILL)
        at.ended(child)
        at.server.unhook()
        at.server.faults.clear()
        if at.states:
            at.assert_each_sent_once()
        at.later(chance.choice([0, 6_000, 40_000]))
    at.later()
    at.trader("recover", code=None)
    while at.minds.unplayed:  # sales that were meant for cycles which died before
        at.cycle()
    at.assert_it_goes_on()


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_moments_leave_books_that_agree(seed: int, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env, balances=RICH) as at:
        storm(at, seed, deaths=6)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 112))
def test_hundreds_of_kills_at_random_moments_leave_books_that_agree(
    seed: int, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env, balances=RICH) as at:
        storm(at, seed, deaths=30)
