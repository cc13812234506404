"""A plot of numbers by day, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web.template import Tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

#: In units of the plot, which browsers scale.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 160, 48, 8, 20
#: The part of its place that a bar fills.
_FILL = 0.8


def plot_days(title: str, description: str, days: Sequence[tuple[date, int]]) -> Tag:
    """
    Draw a bar for each day.

    Args:
        title: What it shows.
        description: What is to be seen, for those who do not see it. The page has the numbers as a table too.
        days: Without gaps, at least one.
    """
    highest = max(1, *(number for _day, number in days))
    named: dict[bytes | str, Any] = {"role": "img", "aria-labelledby": "plot-title plot-desc"}
    return _tag(
        "svg",
        {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", **named},
        _tag("title", {"id": "plot-title"}, title),
        _tag("desc", {"id": "plot-desc"}, description),
        *_axes(days, highest),
        *(
            _bar(place / len(days), 1 / len(days), number / highest, f"{day}: {number:,}")
            for place, (day, number) in enumerate(days)
        ),
    )


def _tag(name: str, attributes: dict[bytes | str, Any], *children: Tag | str) -> Tag:
    return Tag(name, attributes=attributes, children=list(children))


def _axes(days: Sequence[tuple[date, int]], highest: int) -> list[Tag]:
    floor = _HEIGHT - _BOTTOM
    return [
        _tag("path", {"class": "axis", "d": f"M{_LEFT} {_TOP}V{floor}H{_WIDTH}", "fill": "none"}),
        _text(_LEFT - 6, _TOP + 8, "end", f"{highest:,}"),
        _text(_LEFT - 6, floor, "end", "0"),
        _text(_LEFT, _HEIGHT - 4, "start", days[0][0].isoformat()),
        _text(_WIDTH, _HEIGHT - 4, "end", days[-1][0].isoformat()),
    ]


def _text(x: int, y: int, anchor: str, text: str) -> Tag:
    return _tag("text", {"x": str(x), "y": str(y), "text-anchor": anchor}, text)


def _bar(at: float, share: float, part: float, label: str) -> Tag:
    """Draw the bar of a day: where it begins, its share of the width, its part of the height."""
    width, height = (_WIDTH - _LEFT) * share, part * (_HEIGHT - _BOTTOM - _TOP)
    box: dict[bytes | str, Any] = {
        "class": "bar",
        "x": f"{_LEFT + (_WIDTH - _LEFT) * at + width * (1 - _FILL) / 2:.1f}",
        "y": f"{_HEIGHT - _BOTTOM - height:.1f}",
        "width": f"{width * _FILL:.1f}",
        "height": f"{height:.1f}",
    }
    # A pointer that rests on it shows the label.
    return _tag("rect", box, _tag("title", {}, label))
