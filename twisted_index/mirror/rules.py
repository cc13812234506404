"""
The rules of a mirror: which projects, and which of their files. Pure.

Of the rules with `projects` the first that matches a name decides about it. Rules with `requirements` add
what those need, unless the deciding rule skips the project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.simple.name_patterns import ANY_PROJECT, name_matcher, normalized_pattern
from twisted_index.simple.names import DistributionType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.specifiers import SpecifierSet

_EVERYTHING = frozenset(DistributionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRule:
    """
    A rule: which projects it is about, and which of their files it takes.

    Attributes:
        number: Its place in the file, from 1.
        projects: Patterns of project names; empty for a rule of requirements.
        requirements: Absolute paths of requirements and lock files; empty for a rule of projects.
        skip: Whether it takes nothing.
        versions: Those that it takes; None for all.
        prereleases: Whether it takes pre-releases like final releases. If not, it takes them where the
            specifiers name one, or no final release fits, as pip does (PEP 440, "Handling of pre-releases").
        latest: Number of the newest releases that it takes; None for no limit.
        latest_per_minor: The same for each pair of the first two numbers of a version. With both, a
            release is taken if one of them takes it.
        kinds: Wheels, sdists or both.
        pythons: Python versions such as `3.12`; empty for all.
        platforms: Platforms in pip's words; empty for all.
        max_size: Bytes of a file; None for no limit.
        dependencies: Whether to take what the requirements depend on.
    """

    number: int
    projects: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    skip: bool = False
    versions: SpecifierSet | None = None
    prereleases: bool = False
    latest: int | None = None
    latest_per_minor: int | None = None
    kinds: frozenset[DistributionType] = _EVERYTHING
    pythons: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    max_size: int | None = None
    dependencies: bool = False

    def names(self, project: str) -> bool:
        """Return whether a pattern of the rule matches a normalized name."""
        return name_matcher(self.projects)(project)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """
    What a requirement, or a pin of a lock file, asks for of one project.

    Attributes:
        versions: Those that fit; None for all.
        hashes: `ALGORITHM:HEX` of the only files that fit; empty for all of these versions.
    """

    versions: SpecifierSet | None = None
    hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """
    The rules of one run.

    Attributes:
        rules: In the order of the file; none take everything.
        cooldown: Seconds that must have passed since a file's upload.
        needs: By the number of a rule of requirements, then by normalized project name.
    """

    rules: tuple[SelectRule, ...] = ()
    cooldown: float = 0.0
    needs: Mapping[int, Mapping[str, tuple[Need, ...]]] = field(default_factory=dict)

    def deciding(self, project: str) -> SelectRule | None:
        """Return the first rule of projects that matches a name."""
        if not self.rules:
            return SelectRule(number=0, projects=(ANY_PROJECT,), prereleases=True)
        return next((rule for rule in self.rules if rule.names(project)), None)

    def concerning(self, project: str) -> tuple[tuple[SelectRule, Need], ...]:
        """Return what may take files of a project: rules, each with what it asks for; none if skipped."""
        decides = self.deciding(project)
        if decides is not None and decides.skip:
            return ()
        asked = [] if decides is None else [(decides, Need(versions=decides.versions))]
        for rule in self.rules:
            asked += ((rule, need) for need in self.needs.get(rule.number, {}).get(project, ()))
        return tuple(asked)

    @property
    def needs_list(self) -> bool:
        """Whether the projects are only known from the list of the source."""
        return not self.rules or any(
            not rule.skip and any(set(pattern) & set("*?[") for pattern in rule.projects)
            for rule in self.rules
        )

    def named(self) -> frozenset[str]:
        """Return the normalized names that the rules spell out, without those of patterns."""
        patterns = {
            normalized_pattern(pattern)
            for rule in self.rules
            for pattern in rule.projects
            if not set(pattern) & set("*?[")
        }
        required = {project for needs in self.needs.values() for project in needs}
        return frozenset(name for name in patterns | required if self.concerning(name))

    def matching(self, listed: Mapping[str, object]) -> frozenset[str]:
        """Return all projects that the rules are about, of those that the source lists and those named."""
        return self.named() | {name for name in listed if self.concerning(name)}
