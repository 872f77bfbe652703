"""doctor and health: each trouble is a row of its own, whatever else is wrong; health is 0 or 1 and asks nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.ledgers import sha256, tampering
from tests.test_hostile import Say, say
from trader_cli.main import run
from trader_cli.tools import vitals
from trader_cli.tools.backups import back_up
from trader_cli.tools.clock import wall_now
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import lock_path

__all__ = ["say"]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger that a command of today wrote to."""
    path = tmp_path / "agent.db"
    monkeypatch.setenv("DB_PATH", str(path))
    assert run(["loop", "--speed", "fast", "--cycles", "12", "-q"]) == 0
    return path


def rows_of(said: Result, level: str) -> dict[str, str]:
    """The rows of a level: name and words."""
    return {row["name"]: row["said"] for row in json.loads(said.stdout)["checks"] if row["level"] == level}


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 6_000)


def test_a_sound_ledger_has_no_failure_and_looking_changes_nothing(ledger: Path, say: Say) -> None:
    before = sha256(ledger)
    said = say("doctor", "--offline", "--json")
    assert said.code == 0, said.stderr
    assert rows_of(said, "FAIL") == {}
    assert {"program", "settings", "permissions", "ledger", "disk", "writing", "state", "books", "clock"} <= {
        row["name"] for row in json.loads(said.stdout)["checks"]
    }
    assert sha256(ledger) == before


def test_before_the_first_cycle_there_is_nothing_to_fear(say: Say, tmp_path: Path) -> None:
    said = say("doctor", "--json")
    assert said.code == 0
    assert "the first cycle makes it" in rows_of(said, "skip")["ledger"]
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be_are_a_row_too(say: Say) -> None:
    said = say("doctor", "--json", MODE="papr")
    assert said.code == 9
    assert "papr" in rows_of(said, "FAIL")["settings"]


def test_a_damaged_ledger_fails_and_everything_else_is_looked_at_all_the_same(ledger: Path, say: Say) -> None:
    damage(ledger)
    said = say("doctor", "--offline", "--json")
    assert said.code == 9
    failed = rows_of(said, "FAIL")
    assert "ledger" in failed
    assert {"program", "settings", "disk"} <= rows_of(said, "ok").keys()


def test_an_altered_row_breaks_the_chain(ledger: Path, say: Say) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE portfolio SET equity_usdt = '7' WHERE id = (SELECT max(id) FROM portfolio)")
    failed = rows_of(say("doctor", "--offline", "--json"), "FAIL")
    assert "portfolio" in failed["ledger"]
    assert "equity 7 is not deposits and profit" in failed["books"]


def test_what_others_may_read_is_closed_and_what_was_left_is_removed_when_asked(ledger: Path, say: Say) -> None:
    ledger.chmod(0o644)
    gone = 2**22 + 1  # above the highest process id
    left = [ledger.with_name(f"{ledger.name}.{gone}.part"), ledger.with_name(f".{ledger.name}.{gone}.restored-wal")]
    mine = ledger.with_name(f"{ledger.name}.{os.getpid()}.part")
    for path in (*left, mine, ledger.with_name("agent.notes"), ledger.with_name(f"other.db.{gone}.part")):
        path.write_text("", encoding="utf-8")
        os.utime(path, (1, 1))
    for name in ("agentless.424242.part", "agent2.db.4194400.restored", "temp.42424242.part", "agent.20240101.new"):
        ledger.with_name(name).write_text("", encoding="utf-8")
        os.utime(ledger.with_name(name), (1, 1))
    young = ledger.with_name(f"{ledger.name}.{gone}.new")  # perhaps of a process in another container
    young.write_text("", encoding="utf-8")
    warned = [row["said"] for row in json.loads(say("doctor", "--offline", "--json").stdout)["checks"]]
    assert f"others may read {ledger}" in warned
    assert sum("left by a process that is gone" in words for words in warned) == 3
    assert all(path.exists() for path in left)
    assert say("doctor", "--offline", "--fix", "-q").code == 0
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert not any(path.exists() for path in left)
    assert not mine.exists(), "older than a day: that process is another one"
    assert young.exists()
    for name in ("agentless.424242.part", "agent2.db.4194400.restored", "temp.42424242.part", "agent.20240101.new"):
        assert ledger.with_name(name).exists()
    assert ledger.with_name(f"other.db.{gone}.part").exists()
    again = rows_of(say("doctor", "--offline", "--json"), "ok")
    assert again["permissions"] == "for their owner only, nothing left over"


def test_a_key_that_others_may_read_is_a_warning_on_paper_and_a_failure_with_real_money(
    ledger: Path, say: Say, tmp_path: Path
) -> None:
    env = tmp_path / "keys.env"
    env.write_text("EXCHANGE_API_KEY=abcdefgh12345678\nEXCHANGE_API_SECRET=abcdefgh87654321\n", encoding="utf-8")
    env.chmod(0o644)
    words = ("doctor", "--offline", "--json", "--env-file", str(env), "--db", str(tmp_path / "none.db"))
    assert f"others may read {env}" in rows_of(say(*words), "warn").values()
    said = say(*words, MODE="real")
    assert said.code == 9
    assert f"others may read {env}" in rows_of(said, "FAIL").values()


def test_a_stop_is_told(ledger: Path, say: Say) -> None:
    assert say("stop", "--reason", "drill", "-q").code == 0
    assert rows_of(say("doctor", "--offline", "--json"), "warn")["state"] == "HALT: drill"


def test_a_ledger_that_somebody_writes_is_in_use_and_that_is_well(ledger: Path, say: Say) -> None:
    with FileLock(lock_path(ledger), 0.0, "x"):
        said = say("doctor", "--offline", "--json")
    assert rows_of(said, "ok")["writing"].startswith("in use:")


def test_a_clock_that_went_back_behind_the_ledger_is_told(
    ledger: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say("cycle", "-q").code == 0
    day = int(timedelta(days=1).total_seconds() * 1000)
    monkeypatch.setattr("trader_cli.commands.doctor.wall_now", lambda: wall_now() - day)
    assert "the ledger's newest row" in rows_of(say("doctor", "--offline", "--json"), "FAIL")["clock"]
    assert run(["health", "-q"]) == 1


def test_a_ledger_of_other_settings_is_told(ledger: Path, say: Say) -> None:
    failed = rows_of(say("doctor", "--offline", "--json", SIMULATED_SEED="4"), "FAIL")
    assert '"simulated:2", the settings say "simulated:4"' in failed["pinned"]


def test_a_disk_without_room_fails(ledger: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((10 << 20, "FAIL"), (100 << 20, "warn")):
        monkeypatch.setattr(vitals, "free_bytes", lambda path, free=free: free)
        assert "MB free" in rows_of(say("doctor", "--offline", "--json"), level)["disk"]


def test_a_network_file_system_is_a_warning(ledger: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "file_system", lambda path: "nfs4")
    assert "over a network" in rows_of(say("doctor", "--offline", "--json"), "warn")["disk"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_file_system_is_that_of_the_longest_mount(tmp_path: Path) -> None:
    assert vitals.file_system(Path("/proc/version")) == "proc"
    assert vitals.file_system(tmp_path / "not" / "there") not in (None, "proc")


@pytest.mark.parametrize(
    ("version", "may"),
    [
        ((3, 6, 23), False), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True),
        ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False),
    ],
)  # fmt: skip
def test_versions_with_the_fault_of_the_log_are_known(version: tuple[int, ...], may: bool) -> None:
    assert vitals.may_reset_its_log(version) is may


def test_a_missing_or_old_backup_is_a_warning_where_there_is_real_risk(
    ledger: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none in" in rows_of(say("doctor", "--offline", "--json"), "skip")["backups"]
    back_up(ledger)
    assert rows_of(say("doctor", "--offline", "--json"), "ok")["backups"].startswith("1, the newest")
    monkeypatch.setattr("trader_cli.commands.doctor.wall_now", lambda: wall_now() + 2 * 86_400_000)
    assert "48 h old" in rows_of(say("doctor", "--offline", "--json"), "warn")["backups"]


def test_a_cap_that_holds_no_round_trip_is_told(ledger: Path, say: Say) -> None:
    assert say("cycle", "-q").code == 0
    said = say("doctor", "--offline", "--json", CAP_IN_ALL_MODES="true", DEPOSIT_CAP_USDT="5")
    assert "nothing will be bought" in rows_of(said, "warn")["deposit cap"]


def test_a_check_that_breaks_has_failed_and_the_others_go_on(
    ledger: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> int:
        raise RuntimeError("planted")

    monkeypatch.setattr(vitals, "free_bytes", broken)
    said = say("doctor", "--offline", "--json")
    assert said.code == 9
    assert rows_of(said, "FAIL") == {"disk": "the check itself broke: RuntimeError: planted"}


# ---------------------------------------------------------------- health


def test_health_is_one_line_and_zero(ledger: Path, say: Say) -> None:
    assert say("cycle", "-q").code == 0
    before = sha256(ledger)
    said = say("health")
    assert (said.code, said.stderr) == (0, "")
    (line,) = said.stdout.splitlines()
    assert line.startswith("ok  last cycle 0 s ago")
    assert "equity" in line
    assert sha256(ledger) == before


@pytest.fixture
def health(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`health("--max-age", "1s")`: the one command whose 1 is no bug."""

    def call(*words: str, **env: str) -> Result:
        with monkeypatch.context() as changed:
            for name, value in env.items():
                changed.setenv(name, value)
            capsys.readouterr()
            code = run(["health", "--json", *words])
        return Result(code, *capsys.readouterr())

    return call


def is_ill(said: Result, name: str) -> None:
    assert said.code == 1
    document = json.loads(said.stdout)
    assert document["ok"] is False
    assert name in [row["name"] for row in document["checks"] if row["level"] == "FAIL"]
    assert json.loads(said.stderr)["error"]["exit"] == 1


def test_health_is_one_where_something_is_wrong(
    ledger: Path, health: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_ill(health("--db", "none.db"), "ledger")
    is_ill(health(MODE="papr"), "settings")
    assert run(["cycle", "-q"]) == 0
    assert health().code == 0
    with monkeypatch.context() as later:
        later.setattr("trader_cli.commands.doctor.wall_now", lambda: wall_now() + 3 * 3_600_000)
        is_ill(health(), "decisions")
        assert health("--max-age", "4h").code == 0
    damage(ledger)
    is_ill(health(), "ledger")


def test_a_loop_that_is_stopped_on_purpose_is_well(ledger: Path, health: Callable[..., Result]) -> None:
    assert run(["stop", "-q"]) == run(["cycle", "-q"]) == 0
    assert health().code == 0


def test_an_age_that_is_none_is_a_wrong_use(health: Callable[..., Result]) -> None:
    assert health("--max-age", "soon").code == 2


def test_health_loads_no_vendor_and_opens_no_socket(ledger: Path, clean_env: dict[str, str]) -> None:
    code = (
        "import sys; from trader_cli.main import run; run(['health', '-q']); "
        "print([name for name in ('ccxt', 'openai', 'httpx2', 'requests') if name in sys.modules])"
    )
    env = {**clean_env, "DB_PATH": str(ledger)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
