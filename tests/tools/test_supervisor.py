"""A service manager is told what sd_notify(3) says, on a real socket; without one nothing happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trader_cli.tools.supervisor import Supervisor


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A manager's socket; its path is short enough for a socket's address."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("notify")
        heard.settimeout(20)
        yield heard


def words(heard: socket.socket) -> list[str]:
    return heard.recv(4096).decode("utf-8").split("\n")


def test_what_is_told_is_a_line_each(listening: socket.socket) -> None:
    manager = Supervisor({"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "180000000"})
    assert manager.beat_secs == 90
    manager.ready("paper\nFDSTORE=1")
    assert words(listening) == ["READY=1", "STATUS=paper FDSTORE=1"]
    manager.working("12:00 HOLD")
    assert words(listening) == ["WATCHDOG=1", "STATUS=12:00 HOLD"]
    manager.beat()
    assert words(listening) == ["WATCHDOG=1"]
    manager.stopping()
    assert words(listening) == ["STOPPING=1"]


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux'")
def test_an_abstract_address_is_one_too() -> None:
    name = f"trader-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + name)
        heard.settimeout(5)
        Supervisor({"NOTIFY_SOCKET": "@" + name}).beat()
        assert words(heard) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nobody/there"},
        {"NOTIFY_SOCKET": "x" * 300},
        {"WATCHDOG_USEC": "5"},
    ],
)
def test_where_nobody_listens_nothing_happens(environ: dict[str, str]) -> None:
    manager = Supervisor(environ)
    manager.ready("x")
    manager.stopping()


@pytest.mark.parametrize(
    ("more", "secs"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_come_twice_as_often_as_they_must(more: dict[str, str], secs: float | None) -> None:
    assert Supervisor({"NOTIFY_SOCKET": "/nobody", **more}).beat_secs == secs


def test_a_loop_is_ready_lives_through_its_sleep_and_says_that_it_ends(
    listening: socket.socket, clean_env: dict[str, str], tmp_path: Path
) -> None:
    env = {**clean_env, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    child = subprocess.Popen([sys.executable, "-m", "trader_cli.main", "loop", "-q"], env=env, cwd=tmp_path)
    try:
        assert words(listening)[0] == "READY=1"
        assert words(listening)[0] == "WATCHDOG=1", "after the first cycle"
        began = time.monotonic()
        assert [words(listening) for _ in range(4)] == [["WATCHDOG=1"]] * 4
        assert time.monotonic() - began > 0.4, "they are spread over the sleep"
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    last = [words(listening) for _ in range(1)]
    while last[-1] != ["STOPPING=1"]:
        last.append(words(listening))
