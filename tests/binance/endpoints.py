"""The endpoints: who may ask, what must be sent, what it weighs, and the deed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.binance.exchange import Exchange
from tests.binance.refusal import RefusedError, missing

SECURITY = ("timestamp", "recvWindow", "signature")


@dataclass(frozen=True, slots=True)
class Call:
    """One request that has been let in: what was sent, when it reached the engine, how long its order stays unseen."""

    exchange: Exchange
    sent: Mapping[str, str]
    now: int
    hidden_ms: int
    uid: int
    rights: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path and method. `bytes` as an answer is a body as it is."""

    deed: Callable[[Call], Any]
    weight: int
    signed: bool = False
    trades: bool = False
    mandatory: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def check(self, sent: Mapping[str, str]) -> None:
        """Raises RefusedError for a parameter that lacks (-1102), is empty (-1105) or is not one of its own."""
        for name in self.mandatory:
            if not sent.get(name):
                raise missing(name)
        for name, value in sent.items():
            if not value:
                raise RefusedError(-1105, f"Parameter '{name}' was empty.")
        known = {*self.mandatory, *self.optional, *(SECURITY if self.signed else ())}
        read = len(known & sent.keys())
        if read < len(sent) and self.signed:
            words = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(sent)}'."
            raise RefusedError(-1104, words)
        if read < len(sent):
            raise RefusedError(-1101, f"Too many parameters; expected '{read}' and received '{len(sent)}'.")
