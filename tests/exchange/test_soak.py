"""A loop that lives through everything at once: faults of the exchange and the models, kills and restarts, for days.

Its processes share a clock with the exchange that is put ahead instead of waited for. `make soak` lets it run for 5,000
cycles; here are a few dozen, of equal chance.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.binance_server import Fault, faults
from tests.exchange.scenes import FastClock, Scene, scene
from tests.exchange.test_kills import FAILPOINTS, LOSSES, PLACES, RICH, struck
from tests.responses import wire
from tests.responses_server import Step, approve, buy, hold, plan, sell
from tests.test_crash import KILLED, Child

LIMITS = {
    "MAX_DRAWDOWN_PCT": "100",
    "DAILY_LOSS_LIMIT_USDT": "1000000",
    "MODEL_BUDGET_USD_PER_DAY": "1000",
    "LOG_LEVEL": "INFO",
    "LOG_FILE": "logs/t.log",
}
"""Nothing that the law would stop trading for, so that days are full of it."""
READS = ("exchangeInfo", "klines", "account", "ticker/bookTicker", "order", "myTrades", "openOrders", "allOrders")
AWAY: tuple[Callable[[], Fault], ...] = (
    faults.drop_before,
    faults.accept_then_drop,
    faults.empty,
    faults.truncated,
    faults.null,
    faults.page,
    faults.bad_gzip,
    lambda: faults.html(502),
    lambda: faults.rate_limited(2),
)
REFUSALS: tuple[Callable[[], Fault], ...] = (
    lambda: faults.error(-1013, status=400),
    lambda: faults.error(-2010, status=400),
    lambda: faults.error(-1007, executed=True, status=408),
    lambda: faults.html(504, executed=True),
)
SILENCE: tuple[Callable[[], Step], ...] = (
    wire.hang_up,
    wire.server_error,
    lambda: wire.server_error(503),
    lambda: wire.rate_limited(1),
    lambda: wire.other_body(b"<html>"),
    lambda: {"nonsense": True},
)
MB = 1 << 20


@dataclass
class Soak:
    """A scene, its chance, its clock, and what was measured of the loops: cycles, resident bytes, bytes of the log."""

    at: Scene
    clock: FastClock
    seed: int
    chance: random.Random
    measured: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        """How many the ledger has seen the end of."""
        return next((int(count) for (count,) in self.at.rows("SELECT count(*) FROM portfolio")), 0)

    def weather(self) -> None:
        """Choose what goes wrong next, by seed and cycle; what is left of the last choice is over."""
        at, chance = self.at, random.Random(f"{self.seed} {self.cycles}")
        at.server.faults.clear()
        for _ in range(chance.randrange(3)):
            at.spoil(chance.choice(AWAY)(), "GET", f"/api/v3/{chance.choice(READS)}", chance.choice([1, 1, 4]))
        if chance.random() < 0.5:
            at.spoil(chance.choice([*LOSSES.values(), *(made() for made in REFUSALS)]))
        if chance.random() < 0.3 and not at.minds.unplayed:
            at.minds.script(chance.choice(["plan", "proposal", "verdict"]), chance.choice(SILENCE)())
        at.minds.requests.clear()  # a day of them is much to look through

    def live(self, cycles: int, changes: int = 15) -> Child:
        """A loop under changing weather, until the ledger has so many cycles more, or it ends."""
        child = self.at.start("loop", "-q")
        self.watch(child, self.cycles + cycles, changes)
        return child

    def watch(self, child: Child, target: int, changes: int) -> None:
        """Change the weather every so many cycles, and measure."""
        turn = 0
        deadline = time.monotonic() + 120
        while not child.ended() and (now := self.cycles) < target:
            if now >= turn:
                self.weather()
                turn, deadline = now + changes, time.monotonic() + 120
                with contextlib.suppress(OSError):
                    self.measured.append((now, resident(child.pid), wal(self.at.db)))
            assert time.monotonic() < deadline, f"no cycle for two minutes: {child.stderr[-500:]}"
            time.sleep(0.02)

    def die(self, child: Child) -> None:
        """SIGKILL or SIGTERM, now or a moment later."""
        time.sleep(self.chance.random() * 0.15)
        child.send(self.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        self.at.ended(child)
        assert child.code in (0, KILLED), (child.code, child.stderr)

    def life(self, most: int) -> None:
        """One loop from its start to its violent end; then nothing may be twice."""
        how = self.chance.randrange(3)
        if how == 0:
            self.die(self.live(self.chance.randrange(1, most)))
        elif how == 1:
            self.weather()
            self.die(struck(self.at, signal.SIGKILL, self.chance.choice(PLACES), "loop", "-q"))
        else:
            words = self.chance.choice([*FAILPOINTS, "submit-before", "submit-after"])
            child = self.at.start("loop", "-q", TRADER_FAILPOINT=words)
            self.watch(child, self.cycles + most, most)
            self.die(child)
        self.at.server.unhook()
        if self.at.states:
            self.at.assert_each_sent_once()

    def calm(self) -> None:
        """The faults are over, and no order can be on its way any more: all is settled, proved, and goes on."""
        at = self.at
        at.server.faults.clear()
        self.clock.later()
        at.trader("recover", code=None)
        while at.minds.unplayed:
            at.trader("cycle", code=None)
        at.minds.script("plan", plan())
        at.minds.script("proposal", buy("0.0005"))
        at.minds.script("verdict", approve())
        at.assert_it_goes_on()


def resident(pid: int) -> int:
    """What a process holds in memory, in bytes (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wal(db: Path) -> int:
    """The size of the write-ahead log."""
    path = db.with_name(db.name + "-wal")
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def soak(folder: Path, env: dict[str, str], seed: int) -> Iterator[Soak]:
    """Models that buy, sell and hold by chance, on an exchange whose clock is everybody's."""
    chance = random.Random(seed)
    folder.mkdir(exist_ok=True)
    clock = FastClock(folder / "clock")

    def proposal(body: dict[str, Any]) -> Step:
        del body
        return chance.choice([buy("0.0005"), sell("0.0004"), hold(), hold()])

    with scene(folder, {**env, "CLOCK_FILE": str(clock.path)}, balances=RICH, clock=clock.now) as at:
        at.traders.env.update(LIMITS)
        at.minds.otherwise("proposal", proposal)
        yield Soak(at, clock, seed, random.Random(seed + 1))


@pytest.mark.parametrize("seed", [7])
def test_some_dozen_cycles_with_faults_kills_and_restarts_break_nothing(
    seed: int, env: dict[str, str], tmp_path: Path
) -> None:
    with soak(tmp_path, env, seed) as run:
        while run.cycles < 40:
            run.life(most=8)
        run.calm()


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [11])
def test_five_thousand_cycles_with_faults_kills_and_restarts_break_nothing_and_stay_flat(
    seed: int, env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with soak(tmp_path, env, seed) as run:
        while run.cycles < 2_500:
            run.life(most=60)
        run.measured.clear()
        run.die(run.live(2_500))
        long = [one for one in run.measured if one[0] > run.measured[0][0] + 300]
        assert run.cycles >= 5_000
        first, last = long[0], long[-1]
        log = max(size for _, _, size in run.measured)
        with capsys.disabled():
            sys.stdout.write(
                f"\n{last[0]} cycles, {len(run.at.states)} orders, {len(run.at.said) // 2} processes; resident "
                f"{first[1] / MB:.1f} -> {last[1] / MB:.1f} MB, log at most {log / MB:.1f} MB\n"
            )
        assert last[1] - first[1] < 12 * MB
        assert log < 12 * MB
        run.calm()
