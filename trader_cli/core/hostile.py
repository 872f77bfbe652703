"""Text from strangers: a model, an exchange, an error message."""

from __future__ import annotations

from trader_cli.core.redaction import redact


def storable(words: str) -> str:
    """Hostile text as SQLite can keep it: NUL and lone surrogates become visible escapes, no secret is in it."""
    return redact(words.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00"))
