"""The import names of a wheel, from the names of its members. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Import names that are kept of a project, and characters of one.
MAX_IMPORTS, MAX_LENGTH = 100, 200
#: Modules, by the ends of their files. Those of extensions may name an interpreter: `x.cp312-win_amd64.pyd`.
_MODULE = re.compile(r"(?P<name>[^.]+)(?:\.py|(?:\.[^.]+)*\.(?:so|pyd))")
#: What is installed into `site-packages` as well (binary distribution format, "The .data directory").
_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/")


def import_names(members: Iterable[str]) -> tuple[str, ...]:
    """
    Return what a wheel is imported by: its packages and modules at the top.

    A folder without `__init__` is a namespace, which many projects share: of it counts what is inside, with
    its dots.

    Args:
        members: The paths of all members.

    Returns:
        Ascending, at most `MAX_IMPORTS`.
    """
    modules = set(filter(None, map(_module, members)))
    packages = {module[:-1] for module in modules if module[-1] == "__init__"}
    found = {_top(module, packages) for module in modules if module != ("__init__",)}
    named = sorted(".".join(parts) for parts in found if all(map(str.isidentifier, parts)))
    return tuple(name for name in named if len(name) <= MAX_LENGTH)[:MAX_IMPORTS]


def _module(member: str) -> tuple[str, ...] | None:
    """Return the parts of the name of a module, or None for another file."""
    inside = _DATA.match(member)
    *folders, last = (member if inside is None else member[inside.end() :]).split("/")
    match = _MODULE.fullmatch(last)
    if match is None or (folders and folders[0].endswith((".data", ".dist-info"))):
        return None
    return (*folders, match["name"])


def _top(module: Sequence[str], packages: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the outermost package that a module is in, or the module."""
    whole = tuple(module)
    tops = (whole[:count] for count in range(1, len(whole)))
    return next((top for top in tops if top in packages), whole)
