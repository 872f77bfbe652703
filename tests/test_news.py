"""News: what moved money or keeps it from moving is told once, after it is written, by a thread that delays nothing."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from tests.conftest import ROOT
from tests.fakes import report
from tests.ledgers import grow, ledger_at, reading, rows, scripted_desk, settings, writing
from tests.test_hostile import Say, say
from trader_cli.commands.telling import telling
from trader_cli.core.errors import ConfigError, LedgerError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.news import SILENT_MS, Newsroom
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.decision import Review
from trader_cli.schemas.news import News
from trader_cli.schemas.order import Intent, Order, OrderState, Outcome, Side
from trader_cli.schemas.situation import TradingState
from trader_cli.tools import notifier as module
from trader_cli.tools import receivers
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.notifier import notifying
from trader_cli.tools.receivers import webhook

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


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cycles in a row had no answer of a model, as the ledger tells."""
    count = [0]
    monkeypatch.setattr(Ledger, "failing", lambda self: (count[0], None))
    return count


@pytest.fixture
def room(tmp_path: Path, failing: list[int]) -> Iterator[Newsroom]:
    """What has told of nothing yet."""
    ledger_at(tmp_path / "a.db", 1)
    with reading(tmp_path / "a.db") as ledger:
        yield Newsroom(ledger)


@contextmanager
def on_paper(folder: Path, state: OrderState) -> Iterator[tuple[Newsroom, Order]]:
    """A newsroom, and then an order in a state; its trace is `t`."""
    ledger_at(folder / "a.db", 1)
    with scripted_desk(folder / "a.db") as desk:
        room = Newsroom(desk.ledger)
        intent = Intent(
            "t1-x", None, None, "BTC/USDT", Side.BUY, Decimal("0.5"), Decimal(101), Decimal(51), 0, origin="operator"
        )
        with desk.ledger.writing():
            with desk.ledger.transaction() as tx:
                desk.ledger.reserve(tx, intent, Review(Decimal(1), Decimal(1), ()), "t", None)
            order = _ordered(desk.ledger, "t1-x")
            desk.ledger.settle(order, Outcome(state, None, {}), 0)
        yield room, order


def test_of_many_cycles_the_trades_are_news_and_each_day(tmp_path: Path) -> None:
    with scripted_desk(tmp_path / "a.db") as desk:
        room = Newsroom(desk.ledger)
        told = []
        for _ in range(300):
            with desk.ledger.writing():
                came = cycle(desk)
            told += [(one, came) for one in room.of(came)]
    kinds = Counter(one.kind for one, _ in told)
    assert kinds.keys() == {"trade", "day"}
    trades = rows(tmp_path / "a.db", "SELECT trace_id FROM trades ORDER BY id")
    assert [one.trace_id for one, _ in told if one.kind == "trade"] == [trace for (trace,) in trades]
    assert len(trades) > 3
    one = next(one for one, _ in told if one.kind == "trade")
    assert re.fullmatch(r"BUY \S+ BTC/USDT @ \S+, equity \S+", one.text)
    day = next(one for one, _ in told if one.kind == "day")
    first = rows(tmp_path / "a.db", "SELECT count(*) FROM portfolio WHERE ts_utc < '2026-01-02'")[0][0]
    count = rows(tmp_path / "a.db", "SELECT count(*) FROM trades WHERE ts_utc < '2026-01-02'")[0][0]
    assert day.text.startswith("2026-01-01: equity ")
    assert f", {first} cycles, {count} trades, models 0 USD" in day.text


def _ordered(ledger: Ledger, client_order_id: str) -> Order:
    return ledger.order(client_order_id) or pytest.fail(f"no order {client_order_id}")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (OrderState.REJECTED, "refused"),
        (OrderState.ABANDONED, "unfilled"),
        (OrderState.UNKNOWN, "unknown"),
        (OrderState.OPEN, "unknown"),
        (OrderState.NEEDS_HUMAN, "human"),
    ],
)
def test_an_order_that_was_not_executed_is_told_as_what_it_is(tmp_path: Path, state: OrderState, kind: str) -> None:
    with on_paper(tmp_path, state) as (room, order):
        (one,) = room.of_orders(None)
        assert (one.kind, one.trace_id) == (kind, "t")
        assert order.intent.client_order_id in one.text or state.value in one.text
        assert list(room.of_orders(None)) == []


def test_an_order_in_doubt_is_told_again_when_another_process_found_its_end(tmp_path: Path) -> None:
    with on_paper(tmp_path, OrderState.UNKNOWN) as (room, order):
        assert [one.kind for one in room.of_orders(None)] == ["unknown"]
        with writing(tmp_path / "a.db") as other:
            intent = order.intent
            found = report(intent, intent.qty, Decimal(100))
            other.settle(_ordered(other, intent.client_order_id), Outcome(OrderState.FILLED, found, {}), 0)
        (one,) = room.of_orders(None)
        assert (one.kind, one.trace_id) == ("trade", "t")
        assert "@ 100" in one.text


def test_a_trouble_is_told_once_and_so_is_its_end(cycles: list[Cycle], room: Newsroom, failing: list[int]) -> None:
    quiet = cycles[-1]
    down = replace(quiet, upstream="no answer")
    kinds = []
    for came, count in ((quiet, 0), (down, 0), (down, 0), (quiet, 0), (quiet, 3), (quiet, 4), (quiet, 0)):
        failing[0] = count
        kinds.append([one.kind for one in room.of(came)])
    assert kinds == [[], ["upstream"], [], ["upstream"], ["models"], [], ["models"]]
    assert [one.kind for one in room.failed("the market is away")] == ["upstream"]
    assert list(room.failed("the market is away")) == []


def test_silence_is_news_when_it_ends_and_changes_of_state_are_told(cycles: list[Cycle], room: Newsroom) -> None:
    quiet = cycles[-1]
    (late,) = room.of(quiet, due=quiet.plan.wall_at - SILENT_MS - 60_000)
    assert (late.kind, "11 min" in late.text) == ("late", True)
    assert list(room.of(quiet, due=quiet.plan.wall_at - 1000)) == []
    (changed,) = room.of(replace(quiet, changes=("the law says so",), state=TradingState.HALT))
    assert changed == News("state", "the law says so", quiet.trace_id)
    assert list(room.of(replace(quiet, state=TradingState.HALT))) == []
    (again,) = room.of(quiet)
    assert again == News("state", "trading is RUN now", quiet.trace_id)
    stopped = replace(quiet, state=TradingState.HALT, plan=replace(quiet.plan, cause="trading is HALT: lunch"))
    assert [one.text for one in room.of(stopped)] == ["trading is HALT now: trading is HALT: lunch"]


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
    with scripted_desk(path) as desk, pytest.raises(LedgerError), telling(chosen, desk, nobody=False):
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
    ((notice,),) = rows(db, "SELECT data_json FROM events WHERE kind = 'NOTICE'")
    assert json.loads(notice)["reason"].startswith("WEBHOOK_URL did not take news of kind loop: ")
    assert SECRET.encode() not in db.read_bytes()


def test_a_receiver_that_is_not_there_is_noted_once(tmp_path: Path) -> None:
    with notifying({"WEBHOOK_URL": webhook("http://127.0.0.1:9/x")}, {}) as (tell,):
        tell.send(News("trade", "x"))
        deadline = time.monotonic() + 20
        while not (found := list(tell.failures())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert found == [("WEBHOOK_URL did not take news of kind trade: URLError", True)]


def test_a_receiver_that_hangs_keeps_nobody_waiting(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.hangs.set()
    monkeypatch.setattr(receivers, "TIMEOUT_SECS", 0.2)
    monkeypatch.setattr(module, "PATIENCE_SECS", 1.0)
    began = time.monotonic()
    with notifying({"it": webhook(receiver.url)}, {}) as (tell,):
        for number in range(module.MOST_WAITING + 20):
            tell.send(News("trade", str(number)))
        assert time.monotonic() - began < 1.0
    assert time.monotonic() - began < 10
    assert any("news was dropped" in words for words, _ in tell.failures())


def test_without_an_address_there_is_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with scripted_desk(tmp_path / "a.db") as desk, telling(settings(tmp_path / "a.db"), desk, nobody=False) as tell:
        tell.word("trade", "x")
        assert threading.active_count() <= before


def test_a_receiver_that_throws_is_noted_and_the_next_news_is_sent() -> None:
    took = []

    def moody(news: News, said: str, about: dict[str, str]) -> str | None:
        took.append(said)
        if news.text == "one":
            raise ZeroDivisionError
        return None

    with notifying({"it": moody}, {"mode": "paper"}) as (tell,):
        tell.send(News("trade", "one"))
        tell.send(News("trade", "two"))
    assert took == ["trader paper | trade: one"] * module.ATTEMPTS + ["trader paper | trade: two"]
    assert list(tell.failures()) == [("it did not take news of kind trade: ZeroDivisionError", True)]


# ---------------------------------------------------------------- apprise


def test_apprise_reaches_its_services_too(say: Say, receiver: Receiver) -> None:
    address = receiver.url.replace("http://", "json://")
    said = say("loop", "--cycles", "1", "-q", NOTIFY_URLS=f"{address}, {address}", TRADING="reduce")
    assert (said.code, said.stderr) == (0, "")
    assert [one["title"] for one in receiver.told] == ["trader paper BTC/USDT | loop"] * 4
    assert receiver.told[0]["message"].startswith("begins: paper BTC/USDT")


def test_what_apprise_does_not_deliver_is_a_notice_and_its_address_is_nowhere(
    say: Say, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 500
    env = {"NOTIFY_URLS": receiver.url.replace("http://", "json://"), "LOG_FILE": "t.log"}
    said = say("loop", "--cycles", "1", "-v", TRADING="reduce", **env)
    assert said.code == 0
    notices = rows(tmp_path / "data" / "agent.db", "SELECT data_json FROM events WHERE kind = 'NOTICE'")
    assert len(notices) == 1
    for octets in (said.stdout + said.stderr, (tmp_path / "t.log").read_text("ascii"), notices[0][0]):
        assert SECRET.partition("canary")[2] not in octets


def test_an_address_that_apprise_does_not_understand_is_refused_without_repeating_it(say: Say) -> None:
    for words in (["loop", "--cycles", "1"], ["config", "check"], ["cycle"]):
        said = say(*words, NOTIFY_URLS="json://127.0.0.1:9/a,nonsense://canaryNonsense0123", LOG_FILE="t.log")
        assert said.code == 3
        assert "NOTIFY_URLS: address 2 is none that apprise understands" in said.stderr
        assert "canary" not in said.stderr + (Path("t.log").read_text("ascii") if Path("t.log").exists() else "")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        receivers.services("json://127.0.0.1:9/a")
    assert "trader-cli[notify]" in (caught.value.hint or "")
