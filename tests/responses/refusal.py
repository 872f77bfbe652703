"""A request the service does not take: the status, the words and the codes of its answer."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """An answer of 4xx that the request itself earned."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.status = message, code, param, status

    def document(self) -> dict[str, Any]:
        """The body, as the service writes it."""
        return error_document(self.message, "invalid_request_error", self.param, self.code)


def error_document(message: str, kind: str | None, param: str | None, code: str | None) -> dict[str, Any]:
    """The body of every answer that is an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
