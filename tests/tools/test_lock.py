"""The writer lock: one holder at a time, named by its process id, free as soon as its holder is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import ROOT
from trader_cli.core.errors import BusyError, ExitCode, LedgerError
from trader_cli.tools.lock import FileLock

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from trader_cli.tools.lock import FileLock\n"
    "with FileLock(Path(sys.argv[1]), 0.0, 'it'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.readline()\n"
)

Holder = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db.lock"


@pytest.fixture
def hold(path: Path, clean_env: dict[str, str]) -> Iterator[Holder]:
    """Start another process that holds the lock until it reads a line."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            env=clean_env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lock(path: Path, wait_secs: float = 0.0) -> FileLock:
    return FileLock(path, wait_secs, 'the ledger "agent.db"')


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


def test_a_lock_that_another_process_holds_is_busy_and_names_its_pid(path: Path, hold: Holder) -> None:
    holder = hold()
    for _ in range(2):
        with pytest.raises(
            BusyError, match=rf'the ledger "agent\.db" is in use by another process \(pid {holder.pid}\)'
        ):
            lock(path).__enter__()
    assert BusyError("").code == ExitCode.BUSY


def test_a_lock_is_free_as_soon_as_its_holder_was_killed_and_the_file_it_left_does_not_matter(
    path: Path, hold: Holder
) -> None:
    holder = hold()
    holder.kill()
    holder.wait()
    assert path.read_text() == f"{holder.pid}\n"
    with lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_who_asks_to_wait_gets_the_lock_when_it_is_let_go(path: Path, hold: Holder) -> None:
    holder = hold()
    with pytest.raises(BusyError):
        lock(path).__enter__()
    let_go(holder)
    with lock(path, wait_secs=60.0):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_wait_that_is_too_short_ends_busy(path: Path, hold: Holder) -> None:
    hold()
    with pytest.raises(BusyError):
        lock(path, wait_secs=0.05).__enter__()


def test_one_of_many_threads_holds_the_lock_at_a_time(path: Path) -> None:
    inside: list[int] = []
    most = []

    def work() -> None:
        for _ in range(5):
            with lock(path, wait_secs=60.0):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_a_lock_is_not_given_twice_within_one_process(path: Path) -> None:
    with lock(path), pytest.raises(BusyError, match=f"pid {os.getpid()}"):
        lock(path).__enter__()
    with lock(path):
        pass


def test_an_error_inside_frees_the_lock(path: Path) -> None:
    with pytest.raises(RuntimeError), lock(path):
        raise RuntimeError
    with lock(path):
        pass


def test_neither_success_nor_failure_keeps_the_file_open(path: Path) -> None:
    before = open_files()
    with lock(path), pytest.raises(BusyError):
        lock(path).__enter__()
    assert open_files() == before


def test_the_lock_file_is_for_its_owner_only(path: Path) -> None:
    previous = os.umask(0)
    try:
        with lock(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(previous)


def test_a_child_does_not_inherit_the_lock(path: Path) -> None:
    with lock(path):
        child = subprocess.Popen([sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with lock(path, wait_secs=60.0):  # the kernel may still be closing what the child was born with
        assert child.poll() is None
    child.communicate(b"\n")
    assert child.returncode == 0


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r'cannot write ".*nowhere/agent\.db\.lock": No such file') as refusal:
        lock(tmp_path / "nowhere" / "agent.db.lock").__enter__()
    assert "--db" in str(refusal.value.hint)
    assert not (tmp_path / "nowhere").exists()


def test_what_was_in_the_file_is_not_taken_for_a_process_id(path: Path) -> None:
    path.write_bytes(b"\xff\x1b[2J" * 40)
    with lock(path):
        assert path.read_text() == f"{os.getpid()}\n"
