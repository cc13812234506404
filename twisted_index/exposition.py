"""
Numbers for Prometheus: what they are, and how they are written (text exposition format 0.0.4).

Pure. Whatever has numbers to tell provides `HasMetrics`. Not for: which numbers the server has
(`web.metrics`), or where they are asked for.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    #: Names and values, in the order in which they are written.
    Labels: TypeAlias = tuple[tuple[str, str], ...]

#: The media type of what is written here.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# Prometheus, "Data model": metric names may hold colons too, which are for recording rules.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class MetricKind(enum.Enum):
    """What a number may do: a counter only grows while the process lives, a gauge goes up and down."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One number.

    Attributes:
        value: In the unit that the metric's name ends with: seconds, bytes, or a plain count.
        labels: What it is a number of; empty if the metric has only one.
    """

    value: float
    labels: Labels = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """
    A number, or several that differ by their labels.

    Attributes:
        name: By the conventions of Prometheus: `twisted_index_`, what it is, its unit, and `_total`
            for a counter.
        kind: Counter or gauge.
        text: One sentence for people.
        samples: No two with equal labels.

    Raises:
        ValueError: The name, or the name of a label, is none to Prometheus.
    """

    name: str
    kind: MetricKind
    text: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        labels = [label for sample in self.samples for label, _value in sample.labels]
        for name in (self.name, *labels):
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} cannot be the name of a metric or a label.")


def counter(name: str, text: str, *samples: Sample) -> Metric:
    """Make a metric that only grows."""
    return Metric(name=name, kind=MetricKind.COUNTER, text=text, samples=samples)


def gauge(name: str, text: str, *samples: Sample) -> Metric:
    """Make a metric that goes up and down."""
    return Metric(name=name, kind=MetricKind.GAUGE, text=text, samples=samples)


@runtime_checkable
class HasMetrics(Protocol):
    """A part of the server with numbers of its own: a source, a cache, a store."""

    def metrics(self) -> Iterable[Metric]:
        """Tell them; in the reactor and at once, so only what is known without looking."""


def write_metrics(metrics: Iterable[Metric]) -> bytes:
    """
    Write metrics.

    Args:
        metrics: Of equal names, the first says what they are, and all their samples stand together,
            as the format demands. Numbers with equal labels, as two parts of one kind may tell
            them, are added up: Prometheus refuses all of a page on which one is there twice.
    """
    families: dict[str, tuple[Metric, dict[Labels, float]]] = {}
    for metric in metrics:
        _first, numbers = families.setdefault(metric.name, (metric, {}))
        for sample in metric.samples:
            key = tuple(sorted(sample.labels))
            numbers[key] = numbers.get(key, 0) + sample.value
    lines = [line for metric, numbers in families.values() for line in _family(metric, numbers)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _family(metric: Metric, numbers: dict[Labels, float]) -> Iterable[str]:
    text = metric.text.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {metric.name} {text}"
    yield f"# TYPE {metric.name} {metric.kind.value}"
    for labels, value in numbers.items():
        yield f"{metric.name}{_labels(labels)} {_number(value)}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """Spell a number as Go's ParseFloat reads it; whole ones without a point, however large."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
