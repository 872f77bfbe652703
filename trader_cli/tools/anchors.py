"""Anchors: heads of the audit chain that were noted elsewhere, against the ledger as it is now."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trader_cli.core.errors import UsageError
from trader_cli.tools.files import read_text
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems

MOST_CHARS = 100_000_000


def append(path: Path, line: str) -> None:
    """Add a line to a file, made for its owner only, and make it durable. Raises UsageError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, line.encode("ascii") + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f'--out: cannot write "{path}": {error.strerror}', "Name another file.") from error


def anchors_of(path: Path) -> list[dict[str, Any]]:
    """The anchors in a file, one JSON object a line. Raises UsageError for anything else, ConfigError for no file."""
    return [_anchor(path, number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]


def _lines(path: Path) -> list[str]:
    return read_text(path, "--anchors", MOST_CHARS).splitlines()


def _anchor(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if isinstance(found["links"], int) and isinstance(found["head"], str) and isinstance(found["ledger_id"], str):
            return dict(found)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise UsageError(f"{path}: line {number} is no anchor", "Lines are what trader ledger anchor -o writes.")


def compared(anchors: list[dict[str, Any]]) -> Any:
    """The check of a ledger against anchors, as `verification.CHECKS` has them."""

    def look(ledger: Ledger, count: Count) -> Problems:
        for one in anchors:
            count.seen += 1
            yield from _differences(ledger, one)

    return look


def _differences(ledger: Ledger, one: dict[str, Any]) -> Iterator[str]:
    said = f"anchor of {str(one.get('wall_at'))[:24]} at link {one['links']}"
    if one["ledger_id"] != ledger.ledger_id:
        yield f"{said} is of another ledger, {one['ledger_id'][:36]}"
        return
    row = ledger.db.execute("SELECT hash FROM audit_chain WHERE seq = ?", (one["links"],)).fetchone()
    if row is None:
        yield f"{said}: the ledger ends before it, at link {ledger.next_link - 1}"
    elif row[0] != one["head"]:
        yield f"{said} was {one['head'][:12]}, the ledger has {row[0][:12]}"
