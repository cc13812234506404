"""Patterns of project names: `*` and `?`, normalized like the names that they stand for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from twisted_index.simple.name_patterns import normalized_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Matches every name.
ANY_PROJECT = "*"


def project_pattern(text: str) -> str:
    """
    Parse a pattern of a rights file or an option.

    Args:
        text: Letters, digits, `-`, `_`, `.`; `*` stands for any run of characters, `?` for one.

    Returns:
        The pattern, to be matched against normalized names.

    Raises:
        ValueError: It is no such pattern, or no name could ever match it.
    """
    # No brackets in rights: after normalization `[a.z]` does not mean what its author thinks.
    if "[" in text:
        raise ValueError(f"{text!r} is not a pattern for rights; write a name, optionally with * and ?")
    pattern = normalized_pattern(text)
    return ANY_PROJECT if set(pattern) == {"*"} else pattern


def matches_any(project: str, patterns: Iterable[str]) -> bool:
    """
    Say whether one of the patterns stands for a project.

    Args:
        project: A normalized name; empty asks whether there is any pattern at all.
        patterns: From `project_pattern`.
    """
    return any(not project or fnmatchcase(project, pattern) for pattern in patterns)
