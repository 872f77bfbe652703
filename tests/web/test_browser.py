"""The dashboard in a real browser: it draws, its script runs under its policy, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.commands.test_schemas import PINNED
from tests.ledgers import ledger_at
from tests.web.conftest import Served, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")


def browse(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Chromium without a screen, with a profile of its own, and without a network but loopback."""
    command = [
        CHROMIUM or "",
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr", "--v=0"),
        *(f"--user-data-dir={home / 'profile'}", "--virtual-time-budget=3000", *words),
    ]
    return subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=100,
        check=False,
    )


def seen(site: Served, path: str, home: Path) -> str:
    """A page after its script has run; the browser complained of nothing."""
    done = browse(home, "--dump-dom", site.url + path)
    assert done.returncode == 0, done.stderr[-2000:]
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


def test_the_first_page_is_drawn_and_its_chart_can_be_read(site: Served, tmp_path: Path) -> None:
    page = seen(site, "/", tmp_path)
    assert 'data-ready="yes"' in page, "the script did not run"
    assert page.count("<svg") == 2, "one for each width of screen"
    assert "RUNNING" in page or "STALE" in page


def test_from_a_cycle_on_the_first_page_one_comes_to_its_reasons(site: Served, tmp_path: Path) -> None:
    link = re.search(r'href="(/traces/[0-9a-f]{32})"', seen(site, "/", tmp_path))
    assert link is not None
    page = seen(site, link[1], tmp_path)
    assert link[1].rpartition("/")[2] in page
    assert "<pre" in page


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_it_fits_a_screen_in_light_and_dark(size: tuple[int, int], scheme: int, site: Served, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    words = (
        f"--window-size={size[0]},{size[1]}",
        f"--blink-settings=preferredColorScheme={scheme}",
        "--hide-scrollbars",
    )
    done = browse(tmp_path, *words, f"--screenshot={picture}", site.url + "/")
    assert done.returncode == 0, done.stderr[-2000:]
    octets = picture.read_bytes()
    assert struct.unpack(">II", octets[16:24])[0] >= size[0]
    assert len(octets) > 20_000, "there is something on it"


def test_before_there_is_a_ledger_and_with_hostile_words_it_holds(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "none.db") as site:
        assert "no ledger at" in seen(site, "/", tmp_path)
    ledger_at(tmp_path / "a.db")
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        assert 'data-ready="yes"' in seen(site, "/", tmp_path)
