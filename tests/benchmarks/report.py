"""
Writes what was measured into a folder of documents: raw figures, tables, a drawing.

Not for: what is said of them, which is written by hand around the tables.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.benchmarks.chart import draw
from tests.benchmarks.figures import ratio_table, value_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.figures import Figures

BEGIN: Final = "<!-- written by python -m tests.benchmarks: begin -->"
END: Final = "<!-- written by python -m tests.benchmarks: end -->"


def write_report(figures: Figures, docs: Path) -> None:
    """
    Write the documents.

    Rows that were not run keep the figures of the run before, so that one row can be run again.
    """
    docs.mkdir(parents=True, exist_ok=True)
    raw, page = docs / "benchmarks.json", docs / "benchmarks.md"
    if raw.exists():
        figures = figures.with_others(json.loads(raw.read_text(encoding="utf-8")))
    raw.write_text(figures.dump(), encoding="utf-8")
    (docs / "benchmarks.svg").write_text(draw(figures.lines()), encoding="utf-8")
    text = page.read_text(encoding="utf-8") if page.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{tables(figures)}\n{END}{after}", encoding="utf-8")


def tables(figures: Figures) -> str:
    """Write all tables in Markdown."""
    text = ["## Ratios", "", ratio_table(figures.lines()), "## Figures", ""]
    text += ["Medians, with the least and the greatest value in parentheses.", ""]
    for row in figures.ratios:
        if row in figures.values or row in figures.failures:
            load = figures.about.get("load", {}).get(row)
            aside = f" (load of the machine before: {load})" if load is not None else ""
            text += [f"### {row}{aside}", "", value_table(figures, row)]
    return "\n".join(text).rstrip() + "\n"
