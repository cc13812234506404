"""
The language of searches: words, `"a phrase"`, `module:yaml`, `requires:numpy`.

Every text is a query: quotes need not be closed, and what no name and no text can contain finds nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twisted_index.simple.names import normalize

#: Characters of a query, and words of it; what follows is ignored.
MAX_QUERY, MAX_TERMS = 200, 12
_TOKEN = re.compile(r'(?:(module|requires):)?(?:"([^"]*)"?|(\S+))')
_SEPARATORS = re.compile(r"[-_.\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    What is searched for.

    Attributes:
        terms: Words and phrases, in lower case; a project has to have all of them.
        whole: Whether the last of them is a phrase. Else it may be the beginning of a word.
        name: All terms as one normalized name; empty without terms.
        imported: What they may name as an import, the longest first: `pil.image`, `pil`.
        beginning: What may be the beginning of an import name; empty for a phrase and for a single letter.
        modules: Import names that a project has to have, in lower case.
        requires: Normalized names that a project has to need.
    """

    terms: tuple[str, ...] = ()
    whole: bool = False
    name: str = ""
    imported: tuple[str, ...] = ()
    beginning: str = ""
    modules: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


def parse_query(text: str) -> Query:
    """Parse what was typed; nothing in it is an error."""
    printable = "".join(char if char.isprintable() else " " for char in text[:MAX_QUERY])
    found: dict[str, list[str]] = {"": [], "module": [], "requires": []}
    whole = False
    for match in list(_TOKEN.finditer(printable))[:MAX_TERMS]:
        value = " ".join((match[2] if match[3] is None else match[3]).lower().split())
        if any(map(str.isalnum, value)):
            found[match[1] or ""].append(value)
            whole = match[3] is None if not match[1] else whole
    terms = tuple(found[""])
    imported = tuple(dotted_beginnings(terms[0])) if len(terms) == 1 else ()
    return Query(
        terms=terms,
        whole=whole,
        name=_SEPARATORS.sub("-", "-".join(terms)).strip("-"),
        imported=imported,
        beginning=imported[0] if imported and len(imported[0]) > 1 and not whole else "",
        modules=tuple(found["module"]),
        requires=tuple(map(normalize, found["requires"])),
    )


def dotted_beginnings(module: str) -> list[str]:
    """Return a dotted name and what it is below, the longest first: `a.b.c`, `a.b`, `a`."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
