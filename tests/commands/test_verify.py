"""`ledger verify`: what it says of a sound and of an altered ledger, and what it shows while it works."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ledgers import tampering
from tests.test_hostile import Say, say
from trader_cli.commands.verify import Waiting
from trader_cli.phases.audit import CHECKS, NOT_CHECKED
from trader_cli.views.output import Output

__all__ = ["say"]


def test_a_sound_ledger_passes_every_check_and_is_told_what_was_not_checked(ledger: Path, say: Say) -> None:
    said = say("ledger", "verify")
    assert said.code == 0
    assert [line.split()[0] for line in said.stdout.splitlines()[: len(CHECKS)]] == ["ok"] * len(CHECKS)
    assert all(words in said.stdout for words in NOT_CHECKED)
    document = json.loads(say("ledger", "verify", "--json").stdout)
    assert (document["ok"], document["not_checked"]) == (True, list(NOT_CHECKED))


def test_a_row_that_was_changed_is_named_and_the_exit_code_says_so(ledger: Path, say: Say) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE portfolio SET equity_usdt = '1' WHERE id = 3")
    said = say("ledger", "verify")
    assert said.code == 9
    assert "portfolio 3 was changed" in said.stdout
    assert "snapshot 3: equity_usdt is 1, the fills make it " in said.stdout
    document = say("ledger", "verify", "--json")
    assert (document.code, json.loads(document.stdout)["ok"]) == (9, False)


class Screen(Output):
    """Keeps what would pass over the last line of a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []

    def passing(self, text: str) -> None:
        self.passed.append(text)


def test_a_second_passes_in_silence_and_then_the_check_at_work_is_named_at_once() -> None:
    times = iter([0.0, 0.5, 1.5, 1.55, 1.6, 1.9])
    screen = Screen()
    waiting = Waiting(screen, lambda: next(times))
    for done, name in ((0, "a"), (1, "b"), (1, "b"), (2, "c"), (2, "c")):
        waiting(done, 3, name)
    assert [line.rpartition(": ")[2] for line in screen.passed] == ["b", "c", "c"]
    assert screen.passed[0].startswith("[#..] 1 of 3 checks")
