"""Metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from trader_cli.schemas.metric import Metric, Sample


def _name(one: Metric, sample: Sample) -> str:
    return one.name + ("_total" if one.kind == "counter" else sample.ends)


class _Found(Collector):
    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = tuple(found)

    def collect(self) -> Iterator[Family]:
        """As the library takes them."""
        for one in self._found:
            family = Family(one.name, one.about, one.kind)
            for sample in one.samples:
                family.add_sample(_name(one, sample), dict(sample.labels), float(sample.value))
            yield family


def exposition(found: Iterable[Metric]) -> str:
    """All of them as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(found))
    return generate_latest(registry).decode("utf-8")


def metrics_document(found: Sequence[Metric]) -> dict[str, Any]:
    """All of them as JSON."""
    return {
        "schema": "trader.metrics/1",
        "metrics": [
            {
                "name": one.name,
                "kind": one.kind,
                "about": one.about,
                "samples": [_sample(one, each) for each in one.samples],
            }
            for one in found
        ],
    }


def _sample(one: Metric, sample: Sample) -> dict[str, Any]:
    return {"name": _name(one, sample), "labels": dict(sample.labels), "value": float(sample.value)}
