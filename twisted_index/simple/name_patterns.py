"""Patterns of projects and indexes in rights, routes and policies, and rules about versions. Pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from twisted_index.simple._project_names import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    #: Returns whether a normalized name matches.
    NameMatcher: TypeAlias = Callable[[str], bool]

#: The characters of names, and the wildcards of `fnmatch`: `*`, `?`, `[abc]`, `[!a-z]`. An unpaired
#: bracket would match itself, which no name contains. Brackets contain hyphens in ranges only, and no dots
#: or underscores: normalized, `[a.z]` would be a range.
_CHARACTER = r"(?:[A-Za-z0-9*?]|\[!?(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\])"
_PATTERN = re.compile(rf"{_CHARACTER}(?:(?:{_CHARACTER}|[._-])*{_CHARACTER})?", re.ASCII)

#: Matches every name.
ANY_PROJECT = "*"

_INDEX_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: What the segments of scopes mean besides names of indexes; hatch requests `+simple`.
_RESERVED_INDEXES = frozenset({"at", "draft", "simple"})
_MAX_INDEX_NAME = 100
#: Their characters, and wildcards.
_INDEX_PATTERN = re.compile(r"[A-Za-z0-9*?](?:[A-Za-z0-9*?._-]*[A-Za-z0-9*?])?", re.ASCII)

#: Matches every index, also the one without a name.
ANY_INDEX = "*"
#: Matches the index without a name only.
NO_NAME = ""

_WILDCARD = re.compile(r"[*?]")

_BRACKETS = re.compile(r"\[[^\]]*\]")
_RANGE = re.compile(r"([a-z0-9])-([a-z0-9])")

#: A pattern of names, optionally with a specifier set; "!" begins "!=" as well as "[!abc]".
_REQUIREMENT = re.compile(r"(?P<name>(?:[A-Za-z0-9._*?\[\]-]|!(?!=))+)\s*(?P<versions>[=~<>!].*)?", re.ASCII)


def normalized_pattern(pattern: str) -> str:
    """
    Normalize a pattern like the names that it is matched against (PEP 503).

    Args:
        pattern: A pattern for `fnmatch`, in any spelling: `Acme_*` and `acme.*` are `acme-*`.

    Raises:
        ValueError: No name could ever match the pattern.
    """
    if not _PATTERN.fullmatch(pattern) or any(low > high for low, high in _ranges(pattern.lower())):
        raise ValueError(f"{pattern!r} is not a pattern of project names; write it like acme-*")
    return normalize(pattern)


def _ranges(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the first and last characters of the ranges within the brackets of a pattern."""
    for within in _BRACKETS.findall(pattern):
        yield from _RANGE.findall(within)


def name_matcher(patterns: Iterable[str]) -> NameMatcher:
    """
    Return a function that matches normalized names against any of several patterns.

    Raises:
        ValueError: See `normalized_pattern`.
    """
    regexes = [fnmatch.translate(normalized_pattern(pattern)) for pattern in patterns]
    if not regexes:
        return lambda _name: False
    match = re.compile("|".join(regexes)).match
    return lambda name: match(name) is not None


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
    Return whether one of the patterns stands for a project.

    Args:
        project: A normalized name; empty asks whether there is any pattern at all.
        patterns: From `project_pattern`.
    """
    return any(not project or fnmatch.fnmatchcase(project, pattern) for pattern in patterns)


def is_index_name(name: str) -> bool:
    """Return whether an index may have this name: letters and digits, with `-`, `.` and `_` inside."""
    return (
        len(name) <= _MAX_INDEX_NAME
        and name not in _RESERVED_INDEXES
        and _INDEX_NAME.fullmatch(name) is not None
    )


def index_pattern(text: str) -> str:
    """
    Parse a pattern of index names.

    Args:
        text: An exact name, with `*` for any run of characters and `?` for one; empty for the index without a
            name, for which `*` stands too.

    Raises:
        ValueError: It is no such pattern.
    """
    if text and not _INDEX_PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is not a pattern of index names; write a name, optionally with * and ?")
    return ANY_INDEX if text and set(text) == {"*"} else text


def matches_index(index: str, patterns: Iterable[str]) -> bool:
    """
    Return whether one of the patterns stands for an index.

    Args:
        index: Its name; empty for the index without a name.
        patterns: From `index_pattern`.
    """
    return any(fnmatch.fnmatchcase(index, pattern) for pattern in patterns)


def pattern_covers(wide: str, narrow: str) -> bool:
    """
    Return whether every name that one pattern stands for is one that the other stands for.

    False may be conservative, as for `?*` and `*?`.

    Args:
        wide: From `project_pattern`, or `index_pattern`.
        narrow: From the same.
    """
    # The narrow pattern is matched as if it were a name: its `*` by a `*` alone, which takes whatever that
    # stands for; its `?` by `*` or `?`.
    return fnmatch.fnmatchcase(narrow, wide.replace("?", "[!*]"))


def may_overlap(one: str, other: str) -> bool:
    """
    Return whether there may be a name that both patterns stand for; False is definitive.

    Args:
        one: From `project_pattern`.
        other: The same.
    """
    for name, pattern in ((one, other), (other, one)):
        if not set(name) & set("*?"):
            return fnmatch.fnmatchcase(name, pattern)
    (head, *_, tail), (other_head, *_, other_tail) = _WILDCARD.split(one), _WILDCARD.split(other)
    return _agree(head, other_head, str.startswith) and _agree(tail, other_tail, str.endswith)


def _agree(one: str, other: str, begins: Callable[[str, str], bool]) -> bool:
    """Return whether one of two texts begins, or ends, with the other."""
    return begins(one, other) or begins(other, one)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRule:
    """
    Stands for projects, or versions of them.

    Attributes:
        matches: Matches the names of the projects.
        versions: The versions (PEP 440), pre-releases included; None for whole projects.
    """

    matches: NameMatcher
    versions: SpecifierSet | None = None

    @classmethod
    def parse(cls, text: str) -> VersionRule:
        """
        Parse `evil`, `evil-*` or `django>=4,<5`.

        Raises:
            ValueError: The text is neither a pattern of names nor one with a specifier set.
        """
        match = _REQUIREMENT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a requirement; write it like evil-* or django>=4,<5")
        try:
            versions = None if match["versions"] is None else SpecifierSet(match["versions"])
        except InvalidSpecifier as error:
            raise ValueError(f"{text!r} has a version specifier that PEP 440 does not allow") from error
        return cls(matches=name_matcher([match["name"]]), versions=versions)

    def covers(self, version: str, *, unclear: bool) -> bool:
        """
        Whether the rule stands for a version of a matching project.

        Args:
            version: The version, as in the name of its file.
            unclear: The result for a version that PEP 440 does not allow, and that cannot be compared.
        """
        if self.versions is None:
            return True
        try:
            return self.versions.contains(Version(version), prereleases=True)
        # InvalidVersion is a ValueError, and so is the error of int() for more than 4,300 digits.
        except ValueError:
            return unclear
