"""SIGKILL at every commit, around the one submission, twice in a row and at random: the books stay whole.

A kill test needs hundreds of processes and a Python start costs half a second, so they are forks of one
interpreter that has imported all of `trader` (`Zygote`). Each is a process of its own all the same: own
pid, files, environment and death; what is left of it is on the disk.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
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
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.conftest import ROOT, SEALED, Result, Trader
from trader_cli import main
from trader_cli.core.decimals import text
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger

PATIENCE_SECS = 90.0
"""How long a condition may take on a machine that is busy with other things."""

KILLED = -signal.SIGKILL


def until(true: Callable[[], object], what: str, secs: float = PATIENCE_SECS) -> None:
    """Wait for a condition, looking often; a test that waits in vain fails with `what`."""
    deadline, pause = time.monotonic() + secs, 0.002
    while not true():
        assert time.monotonic() < deadline, f"waited {secs:g} s in vain for {what}"
        time.sleep(pause)
        pause = min(1.3 * pause, 0.02)


# ---------------------------------------------------------------- processes


_SERVER = """
import atexit, contextlib, gc, importlib, json, os, signal, sys
from trader_cli import main
from trader_cli.core.decimals import text
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
for entry in main.COMMANDS:
    importlib.import_module("trader_cli.commands." + entry.target.partition(":")[0])
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
    main.run(["cycle", "--dry-run", "--db", "/nonexistent/x.db"])  # the imports a cycle makes on its way
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
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
    code = next(filter(None, map(main.run, asked["commands"])), 0)  # up to the first that fails
    atexit._run_exitfuncs()
    os._exit(code)

requests, alive = open(os.dup(0), "rb", buffering=0), set()
while line := requests.readline():
    asked = json.loads(line)
    if "wait" in asked:
        pid, status = os.waitpid(asked["wait"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
        alive.discard(pid)
    else:
        answer = os.fork()
        if not answer:
            requests.close()
            become(asked)
        alive.add(answer)
    os.write(1, json.dumps(answer).encode() + b"\\n")
for pid in alive:  # the tests are gone: let no loop outlive them
    os.kill(pid, signal.SIGKILL)
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

    def result(self, secs: float = PATIENCE_SECS) -> Result:
        """Wait for its end."""
        until(self.ended, f"the end of process {self.pid}", secs)
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
        self._turn = threading.Lock()

    def ask(self, **what: Any) -> Any:
        """One request, one answer."""
        assert self._server.stdin and self._server.stdout
        with self._turn:
            self._server.stdin.write(json.dumps(what).encode() + b"\n")
            self._server.stdin.flush()
            answer = self._server.stdout.readline()
        assert answer, "the zygote is dead; what it said stands above"
        return json.loads(answer)

    def start(self, commands: tuple[tuple[str, ...], ...], env: Mapping[str, str], folder: Path, stdin: str) -> Child:
        """A fork that runs `trader` with these words, command after command."""
        number = next(self._count)
        streams = [self._streams / f"{number}.{name}" for name in ("in", "out", "err")]
        for path, words in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(words, encoding="utf-8")
        paths = [str(path) for path in streams]
        pid = int(self.ask(commands=commands, env=dict(env), folder=str(folder), streams=paths))
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
    env = {**SEALED, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    made = Zygote(env)
    atexit.register(made.close)
    return made


class Forks:
    """`trader` as the fixture of that name runs it, only sooner; and processes that go on beside the test."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.folder = folder
        self._children: list[Child] = []

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Result:
        return self.start(*words, env=env, stdin=stdin).result()

    def after(self, *commands: str) -> Result:
        """Commands that only lead up to what is tested: one process for all of them, each must succeed."""
        done = self._start(*(tuple(words.split()) for words in commands)).result()
        assert done.code == 0, done.stderr
        return done

    def start(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Child:
        """Start a process and leave it to itself; it is killed at the end of the test."""
        return self._start(words, env=env, stdin=stdin)

    def _start(self, *commands: tuple[str, ...], env: Mapping[str, str] | None = None, stdin: str = "") -> Child:
        child = _zygote().start(commands, {**self.env, **(env or {})}, self.folder, stdin)
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


@contextlib.contextmanager
def holding(lock: Path) -> Iterator[None]:
    """Take a lock of ours away from everybody, as soon as it is free."""
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- what must be true of a ledger


def rows(path: Path, sql: str, *values: object) -> list[Any]:
    """What a query finds in a ledger, read-only."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def one(path: Path, sql: str, *values: object) -> Any:
    """The one value a query finds."""
    return rows(path, sql, *values)[0][0]


STATES = """
    SELECT e.state FROM orders AS o JOIN order_events AS e ON e.id =
      (SELECT max(id) FROM order_events AS x WHERE x.client_order_id = o.client_order_id) ORDER BY o.id"""
EXECUTED = """
    SELECT DISTINCT client_order_id FROM order_events WHERE state IN ('FILLED', 'PARTIAL') ORDER BY client_order_id"""


def assert_each_order_was_sent_once(path: Path) -> None:
    """No proposal has two orders, and what the paper exchange filled is what our orders say, one for one."""
    sent = rows(path, "SELECT client_order_id FROM paper_orders ORDER BY client_order_id")
    assert len(sent) == len(set(sent))
    assert rows(path, EXECUTED) == sent
    assert rows(path, "SELECT idempotency_key FROM trades ORDER BY idempotency_key") == sent
    proposals = rows(path, "SELECT proposal_id FROM orders")
    assert len(proposals) == len(set(proposals))


LEARNT = """
    SELECT value_json ->> '$.experiment.closed_by', value_json ->> '$.experiment.opened_by' FROM memory ORDER BY id"""
SALES = "SELECT idempotency_key FROM trades WHERE side = 'SELL' ORDER BY id"
DUE = """
    SELECT idempotency_key FROM trades WHERE side = 'SELL' AND link < (SELECT max(link) FROM portfolio) ORDER BY id"""


def assert_each_sale_was_learnt_once(path: Path) -> None:
    """Memory holds what every sale that a snapshot followed made of every purchase, none of it twice."""
    learnt = rows(path, LEARNT)
    assert len(learnt) == len(set(learnt))
    assert list(dict.fromkeys(closed for closed, _ in learnt)) == [key for (key,) in rows(path, DUE)]


def assert_books_in_order(quick: Trader, path: Path) -> None:
    """Everything is settled, sent once, learnt once, and proved; and the exchange holds what our book says."""
    assert_each_order_was_sent_once(path)
    assert_each_sale_was_learnt_once(path)
    assert one(path, "SELECT count(*) FROM open_orders") == 0
    with closing(Ledger.open_reader(path, wall_now)) as ledger:
        book = ledger.book(*(ledger.identity().get("symbol") or "BTC/USDT").split("/"))
    for held in rows(path, "SELECT balance_quote, balance_base FROM paper_orders ORDER BY id DESC LIMIT 1"):
        assert held == (text(book.quote), text(book.base))
    for drift in rows(path, "SELECT drift_usdt, drift_btc FROM portfolio ORDER BY id DESC LIMIT 1"):
        assert drift in {("0", "0"), (None, None)}
    verified = main.run(["ledger", "verify", "--quiet", "--db", str(path)])  # in this process: it changes nothing
    assert verified == 0, quick("ledger", "verify", "--db", str(path))


def assert_it_goes_on(quick: Trader, path: Path) -> None:
    """After a kill: recover sends nothing and settles everything, the next cycle works, the ledger is proved."""
    before = one(path, "SELECT count(*) FROM paper_orders") if has_tables(path) else 0
    recovered = quick("recover", "--db", str(path), "--json")
    assert recovered.code == 0, recovered.stderr
    assert json.loads(recovered.stdout)["unsettled"] == 0
    assert one(path, "SELECT count(*) FROM paper_orders") == before
    assert_each_order_was_sent_once(path)
    cycle = quick("cycle", "--db", str(path))
    assert cycle.code == 0, cycle.stderr
    assert_books_in_order(quick, path)


def has_tables(path: Path) -> bool:
    """Whether a ledger was made, as far as its tables."""
    return path.exists() and bool(one(path, "SELECT count(*) FROM sqlite_master"))


def copy_of(ledger: Path, folder: str) -> Path:
    """A copy, in a folder of its own, of all that a process left: the ledger with its write-ahead log."""
    target = ledger.parent / folder.replace(":", "-")
    target.mkdir()
    for path in ledger.parent.glob(f"{ledger.name}*"):
        shutil.copy(path, target / path.name)
    return target / ledger.name


@pytest.fixture
def before_a_sale(quick: Forks) -> Path:
    """A ledger whose next cycle sells what it holds, in the first simulated market that gets there soon."""
    quick.env["TIMEFRAME"] = "1d"
    for seed in range(50):
        quick.env["SIMULATED_SEED"] = str(seed)
        seen, ledger = quick.folder / f"seen-{seed}.db", quick.folder / f"sells-{seed}.db"
        assert quick("loop", "--cycles", "12", "--speed", "fast", "-q", "--db", str(seen)).code == 0
        if sale := rows(seen, "SELECT proposal_id FROM orders WHERE side = 'SELL' ORDER BY id LIMIT 1"):
            number = one(seen, "SELECT count(*) FROM decisions WHERE agent = 'TRADER' AND id < ?", sale[0][0])
            assert quick("loop", "--cycles", str(number), "--speed", "fast", "-q", "--db", str(ledger)).code == 0
            return ledger
    raise AssertionError("no simulated market makes the rules sell within 12 days any more")


# ---------------------------------------------------------------- one kill


def survived(quick: Forks, path: Path, failpoint: str) -> bool:
    """A cycle with a failpoint. What it left of the ledger is whole, whether it died there or not."""
    died = quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": failpoint})
    assert died.code in (0, KILLED), died.stderr
    if died.code == KILLED:
        assert_it_goes_on(quick, path)
        return False
    assert_books_in_order(quick, path)
    assert one(path, "SELECT count(*) FROM orders") >= 1, "the cycle under test must trade"
    return True


def deaths(quick: Forks, fresh: Callable[[str], Path], place: str, most: int) -> int:
    """Kill a cycle at the first, second, … time it reaches a place, each on a ledger of its own, until it survives."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        names = [f"{place}:{number}" for number in range(1, most + 1)]
        lived = list(pool.map(lambda name: survived(quick, fresh(name), name), names))
    assert lived == sorted(lived)
    assert lived[-1], f"a cycle commits more than {most} times: count on"
    return lived.count(False)


def test_a_first_cycle_that_buys_may_be_killed_at_every_commit(quick: Forks) -> None:
    # the identity, plan, proposal, verdict, intent, the exchange's fill, settlement, snapshot
    for place in ("commit-before", "commit-after"):
        assert deaths(quick, lambda name: quick.folder / name.replace(":", "-") / "x.db", place, most=9) == 8


@pytest.mark.parametrize("place", ["commit-after", pytest.param("commit-before", marks=pytest.mark.soak)])
def test_a_later_cycle_that_sells_may_be_killed_at_every_commit(place: str, quick: Forks, before_a_sale: Path) -> None:
    assert deaths(quick, lambda name: copy_of(before_a_sale, name), place, most=8) == 7


def test_a_sale_that_was_settled_before_a_kill_is_learnt_by_the_next_snapshot_once(
    quick: Forks, before_a_sale: Path
) -> None:
    path = copy_of(before_a_sale, "settled")
    settled = "commit-after:6"  # plan, proposal, verdict, intent, the exchange's fill, settlement
    assert quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": settled}).code == KILLED
    assert rows(path, SALES)
    assert rows(path, LEARNT) == []
    assert quick("ledger", "verify", "--db", str(path)).code == 0, "what no snapshot followed is not due yet"
    for place in ("commit-before:1", None):  # the snapshot may be killed as well
        died = quick("snapshot", "--db", str(path), env={"TRADER_FAILPOINT": place} if place else None)
        assert died.code == (KILLED if place else 0)
        assert bool(rows(path, LEARNT)) is (place is None)
    assert_each_sale_was_learnt_once(path)
    assert_it_goes_on(quick, path)


@pytest.mark.parametrize(
    ("place", "sent"), [("submit-before", 0), ("submit-after", 1)], ids=["before it was sent", "after it was sent"]
)
def test_a_kill_around_the_submission_leaves_an_intent_that_recover_settles(
    quick: Forks, place: str, sent: int
) -> None:
    path = quick.folder / "x.db"
    assert quick("cycle", "--db", str(path), env={"TRADER_FAILPOINT": place}).code == KILLED
    assert rows(path, STATES) == [("INTENT",)]
    assert one(path, "SELECT count(*) FROM paper_orders") == sent
    assert quick("ledger", "verify", "--db", str(path)).code == 0, "an order nobody has settled yet is no fault"
    recovered = json.loads(quick("recover", "--db", str(path), "--json").stdout)
    assert [order["state"] for order in recovered["orders"]] == ["FILLED" if sent else "ABANDONED"]
    assert one(path, "SELECT count(*) FROM trades") == sent
    again = json.loads(quick("recover", "--db", str(path), "--json").stdout)
    assert again["orders"] == [], "recover after recover has nothing to do"
    executed = quick("execute", "--db", str(path), "--json")
    assert (executed.code, json.loads(executed.stdout)["already"]) == (0, True), "one verdict, one order, ever"
    assert one(path, "SELECT count(*) FROM orders") == 1
    assert one(path, "SELECT count(*) FROM paper_orders") == sent
    assert_it_goes_on(quick, path)


def test_an_execute_by_hand_that_was_killed_sends_nothing_when_it_is_repeated(quick: Forks) -> None:
    path = quick.folder / "x.db"
    quick.after("plan --db x.db", "propose --db x.db", "judge --db x.db")
    for place in ("submit-before", "submit-after"):
        mine = copy_of(path, place)
        assert quick("execute", "--db", str(mine), env={"TRADER_FAILPOINT": place}).code == KILLED
        sent = one(mine, "SELECT count(*) FROM paper_orders")
        assert json.loads(quick("execute", "--db", str(mine), "--json").stdout)["already"]
        assert one(mine, "SELECT count(*) FROM paper_orders") == sent
        assert_it_goes_on(quick, mine)


# ---------------------------------------------------------------- kills in a row


@pytest.mark.parametrize("first", ["submit-before", "submit-after"])
@pytest.mark.parametrize("command", ["recover", pytest.param("cycle", marks=pytest.mark.soak)])
def test_a_recovery_may_be_killed_as_well(quick: Forks, first: str, command: str) -> None:
    killed = quick.folder / "x.db"
    assert quick("cycle", "--db", str(killed), env={"TRADER_FAILPOINT": first}).code == KILLED
    for second in ("commit-before:1", "commit-after:1"):
        path = copy_of(killed, second)
        assert quick(command, "--db", str(path), env={"TRADER_FAILPOINT": second}).code == KILLED
        assert_it_goes_on(quick, path)


@pytest.mark.soak
@pytest.mark.parametrize("first", [f"{name}:{n}" for name in ("commit-before", "commit-after") for n in range(1, 9)])
def test_every_pair_of_kills_is_survived(quick: Forks, first: str) -> None:
    killed = quick.folder / "x.db"
    assert quick("cycle", "--db", str(killed), env={"TRADER_FAILPOINT": first}).code == KILLED
    seconds = [f"{name}:{n}" for name in ("commit-before", "commit-after") for n in range(1, 10)]
    for command, second in itertools.product(("recover", "cycle"), [*seconds, "submit-before", "submit-after"]):
        path = copy_of(killed, f"{command}-{second}")
        assert quick(command, "--db", str(path), env={"TRADER_FAILPOINT": second}).code in (0, KILLED)
        assert_it_goes_on(quick, path)


# ---------------------------------------------------------------- at random


def storm(quick: Forks, seed: int, deaths: int, longest: float) -> None:
    """Kill a fast loop `deaths` times at moments nobody chose, then see whether all is in order."""
    chance = random.Random(seed)
    path = quick.folder / f"storm-{seed}.db"
    quick.env |= {"SIMULATED_SEED": str(chance.randrange(1000)), "TIMEFRAME": chance.choice(["1m", "5m", "1h", "1d"])}
    for _ in range(deaths):
        loop = quick.start("loop", "--speed", "fast", "-q", "--db", str(path))
        time.sleep(
            chance.choice([0.1, 0.3, longest]) * chance.random()
        )  # the moment is the experiment: nothing is awaited
        loop.send(signal.SIGKILL)
        assert loop.result().code == KILLED
    assert_it_goes_on(quick, path)


@pytest.mark.parametrize("seed", range(2))
def test_a_loop_may_be_killed_at_any_moment(quick: Forks, seed: int) -> None:
    storm(quick, seed, deaths=5, longest=0.5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_loop_may_be_killed_hundreds_of_times(quick: Forks, seed: int) -> None:
    storm(quick, seed, deaths=25, longest=3.0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200, 210))
def test_a_long_run_may_be_killed_at_any_commit(quick: Forks, seed: int) -> None:
    chance = random.Random(seed)
    path = quick.folder / "x.db"
    quick.env |= {"SIMULATED_SEED": str(seed), "TIMEFRAME": "1d"}
    for _ in range(12):
        failpoint = f"{chance.choice(['commit-before', 'commit-after'])}:{chance.randrange(1, 600)}"
        died = quick("loop", "--speed", "fast", "-q", "--db", str(path), env={"TRADER_FAILPOINT": failpoint})
        assert died.code == KILLED
        assert quick("ledger", "verify", "--db", str(path)).code == 0
    assert one(path, "SELECT count(*) FROM orders") > 0
    assert_it_goes_on(quick, path)


# ---------------------------------------------------------------- and once with nothing shared


def test_the_same_holds_for_processes_started_one_by_one(trader: Trader) -> None:
    path = Path("x.db").resolve()
    assert trader("cycle", "--db", str(path), env={"TRADER_FAILPOINT": "submit-after"}).code == KILLED
    assert_it_goes_on(trader, path)
