"""trader ledger backup, restore: a checked copy of the ledger while it is in use, and one put back in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.busy import Busy
from trader_cli.commands.options import Globals, command
from trader_cli.commands.verify import Waiting
from trader_cli.core.errors import DiffersError, NotFoundError
from trader_cli.phases.audit import verify as audit
from trader_cli.tools.backups import back_up
from trader_cli.tools.restoring import Restored
from trader_cli.tools.restoring import restore as put_back
from trader_cli.tools.store import exists
from trader_cli.wiring import ledger_path, open_reader

Place = Annotated[
    Path | None,
    typer.Argument(metavar="[DEST]", help="A folder, or a file that ends in .db; unsaid: backups beside the ledger."),
]
Keep = Annotated[int | None, typer.Option("--keep", metavar="N", min=1, help="Then remove all but the N newest there.")]
Source = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
Force = Annotated[bool, typer.Option("--force", metavar="", help="Also in the place of another ledger.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Check it and say what would be done.")]


@command
def backup(g: Globals, place: Place = None, keep: Keep = None) -> None:
    """Copy the ledger, also while a loop writes it; the copy is checked, and whole or not there.

    Example: trader ledger backup --keep 48 -q
    """
    g.out.passing("Copying the ledger, and checking every link of the copy…")
    made = back_up(ledger_path(g.settings()), place, keep)
    document = {
        "schema": "trader.backup/1",
        "backup": str(made.path),
        "bytes": made.size,
        "links": made.links,
        "head": made.head,
        "removed": [str(old) for old in made.removed],
    }
    lines = [f"{made.path}  {made.size:,} bytes, {made.links:,} links, head {made.head[:12]}"]
    if made.removed:
        lines.append(f"removed {len(made.removed)} older, the oldest {made.removed[0].name}")
    g.out.record(document, lines)


@command
def restore(g: Globals, source: Source, force: Force = False, dry_run: DryRun = False) -> None:
    """Put a backup in the ledger's place, after every check of it. What was there is kept under another name.

    Refused while a loop or another writer runs. Orders that were placed after the backup are found by the next
    `trader recover`, before anything is decided, and adopted.

    Example: trader ledger restore data/backups/agent-20261126T120000Z.db
    """
    settings = g.settings()
    if not exists(source):
        raise NotFoundError(f'no backup at "{source}"', "Look beside the ledger: trader ledger path")
    with open_reader(settings.model_copy(update={"db_path": source})) as ledger:
        bad = [check for check in audit(ledger, Waiting(g.out)) if not check.ok]
    if bad:
        raise DiffersError(
            f'"{source}" fails {len(bad)} checks, first: {bad[0].name}: {next(iter(bad[0].problems), "")}',
            f"Take another. Look: trader ledger verify --db {source}",
        )
    with Busy(g.out, "putting it in place"):
        done = put_back(source, ledger_path(settings), force, dry_run)
    g.out.record(_document(done, source, dry_run), _lines(done, source, dry_run))


def _document(done: Restored, source: Path, dry_run: bool) -> dict[str, object]:
    return {
        "schema": "trader.restore/1",
        "ledger": str(done.ledger),
        "from": str(source),
        "dry_run": dry_run,
        "links": done.links,
        "head": done.head,
        "lost_links": done.lost,
        "kept": None if done.kept is None else str(done.kept),
    }


def _lines(done: Restored, source: Path, dry_run: bool) -> list[str]:
    would = "would be" if dry_run else "is"
    lost = "nobody can tell what it had beyond that" if done.lost is None else f"{done.lost:,} links are not in it"
    lines = [f"{done.ledger} {would} as in {source}: {done.links:,} links, head {done.head[:12]}; {lost}"]
    if done.kept is not None:
        lines.append(f"what was there {would} kept as {done.kept}")
    return [*lines, *([] if dry_run else ["Next: trader recover"])]
