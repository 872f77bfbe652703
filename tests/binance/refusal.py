"""What the service says no to: its code, its words, its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

LEGAL_SYMBOL = "^[A-Z0-9-_.]{1,20}$"
LEGAL_NUMBER = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
LEGAL_CLIENT_ID = "^[a-zA-Z0-9-_]{1,36}$"


class RefusedError(Exception):
    """A request that gets `{"code", "msg"}` and nothing else."""

    def __init__(self, code: int, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status
        self.headers = dict(headers or {})

    @property
    def document(self) -> dict[str, object]:
        """The body."""
        return {"code": self.code, "msg": self.message}


def missing(name: str) -> RefusedError:
    """-1102 of one parameter."""
    return RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> RefusedError:
    """-1100 of one parameter."""
    return RefusedError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def bad_symbol() -> RefusedError:
    """-1121."""
    return RefusedError(-1121, "Invalid symbol.")


def filtered(name: str) -> RefusedError:
    """-1013 of one filter."""
    return RefusedError(-1013, f"Filter failure: {name}")


def rejected(message: str) -> RefusedError:
    """-2010: the engine's own no."""
    return RefusedError(-2010, message)
