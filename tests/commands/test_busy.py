"""What is said while a command waits."""

from __future__ import annotations

import threading

import pytest

from trader_cli.commands import busy
from trader_cli.commands.busy import Busy
from trader_cli.views.output import Output


class Watched(Output):
    """A terminal that somebody looks at; `passed` is each line that passed there."""

    is_watched = True

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self.more = threading.Condition()

    def passing(self, text: str) -> None:
        with self.more:
            self.passed.append(text)
            self.more.notify_all()

    def wait_for(self, words: str) -> None:
        """Wait until that passes."""
        with self.more:
            assert self.more.wait_for(lambda: any(words in line for line in self.passed), 20), self.passed


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "EVERY_SECS", 0.01)


def test_it_says_whom_a_command_waits_for_and_leaves_nothing() -> None:
    out = Watched()
    with Busy(out, "the step is at work") as at:
        out.wait_for("the step is at work: 0 s")
        with at.thinks("the planner (x) thinks"):
            out.wait_for("the planner (x) thinks: 0 s")
        before = len(out.passed)
        out.more.acquire()
        out.more.wait_for(lambda: len(out.passed) > before + 2, 20)
        out.more.release()
        assert out.passed[-1] == "the step is at work: 0 s"
    assert out.passed[-1] == ""
    assert "busy" not in {thread.name for thread in threading.enumerate()}


def test_also_where_what_it_waits_for_fails() -> None:
    out = Watched()
    with pytest.raises(ZeroDivisionError), Busy(out, "x") as at, at.thinks("y"):
        raise ZeroDivisionError
    assert out.passed[-1] == ""
    assert at.text().startswith("x: ")


def test_where_nobody_looks_there_is_no_thread() -> None:
    with Busy(Output(quiet=True), "x"):
        assert "busy" not in {thread.name for thread in threading.enumerate()}
