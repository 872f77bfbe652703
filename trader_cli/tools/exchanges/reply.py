"""What an exchange replied, as it came: the status, the JSON error, whether it asks to be left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

WAITS = {429: 60, 418: 120}
"""Statuses that ask to wait, and for how many seconds where no Retry-After says so."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `code` and `message` of the JSON error in the body, if there is one."""

    status: int
    body: str
    headers: Mapping[str, str]
    code: str | None
    message: str | None

    @property
    def wait_secs(self) -> int | None:
        """For how long the exchange asks to be left alone, if it does."""
        if self.status not in WAITS:
            return None
        said = self.headers.get("Retry-After", "")
        return min(int(said), 7 * 86_400) if said.isascii() and said.isdigit() else WAITS[self.status]


def reply_of(status: int, body: str, headers: Mapping[str, str]) -> Reply:
    """A reply, its JSON error read if it is one."""
    code, message = None, None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and status >= 400:
        said = document.get("code")
        code = str(said)[:20] if isinstance(said, int | str) and not isinstance(said, bool) else None
        message = str(document.get("msg") or "")[:200] or None
    return Reply(status, body, headers, code, message)
