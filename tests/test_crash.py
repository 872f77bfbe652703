"""SIGKILL at every commit, around the one submission, twice in a row and at random: the books are whole after all of it.

A kill test needs hundreds of processes and a Python start costs half a second, so they are forks of one
interpreter that has imported all of `trader` (`Zygote`). Each is a process of its own all the same: own
pid, files, environment and death; what is left of it is on the disk.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.conftest import SEALED, Result, Trader

PATIENCE_SECS = 90.0
"""How long a condition may take on a machine that is busy with other things."""

KILLED = -signal.SIGKILL


def until(true: Callable[[], object], what: str, secs: float = PATIENCE_SECS) -> None:
    """Wait for a condition, looking often; a test that waits in vain fails with `what`."""
    deadline = time.monotonic() + secs
    while not true():
        assert time.monotonic() < deadline, f"waited {secs:g} s in vain for {what}"
        time.sleep(0.005)


# ---------------------------------------------------------------- processes


_SERVER = """
import gc, importlib, json, os, sys
from trader_cli import main
for entry in main.COMMANDS:
    importlib.import_module("trader_cli.commands." + entry.target.partition(":")[0])
importlib.import_module("jsonschema")
gc.collect()
gc.freeze()

def become(asked):
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for fd, path in enumerate(asked["streams"]):
        given = os.open(path, os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(given, fd)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = (open(fd, "w" if fd else "r", encoding="utf-8") for fd in range(3))
    sys.exit(main.run(asked["words"]))

requests = open(os.dup(0), "rb", buffering=0)
while line := requests.readline():
    asked = json.loads(line)
    if "wait" in asked:
        pid, status = os.waitpid(asked["wait"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if not answer:
            requests.close()
            become(asked)
    os.write(1, json.dumps(answer).encode() + b"\\n")
"""


class Child:
    """A `trader` process: alive, or ended with a code."""

    def __init__(self, zygote: Zygote, pid: int, stdout: Path, stderr: Path) -> None:
        self.pid = pid
        self.code: int | None = None
        self._zygote = zygote
        self._stdout = stdout
        self._stderr = stderr

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._stdout.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        return self._stderr.read_text(encoding="utf-8")

    def ended(self) -> bool:
        """Whether it has ended. Until this says so, its pid is nobody else's."""
        if self.code is None:
            self.code = self._zygote.ask(wait=self.pid)
        return self.code is not None

    def send(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if not self.ended():
            os.kill(self.pid, number)

    def result(self) -> Result:
        """Wait for its end."""
        until(self.ended, f"the end of process {self.pid}")
        assert self.code is not None
        return Result(self.code, self.stdout, self.stderr)


class Zygote:
    """The interpreter that the processes are forks of."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(env)
        )
        self._streams = Path(tempfile.mkdtemp(prefix="trader-zygote-"))
        self._count = itertools.count()

    def ask(self, **what: Any) -> Any:
        """One request, one answer."""
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(what).encode() + b"\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, words: tuple[str, ...], env: Mapping[str, str], folder: Path, stdin: str) -> Child:
        """A fork that runs `trader` with these words."""
        number = next(self._count)
        streams = [self._streams / f"{number}.{name}" for name in ("in", "out", "err")]
        for path, words_in in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(words_in, encoding="utf-8")
        paths = [str(path) for path in streams]
        pid = int(self.ask(words=words, env=dict(env), folder=str(folder), streams=paths))
        return Child(self, pid, streams[1], streams[2])

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        shutil.rmtree(self._streams)


@functools.cache
def _zygote() -> Zygote:
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_") or name == "PATH"}
    made = Zygote({**kept, **SEALED, "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path)})
    atexit.register(made.close)
    return made


class Forks:
    """`trader` as the fixture of that name runs it, only sooner; and processes that go on beside the test."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env = env
        self.folder = folder
        self._children: list[Child] = []

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Result:
        return self.start(*words, env=env, stdin=stdin).result()

    def start(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Child:
        """Start a process and leave it to itself; it is killed at the end of the test."""
        child = _zygote().start(words, {**self._env, **(env or {})}, self.folder, stdin)
        self._children.append(child)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.send(signal.SIGKILL)
            child.result()


@pytest.fixture
def quick(clean_env: dict[str, str], tmp_path: Path) -> Iterator[Forks]:
    """`trader` processes in the test's folder, without the cost of a start."""
    with Forks(clean_env, tmp_path) as forks:
        yield forks


# ---------------------------------------------------------------- what must be true of a ledger


def rows(path: Path, sql: str, *values: object) -> list[Any]:
    """What a query finds in a ledger, read-only."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def one(path: Path, sql: str, *values: object) -> Any:
    """The one value a query finds."""
    return rows(path, sql, *values)[0][0]


STATE = "(SELECT e.state FROM order_events AS e WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1)"


def assert_each_order_was_sent_once(path: Path) -> None:
    """No proposal has two orders, and what the paper exchange filled is what our orders say, one for one."""
    doubled = "SELECT {0}, count(*) FROM {1} GROUP BY {0} HAVING count(*) > 1"
    assert rows(path, doubled.format("proposal_id", "orders")) == []
    assert rows(path, doubled.format("client_order_id", "paper_orders")) == []
    assert rows(path, doubled.format("proposal_id", "trades")) == []
    filled = rows(path, "SELECT client_order_id FROM paper_orders ORDER BY 1")
    executed = f"SELECT client_order_id FROM orders AS o WHERE {STATE} IN ('FILLED', 'PARTIAL') ORDER BY 1"
    assert rows(path, executed) == filled
    assert rows(path, "SELECT idempotency_key FROM trades ORDER BY 1") == filled


def assert_books_in_order(quick: Trader, path: Path) -> None:
    """Everything is settled, sent once, and proved; and the exchange holds what our book says."""
    assert_each_order_was_sent_once(path)
    assert one(path, "SELECT count(*) FROM open_orders") == 0
    for drift in rows(path, "SELECT drift_usdt, drift_btc FROM portfolio ORDER BY id DESC LIMIT 1"):
        assert drift == ("0", "0")
    verified = quick("ledger", "verify", "--db", str(path))
    assert verified.code == 0, verified.stdout + verified.stderr


def assert_it_goes_on(quick: Trader, path: Path) -> None:
    """After a kill: the ledger is whole as it lies there; recover settles it; the next cycle works."""
    left = quick("ledger", "verify", "--db", str(path))
    assert left.code == 0, left.stdout + left.stderr
    before = one(path, "SELECT count(*) FROM paper_orders")
    recovered = quick("recover", "--db", str(path), "--json")
    assert recovered.code == 0, recovered.stderr
    assert json.loads(recovered.stdout)["unsettled"] == 0
    assert one(path, "SELECT count(*) FROM paper_orders") == before, "recover must never send"
    assert_each_order_was_sent_once(path)
    again = quick("recover", "--db", str(path), "--json")
    assert json.loads(again.stdout)["orders"] == [], "there was nothing left to recover"
    cycle = quick("cycle", "--db", str(path))
    assert cycle.code == 0, cycle.stderr
    assert_books_in_order(quick, path)


def copy_of(ledger: Path, folder: str) -> Path:
    """A ledger that nobody has open, in a folder of its own."""
    assert not Path(f"{ledger}-wal").exists() or Path(f"{ledger}-wal").stat().st_size == 0
    target = ledger.parent / folder / ledger.name
    target.parent.mkdir()
    shutil.copy(ledger, target)
    return target


@pytest.fixture
def before_a_sale(quick: Forks) -> Path:
    """A ledger whose next cycle sells what it holds."""
    control, ledger = quick.folder / "control.db", quick.folder / "sells.db"
    for cycles in itertools.count(100, 100):
        assert cycles <= 500, "the default market no longer sells within 500 cycles: choose another seed"
        assert quick("loop", "--cycles", "100", "--speed", "fast", "-q", "--db", str(control)).code == 0
        sale = rows(control, "SELECT proposal_id FROM orders WHERE side = 'SELL' ORDER BY id LIMIT 1")
        if sale:
            break
    number = one(control, "SELECT count(*) FROM decisions WHERE agent = 'TRADER' AND id <= ?", sale[0][0])
    assert quick("loop", "--cycles", str(number - 1), "--speed", "fast", "-q", "--db", str(ledger)).code == 0
    return ledger


# ---------------------------------------------------------------- one kill


def kills(quick: Forks, fresh: Callable[[str], Path], place: str) -> int:
    """Kill a cycle at the first, second, … time it reaches a place, each on a fresh ledger, until it survives."""
    for number in itertools.count(1):
        assert number < 50, f"a cycle never ends at {place}"
        path = fresh(f"{place}-{number}")
        died = quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": f"{place}:{number}"})
        if died.code == 0:
            assert_books_in_order(quick, path)
            assert one(path, "SELECT count(*) FROM orders") >= 1, "the cycle under test must trade"
            return number - 1
        assert died.code == KILLED, died.stderr
        assert_it_goes_on(quick, path)
    raise AssertionError("not reached")


@pytest.mark.parametrize("place", ["commit-before", "commit-after"])
def test_a_first_cycle_that_buys_may_be_killed_at_every_commit(quick: Forks, place: str) -> None:
    # the identity, plan, proposal, verdict, intent, the exchange's fill, settlement, snapshot
    assert kills(quick, lambda name: quick.folder / name / "x.db", place) >= 8


@pytest.mark.parametrize("place", ["commit-before", "commit-after"])
def test_a_later_cycle_that_sells_may_be_killed_at_every_commit(quick: Forks, before_a_sale: Path, place: str) -> None:
    assert kills(quick, lambda name: copy_of(before_a_sale, name), place) >= 7


@pytest.mark.parametrize(
    ("place", "sent"), [("submit-before", 0), ("submit-after", 1)], ids=["before it was sent", "after it was sent"]
)
def test_a_kill_around_the_submission_leaves_an_intent_that_recover_settles(
    quick: Forks, place: str, sent: int
) -> None:
    path = quick.folder / "x.db"
    assert quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": place}).code == KILLED
    assert rows(path, f"SELECT {STATE} FROM orders AS o") == [("INTENT",)]
    assert one(path, "SELECT count(*) FROM paper_orders") == sent
    proposal = one(path, "SELECT proposal_id FROM orders")
    recovered = json.loads(quick("recover", "--db", str(path), "--json").stdout)
    assert [order["state"] for order in recovered["orders"]] == ["FILLED" if sent else "ABANDONED"]
    assert one(path, "SELECT count(*) FROM trades") == sent
    again = quick("execute", "--verdict", "3", "--db", str(path), "--json")
    assert (again.code, json.loads(again.stdout)["already"]) == (0, True), "the verdict was spent by its one order"
    assert one(path, "SELECT count(*) FROM orders WHERE proposal_id = ?", proposal) == 1
    assert one(path, "SELECT count(*) FROM paper_orders") == sent
    assert_it_goes_on(quick, path)


def test_the_steps_by_hand_after_a_kill_send_nothing_twice(quick: Forks) -> None:
    path = quick.folder / "x.db"
    for step in ("plan", "propose", "judge"):
        assert quick(step, "--db", str(path)).code == 0
    for place in ("submit-before", "submit-after"):
        mine = copy_of(path, place)
        assert quick("execute", "--db", str(mine), env={"TRADER_FAILPOINT": place}).code == KILLED
        sent = one(mine, "SELECT count(*) FROM paper_orders")
        again = json.loads(quick("execute", "--db", str(mine), "--json").stdout)
        assert again["already"]
        assert one(mine, "SELECT count(*) FROM paper_orders") == sent
        assert_it_goes_on(quick, mine)


# ---------------------------------------------------------------- kills in a row


AROUND_THE_ORDER = ("commit-after:5", "submit-before:1", "commit-before:6", "commit-after:6", "submit-after:1")
"""Where a first cycle dies with an order that recover must look after."""


@pytest.mark.parametrize("first", AROUND_THE_ORDER)
def test_a_recovery_may_be_killed_as_well(quick: Forks, first: str) -> None:
    killed = quick.folder / "x.db"
    assert quick("cycle", "--db", str(killed), env={"TRADER_FAILPOINT": first}).code == KILLED
    deaths = 0
    for place in ("commit-before", "commit-after"):
        for number in itertools.count(1):
            path = copy_crashed(killed, f"{place}-{number}")
            second = quick("recover", "--db", str(path), env={"TRADER_FAILPOINT": f"{place}:{number}"})
            deaths += second.code == KILLED
            assert second.code in (0, KILLED)
            assert_it_goes_on(quick, path)
            if second.code == 0:
                break
    assert deaths == 2


@pytest.mark.parametrize("first", AROUND_THE_ORDER[-2:])
def test_the_next_cycle_may_be_killed_while_it_recovers(quick: Forks, first: str) -> None:
    killed = quick.folder / "x.db"
    assert quick("cycle", "--db", str(killed), env={"TRADER_FAILPOINT": first}).code == KILLED
    for second in ("commit-before:1", "commit-after:1", "commit-after:2"):
        path = copy_crashed(killed, second)
        assert quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": second}).code == KILLED
        assert_it_goes_on(quick, path)


@pytest.mark.soak
def test_every_pair_of_kills_is_survived(quick: Forks) -> None:
    places = [f"{name}:{n}" for name in ("commit-before", "commit-after") for n in range(1, 9)]
    for first in [*places, "submit-before", "submit-after"]:
        killed = quick.folder / first / "x.db"
        assert quick("cycle", "--db", str(killed), env={"TRADER_FAILPOINT": first}).code == KILLED
        for command, second in itertools.product(("recover", "cycle"), [*places, "submit-before", "submit-after"]):
            path = copy_crashed(killed, f"{command}-{second}")
            assert quick(command, "--db", str(path), env={"TRADER_FAILPOINT": second}).code in (0, KILLED)
            assert_it_goes_on(quick, path)


def copy_crashed(ledger: Path, folder: str) -> Path:
    """A copy of all that a killed process left: the ledger with its write-ahead log."""
    target = ledger.parent / folder.replace(":", "-")
    target.mkdir()
    for path in ledger.parent.glob(f"{ledger.name}*"):
        shutil.copy(path, target / path.name)
    return target / ledger.name


# ---------------------------------------------------------------- at random


def storm(quick: Forks, seed: int, deaths: int) -> None:
    """Kill a fast loop `deaths` times at moments nobody chose, then see whether all is in order."""
    chance = random.Random(seed)
    path = quick.folder / f"storm-{seed}.db"
    env = {"SIMULATED_SEED": str(chance.randrange(1000)), "TIMEFRAME": chance.choice(["1m", "5m", "1h", "1d"])}
    for _ in range(deaths):
        loop = quick.start("loop", "--speed", "fast", "-q", "--db", str(path), env=env)
        time.sleep(chance.choice([0.1, 0.5, 1.5]) * chance.random())  # the moment is the experiment; nothing is awaited
        loop.send(signal.SIGKILL)
        assert loop.result().code == KILLED
        if chance.random() < 0.2:
            assert quick("recover", "--db", str(path), env=env).code in (0, KILLED)
    assert quick("recover", "--db", str(path), env=env).code == 0
    assert quick("cycle", "--db", str(path), env=env).code == 0
    assert_books_in_order(quick, path)


@pytest.mark.parametrize("seed", range(2))
def test_a_loop_may_be_killed_at_any_moment(quick: Forks, seed: int) -> None:
    storm(quick, seed, deaths=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_loop_may_be_killed_hundreds_of_times(quick: Forks, seed: int) -> None:
    storm(quick, seed, deaths=25)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200, 210))
def test_a_loop_may_be_killed_at_any_commit_of_a_long_run(quick: Forks, seed: int) -> None:
    chance = random.Random(seed)
    path = quick.folder / "x.db"
    env = {"SIMULATED_SEED": str(seed)}
    for _ in range(12):
        place = chance.choice(["commit-before", "commit-after"])
        at = {**env, "TRADER_FAILPOINT": f"{place}:{chance.randrange(1, 600)}"}
        assert quick("loop", "--speed", "fast", "-q", "--db", str(path), env=at).code == KILLED
        assert quick("ledger", "verify", "--db", str(path)).code == 0
    assert quick("recover", "--db", str(path), env=env).code == 0
    assert_books_in_order(quick, path)


# ---------------------------------------------------------------- and once with nothing shared


def test_the_same_holds_for_processes_started_one_by_one(trader: Trader) -> None:
    path = Path("x.db").resolve()
    assert trader("cycle", "--db", str(path), env={"TRADER_FAILPOINT": "submit-after"}).code == KILLED
    assert_it_goes_on(trader, path)
