"""Patterns of project names, and rules that deny versions. Pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from twisted_index.simple._project_names import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    #: Tells whether a normalized name is meant.
    NameMatcher: TypeAlias = Callable[[str], bool]

#: What a name can hold, and what `fnmatch` reads: `*`, `?`, `[abc]`, `[!a-z]`. A bracket without its
#: other one would be a character, which no name has. Within brackets only a range has a hyphen, and
#: nothing a dot or a low line: normalized, `[a.z]` would be a range.
_ONE = r"(?:[A-Za-z0-9*?]|\[!?(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\])"
_PATTERN = re.compile(rf"{_ONE}(?:(?:{_ONE}|[._-])*{_ONE})?", re.ASCII)

_BRACKETS = re.compile(r"\[[^\]]*\]")
_RANGE = re.compile(r"([a-z0-9])-([a-z0-9])")

#: A pattern of names, and perhaps a specifier set behind it; "!" begins "!=" as well as "[!abc]".
_DENIAL = re.compile(r"(?P<name>(?:[A-Za-z0-9._*?\[\]-]|!(?!=))+)\s*(?P<versions>[=~<>!].*)?", re.ASCII)


def normalized_pattern(pattern: str) -> str:
    """
    Give a pattern the spelling of the names that it is held against (PEP 503).

    Args:
        pattern: As `fnmatch` reads it, in any spelling: `Acme_*` and `acme.*` are `acme-*`.

    Raises:
        ValueError: No name could ever match it, which its author cannot have meant.
    """
    if not _PATTERN.fullmatch(pattern) or any(low > high for low, high in _ranges(pattern.lower())):
        raise ValueError(f"{pattern!r} is not a pattern of project names; write it like acme-*")
    return normalize(pattern)


def _ranges(pattern: str) -> Iterator[tuple[str, str]]:
    """Give the ranges within the brackets of a pattern: their first and last characters."""
    for within in _BRACKETS.findall(pattern):
        yield from _RANGE.findall(within)


def name_matcher(patterns: Iterable[str]) -> NameMatcher:
    """
    Make the test of whether a normalized name matches one of some patterns.

    Raises:
        ValueError: See `normalized_pattern`.
    """
    regexes = [fnmatch.translate(normalized_pattern(pattern)) for pattern in patterns]
    if not regexes:
        return lambda _name: False
    match = re.compile("|".join(regexes)).match
    return lambda name: match(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyRule:
    """
    Projects, or versions of them, that are not to be had.

    Attributes:
        matches: Whose projects.
        versions: Which versions (PEP 440), pre-releases included; None for the whole project.
    """

    matches: NameMatcher
    versions: SpecifierSet | None = None

    @classmethod
    def parse(cls, text: str) -> DenyRule:
        """
        Read `evil`, `evil-*` or `django>=4,<5`.

        Raises:
            ValueError: It is neither a pattern of names nor one with a specifier set.
        """
        found = _DENIAL.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a requirement; write it like evil-* or django>=4,<5")
        try:
            versions = None if found["versions"] is None else SpecifierSet(found["versions"])
        except InvalidSpecifier as error:
            raise ValueError(f"{text!r} has a version specifier that PEP 440 does not allow") from error
        return cls(matches=name_matcher([found["name"]]), versions=versions)

    def forbids(self, version: str) -> bool:
        """
        Tell whether a version of a project that matches is not to be had.

        A version that PEP 440 does not allow cannot be compared, and is forbidden in doubt.
        """
        if self.versions is None:
            return True
        try:
            return self.versions.contains(Version(version), prereleases=True)
        # InvalidVersion is one, and so is Python's refusal of a number of 4,300 digits.
        except ValueError:
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyRules:
    """Several of them, held against one project at a time."""

    rules: tuple[DenyRule, ...] = field(default=())

    @classmethod
    def parse(cls, texts: Iterable[str]) -> DenyRules:
        """
        Read each of them.

        Raises:
            ValueError: See `DenyRule.parse`.
        """
        return cls(rules=tuple(map(DenyRule.parse, texts)))

    def denies_project(self, project: str) -> bool:
        """Tell whether nothing of a project is to be had."""
        return any(one.versions is None and one.matches(project) for one in self.rules)

    def for_project(self, project: str) -> tuple[DenyRule, ...]:
        """Give those that hold for some or all versions of a project."""
        return tuple(one for one in self.rules if one.matches(project))
