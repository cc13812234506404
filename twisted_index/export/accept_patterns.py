"""
Regular expressions by which web servers choose a format as `http_semantics.negotiation` does. Pure.

A weight is written as the digits of q without the point, and `n` if the format was named or `w` if a wildcard
matched it: `1n`, `085w`. Of two formats the more featureful one is preferred if its weight is greater, or if
it is equal and the format was named; so three comparisons decide between three formats.
"""

from __future__ import annotations

from typing import NamedTuple

_PREFIX = r"application/vnd\.pypi\.simple\.(?:v1|latest)\+"
_ANY = (r"\*/\*", "w")
_ANY_APPLICATION = (r"application/\*", "w")
#: The media ranges of each format, the most specific first: a pattern of each, and the kind of its weight.
_RANGES = {
    "json": ((f"{_PREFIX}json", "n"), _ANY_APPLICATION, _ANY),
    "v1_html": ((f"{_PREFIX}html", "n"), _ANY_APPLICATION, _ANY),
    "html": (("text/html", "n"), (r"text/\*", "w"), _ANY),
}

#: The weight of a format that Accept does not have.
NO_WEIGHT = "0w"

# At the first digits that differ, the first weight has the greater one; or the second one ends there, which
# stands for zeros.
_GREATER = "|".join(
    [f"{digit}[0-9]*[nw]:\\g{{1}}[0-{digit - 1}]" for digit in range(1, 10)]
    + [r"[0-9]*[1-9][0-9]*[nw]:\g{1}[nw]"]
)
_EQUAL_AND_NAMED = r"([0-9]*[1-9])0*n:\g{2}0*[nw]"
#: Matches `WEIGHT:WEIGHT` if the format of the first one is preferred (PCRE: RE2 has no back references).
PREFERRED = f"^(?:([0-9]*)(?:{_GREATER})|{_EQUAL_AND_NAMED})"

_START = r"(?:^|,)[ \t]*"
_CHARSET = r"[ \t]*(?:;[ \t]*charset=utf-8[ \t]*)?"
_WEIGHT = r";[ \t]*q=(?:(1)(?:\.0*)?|(0)(?:\.([0-9]*))?)[ \t]*(?:;[^,]*)?"
_END = "(?:,|$)"


class MediaRange(NamedTuple):
    """
    How a media range looks in a value of Accept, whose case does not count.

    Attributes:
        plain: Matches it without a weight.
        weighted: Matches it with a weight, whose digits are in groups 1 to 3.
        kind: `n` if the range names the format, else `w`.
    """

    plain: str
    weighted: str
    kind: str


def media_ranges(name: str) -> list[MediaRange]:
    """Return the media ranges of a format; the first one that matches has its weight."""
    return [
        MediaRange(f"{_START}{pattern}{_CHARSET}{_END}", f"{_START}{pattern}{_CHARSET}{_WEIGHT}{_END}", kind)
        for pattern, kind in _RANGES[name]
    ]
