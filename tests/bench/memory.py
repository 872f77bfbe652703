"""Memory: replaying 1,000 cycles, how fast a planted edge is found and let go of, how well beliefs are calibrated."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.processes import Row, process
from tests.planted.bandit import PARTS, bandit
from tests.planted.trials import trial

CYCLES = 1_000
SEEDS, BLOCKS = (3, 4), 12
GAINS_BP, LOSES_BP = 60.0, -60.0
TRIALS = 20


def memory(folder: str) -> Iterator[Row]:
    """Each figure as it is measured."""
    path = f"{folder}/replayed.db"
    process(path, "loop", "--cycles", str(CYCLES), "--speed", "fast", "-q")
    for words in (("replay", "last"), ("replay", "--since", "9999d"), ("why", "last"), ("memory", "show")):
        taken, peak = process(path, *words)
        yield " ".join(words), f"{taken:.2f} s", f"{peak / 2**20:.0f} MB, in a ledger of {CYCLES:,} cycles"
    yield from learning()
    covered = sum(trial(seed, 10.0, 40.0, 25).covers for seed in range(TRIALS))
    yield "90 % intervals", f"{covered} of {TRIALS}", "seeds whose interval holds the true edge (make soak: of 200)"


def learning() -> Iterator[Row]:
    """The share of plans that name a policy, tenth by tenth of a run in which it first earns and then loses."""
    for seed in SEEDS:
        for number, part in enumerate(bandit(seed, GAINS_BP, LOSES_BP, BLOCKS), 1):
            belief = f"{part.mean_bp:+.1f} bp ({part.low_bp:+.1f} to {part.high_bp:+.1f})"
            more = f"of plans; edge {part.edge_bp:+.0f} bp, {part.outcomes} outcomes, believed {belief}"
            yield f"bandit {seed}, tenth {number}/{PARTS}", f"{part.picked:.0%}", more
