"""One probe of the law: a rule just inside its edge and just beyond it, and whether it did its work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule said of a probe.

    Attributes:
        kind: "edge": the rule must let what is inside pass and refuse or lower what is beyond;
            "exempt": what is inside is a sale that the rule must let pass whole.
        limit: what the rule demands, in its own words.
        inside, beyond: what it found there; None where there is no such case.
        in_force: False where the operator set no such limit, and the probe brought one of its own.
        ok: whether it did what it must.
    """

    rule: str
    kind: str
    limit: str
    inside: str | None
    beyond: str | None
    in_force: bool
    ok: bool

    @property
    def result(self) -> str:
        """In a word: FIRES or DEAD; for an exemption FREE or TRAPPED."""
        if self.kind == "exempt":
            return "FREE" if self.ok else "TRAPPED"
        return "FIRES" if self.ok else "DEAD"
