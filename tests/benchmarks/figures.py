"""
Keeps what was measured, and makes medians, spreads and ratios of it.

Not for: measuring.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: How each metric is written: its unit, what one unit is in what was measured, and the digits.
UNITS = {
    "cpu": ("µs CPU/request", 1.0, 1),
    "per_second": ("requests/s", 1.0, 0),
    "p50": ("µs median latency", 1.0, 0),
    "p99": ("µs p99 latency", 1.0, 0),
    "cpu_connection": ("µs CPU/connection", 1.0, 0),
    "resumed": ("% resumed", 0.01, 0),
    "cpu_per_gb": ("s CPU/GB", 1.0, 3),
    "throughput": ("MB/s", 1e6, 0),
    "first_page": ("s to first page", 1.0, 2),
    "known": ("s until all is known", 1.0, 1),
    "all_pages": ("s to all pages", 1.0, 1),
    "server_cpu": ("s CPU", 1.0, 1),
    "memory": ("MB resident", 1e6, 0),
    "first_byte": ("ms to the first byte", 1e-3, 1),
    "answer": ("ms to the answer", 1e-3, 1),
    "visible": ("ms to visible", 1e-3, 1),
    "visible_99": ("ms to visible, p99", 1e-3, 1),
    "files_per_second": ("files/s", 1.0, 0),
    "per_minute": ("requests/minute", 1.0, 1),
    "disk_reads": ("KB read from disks", 1e3, 0),
    "idle_cpu": ("ms CPU/minute", 1e-3, 0),
    "missed": ("answers without it", 1.0, 0),
    "bytes": ("KB", 1e3, 1),
    "install_uv": ("s uv pip install", 1.0, 2),
    "install_pip": ("s pip install", 1.0, 2),
    "install_cpu": ("s server CPU, uv", 1.0, 2),
}


@dataclass(frozen=True, slots=True)
class Ratio:
    """
    One figure as a multiple of another of the same row.

    Attributes:
        what: In words.
        metric: Of `UNITS`.
        of: Whose.
        to: Compared with whose; empty for the figure itself, in its unit.
        goal: As the design writes it; empty if it has none. Nothing fails that misses it.
    """

    what: str
    metric: str
    of: str
    to: str = ""
    goal: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A ratio that was measured: its median and both ends of what was seen."""

    row: str
    ratio: Ratio
    median: float
    low: float
    high: float

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and the median is on its wrong side."""
        if not self.ratio.goal:
            return False
        sign, number = self.ratio.goal.split()[:2]
        return self.median > float(number) if sign == "≤" else self.median < float(number)


@dataclass
class Figures:
    """
    All that was measured in one run.

    Attributes:
        values: Row, whose, metric: one value for each repetition.
        ratios: Row to what is made of its values.
        failures: Row and whose to the line that says why there is nothing.
    """

    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    ratios: dict[str, Sequence[Ratio]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, row: str, who: str, found: dict[str, float]) -> None:
        """Keep the values of one measurement."""
        series = self.values.setdefault(row, {}).setdefault(who, {})
        for metric, value in found.items():
            series.setdefault(metric, []).append(value)

    def fail(self, row: str, who: str, why: str) -> None:
        """Keep why there is no value, without folders and hosts: they are of one machine only."""
        said = re.sub(r"https?://(?!127\.)[^\s/]+", "https://…", why)
        self.failures.setdefault(row, {})[who] = re.sub(r"(?<=[\s'\"=])(/[\w.+-]+){3,}", _last_part, said)

    def lines(self) -> Iterator[Line]:
        """Make the ratios: of the values of each repetition, so that what both suffered cancels out."""
        for row, ratios in self.ratios.items():
            for ratio in ratios:
                of = self._series(row, ratio.of, ratio.metric)
                scale = UNITS[ratio.metric][1]
                to = self._series(row, ratio.to, ratio.metric) if ratio.to else [scale] * len(of)
                found = [one / other for one, other in zip(of, to, strict=False) if other]
                if found:
                    yield Line(row, ratio, statistics.median(found), min(found), max(found))

    def with_others(self, document: dict[str, Any]) -> Figures:
        """Give these figures with the rows, from what `dump` wrote, that are not here (yet)."""
        others = {*document["values"], *document["failures"]} - {*self.values, *self.failures}
        loads = {row: document["about"].get("load", {}).get(row) for row in others}
        return Figures(
            {**self.values, **{row: document["values"].get(row, {}) for row in others}},
            self.ratios,
            {**self.failures, **{row: document["failures"][row] for row in others & {*document["failures"]}}},
            {**self.about, "load": {**self.about.get("load", {}), **loads}},
        )

    def _series(self, row: str, who: str, metric: str) -> list[float]:
        return self.values.get(row, {}).get(who, {}).get(metric, [])

    def dump(self) -> str:
        """Write all of it as JSON."""
        ratios = [
            {
                "row": line.row,
                "what": line.ratio.what,
                "metric": line.ratio.metric,
                "of": line.ratio.of,
                "to": line.ratio.to,
                "median": round(line.median, 4),
                "low": round(line.low, 4),
                "high": round(line.high, 4),
                "goal": line.ratio.goal,
            }
            for line in self.lines()
        ]
        rounded = {
            row: {
                who: {metric: [float(f"{value:.6g}") for value in found] for metric, found in series.items()}
                for who, series in whose.items()
            }
            for row, whose in self.values.items()
        }
        document = {"about": self.about, "ratios": ratios, "values": rounded, "failures": self.failures}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _last_part(found: re.Match[str]) -> str:
    return "…/" + found[0].rpartition("/")[2]


def about_machine() -> dict[str, Any]:
    """Tell what kind of machine this is, without its name."""
    return {
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load at start": round(os.getloadavg()[0], 2),
    }


def ratio_table(lines: Iterable[Line]) -> str:
    """Write the ratios as a table in Markdown."""
    text = ["| what | median | spread | goal | |", "|---|--:|--:|--:|---|"]
    for line in lines:
        ratio = line.ratio
        small = bool(ratio.to) and line.median < 0.1
        unit = " " + UNITS[ratio.metric][0].split()[0]
        sign, unit, digits = ("×", "", 4 if small else 2) if ratio.to else ("", unit, 2)
        if not ratio.to and ratio.metric == "missed":
            sign, unit, digits = "", "", 0
        shown = [f"{value:,.{digits}f}" for value in (line.median, line.low, line.high)]
        verdict = "missed" if line.missed else ("reached" if ratio.goal else "")
        spread = f"{shown[1]} – {shown[2]}"
        text.append(f"| {ratio.what} | {shown[0]}{sign or unit} | {spread} | {ratio.goal} | {verdict} |")
    return "\n".join(text) + "\n"


def value_table(figures: Figures, row: str) -> str:
    """Write the medians of a row as a table in Markdown: a line for each server."""
    whose = figures.values.get(row, {})
    metrics = [metric for metric in UNITS if any(metric in series for series in whose.values())]
    text = ["| | " + " | ".join(UNITS[metric][0] for metric in metrics) + " |"]
    text.append("|---|" + "--:|" * len(metrics))
    for who, series in whose.items():
        cells = [_shown(metric, series.get(metric, [])) for metric in metrics]
        text.append(f"| {who} | " + " | ".join(cells) + " |")
    for who, why in figures.failures.get(row, {}).items():
        said = why.replace("|", "\\|").replace("<", "&lt;")[:300]
        text.append(f"| {who} | " + " | ".join([f"failed: {said}", *[""] * (len(metrics) - 1)]) + " |")
    return "\n".join(text) + "\n"


def _shown(metric: str, values: list[float]) -> str:
    if not values:
        return ""
    _, scale, digits = UNITS[metric]
    middle, low, high = (value / scale for value in (statistics.median(values), min(values), max(values)))
    spread = f" ({low:,.{digits}f} – {high:,.{digits}f})" if len(values) > 1 else ""
    return f"{middle:,.{digits}f}{spread}"
