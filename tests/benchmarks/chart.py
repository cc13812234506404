"""
Draws ratios as bars, on a logarithmic axis around 1.

Not for: figures that are no ratios.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.benchmarks.figures import Line

_WIDTH, _LEFT, _RIGHT, _STEP, _TOP = 1000, 470, 90, 22, 56
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #333 } .small { font-size: 11px; fill: #777 }
.bar { fill: #4a7fb5 } .missed { fill: #c8743c } .spread { stroke: #222 } .axis { stroke: #bbb }
.goal { stroke: #c22; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
 text { fill: #ddd } .small { fill: #999 } .spread { stroke: #eee } .axis { stroke: #555 }
}
"""


def draw(lines: Iterable[Line]) -> str:
    """Write the drawing (SVG): bars from 1 to the median, whiskers to both ends, a mark at the goal."""
    chosen = [line for line in lines if line.ratio.to and line.median > 0 and line.low > 0]
    values = [value for line in chosen for value in (line.low, line.high)] or [1.0]
    low = 10 ** math.floor(math.log10(min(*values, 0.5)))
    high = max(*values, 2.0) * 1.1
    scale = (_WIDTH - _LEFT - _RIGHT) / math.log(high / low)

    def at(value: float) -> float:
        return round(_LEFT + math.log(min(max(value, low), high) / low) * scale, 1)

    height = _TOP + _STEP * len(chosen) + 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
    title = "twisted-index as a multiple of what it is compared with; the goal is the red mark"
    body = [f"<title>{title}</title>", f"<style>{_STYLE}</style>", f'<text x="8" y="20">{title}</text>']
    body += [_axis(value, at(value), height) for value in _steps(low, high)]
    for number, line in enumerate(chosen):
        body += _bar(line, _TOP + _STEP * number, (at(1), at(line.median), at(line.low), at(line.high)), at)
    return head + "\n".join(body) + "\n</svg>\n"


def _steps(low: float, high: float) -> Iterator[float]:
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (factor * 10.0**exponent for factor in (1, 2, 5) if low <= factor * 10.0**exponent <= high)


def _axis(value: float, x: float, height: int) -> str:
    line = f'<line class="axis" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{height - 6}"/>'
    if f"{value:e}"[0] == "5" or (f"{value:e}"[0] == "2" and not 0.5 <= value <= 5):
        return line
    return line + f'<text class="small" x="{x}" y="{_TOP - 12}" text-anchor="middle">{value:g}×</text>'


def _bar(line: Line, y: int, places: Sequence[float], at: object) -> Iterator[str]:
    one, median, low, high = places
    middle = y + _STEP / 2
    kind = "missed" if line.missed else "bar"
    yield f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(line.ratio.what)}</text>'
    width = round(max(abs(median - one), 1), 1)
    yield f'<rect class="{kind}" x="{min(one, median)}" y="{y + 5}" width="{width}" height="{_STEP - 10}"/>'
    yield f'<line class="spread" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
    if line.ratio.goal and callable(at):
        x = at(float(line.ratio.goal.split()[1]))
        yield f'<line class="goal" x1="{x}" x2="{x}" y1="{y + 2}" y2="{y + _STEP - 2}"/>'
    yield f'<text x="{_WIDTH - 8}" y="{middle + 4}" text-anchor="end">{line.median:.2g}×</text>'
