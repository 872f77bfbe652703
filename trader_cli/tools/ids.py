"""Names and chance: from the system, or derived from a seed so that equal runs make equal ledgers."""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from random import Random, SystemRandom

from trader_cli.core.moments import Moment
from trader_cli.core.orders import PREFIX


def new_ledger_id() -> str:
    """A ledger's own name."""
    return str(uuid.uuid4())


class SystemIds:
    """Random names. A client order id carries 60 bits of the audit chain's head: a third party's dated copy of it."""

    def trace_id(self, n: int) -> str:
        """32 random hexadecimal characters."""
        del n
        return uuid.uuid4().hex

    def client_order_id(self, n: int, head: str) -> str:
        """`t1-` + 80 random bits + `-` + 60 bits of the head, in base 32: 32 characters."""
        del n
        return f"{PREFIX}{_base32(secrets.token_bytes(10))}-{anchor_of(head)}"

    def chance(self, trace_id: str) -> Random:
        """The system's randomness."""
        del trace_id
        return SystemRandom()


class SeededIds:
    """Names that follow from a seed and the ledger's position: virtual time's runs can be repeated."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def trace_id(self, n: int) -> str:
        """32 hexadecimal characters that follow from the seed and `n`."""
        return self._digest("trace", n).hex()[:32]

    def client_order_id(self, n: int, head: str) -> str:
        """As SystemIds shapes it; the head is left out, for it holds wall time."""
        del head
        digest = self._digest("order", n)
        return f"{PREFIX}{_base32(digest[:10])}-{_base32(digest[10:18])[:12]}"

    def chance(self, trace_id: str) -> Random:
        """A generator seeded by the trace."""
        return Random(self._digest("chance", trace_id))

    def _digest(self, kind: str, n: Moment | str) -> bytes:
        return hashlib.sha256(f"{self._seed}|{kind}|{n}".encode()).digest()


def anchor_of(head: str) -> str:
    """What a client order id carries of the audit chain's head: 60 bits in base 32."""
    return _base32(bytes.fromhex(head))[:12] if head else "0" * 12


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").lower().rstrip("=")
