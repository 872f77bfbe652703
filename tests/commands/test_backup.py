"""ledger backup, restore, anchor: a copy of a ledger in use is whole or not there; what was there is never lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ledgers import failures, grow, ledger_at, plain, reading, rows, sha256, tampering, writing
from tests.test_hostile import Say, say
from trader_cli.core.errors import LedgerError
from trader_cli.tools.backups import back_up, backups_of, unsound
from trader_cli.tools.copies import unfinished
from trader_cli.tools.lock import FileLock
from trader_cli.tools.restoring import restore
from trader_cli.tools.store import lock_path, loop_lock_path

__all__ = ["say"]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir(mode=0o700)
    return ledger_at(tmp_path / "data" / "agent.db")


def damage(path: Path) -> None:
    """Overwrite the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 6_000)


# ---------------------------------------------------------------- backup


def test_a_backup_is_the_ledger_for_its_owner_only_and_stands_beside_it(ledger: Path, say: Say) -> None:
    before = sha256(ledger)
    said = say("ledger", "backup", "--json", "--db", str(ledger))
    document = json.loads(said.stdout)
    copy = Path(document["backup"])
    assert copy.parent == ledger.parent / "backups"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert document["bytes"] == copy.stat().st_size
    with reading(ledger) as was:
        assert (document["head"], document["links"]) == (was.head, was.next_link - 1)
    assert failures(copy) == {}
    assert sha256(ledger) == before
    assert say("report", str(copy)).code == 0


def test_a_backup_holds_what_is_still_in_the_log(ledger: Path) -> None:
    with writing(ledger) as held, held.transaction() as tx:
        held.log_event(tx, "NOTICE", {"reason": "just now"}, 0)
        made = None
    with plain(ledger) as reader:  # somebody reads: the log stays
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        made = back_up(ledger)
    assert rows(made.path, "SELECT data_json FROM events WHERE kind = 'NOTICE'") == [('{"reason":"just now"}',)]


def test_of_a_folder_the_newest_backups_of_this_ledger_are_kept_and_nothing_else_is_touched(ledger: Path) -> None:
    folder = ledger.parent / "kept"
    folder.mkdir()
    old, older = "agent-20210101T000000.000Z.db", "agent-20200101T000000.999Z.db"
    others = ["agent.db", "agent-20200101.db", "other-20200101T000000.000Z.db", "notes"]
    others += ["agent-20190101T000000.000Z.db", "agent-20990101T000000.000Z.db"]  # no ledgers
    for name in others:
        (folder / name).write_text("old", encoding="utf-8")
    for name in (old, older):
        shutil.copy(ledger, folder / name)
    stranger = folder / "agent-20180101T000000.000Z.db"  # another ledger's of the same name
    grow(stranger, 1)
    others += [stranger.name, ".agent.pruning.lock", *(f"{stranger.name}{end}" for end in ("-shm", "-wal", ".lock"))]
    made = [back_up(ledger, folder, keep=2) for _ in range(3)]
    assert [[gone.name for gone in one.removed] for one in made] == [[older], [old], [made[0].path.name]]
    left = {one.name for one in folder.iterdir()}
    assert {made[1].path.name, made[2].path.name} <= left <= {*others, made[1].path.name, made[2].path.name}
    assert set(others) - left <= {f"{stranger.name}-shm", f"{stranger.name}-wal"}


def test_the_backup_just_made_is_never_pruned(ledger: Path) -> None:
    folder = ledger.parent / "backups"
    first = back_up(ledger)
    ahead = first.path.rename(folder / "agent-20990101T000000.000Z.db")  # of a time when the clock was wrong
    made = back_up(ledger, keep=1)
    assert (made.path.exists(), made.removed, ahead.exists()) == (True, (ahead,), False)


def test_backups_made_at_once_all_succeed_and_at_most_so_many_more_stay(
    ledger: Path, clean_env: dict[str, str]
) -> None:
    words = [sys.executable, "-m", "trader_cli.main", "ledger", "backup", "--keep", "1", "-q", "--db", str(ledger)]
    running = [subprocess.Popen(words, env=clean_env) for _ in range(5)]
    assert [one.wait(60) for one in running] == [0] * 5
    assert 1 <= len(backups_of(ledger, ledger.parent / "backups")) <= 5
    assert back_up(ledger, keep=1).path.exists()
    assert len(backups_of(ledger, ledger.parent / "backups")) == 1


def test_an_old_row_that_was_changed_keeps_a_copy_from_counting_and_the_good_ones_stay(ledger: Path, say: Say) -> None:
    made = back_up(ledger)
    with tampering(ledger) as db:
        db.execute("UPDATE portfolio SET equity_usdt = '7' WHERE id = 2")
    said = say("ledger", "backup", "--keep", "1", "--db", str(ledger))
    assert said.code == 6
    assert "is not sound: portfolio 2 was changed" in said.stderr
    assert made.path.exists()


def test_a_disk_without_links_takes_backups_too(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: object, **more: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    made = back_up(ledger)
    assert failures(made.path) == {}
    assert [one.name for one in made.path.parent.iterdir()] == [made.path.name]


def test_a_name_that_is_taken_is_not_overwritten(ledger: Path, say: Say, tmp_path: Path) -> None:
    (tmp_path / "b.db").write_text("mine", encoding="utf-8")
    assert say("ledger", "backup", "b.db", "--db", str(ledger)).code == 2
    assert (tmp_path / "b.db").read_text(encoding="utf-8") == "mine"
    assert say("ledger", "backup", "c.db", "--keep", "3", "--db", str(ledger)).code == 2
    assert say("ledger", "backup", "c.db", "--db", str(ledger), "-q").code == 0
    assert failures(tmp_path / "c.db") == {}


def test_without_a_ledger_nothing_is_made(say: Say, tmp_path: Path) -> None:
    assert say("ledger", "backup").code == 8
    assert list(tmp_path.glob("data/*")) == []


def test_a_copy_that_does_not_pass_its_check_is_not_there(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trader_cli.tools.backups.unsound", lambda path: "planted")
    with pytest.raises(LedgerError, match="is not sound: planted"):
        back_up(ledger)
    assert list((ledger.parent / "backups").iterdir()) == []


def test_a_damaged_or_altered_ledger_is_no_sound_copy(ledger: Path) -> None:
    assert unsound(ledger) is None
    with tampering(ledger) as db:
        db.execute("UPDATE decisions SET cause = 'another' WHERE id = (SELECT max(id) FROM decisions)")
    assert "decisions" in (unsound(ledger) or "")
    damage(ledger)
    assert unsound(ledger) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file size limit")
def test_on_a_full_disk_there_is_no_backup_and_nothing_is_left(ledger: Path, clean_env: dict[str, str]) -> None:
    limit = f"ulimit -f 100; exec {sys.executable} -m trader_cli.main ledger backup --db {ledger}"
    done = subprocess.run(["bash", "-c", limit], env=clean_env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert not [one for one in (ledger.parent / "backups").iterdir() if one.suffix == ".db"]


def test_backups_taken_while_a_loop_writes_are_sound_every_time(tmp_path: Path, clean_env: dict[str, str]) -> None:
    path = tmp_path / "agent.db"
    command = [sys.executable, "-m", "trader_cli.main", "loop", "--speed", "fast", "-q", "--db", str(path)]
    child = subprocess.Popen(command, env=clean_env, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while not path.exists() or not rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'portfolio'"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        made = [back_up(path).links for _ in range(8)]
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert made == sorted(made)
    assert made[-1] > made[0], "the loop wrote meanwhile"
    copies = [copy for _, copy in backups_of(path, tmp_path / "backups")]
    assert len(copies) == 8
    assert all(failures(copy) == {} for copy in (copies[0], copies[-1]))


# ---------------------------------------------------------------- restore


def test_a_restored_ledger_is_the_backup_and_says_so_and_the_old_one_is_kept(ledger: Path, say: Say) -> None:
    made = back_up(ledger)
    grow(ledger, 3)
    with reading(ledger) as later:
        beyond, head = later.next_link - 1 - made.links, later.head
    said = say("ledger", "restore", str(made.path), "--json", "--db", str(ledger))
    document = json.loads(said.stdout)
    assert (document["links"], document["head"], document["lost_links"]) == (made.links, made.head, beyond)
    left = {one.name for one in ledger.parent.iterdir()} - {ledger.name, "backups", Path(document["kept"]).name}
    assert left <= {f"{ledger.name}{end}" for end in ("-wal", "-shm", ".lock", ".loop.lock")}
    with reading(Path(document["kept"])) as kept:
        assert kept.head == head
    with reading(ledger) as now:
        assert now.next_link - 1 == made.links + 1
        event = now.last_event("RESTORED")
        assert event is not None
        assert event[1] == {
            "from": made.path.name, "head": made.head, "links": str(made.links), "lost_links": str(beyond),
        }  # fmt: skip
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert failures(ledger) == {}
    assert grow(ledger, 2)
    assert failures(ledger) == {}


def test_a_rehearsed_restore_changes_nothing(ledger: Path, say: Say) -> None:
    made = back_up(ledger)
    grow(ledger, 1)
    before = sha256(ledger)
    said = say("ledger", "restore", str(made.path), "--dry-run", "--db", str(ledger))
    assert said.code == 0
    assert "would be" in said.stdout
    assert sha256(ledger) == before
    left = {one.name for one in ledger.parent.iterdir()} - {ledger.name, "backups"}
    assert left <= {f"{ledger.name}{end}" for end in ("-wal", "-shm", ".lock", ".loop.lock")}


@pytest.mark.parametrize("held", [lock_path, loop_lock_path])
def test_while_somebody_writes_nothing_is_restored(ledger: Path, say: Say, held: object) -> None:
    made = back_up(ledger)
    before = sha256(ledger)
    with FileLock(held(ledger), 0.0, "the ledger"):  # type: ignore[operator]
        assert say("ledger", "restore", str(made.path), "--db", str(ledger)).code == 7
    assert sha256(ledger) == before


def test_a_damaged_ledger_gives_way_and_is_kept_as_it_is(ledger: Path, say: Say) -> None:
    made = back_up(ledger)
    damage(ledger)
    broken = sha256(ledger)
    said = say("ledger", "restore", str(made.path), "--json", "--db", str(ledger))
    assert said.code == 0, said
    assert sha256(Path(json.loads(said.stdout)["kept"])) == broken
    assert failures(ledger) == {}


def test_a_backup_that_was_altered_or_is_none_is_refused(ledger: Path, say: Say, tmp_path: Path) -> None:
    made = back_up(ledger)
    before = sha256(ledger)
    with tampering(made.path) as db:
        db.execute("UPDATE portfolio SET equity_usdt = '5000' WHERE id = 3")
    said = say("ledger", "restore", str(made.path), "--db", str(ledger))
    assert said.code == 9
    assert "checks" in said.stderr
    (tmp_path / "junk").write_text("junk", encoding="utf-8")
    assert say("ledger", "restore", "junk", "--db", str(ledger)).code == 6
    said = say("ledger", "restore", "nothing", "--db", str(ledger))
    assert said.code == 8
    assert 'no backup at "nothing"' in said.stderr
    assert sha256(ledger) == before


def test_another_ledgers_backup_needs_force(ledger: Path, say: Say, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    assert say("cycle", "-q", "--db", str(other)).code == 0
    made = back_up(other)
    said = say("ledger", "restore", str(made.path), "--db", str(ledger))
    assert said.code == 2
    assert "another ledger" in said.stderr
    assert say("ledger", "restore", str(made.path), "--force", "-q", "--db", str(ledger)).code == 0


def test_where_nothing_is_a_backup_becomes_the_ledger(ledger: Path, say: Say, tmp_path: Path) -> None:
    made = back_up(ledger)
    fresh = tmp_path / "new" / "agent.db"
    document = json.loads(say("ledger", "restore", str(made.path), "--json", "--db", str(fresh)).stdout)
    assert (document["kept"], document["lost_links"]) == (None, 0)
    assert failures(fresh) == {}


def test_a_restore_that_fails_leaves_the_ledger_as_it_was(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = back_up(ledger)
    before = sha256(ledger)
    monkeypatch.setattr("trader_cli.tools.restoring.unsound", lambda path: "planted")
    with pytest.raises(LedgerError, match="planted"):
        restore(made.path, ledger)
    assert sha256(ledger) == before
    assert not [one for one in ledger.parent.iterdir() if "restored" in one.name or "before-restore" in one.name]
    assert not unfinished(ledger).exists()


def killed_loop(ledger: Path, clean_env: dict[str, str]) -> None:
    """A loop that left its newest rows in the log."""
    with plain(ledger) as reader:  # its log stays as long as somebody reads
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        grow(ledger, 3)
        assert ledger.with_name(f"{ledger.name}-wal").stat().st_size > 0
        kept = {end: ledger.with_name(ledger.name + end).read_bytes() for end in ("", "-wal")}
    for end, octets in kept.items():
        ledger.with_name(ledger.name + end).write_bytes(octets)


def test_a_log_without_its_ledger_never_meets_a_restored_one(ledger: Path, say: Say, clean_env: dict[str, str]) -> None:
    made = back_up(ledger)
    killed_loop(ledger, clean_env)
    log = ledger.with_name(f"{ledger.name}-wal").read_bytes()
    ledger.rename(ledger.with_name("agent.db.bad"))
    said = say("ledger", "restore", str(made.path), "--json", "--db", str(ledger))
    assert said.code == 0
    assert failures(ledger) == {}
    with reading(ledger) as now:
        assert now.next_link - 1 == made.links + 1
    kept = Path(json.loads(said.stdout)["kept"])
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == log


def test_while_somebody_reads_in_the_middle_nothing_is_restored(ledger: Path, say: Say) -> None:
    made = back_up(ledger)
    with plain(ledger) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        grow(ledger, 2)
        with reading(ledger) as was:
            links = was.next_link
        assert say("ledger", "restore", str(made.path), "--db", str(ledger)).code == 7
    with reading(ledger) as now:
        assert now.next_link == links
    assert failures(ledger) == {}
    assert not [one for one in ledger.parent.iterdir() if "before-restore" in one.name or "restored" in one.name]


@pytest.mark.parametrize("place", ["restore-kept", "restore-swap"])
def test_a_restore_that_is_killed_leaves_the_old_ledger_whole_and_can_be_done_again(
    place: str, ledger: Path, say: Say, clean_env: dict[str, str]
) -> None:
    made = back_up(ledger)
    grow(ledger, 3)
    with reading(ledger) as was:
        head = was.head
    words = [sys.executable, "-m", "trader_cli.main", "ledger", "restore", str(made.path), "--db", str(ledger)]
    done = subprocess.run(words, env={**clean_env, "TRADER_FAILPOINT": place}, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with reading(ledger) as now:
        assert now.head == head
    assert failures(ledger) == {}
    (kept,) = (one for one in ledger.parent.iterdir() if "before-restore" in one.name)
    assert kept.stat().st_ino != ledger.stat().st_ino
    grow(ledger, 1)
    assert failures(ledger) == {}
    assert say("ledger", "restore", str(made.path), "-q", "--db", str(ledger)).code == 0
    assert failures(ledger) == {}


def test_what_a_restore_leaves_out_is_counted_from_where_the_histories_part(ledger: Path, say: Say) -> None:
    old = back_up(ledger)
    grow(ledger, 5)
    newer = back_up(ledger)
    assert say("ledger", "restore", str(old.path), "-q", "--db", str(ledger)).code == 0
    grow(ledger, 1)
    with reading(ledger) as now:
        since = now.next_link - 1 - old.links
    said = say("ledger", "restore", str(newer.path), "--dry-run", "--json", "--db", str(ledger))
    assert json.loads(said.stdout)["lost_links"] == since > 0


# ---------------------------------------------------------------- anchor


def test_a_file_that_proves_nothing_or_is_something_else_is_refused(ledger: Path, say: Say, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty.jsonl", "pipe"):
        assert say("ledger", "verify", "--anchors", name, "--db", str(ledger)).code == 2
    before = sha256(ledger)
    for name in (str(ledger), "pipe", "empty.jsonl"):
        assert say("ledger", "anchor", "-o", name, "--db", str(ledger)).code == 2, name
    assert sha256(ledger) == before


def test_an_anchor_after_a_torn_line_stands_on_its_own(ledger: Path, say: Say, tmp_path: Path) -> None:
    assert say("ledger", "anchor", "-o", "a.jsonl", "-q", "--db", str(ledger)).code == 0
    torn = (tmp_path / "a.jsonl").read_text(encoding="ascii")
    (tmp_path / "a.jsonl").write_text(torn.rstrip("\n"), encoding="ascii")
    assert say("ledger", "anchor", "-o", "a.jsonl", "-q", "--db", str(ledger)).code == 0
    assert say("ledger", "verify", "--anchors", "a.jsonl", "-q", "--db", str(ledger)).code == 0
    assert len((tmp_path / "a.jsonl").read_text(encoding="ascii").splitlines()) == 2


def test_an_anchor_proves_that_nothing_before_it_was_changed_or_left_out(
    ledger: Path, say: Say, tmp_path: Path
) -> None:
    made = back_up(ledger)
    for _ in range(2):
        assert say("ledger", "anchor", "-o", "a.jsonl", "-q", "--db", str(ledger)).code == 0
        grow(ledger, 1)
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    words = ("ledger", "verify", "--anchors", "a.jsonl", "--json", "--db", str(ledger))
    checks = json.loads(say(*words).stdout)["checks"]
    assert checks[-1] == {"name": "anchors", "ok": True, "checked": 2, "problems": []}
    assert say("ledger", "restore", str(made.path), "-q", "--db", str(ledger)).code == 0
    said = say(*words)
    assert said.code == 9
    problems = json.loads(said.stdout)["checks"][-1]["problems"]
    assert len(problems) == 1, "the first was noted of the backup's own end"
    assert "the ledger" in problems[0]


@pytest.mark.parametrize("line", ["{}", "no json", '{"links": "1", "head": "a", "ledger_id": "b"}', "[" * 5000])
def test_a_file_of_something_else_is_no_file_of_anchors(ledger: Path, say: Say, tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n", encoding="utf-8")
    said = say("ledger", "verify", "--anchors", "a.jsonl", "--db", str(ledger))
    assert said.code == 2
    assert "line 1 is no anchor" in said.stderr


def test_an_anchor_of_another_ledger_is_told(ledger: Path, say: Say, tmp_path: Path) -> None:
    assert say("cycle", "-q", "--db", "other.db").code == 0
    assert say("ledger", "anchor", "-o", "a.jsonl", "-q", "--db", "other.db").code == 0
    said = say("ledger", "verify", "--anchors", "a.jsonl", "--json", "--db", str(ledger))
    assert "of another ledger" in json.loads(said.stdout)["checks"][-1]["problems"][0]
    (tmp_path / "a.jsonl").unlink()
    assert say("ledger", "verify", "--anchors", "a.jsonl", "--db", str(ledger)).code == 3
