"""Clocks: a signal ends a wait at once, a second one the process; virtual time stands on the bars' grid."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.tools.clock import Signals, SystemClock, VirtualClock, wall_now

FIVE = 300_000
UNRUNG = Signals()
"""Signals that nothing has taken over: every test that only waits shares them, for each is a pipe."""
ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

_PROLOGUE = """
import os, signal, sys, time
from trader_cli.tools.clock import Signals, SystemClock, VirtualClock
def soon(number, times=1):
    def ring(*_):
        for _ in range(times):
            os.kill(os.getpid(), number)
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
signals = Signals(lambda words: print(words))
signals.install()
began = time.monotonic()
"""


def process(env: dict[str, str], code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own with the signals taken over."""
    return subprocess.run(
        [sys.executable, "-u", "-c", _PROLOGUE + code],
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


# Signals.


@pytest.mark.parametrize("number", ALL)
def test_a_signal_ends_an_hours_wait_at_once(clean_env: dict[str, str], number: signal.Signals) -> None:
    done = process(
        clean_env,
        f"""
soon({int(number)})
print(SystemClock(signals).sleep_until(SystemClock(signals).wall() + 3_600_000))
print(signals.received, time.monotonic() - began < 30)
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Stopping after this step. A second signal leaves at once.",
        "False",
        f"{int(number)} True",
    ]


def test_a_signal_that_came_before_ends_every_later_wait_at_once(clean_env: dict[str, str]) -> None:
    done = process(
        clean_env,
        """
signal.raise_signal(signal.SIGTERM)
clocks = [SystemClock(signals), *(VirtualClock(lambda: 0, 300_000, signals, fast) for fast in (False, True))]
print([clock.sleep_until(clock.wall() + 3_600_000) for clock in clocks])
print(signals.wait(3600), signals.wait(0), time.monotonic() - began < 30)
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["[False, False, False]", "False False True"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)],
    ids=str,
)
def test_a_second_signal_leaves_at_once_with_its_own_code(
    clean_env: dict[str, str], number: signal.Signals, code: int
) -> None:
    done = process(
        clean_env,
        f"""
soon({int(number)})
signals.wait(3600)
signal.raise_signal({int(number)})
print("not reached")
""",
    )
    assert (done.returncode, done.stdout.count("\n")) == (code, 1)


def test_the_step_in_hand_goes_on_after_the_first_signal(clean_env: dict[str, str]) -> None:
    done = process(clean_env, "signal.raise_signal(signal.SIGTERM)\nprint('the step is finished')")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the step is finished")


@pytest.mark.parametrize("secs", [0, -5, 0.001])
def test_without_a_signal_a_wait_lasts_its_time_and_says_so(secs: float) -> None:
    began = time.monotonic()
    assert UNRUNG.wait(secs)
    assert time.monotonic() - began >= secs


# The system's clock.


def test_market_time_is_wall_time_on_a_live_market() -> None:
    clock = SystemClock(UNRUNG)
    before = time.time_ns() // 1_000_000
    assert before <= clock.now() <= clock.wall() <= wall_now() <= time.time_ns() // 1_000_000


def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    began = time.monotonic()
    assert SystemClock(UNRUNG).sleep_until(0)
    assert VirtualClock(lambda: 0, FIVE, UNRUNG, False).sleep_until(0)
    assert time.monotonic() - began < 30


def test_a_machine_that_slept_finds_the_moment_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its monotonic clock stood still meanwhile, as Linux has it; the wall did not."""
    asleep = [0]
    monkeypatch.setattr("trader_cli.tools.clock.wall_now", lambda: wall_now() + asleep[0])
    signals = Signals()
    signals.meanwhile(0.01, lambda: asleep.__setitem__(0, 3_600_000))
    began = time.monotonic()
    assert SystemClock(signals).sleep_until(wall_now() + 3_600_000)
    assert time.monotonic() - began < 30


def test_a_clock_that_is_set_back_makes_no_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    back = [0]
    monkeypatch.setattr("trader_cli.tools.clock.wall_now", lambda: wall_now() - back[0])
    signals = Signals()
    signals.meanwhile(0.01, lambda: back.__setitem__(0, 86_400_000))
    began = time.monotonic()
    assert SystemClock(signals).sleep_until(wall_now() + 60)
    assert 0.05 < time.monotonic() - began < 30


def test_a_sign_of_life_comes_so_often_while_nothing_happens() -> None:
    signals, beats = Signals(), list[float]()
    signals.meanwhile(0.02, lambda: beats.append(time.monotonic()))
    assert signals.wait(0.2)
    assert 3 <= len(beats) <= 11


# Virtual time.


@given(ledger_time=st.integers(0, 10**14), timeframe_ms=st.sampled_from([60_000, FIVE, 3_600_000, 86_400_000]))
def test_virtual_time_is_the_ledgers_rounded_up_to_the_grid(ledger_time: int, timeframe_ms: int) -> None:
    now = VirtualClock(lambda: ledger_time, timeframe_ms, UNRUNG, True).now()
    assert now % timeframe_ms == 0
    assert ledger_time <= now < ledger_time + timeframe_ms


def test_virtual_time_moves_with_the_ledger_and_with_nothing_else() -> None:
    times = [600_000]
    clock = VirtualClock(lambda: times[-1], FIVE, UNRUNG, True)
    assert clock.now() == clock.now() == 600_000
    clock.sleep_until(clock.wall() + 10**9)
    assert clock.now() == 600_000
    times.append(600_001)
    assert clock.now() == 900_000


@pytest.mark.parametrize("fast", [True, False])
def test_virtual_time_does_not_pause_for_nothing_happens_in_it(fast: bool) -> None:
    began = time.monotonic()
    assert VirtualClock(lambda: 0, FIVE, UNRUNG, fast).pause(3_600_000)
    assert time.monotonic() - began < 30
    assert SystemClock(UNRUNG).pause(30)
    assert time.monotonic() - began >= 0.03


def test_a_fast_virtual_clock_does_not_wait_and_a_slow_one_waits_on_the_wall() -> None:
    fast, slow = (VirtualClock(lambda: 0, FIVE, UNRUNG, fast) for fast in (True, False))
    began = time.monotonic()
    assert fast.sleep_until(wall_now() + 3_600_000)
    assert time.monotonic() - began < 30
    until = wall_now() + 20
    assert slow.sleep_until(until)
    assert wall_now() >= until


def test_a_fast_virtual_clock_ends_by_a_signal_too() -> None:
    signals = Signals()
    signals.received = signal.SIGTERM
    assert not VirtualClock(lambda: 0, FIVE, signals, True).sleep_until(0)


def test_the_wall_of_virtual_time_is_the_wall() -> None:
    before = wall_now()
    assert before <= VirtualClock(lambda: 0, FIVE, UNRUNG, True).wall() <= wall_now()
