"""
What the requirements and lock files of rules need. Blocking: reads files, and lets uv resolve.

Out of scope: which files fit (see `choice`), and how the files are read (see `requirements_files`,
`lock_files`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from twisted_index.errors import ConfigurationError
from twisted_index.mirror.rules import Need
from twisted_index.resolution.lock_files import is_lock_file, read_lock_file
from twisted_index.resolution.requirements_files import read_requirements
from twisted_index.resolution.targets import holds, targets
from twisted_index.resolution.uv import compile_pins, index_access, require_uv
from twisted_index.resolution.wheel_fit import ANY_PLATFORM
from twisted_index.simple.names import DistributionType, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from twisted_index.mirror.rules import RuleSet, SelectRule
    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.requirements_files import Requirements
    from twisted_index.resolution.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsReader:
    """
    Reads the files of rules.

    Attributes:
        source: The URL of a simple API, or `pip`: where uv resolves from.
        environ: The environment.
        now: Seconds since the epoch; uv takes nothing that is in the cool-down.
    """

    source: str
    environ: Mapping[str, str]
    now: float

    def complete(self, rules: RuleSet) -> tuple[RuleSet, tuple[str, ...]]:
        """
        Read what all rules need.

        Returns:
            The rules with their needs, and a sentence for each line that no index can serve.

        Raises:
            ConfigurationError: A file cannot be used, or there is no uv to resolve dependencies.
            SimpleIndexError: The requirements contradict each other.
        """
        needs: dict[int, Mapping[str, tuple[Need, ...]]] = {}
        sentences: list[str] = []
        for rule in rules.rules:
            if rule.requirements:
                found: defaultdict[str, dict[Need, None]] = defaultdict(dict)
                for project, need in self._needs(rule, rules.cooldown, sentences):
                    found[project][need] = None
                needs[rule.number] = {project: tuple(each) for project, each in found.items()}
        return replace(rules, needs=needs), tuple(dict.fromkeys(sentences))

    def _needs(self, rule: SelectRule, cooldown: float, sentences: list[str]) -> Iterator[tuple[str, Need]]:
        wanted = _targets(rule)
        for path in filter(is_lock_file, rule.requirements):
            lock = read_lock_file(path)
            sentences += lock.left_out()
            pins = [pin for each in wanted for pin in lock.pins(each)] if wanted else lock.all_pins()
            yield from map(_pinned, pins)
        files = [path for path in rule.requirements if not is_lock_file(path)]
        if files:
            requirements = read_requirements(files=files)
            sentences += [*requirements.left_out, *requirements.ignored]
            if rule.dependencies and not requirements.is_locked:
                yield from map(_pinned, self._resolve(requirements, rule, wanted, cooldown))
            else:
                yield from _listed(requirements, wanted)

    def _resolve(
        self, requirements: Requirements, rule: SelectRule, wanted: Sequence[Target], cooldown: float
    ) -> Iterator[Pin]:
        uv, access = require_uv("Resolving dependencies"), index_access(self.source, self.environ)
        options = list(requirements.options)
        if DistributionType.SDIST not in rule.kinds:
            options += ["--only-binary", ":all:"]
        if cooldown:
            options += ["--exclude-newer", datetime.fromtimestamp(self.now - cooldown, UTC).isoformat()]
        lines = [str(one.requirement) for one in requirements.wanted]
        for each in wanted:
            yield from compile_pins(
                uv, lines, each, access, constraints=requirements.constraints, options=options
            )


def _targets(rule: SelectRule) -> tuple[Target, ...]:
    """Return the targets of a rule; none unless it names both Pythons and machines."""
    machines = [platform for platform in rule.platforms if platform != ANY_PLATFORM]
    if not (rule.pythons and machines):
        if rule.dependencies:
            raise ConfigurationError(
                f"rule {rule.number}: dependencies need a machine to be resolved for; name one in platforms."
            )
        return ()
    return targets([python.rstrip("t") for python in rule.pythons], machines)


def _pinned(pin: Pin) -> tuple[str, Need]:
    return pin.project, Need(versions=SpecifierSet(f"=={pin.version}"), hashes=pin.hashes)


def _listed(requirements: Requirements, wanted: Sequence[Target]) -> Iterator[tuple[str, Need]]:
    """Yield what requirements say themselves, where their markers hold for a target."""
    constraints: defaultdict[str, SpecifierSet] = defaultdict(SpecifierSet)
    for line in requirements.constraints:
        constraint = Requirement(line)
        constraints[normalize(constraint.name)] &= constraint.specifier
    for one in requirements.wanted:
        if not wanted or any(holds(one.requirement.marker, each) for each in wanted):
            versions = one.requirement.specifier & constraints[one.project]
            if "--pre" in requirements.options:
                versions = SpecifierSet(str(versions), prereleases=True)
            yield one.project, Need(versions=versions, hashes=one.hashes)
