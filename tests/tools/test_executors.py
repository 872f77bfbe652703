"""Where runs are carried out: each call is answered once, whatever becomes of a worker; nothing outlives the sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trader_cli.core.errors import UsageError
from trader_cli.tools.executors import cluster_address, results


def squared(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number * number


def fragile(number: int, folder: str) -> int:
    """Kills its worker: 1 the first time it is called, 7 every time."""
    seen = Path(folder) / str(number)
    first = not seen.exists()
    seen.write_text("seen", encoding="utf-8")
    if number == 7 or (number == 1 and first):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(folder: str, number: int) -> None:
    (Path(folder) / f"{number}-{os.getpid()}").write_text("begun", encoding="utf-8")
    time.sleep(600)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_is_answered_with_what_it_returned_or_raised(jobs: int) -> None:
    found = dict(results(squared, [(3,), (-1,), (4,)], jobs))
    assert (found[0], found[2]) == (9, 16)
    assert str(found[1]) == "-1 is negative"


def test_a_worker_that_dies_takes_no_other_call_with_it(tmp_path: Path) -> None:
    found = dict(results(fragile, [(number, str(tmp_path)) for number in (0, 2, 7, 3, 4)], 2))
    assert {place: came for place, came in found.items() if place != 2} == {0: 0, 1: 2, 3: 3, 4: 4}
    assert isinstance(found[2], Exception)


def test_a_worker_that_died_once_is_given_another_chance(tmp_path: Path) -> None:
    found = dict(results(fragile, [(number, str(tmp_path)) for number in range(4)], 2))
    assert found == {0: 0, 1: 1, 2: 2, 3: 3}


def sweeping(folder: Path) -> subprocess.Popen[bytes]:
    """A process that has two workers busy."""
    code = (
        "import sys; from tests.tools.test_executors import slow; from trader_cli.tools.executors import results\n"
        "if __name__ == '__main__': list(results(slow, [(sys.argv[1], n) for n in range(4)], 2))\n"
    )
    root = Path(__file__).parents[2]
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    (folder / "out").mkdir()
    child = subprocess.Popen(
        [sys.executable, str(script), str(folder / "out")], env=environment, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(list((folder / "out").iterdir())) == 2)
    return child


def wait_for(come: object) -> None:
    deadline = time.monotonic() + 60
    while not come():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_sweep(tmp_path: Path, word: signal.Signals) -> None:
    child = sweeping(tmp_path)
    workers = [int(one.name.partition("-")[2]) for one in (tmp_path / "out").iterdir()]
    assert all(map(alive, workers))
    child.send_signal(word)
    assert child.wait(20) != 0
    wait_for(lambda: not any(map(alive, workers)))
    assert len(list((tmp_path / "out").iterdir())) == 2, "what was waiting was never begun"


@pytest.mark.parametrize("words", ["dask://", "dask://no host", "tcp://a:1", "dask://a:b", "dask://a"])
def test_a_clusters_address_needs_host_and_port(words: str) -> None:
    with pytest.raises(UsageError, match="needs dask://HOST:PORT"):
        cluster_address(words)


def test_a_clusters_address_is_what_follows_the_scheme() -> None:
    assert cluster_address("dask://127.0.0.1:8786") == "127.0.0.1:8786"
    assert cluster_address("dask://[::1]:8786") == "[::1]:8786"
