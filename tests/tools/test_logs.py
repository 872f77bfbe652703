"""Log lines: what they say, where they go, and that they never stand in anybody's way."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Trader
from tests.ledgers import ledger_at, rows, writing
from trader_cli.core.redaction import keep_secret
from trader_cli.main import run
from trader_cli.tools import logs

KEY = "sk-canary-0penaiKey_0123456789-k3Qz"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log file that every line of ours goes to, while the test runs."""
    path = tmp_path / "t.log"
    logs.attach(logs.log_file(path, tmp_path / "x.db"), "DEBUG")
    yield path
    logs.detach()


def test_a_cycle_is_told_line_by_line_with_its_trace(trader: Trader, tmp_path: Path) -> None:
    assert trader("cycle", "-q", env={"LOG_FILE": "t.log"}).stderr == ""
    said = lines(tmp_path / "t.log")
    db = tmp_path / "data" / "agent.db"
    trace = rows(db, "SELECT trace_id FROM decisions")[0][0]
    decided = [line for line in said if line.get("table") == "decisions"]
    assert [line["row"]["agent"] for line in decided] == ["PLANNER", "TRADER", "JUDGE"]
    assert {line["trace_id"] for line in decided} == {trace}
    for table in ("meta", "events", "decisions", "orders", "order_events", "fills", "trades", "portfolio"):
        ids = [line["id"] for line in said if line.get("table") == table]
        assert ids == [row[0] for row in rows(db, f"SELECT id FROM {table} ORDER BY id")], table  # noqa: S608
    assert {"ts", "level", "logger", "message", "trace_id", "pid"} <= said[0].keys()
    assert (tmp_path / "t.log").stat().st_mode & 0o777 == 0o600


def test_what_is_only_read_makes_no_log_file(trader: Trader, tmp_path: Path) -> None:
    trader("cycle", "-q")
    for words in (["status"], ["health"], ["ledger", "show"], ["config", "check"]):
        assert trader(*words, env={"LOG_FILE": "t.log"}).code in (0, 1)
    assert not (tmp_path / "t.log").exists()


def test_a_dry_run_tells_of_no_row(trader: Trader, tmp_path: Path) -> None:
    trader("cycle", "-q")
    trader("cycle", "--dry-run", env={"LOG_FILE": "t.log", "LOG_LEVEL": "DEBUG"})
    assert not (tmp_path / "t.log").exists() or not any("table" in line for line in lines(tmp_path / "t.log"))


def test_only_what_was_committed_is_told(log: Path, tmp_path: Path) -> None:
    ledger_at(tmp_path / "x.db", 1)
    log.unlink(missing_ok=True)
    with writing(tmp_path / "x.db") as ledger:
        with pytest.raises(ZeroDivisionError), ledger.transaction() as tx:
            ledger.log_event(tx, "NOTICE", {"reason": "taken back"}, 0)
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), ledger.together():
            with ledger.transaction() as tx:
                ledger.log_event(tx, "NOTICE", {"reason": "taken back too"}, 0)
            raise ZeroDivisionError
        assert not log.exists()
        with ledger.together():
            with ledger.transaction() as tx:
                ledger.log_event(tx, "NOTICE", {"reason": "one"}, 0)
            assert not log.exists()
            with ledger.transaction() as tx:
                ledger.log_event(tx, "NOTICE", {"reason": "two"}, 0)
    assert [json.loads(line["row"]["data_json"])["reason"] for line in lines(log)] == ["one", "two"]
    assert {line["level"] for line in lines(log)} == {"WARNING"}


def test_nothing_is_made_up_where_nobody_looks(tmp_path: Path) -> None:
    assert not logs.wanted()
    logs.attach(logging.NullHandler(), "INFO")
    assert logs.wanted()
    logs.detach()
    assert not logs.wanted()


def test_a_message_stays_one_line_short_and_without_secrets(log: Path) -> None:
    keep_secret("OPENAI_API_KEY", KEY)
    try:
        raise ValueError(f"refused {KEY}\n" * 500)
    except ValueError:
        logs.OURS.exception('a "line"\n\x1b[2J with %s %s', KEY, "x" * 10_000)
    logging.getLogger("httpx2").warning("HTTP Request: %s", KEY)
    logging.getLogger("httpx2").info("others' chatter")
    first, second = lines(log)
    assert KEY.encode() not in log.read_bytes()
    assert first["message"].startswith('a "line"\n\x1b[2J with [OPENAI_API_KEY] xxx')
    assert b"\x1b" not in log.read_bytes()
    assert len(log.read_bytes().splitlines()[0]) < 3 * logs.MOST_CHARS
    assert first["traceback"].rstrip().endswith("refused [OPENAI_API_KEY]")
    assert second["logger"] == "httpx2"


WRITER = """
import logging, sys
from pathlib import Path
from trader_cli.tools import logs
handler = logs.RotatingFile(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]))
handler.setFormatter(logs.JsonLines())
logs.attach(handler, "INFO")
for n in range(int(sys.argv[5])):
    logs.OURS.info("line %s", f"{sys.argv[2]}-{n}", extra={"facts": {"of": sys.argv[2], "n": n}})
"""


def _write(path: Path, most_bytes: int, kept: int, count: int, clean_env: dict[str, str]) -> list[Path]:
    """Three processes at once; returns the files that are there then."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(n), str(most_bytes), str(kept), str(count)], env=clean_env
        )
        for n in range(3)
    ]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    return sorted(path.parent.glob("t.log*"))


def test_processes_that_share_a_file_lose_no_line_and_tear_none(tmp_path: Path, clean_env: dict[str, str]) -> None:
    files = _write(tmp_path / "t.log", 20_000, 200, 700, clean_env)
    said = [line for path in files for line in lines(path)]
    assert len(files) > 3
    assert sorted((line["of"], line["n"]) for line in said) == [(str(of), n) for of in range(3) for n in range(700)]


def test_a_loop_with_a_log_goes_on_in_a_bounded_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 30_000)
    monkeypatch.setenv("LOG_FILE", str(tmp_path / "logs" / "t.log"))
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    assert run(["loop", "--cycles", "120", "--speed", "fast", "-q", "--db", "x.db"]) == 0
    files = sorted((tmp_path / "logs").iterdir())
    assert [path.name for path in files] == ["t.log", "t.log.1", "t.log.2", "t.log.3", "t.log.4"]
    assert all(path.stat().st_size <= 30_000 for path in files)
    last = max(line["id"] for path in files for line in lines(path) if line.get("table") == "portfolio")
    assert last == 120


def test_ten_thousand_lines_of_failing_processes_do_not_fill_a_disk(tmp_path: Path, clean_env: dict[str, str]) -> None:
    files = _write(tmp_path / "t.log", 20_000, 4, 3_400, clean_env)
    assert [path.name for path in files] == ["t.log", "t.log.1", "t.log.2", "t.log.3", "t.log.4"]
    assert (
        sum(path.stat().st_size for path in files) <= 5 * 60_000
    )  # each a little over, while another process puts it aside
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    newest = lines(tmp_path / "t.log.1") + lines(tmp_path / "t.log")
    assert max(line["n"] for line in newest) == 3_399


def test_the_file_is_followed_when_another_program_puts_it_aside(log: Path) -> None:
    logs.OURS.info("one")
    log.rename(log.with_name("aside"))
    logs.OURS.info("two")
    assert [line["message"] for line in lines(log)] == ["two"]
    assert [line["message"] for line in lines(log.with_name("aside"))] == ["one"]


def test_a_log_that_cannot_be_written_keeps_nobody_from_trading(trader: Trader, tmp_path: Path) -> None:
    done = trader("loop", "--cycles", "2", "--speed", "fast", env={"LOG_FILE": "/proc/none/such/t.log"})
    assert done.code == 0
    assert done.stderr.count('Warning: no log lines: LOG_FILE "/proc/none/such/t.log": ') == 1
    (tmp_path / "nul.log").write_bytes(b"\0" * 512)  # what a file system may leave of a file after a power loss
    for words in (["cycle"], ["recover"], ["status"], ["stop", "--flatten"]):
        assert trader(*words, env={"LOG_FILE": "nul.log"}).code in (0, 8), words
    assert (tmp_path / "nul.log").read_bytes() == b"\0" * 512
    full = trader("cycle", env={"LOG_FILE": "/dev/full"})
    assert full.code == 0
    assert "No space left on device" in full.stderr


def test_what_holds_something_else_is_left_alone(trader: Trader, tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text("SYMBOL=BTC/USDT\n")
    done = trader("cycle", env={"LOG_FILE": "other.env"})
    assert done.code == 0
    assert "it holds something else" in done.stderr
    assert (tmp_path / "other.env").read_text() == "SYMBOL=BTC/USDT\n"


@pytest.mark.parametrize(
    "name", ["data/agent.db", "data/agent.db-wal", "data/agent.db.lock", "data/STOP", "data/STOP.new", "data"]
)
def test_a_log_does_not_go_where_something_else_is(name: str, trader: Trader, tmp_path: Path) -> None:
    trader("cycle", "-q")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = trader("cycle", env={"LOG_FILE": name})
    assert done.code == 3
    assert "LOG_FILE must be a file of its own" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    trader("stop", env={"LOG_FILE": name})  # an emergency asks for no log
    assert (tmp_path / "data" / "STOP").exists()


def test_a_link_to_the_ledger_is_seen_through_and_so_is_a_name_that_would_be_put_aside_to_it(
    trader: Trader, tmp_path: Path
) -> None:
    trader("cycle", "-q", "--db", "data/agent.1")
    (tmp_path / "t.log").symlink_to(tmp_path / "data" / "agent.1-journal")
    assert trader("cycle", "--db", "data/agent.1", env={"LOG_FILE": "t.log"}).code == 3
    assert trader("cycle", "--db", "data/agent.1", env={"LOG_FILE": "data/agent"}).code == 3


def test_nothing_of_anothers_is_overwritten_when_the_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "t.log.2").write_text("a diary\n")
    handler = attached_file(tmp_path / "t.log", most_bytes=2_000)
    for number in range(100):
        logs.OURS.info("line %s", number)
    logs.detach()
    assert (tmp_path / "t.log.2").read_text() == "a diary\n"
    assert (tmp_path / "t.log").stat().st_size <= 2_000, "what cannot be put aside grows no more"
    assert handler is not None


def test_a_link_is_written_through_and_its_target_put_aside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "t.log").symlink_to(tmp_path / "real" / "t.log")
    handler = logs.log_file(tmp_path / "t.log", tmp_path / "x.db")
    handler._most_bytes = 2_000
    logs.attach(handler, "INFO")
    for number in range(30):
        logs.OURS.info("line %s", number)
    logs.detach()
    assert (tmp_path / "t.log").is_symlink()
    assert {path.name for path in (tmp_path / "real").iterdir()} >= {"t.log", "t.log.1"}


def test_a_folder_that_nothing_can_be_moved_in_bounds_the_file_for_all(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    (tmp_path / "t.log.1").mkdir()
    for _ in range(2):
        attached_file(path, most_bytes=2_000)
    for number in range(200):
        logs.OURS.info("line %s", number)
    logs.detach()
    assert path.stat().st_size <= 2_000


def attached_file(path: Path, most_bytes: int) -> logs.RotatingFile:
    handler = logs.RotatingFile(path, most_bytes)
    handler.setFormatter(logs.JsonLines())
    logs.attach(handler, "INFO")
    return handler


def test_a_stderr_that_nobody_reads_keeps_no_order_waiting(clean_env: dict[str, str], tmp_path: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"x" * 4096)  # nobody reads it, and it is full
    words = [sys.executable, "-m", "trader_cli.main", "-v", "-q", "cycle"]
    with subprocess.Popen(words, env=clean_env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=write) as running:
        assert running.wait(60) == 0
    os.close(read)
    os.close(write)
    states = rows(tmp_path / "data" / "agent.db", "SELECT state FROM order_events ORDER BY id")
    assert [state for (state,) in states] == ["INTENT", "FILLED"]


def test_what_breaks_while_a_line_is_made_breaks_nothing_else(log: Path, tmp_path: Path) -> None:
    logging.getLogger("urllib3").warning("a %s %s", *[1])
    logs.OURS.info("and on")
    assert [line["message"] for line in lines(log)] == ["and on"]


def test_of_other_libraries_only_warnings_are_kept_however_loud_they_are(log: Path) -> None:
    loud = logging.getLogger("openai._base_client")
    loud.setLevel(logging.DEBUG)
    loud.debug("Request options: the whole prompt")
    loud.warning("a warning")
    loud.setLevel(logging.NOTSET)
    assert [line["message"] for line in lines(log)] == ["a warning"]


def test_with_a_file_or_in_silence_a_level_brings_no_lines_to_stderr(trader: Trader, tmp_path: Path) -> None:
    assert trader("cycle", "-q", env={"LOG_LEVEL": "DEBUG"}).stderr == ""
    assert trader("cycle", "-q", env={"LOG_LEVEL": "DEBUG", "LOG_FILE": "t.log"}).stderr == ""
    assert '"logger"' not in trader("cycle", env={"LOG_LEVEL": "DEBUG", "LOG_FILE": "t.log"}).stderr
    said = trader("--json", "ledger", "trace", "beef", env={"LOG_LEVEL": "DEBUG"}).stderr
    assert json.loads(said)["error"]["exit"] == 8  # one document, no line beside it


@pytest.mark.parametrize("words, env", [(["-v", "cycle"], {}), (["cycle"], {"LOG_LEVEL": "INFO"})])
def test_in_a_pipe_the_lines_are_json_on_stderr(words: list[str], env: dict[str, str], trader: Trader) -> None:
    done = trader("--json", *words, env=env)
    assert json.loads(done.stdout)["schema"] == "trader.cycle/1"
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"ts"')]
    assert {"decisions", "portfolio"} <= {line.get("table") for line in said}
    assert {line["level"] for line in said} <= {"INFO", "WARNING"}


def test_without_a_wish_stderr_has_no_log_line(trader: Trader) -> None:
    assert '"logger"' not in trader("cycle").stderr
    assert '"logger"' not in trader("cycle", env={"LOG_LEVEL": "ERROR"}).stderr


def test_what_nobody_foresaw_leaves_its_traceback_in_the_file(clean_env: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import sys, trader_cli.phases.cycle as c\n"
        "c.plan = lambda *a: 1 / 0\n"
        "from trader_cli.main import run\n"
        "sys.exit(run(['cycle']))"
    )
    env = {**clean_env, "LOG_FILE": "t.log"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = lines(tmp_path / "t.log")[-1]
    assert (last["level"], last["exit"]) == ("CRITICAL", 1)
    assert "ZeroDivisionError" in last["traceback"]


def test_an_error_is_told_with_its_code(trader: Trader, tmp_path: Path) -> None:
    trader("cycle", "-q")
    assert trader("ledger", "trace", "beef", env={"LOG_FILE": "t.log"}).code == 8
    (line,) = lines(tmp_path / "t.log")
    assert (line["level"], line["exit"]) == ("ERROR", 8)
    assert line["message"].startswith("NOT_FOUND: ")


def test_on_a_terminal_they_are_drawn(clean_env: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "trader_cli.main", "-v", "cycle"]
    with subprocess.Popen(words, env=clean_env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs) as running:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # what a terminal's end says when nobody is at the other any more
            while piece := os.read(ours, 4096):
                said += piece
    os.close(ours)
    assert running.returncode == 0
    assert re.search(rb"\d\d:\d\d:\d\d.*INFO.* [0-9a-f]{8} decisions 1\s", said)
    assert b'"logger"' not in said
