"""The dashboard in a real browser: drawn, kept up to date, honest when it cannot be, and nothing from elsewhere."""

from __future__ import annotations

import base64
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_schemas import PINNED
from tests.ledgers import ledger_at
from tests.web.browser import CHROMIUM, Page, page
from tests.web.conftest import ENV, Served, served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")


def trade(folder: Path, cycles: int, *words: str) -> None:
    """Let a ledger in a folder grow, by whoever trades beside the server."""
    command = [sys.executable, "-m", "trader_cli.main", "--db", "a.db", "-q", *(words or ("loop", "--speed", "fast"))]
    more = () if words else ("--cycles", str(cycles))
    subprocess.run([*command, *more], cwd=folder, env={**ENV, **PINNED}, check=True, capture_output=True)


def chart_says(at: Page) -> str:
    return at.text("#chart output")


# ---------------------------------------------------------------- drawn


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_its_screen_loads_nothing_from_elsewhere_and_is_drawn(
    width: int, dark: bool, site: Served, tmp_path: Path
) -> None:
    with page(tmp_path, width, 900, dark) as at:
        at.go(site.url + "/")
        assert at.run("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
        assert at.run("document.querySelectorAll('figure svg').length") == 2, "one for each width of screen"
        shown = at.run(
            "[...document.querySelectorAll('figure svg')].filter((one) => one.getBoundingClientRect().width).length"
        )
        assert shown == 1
        octets = base64.b64decode(at.call("Page.captureScreenshot")["data"])
        assert struct.unpack(">II", octets[16:24])[0] == width
        assert len(octets) > 20_000, "there is something on it"
        assert at.asked != []
        assert [one for one in at.asked if not one.startswith((site.url, "data:"))] == []


def test_one_click_leads_from_a_cycle_to_its_reasons_and_prompts(site: Served, tmp_path: Path) -> None:
    with page(tmp_path) as at:
        at.go(site.url + "/")
        name = at.text("#cycles tbody a")
        at.run("document.querySelector('#cycles tbody a').click()")
        at.until(f"document.querySelector('h1')?.textContent === 'cycle {name}'")
        assert "law" in at.text("#why pre")
        at.run("document.querySelector('details[id^=call] summary').click()")
        assert at.run("document.querySelector('details[id^=call]').open") is True


def test_the_chart_is_read_with_keys_and_the_place_is_kept_when_it_is_drawn_anew(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db")
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        last = chart_says(at)
        at.run("document.querySelector('#chart').focus()")
        at.key("ArrowLeft")
        before = chart_says(at)
        assert before != last
        at.key("Home")
        first = chart_says(at)
        assert first < before < last, "times in order"
        at.run("document.querySelector('#values').open = true")
        trade(tmp_path, 2)
        at.look()
        assert chart_says(at) == first
        assert at.run("document.activeElement.id") == "chart"
        assert at.run("document.querySelector('#values').open") is True
        at.key("End")
        assert chart_says(at) > last


# ---------------------------------------------------------------- followed


def test_a_page_from_before_there_was_a_ledger_becomes_whole_and_empty_again(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        assert "no ledger at" in at.text("#state")
        trade(tmp_path, 3)
        at.until("look().then(() => document.querySelector('#chart[data-points]') !== null)")
        assert at.ids() == ["top", "state", "money", "chart", "cycles", "rest", "failures"]
        assert at.text("#state .state") in ("RUNNING", "STALE")
        assert "RUNNING" in at.run("document.title")
        for file in tmp_path.glob("a.db*"):
            file.unlink()
        at.look()
        assert at.ids() == ["top", "state"]


def test_what_is_equal_stays_the_same_and_what_changed_is_replaced(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 6)
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        at.run("window.kept = [...document.querySelector('main').children]; document.querySelector('#older').focus()")
        at.look()
        changed = at.run("kept.filter((one) => !one.isConnected).map((one) => one.id)")
        assert set(changed) <= {"state", "rest"}, "the ages on them"
        trade(tmp_path, 1)
        at.look()
        assert at.run("kept.find((one) => one.id === 'cycles').isConnected") is False
        assert at.run("document.activeElement.id") == "older", "where somebody was, they are"


def test_a_trace_that_moved_on_takes_its_prompts_along(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 4)
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/traces/last")
        before = at.ids()
        trade(tmp_path, 1)
        at.look()
        after = at.ids()
        assert {one for one in before if one.startswith("call-")}.isdisjoint(after)
        assert site.ask("/traces/last").text.count('id="call-') == sum(one.startswith("call-") for one in after)


def test_marked_words_stay_but_never_an_old_state(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 4)
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        mark = "getSelection().selectAllChildren(document.querySelector('%s'))"
        at.run(mark % "#cycles")
        at.run("window.kept = document.querySelector('#cycles')")
        trade(tmp_path, 0, "stop", "--reason", "lunch")
        trade(tmp_path, 0, "cycle")
        at.look()
        assert at.run("kept.isConnected") is True
        assert at.text("#state .state") == "STOPPED"
        assert "lunch" in at.text("#news"), "who hears the page is told"
        at.run("getSelection().removeAllRanges()")
        at.look()
        assert at.run("kept.isConnected") is False
        trade(tmp_path, 0, "resume", "--reason", "back")
        at.run(mark % "#state")
        at.look()
        assert at.text("#state .state") != "STOPPED"


@pytest.mark.parametrize("trouble", ["damaged", "gone", "hanging"])
def test_a_page_that_is_old_says_so_at_once_and_recovers(trouble: str, tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db", 4)
    whole = path.read_bytes()
    with served(tmp_path, "--db", "a.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        assert at.text("#lost") == ""
        if trouble == "damaged":
            path.write_bytes(b"no ledger, no ledger, no ledger" * 99)
        elif trouble == "hanging":
            os.kill(site.process.pid, signal.SIGSTOP)
        else:
            at.call(
                "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
            )
        try:
            at.look()
            words, looks = at.text("#lost"), at.run("document.body.className")
        finally:
            os.kill(site.process.pid, signal.SIGCONT)
        assert "This page is as it was at" in words
        assert ("the server answers 503" if trouble == "damaged" else "does not answer") in words
        assert looks == "lost"
        path.write_bytes(whole)
        at.call(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        at.until("look().then(() => document.body.className === '')")
        assert at.text("#lost") == ""


def test_hostile_words_are_words(tmp_path: Path) -> None:
    ledger_at(tmp_path / "<img src=x onerror=alert(1)>.db", 2)
    with served(tmp_path, "--db", "<img src=x onerror=alert(1)>.db", **PINNED) as site, page(tmp_path) as at:
        at.go(site.url + "/")
        assert "<img src=x" in at.text("#state")
        assert at.run("document.querySelectorAll('img').length") == 0
