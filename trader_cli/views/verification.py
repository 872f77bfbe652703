"""The result of a verification: a line per check, what is wrong below it, and what was not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trader_cli.schemas.check import Check


def verification_document(
    checks: Sequence[Check], not_checked: Sequence[str], head: str, content: str | None
) -> dict[str, Any]:
    """The result as JSON; `content` is None where it could not be reckoned."""
    return {
        "schema": "trader.verification/1",
        "ok": all(check.ok for check in checks),
        "checks": [
            {"name": one.name, "ok": one.ok, "checked": one.checked, "problems": list(one.problems)} for one in checks
        ],
        "not_checked": list(not_checked),
        "head": head,
        "content_sha256": content,
    }


def verification_lines(document: dict[str, Any]) -> list[str]:
    """A line per check, and what is wrong below it."""
    lines = []
    for check in document["checks"]:
        lines.append(f"{'ok  ' if check['ok'] else 'FAIL'}  {check['name']:<28} {check['checked']} checked")
        lines += [f"      {problem}" for problem in check["problems"]]
    lines += ["not checked, for a ledger alone cannot show it:", *(f"      {one}" for one in document["not_checked"])]
    return [*lines, f"head {document['head']}", f"content {document['content_sha256'] or 'cannot be reckoned'}"]
