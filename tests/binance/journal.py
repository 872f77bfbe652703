"""Every request the server received, without signature and key: what tests count."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `arrived_at` in ms of the server's clock; `outcome` is None while it is being served."""

    number: int
    method: str
    path: str
    params: Mapping[str, str]
    arrived_at: int
    fault: str | None = None
    outcome: str | None = None

    @property
    def client_id(self) -> str | None:
        """The client order id in it, if there is one."""
        return self.params.get("newClientOrderId") or self.params.get("origClientOrderId")

    @property
    def timestamp(self) -> int | None:
        """When its sender says it was sent, in ms."""
        said = self.params.get("timestamp", "")
        return int(said) if said.isascii() and said.isdigit() else None

    @property
    def places(self) -> bool:
        """Whether it is an order."""
        return (self.method, self.path) == ("POST", "/api/v3/order")

    @property
    def document(self) -> dict[str, Any]:
        """As the state shows it."""
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "params": dict(self.params),
            "arrivedAt": self.arrived_at,
            "clientId": self.client_id,
            "timestamp": self.timestamp,
            "fault": self.fault,
            "outcome": self.outcome,
        }


class Journal:
    """Requests in the order of arrival."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def open(self, method: str, path: str, params: Mapping[str, str], now: int) -> Request:
        """Note a request that has arrived."""
        shown = {name: value for name, value in params.items() if name != "signature"}
        with self._lock:
            self._requests.append(Request(len(self._requests), method, path, shown, now))
            return self._requests[-1]

    def spoil(self, number: int, fault: str) -> None:
        """Note what goes wrong with it."""
        with self._lock:
            self._requests[number] = replace(self._requests[number], fault=fault)

    def close(self, number: int, outcome: str) -> None:
        """Note what became of it."""
        with self._lock:
            self._requests[number] = replace(self._requests[number], outcome=outcome)

    @property
    def requests(self) -> list[Request]:
        """All of them so far."""
        with self._lock:
            return list(self._requests)
