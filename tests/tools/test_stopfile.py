"""The STOP file: it stops by being there, whatever is in it and however it came there."""

from __future__ import annotations

from pathlib import Path

import pytest

from trader_cli.core.errors import LedgerError
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.stopfile import StopFile
from trader_cli.wiring import OperatorStop


@pytest.fixture
def file(tmp_path: Path) -> StopFile:
    """The STOP file of a ledger that need not exist."""
    return StopFile(tmp_path / "agent.db")


def test_without_the_file_nothing_is_stopped(file: StopFile) -> None:
    assert file.reason() is None


def test_it_lies_beside_the_ledger(tmp_path: Path) -> None:
    assert StopFile(tmp_path / "data" / "agent.db").path == tmp_path / "data" / "STOP"


@pytest.mark.parametrize("reason", ["lunch", "Grüße \N{ROCKET}", "two\nlines", "[/] \x1b[2J"])
def test_a_reason_is_kept(file: StopFile, reason: str) -> None:
    file.write(reason)
    assert file.reason() == reason


def test_touch_does_the_same(file: StopFile) -> None:
    file.path.touch()
    assert file.reason() == "STOP file present"


@pytest.mark.parametrize("content", [b"", b" \n\t ", b"\xff\xfe\x00", b"a\0b", b"\xed\xa0\x80", b"x" * 100_000])
def test_whatever_is_in_the_file_it_stops_with_a_reason_that_can_be_written_down(
    file: StopFile, content: bytes
) -> None:
    file.path.write_bytes(content)
    reason = file.reason()
    assert reason
    assert len(reason) <= 200
    reason.encode("utf-8")


def test_what_cannot_be_read_stops_too(file: StopFile) -> None:
    file.path.mkdir()
    assert file.reason() == "STOP file present (Is a directory)"


def test_a_link_to_nowhere_stops_too(file: StopFile, tmp_path: Path) -> None:
    file.path.symlink_to(tmp_path / "nowhere")
    assert file.reason() == "STOP file present (a link that leads nowhere)"
    file.remove()
    assert file.reason() is None


def test_it_is_for_its_owner_only_and_leaves_nothing_else_behind(file: StopFile, tmp_path: Path) -> None:
    file.write("lunch")
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["STOP"]


def test_a_new_reason_replaces_the_old_one_whole(file: StopFile) -> None:
    file.write("a long reason that was there before")
    file.write("fire")
    assert file.path.read_text(encoding="utf-8") == "fire\n"


def test_the_ledgers_folder_is_made_if_need_be(tmp_path: Path) -> None:
    file = StopFile(tmp_path / "deep" / "data" / "agent.db")
    file.write("before the first cycle")
    assert file.reason() == "before the first cycle"


def test_a_lone_surrogate_in_a_reason_is_written_as_an_escape(file: StopFile) -> None:
    file.write("\ud800")
    assert file.reason() == "\\ud800"


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(LedgerError, match="cannot write") as found:
        StopFile(tmp_path / "data" / "agent.db").write("fire")
    assert found.value.hint == "Make that file by hand: it stops trading."


def test_it_can_be_taken_away_once_and_again(file: StopFile) -> None:
    file.write("lunch")
    file.remove()
    file.remove()
    assert file.reason() is None


def test_what_cannot_be_taken_away_goes_on_stopping_and_is_an_error(file: StopFile) -> None:
    file.path.mkdir()
    with pytest.raises(LedgerError, match="cannot remove"):
        file.remove()
    assert file.reason()


# With the setting.


@pytest.mark.parametrize(
    ("setting", "written", "state", "cause"),
    [
        (TradingState.RUN, None, TradingState.RUN, None),
        (TradingState.REDUCE, None, TradingState.REDUCE, "TRADING=reduce"),
        (TradingState.HALT, None, TradingState.HALT, "TRADING=halt"),
        (TradingState.RUN, "fire", TradingState.HALT, "fire"),
        (TradingState.REDUCE, "fire", TradingState.HALT, "fire"),
    ],
)
def test_the_file_and_the_setting_together_say_the_stricter(
    file: StopFile, setting: TradingState, written: str | None, state: TradingState, cause: str | None
) -> None:
    sign = OperatorStop(file, setting)
    if written is not None:
        file.write(written)
    assert sign.state() == (state, cause)


def test_the_sign_is_read_anew_at_each_look(file: StopFile) -> None:
    sign = OperatorStop(file, TradingState.RUN)
    seen = [sign.state()[0]]
    file.path.touch()
    seen.append(sign.state()[0])
    file.remove()
    seen.append(sign.state()[0])
    assert seen == [TradingState.RUN, TradingState.HALT, TradingState.RUN]
