"""What went wrong, in the manner of who asked: a page for a page, a document for the rest."""

from __future__ import annotations

import json

from trader_cli.core.redaction import redact
from trader_cli.views.dashboard import error_page

_PAGES = ("/", "/cycles")
_NAMES = {401: ("REFUSED", 4), 404: ("NOT_FOUND", 8), 422: ("USAGE", 2), 500: ("FAILURE", 1), 503: ("LEDGER", 6)}


def told(path: str, status: int, words: str, hint: str | None = None) -> tuple[bytes, str]:
    """The body and its media type. A document names the exit code that a command would have ended with."""
    words = redact(words)
    if path in _PAGES or path.startswith("/traces/"):
        return error_page(status, words, hint).encode(), "text/html; charset=utf-8"
    name, code = _NAMES.get(status, ("REFUSED", 4))
    error = {"name": name, "exit": code, "message": words, "hint": hint}
    return json.dumps({"schema": "trader.error/1", "error": error}).encode() + b"\n", "application/json"
