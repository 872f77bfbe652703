"""News: what moved money or keeps it from moving is told once, after it is written, by a thread that delays nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from tests.conftest import ROOT
from tests.ledgers import grow, rows, scripted_desk, settings
from tests.test_hostile import Say, say
from trader_cli.commands.telling import telling
from trader_cli.core.errors import LedgerError
from trader_cli.phases.news import LATE_MS, Newsroom
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.news import News
from trader_cli.schemas.order import OrderState
from trader_cli.tools import notifier as module
from trader_cli.tools.notifier import Notifier

__all__ = ["say"]

SECRET = "hooks/T0/canaryWebhookToken0123"


class Receiver(ThreadingHTTPServer):
    """A webhook on loopback: keeps what it is told, and answers as it is bid."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told: list[dict[str, Any]] = []
        self.status = 200
        self.hangs = threading.Event()
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.told]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        if self.server.hangs.is_set():
            time.sleep(2)
            return
        if self.server.status == 200:
            self.server.told.append(body)
        self.send_response(self.server.status)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


# ---------------------------------------------------------------- what is news


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> list[Cycle]:
    return grow(tmp_path_factory.mktemp("news") / "a.db", 30)


def traded(cycles: list[Cycle]) -> Cycle:
    return next(one for one in cycles if one.execution.order is not None)


def test_of_many_cycles_only_the_trades_are_news(cycles: list[Cycle]) -> None:
    room = Newsroom("BTC/USDT")
    told = [(one, came) for came in cycles for one in room.of(came, 0)]
    orders = [came for came in cycles if came.execution.order is not None]
    assert len(orders) > 3
    assert [came.trace_id for one, came in told if one.kind in ("trade", "refused", "unknown")] == [
        came.trace_id for came in orders
    ]
    one = next(one for one, _ in told if one.kind == "trade")
    assert "BTC/USDT @" in one.text
    assert "equity" in one.text


@pytest.mark.parametrize(
    ("state", "kind"),
    [(OrderState.REJECTED, "refused"), (OrderState.UNKNOWN, "unknown"), (OrderState.NEEDS_HUMAN, "unknown")],
)
def test_an_order_that_was_not_executed_is_told_as_what_it_is(
    cycles: list[Cycle], state: OrderState, kind: str
) -> None:
    came = traded(cycles)
    assert came.execution.order is not None
    order = replace(came.execution.order, state=state, fills=())
    (one,) = Newsroom("BTC/USDT").of(replace(came, execution=replace(came.execution, order=order)), 0)
    assert (one.kind, one.trace_id) == (kind, came.trace_id)
    assert state.value in one.text


def test_a_trouble_is_told_once_and_so_is_its_end(cycles: list[Cycle]) -> None:
    room = Newsroom("BTC/USDT")
    quiet = next(one for one in cycles if one.execution.order is None)
    down = replace(quiet, upstream="no answer")
    kinds = [[one.kind for one in room.of(came, failing)] for came, failing in (
        (quiet, 0), (down, 0), (down, 0), (quiet, 0), (quiet, 3), (quiet, 4), (quiet, 0),
    )]  # fmt: skip
    assert kinds == [[], ["upstream"], [], ["upstream"], ["models"], [], ["models"]]
    assert [one.kind for one in room.failed("the market is away")] == ["upstream"]
    assert list(room.failed("the market is away")) == []


def test_silence_is_news_when_it_ends_and_changes_of_state_are_told(cycles: list[Cycle]) -> None:
    quiet = next(one for one in cycles if one.execution.order is None)
    room = Newsroom("BTC/USDT")
    (late,) = room.of(quiet, 0, due=quiet.plan.wall_at - LATE_MS - 60_000)
    assert (late.kind, "11 min" in late.text) == ("late", True)
    assert list(room.of(quiet, 0, due=quiet.plan.wall_at - 1000)) == []
    (changed,) = room.of(replace(quiet, changes=("trading is HALT now",)), 0)
    assert changed == News("state", "trading is HALT now", quiet.trace_id)


# ---------------------------------------------------------------- how it is told


def test_a_loop_tells_that_it_begins_and_ends_and_a_chat_understands_it(
    say: Say, receiver: Receiver, tmp_path: Path
) -> None:
    assert say("loop", "--cycles", "1", "-q", WEBHOOK_URL=receiver.url, TRADING="reduce").code == 0
    assert receiver.kinds() == ["loop", "loop"]
    schema = json.loads((ROOT / "trader_cli/schemas/json/trader.news.1.json").read_text(encoding="utf-8"))
    assert [one.message for told in receiver.told for one in Draft202012Validator(schema).iter_errors(told)] == []
    first = receiver.told[0]
    assert first["schema"] == "trader.news/1"
    assert first["text"] == first["content"] == f"trader paper BTC/USDT | loop: {first['text'].partition('loop: ')[2]}"
    assert (first["mode"], first["symbol"]) == ("paper", "BTC/USDT")


def test_a_run_that_ends_by_an_error_says_why(receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    chosen = settings(path).model_copy(update={"webhook_url": SecretStr(receiver.url)})
    with scripted_desk(path) as desk, pytest.raises(LedgerError), telling(chosen, desk, dry_run=False):
        raise LedgerError("no space left")
    assert [(one["kind"], "no space left" in one["text"]) for one in receiver.told] == [("loop", True)]


def test_a_rehearsal_and_a_fast_loop_tell_nobody(say: Say, receiver: Receiver) -> None:
    assert say("cycle", "--dry-run", "-q", WEBHOOK_URL=receiver.url).code == 0
    assert say("loop", "--cycles", "3", "--speed", "fast", "-q", WEBHOOK_URL=receiver.url).code == 0
    assert receiver.asked == 0


def test_a_trade_by_cron_is_told_with_its_trace(say: Say, receiver: Receiver, tmp_path: Path) -> None:
    for _ in range(30):
        assert say("cycle", "-q", WEBHOOK_URL=receiver.url).code == 0
        if receiver.told:
            break
    (one,) = receiver.told
    assert one["kind"] == "trade"
    assert rows(tmp_path / "data" / "agent.db", "SELECT trace_id FROM orders") == [(one["trace_id"],)]


@pytest.mark.parametrize("status", [500, 302, 307])
def test_a_receiver_that_refuses_is_a_notice_and_its_address_is_nowhere(
    say: Say, receiver: Receiver, tmp_path: Path, status: int
) -> None:
    receiver.status = status
    said = say("loop", "--cycles", "1", WEBHOOK_URL=receiver.url, TRADING="reduce")
    assert said.code == 0
    assert receiver.asked == 2 * module.ATTEMPTS, "nobody follows it"
    assert SECRET not in said.stdout + said.stderr
    db = tmp_path / "data" / "agent.db"
    assert SECRET.encode() not in db.read_bytes()


def test_a_receiver_that_is_not_there_is_noted_once(tmp_path: Path) -> None:
    with Notifier("http://127.0.0.1:9/x", {}) as tell:
        tell.send(News("trade", "x"))
        deadline = time.monotonic() + 20
        while not (found := list(tell.failures())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert found == ["the webhook did not take news of kind trade: URLError"]


def test_a_receiver_that_hangs_keeps_nobody_waiting(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.hangs.set()
    monkeypatch.setattr(module, "TIMEOUT_SECS", 0.2)
    monkeypatch.setattr(module, "PATIENCE_SECS", 1.0)
    began = time.monotonic()
    with Notifier(receiver.url, {}) as tell:
        for number in range(module.MOST_WAITING + 20):
            tell.send(News("trade", str(number)))
        assert time.monotonic() - began < 1.0
    assert time.monotonic() - began < 10
    assert any("news was dropped" in words for words in tell.failures())


def test_without_an_address_there_is_no_thread() -> None:
    before = threading.active_count()
    with Notifier(None, {}) as tell:
        tell.send(News("trade", "x"))
        assert threading.active_count() == before
    assert list(tell.failures()) == []
