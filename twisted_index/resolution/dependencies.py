"""
Is this folder enough? What a target lacks here of what requirements need, and who needs it.

Of each requirement the newest version that fits is followed, as its metadata says, without a resolution: what
is named here is certainly missing; constraints that contradict each other are for uv to find. Blocking.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from twisted_index.errors import SimpleIndexError
from twisted_index.resolution.file_needs import UnknownNeeds
from twisted_index.resolution.targets import best_wheel, fits, holds
from twisted_index.simple.formatting import printable
from twisted_index.simple.names import normalize, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.resolution.file_needs import Needs
    from twisted_index.resolution.local_projects import LocalFile, LocalProjects
    from twisted_index.resolution.targets import Target

#: Versions to name in a sentence.
_NAMED_VERSIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Missing:
    """
    A requirement that nothing here satisfies.

    Attributes:
        project: Normalized.
        requirement: As it is written, with its marker.
        target: Where it holds.
        reason: A sentence.
        needed_by: What needs it, as in `acme 1.0`, sorted; empty for what was asked for itself.
    """

    project: str
    requirement: str
    target: Target
    reason: str
    needed_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        by = f", needed by {', '.join(self.needed_by)}" if self.needed_by else ""
        return f"{self.requirement}{by}, for {self.target}: {self.reason}"


def find_missing(
    projects: LocalProjects, targets: Iterable[Target], wanted: Iterable[Requirement] | None = None
) -> tuple[Missing, ...]:
    """
    Find what is missing of requirements and all that they need.

    Args:
        projects: What is here.
        targets: The Pythons and platforms.
        wanted: The requirements; None for every project here, on the targets that it has a file for. Those
            whose marker does not hold for a target need nothing there.

    Returns:
        Sorted, each once.

    Raises:
        Unavailable: A root cannot be read.
    """
    asked = None if wanted is None else tuple(wanted)
    found: list[Missing] = []
    for target in targets:
        walk = _Walk(projects, target)
        found += (
            walk.follow(map(Requirement, projects.names()), must=False)
            if asked is None
            else walk.follow(asked)
        )
    return tuple(sorted(found))


class _NotHere(Exception):
    """
    Nothing here satisfies a requirement.

    Attributes:
        reason: A sentence.
        foreign: Whether all that is here is for other targets, or is withdrawn.
    """

    def __init__(self, reason: str, *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.foreign = foreign


class _Walk:
    """
    Follows requirements for one target.

    Args:
        projects: What is here.
        target: The Python and the platform.
    """

    def __init__(self, projects: LocalProjects, target: Target) -> None:
        self._projects = projects
        self._target = target
        self._queue: deque[tuple[Requirement, str]] = deque()
        self._seen: set[tuple[bytes, str]] = set()
        self._missing: dict[tuple[str, str], Missing] = {}

    def follow(self, wanted: Iterable[Requirement], *, must: bool = True) -> Iterable[Missing]:
        """
        Follow requirements, and what they need in turn; give what is missing.

        Args:
            wanted: The requirements.
            must: Whether they are missing too if all that is here of them is for other targets.
        """
        self._need(wanted, "", "")
        while self._queue:
            requirement, needed_by = self._queue.popleft()
            try:
                local, needs = self._choose(requirement)
            except _NotHere as error:
                if must or needed_by or not error.foreign:
                    self._note(requirement, needed_by, error.reason)
            else:
                for extra in ("", *sorted(requirement.extras)):
                    self._visit(local, needs, extra)
        return self._missing.values()

    def _visit(self, local: LocalFile, needs: Needs, extra: str) -> None:
        if (local.path, extra) in self._seen:
            return
        self._seen.add((local.path, extra))
        name = f"{local.distribution.project} {local.distribution.version}"
        self._need(needs.requires, extra, f"{name}[{extra}]" if extra else name)
        if not extra:
            self._need(needs.build, "", f"the build of {name}")

    def _need(self, requirements: Iterable[Requirement], extra: str, needed_by: str) -> None:
        for requirement in requirements:
            # What is needed without any extra is followed without one.
            marker = requirement.marker
            if holds(marker, self._target, extra) and not (extra and holds(marker, self._target)):
                self._queue.append((requirement, needed_by))

    def _note(self, requirement: Requirement, needed_by: str, reason: str) -> None:
        project, text = normalize(requirement.name), printable(str(requirement))
        known = self._missing.get((project, text))
        if known is None:
            known = Missing(project=project, requirement=text, target=self._target, reason=printable(reason))
        by = {*known.needed_by, needed_by} - {""}
        self._missing[project, text] = replace(known, needed_by=tuple(sorted(by)))

    # -- The file that an installer would take

    def _choose(self, requirement: Requirement) -> tuple[LocalFile, Needs]:
        """
        Choose the best file of the newest version, as pip does.

        Raises:
            _NotHere: There is none.
        """
        if requirement.url is not None:
            raise _NotHere("It names a URL, which no index serves.")
        try:
            files, faults = self._matching(requirement), []
        except ValueError:
            # Of a number with thousands of digits.
            raise _NotHere("Its versions cannot be understood.") from None
        for version in sorted({_version(local) for local in files}, reverse=True):
            for local in in_order([local for local in files if _version(local) == version], self._target):
                try:
                    needs = self._projects.needs(local)
                except UnknownNeeds as error:
                    faults.append(_NotHere(f"{local.file.filename}: {error.reason}"))
                    continue
                if _allows(needs.python, self._target):
                    return local, needs
                faults.append(_NotHere(f"{local.file.filename} needs Python {needs.python}.", foreign=True))
        raise next((fault for fault in faults if not fault.foreign), faults[0])

    def _matching(self, requirement: Requirement) -> list[LocalFile]:
        """
        Return the files that fit the specifier and the target, and may be taken.

        Raises:
            _NotHere: There are none.
        """
        specifier = requirement.specifier
        try:
            here = self._projects.files(normalize(requirement.name))
        except SimpleIndexError as error:
            raise _NotHere(error.message) from None
        if not here:
            raise _NotHere("No file of it is here.", foreign=True)
        found = [local for local in here if specifier.contains(_version(local), prereleases=True)]
        if not found:
            raise _NotHere(f"No version here fits; there is {_named(here)}.")
        usable = [local for local in found if fits(local.file, self._target)]
        if not usable:
            reason = f"No file of it here fits this Python and platform; there is {_named(found)}."
            raise _NotHere(reason, foreign=True)
        allowed = [local for local in usable if local.file.yanked is None or is_pinned(specifier)]
        if not allowed:
            raise _NotHere(f"What fits is yanked: {_named(usable)}.", foreign=True)
        # Pre-releases only if nothing else fits, or the specifier names one (PEP 440).
        versions = set(specifier.filter({_version(local) for local in allowed}))
        return [local for local in allowed if _version(local) in versions]


def in_order(files: Sequence[LocalFile], target: Target) -> Iterator[LocalFile]:
    """Yield the files of one version as an installer takes them: the best wheel, then the sdists."""
    best = best_wheel((local.file for local in files), target)
    yield from (local for local in files if local.file is best)
    yield from (local for local in files if not local.file.filename.endswith(".whl"))


def _version(local: LocalFile) -> Version:
    return Version(local.distribution.version)


def _named(files: Iterable[LocalFile]) -> str:
    """Name the newest versions of files."""
    newest = sorted_versions(local.distribution.version for local in files)[: -_NAMED_VERSIONS - 1 : -1]
    return ", ".join(newest)


def is_pinned(specifiers: SpecifierSet) -> bool:
    """Whether specifiers name one version, which may be yanked (PEP 592)."""
    return any(
        one.operator == "===" or (one.operator == "==" and not one.version.endswith(".*"))
        for one in specifiers
    )


def _allows(requires_python: str, target: Target) -> bool:
    try:
        return SpecifierSet(requires_python).contains(target.full_python, prereleases=True)
    except ValueError:
        return True
