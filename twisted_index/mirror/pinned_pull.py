"""
Places the files that pins stand for, and what builds those that are sdists, until nothing more is needed.

Out of scope: choosing the first pins (see `resolution.resolver`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import SimpleIndexError
from twisted_index.mirror.plan import Failure, Selection
from twisted_index.resolution.file_needs import UnknownNeeds
from twisted_index.resolution.local_projects import LocalProjects
from twisted_index.resolution.pinned_files import Formats, choose_files
from twisted_index.resolution.resolver import choose_build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted_index.mirror.plan import ProjectPlan
    from twisted_index.mirror.progress import IProgress
    from twisted_index.mirror.pull_run import PullRun
    from twisted_index.mirror.puller import ProjectResult
    from twisted_index.resolution.pinned_files import PinnedFiles
    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.targets import Target
    from twisted_index.resolution.uv import IndexAccess

#: Projects that are worked on at once.
_PROJECTS = 16
#: Resolvers that run at once: each uses all processors.
_RESOLVERS = 2

#: Pins with the targets for which they were chosen.
Pins: TypeAlias = "Mapping[Pin, tuple[Target, ...]]"


def merged(pins: Mapping[Target, Iterable[Pin]]) -> Pins:
    """Turn the pins of each target into the targets of each pin."""
    found: dict[Pin, list[Target]] = defaultdict(list)
    for target, chosen in pins.items():
        for pin in chosen:
            found[pin].append(target)
    return {pin: tuple(targets) for pin, targets in found.items()}


@dataclass(slots=True, kw_only=True)
class PulledPins:
    """
    What became of pins.

    Attributes:
        placed: Names of files that were fetched.
        unchanged: Number of files that were there.
        size: Bytes received.
        plans: What would be done, of a dry run.
        failures: What could not be had.
        warnings: Documents beside files that could not be had.
    """

    placed: list[str] = field(default_factory=list)
    unchanged: int = 0
    size: int = 0
    plans: list[ProjectPlan] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[Failure] = field(default_factory=list)

    def add(self, result: ProjectResult) -> None:
        """Add what became of a project."""
        self.placed += result.placed
        self.unchanged += len(result.unchanged)
        self.size += result.size
        self.failures += result.failures
        self.warnings += result.warnings
        if result.refused:
            self.failures.append(Failure(name=result.project, reason=result.refused))
        self.failures += [
            Failure(name=name, reason="It was deleted here: the name stays taken.") for name in result.deleted
        ]


class PinnedPull:
    """
    A run for pins.

    Args:
        run: The index and the folder.
        access: How a resolver reads the same index.
        progress: Sees failures that are of no file.
        formats: Which kinds of files may be taken.
        sdists: Whether to take sdists too where a wheel fits.
        dry: Whether to plan only; what builds sdists is then unknown.
    """

    def __init__(
        self,
        run: PullRun,
        access: IndexAccess,
        *,
        progress: IProgress,
        formats: Formats,
        sdists: bool = False,
        dry: bool = False,
    ) -> None:
        self._run = run
        self._access = access
        self._progress = progress
        self._formats = formats
        self._sdists = sdists
        self._dry = dry
        self._seen: set[tuple[Pin, Target]] = set()
        self._found = PulledPins()

    async def pull(self, pins: Pins) -> PulledPins:
        """Place the files of pins, then what builds their sdists, and so on."""
        formats, sdists = self._formats, self._sdists
        while pins:
            built = await self._place(pins, formats, sdists=sdists)
            pins = {} if self._dry else await self._build_pins(built)
            # What builds is taken as wheels where there are any.
            formats, sdists = Formats(), False
        return self._found

    async def _place(
        self, pins: Pins, formats: Formats, *, sdists: bool
    ) -> list[tuple[str, str, tuple[Target, ...]]]:
        """Place the files of pins; return project, name and targets of each sdist."""
        projects: dict[str, dict[Pin, tuple[Target, ...]]] = defaultdict(dict)
        for pin, targets in pins.items():
            new = tuple(target for target in targets if (pin, target) not in self._seen)
            self._seen.update((pin, target) for target in new)
            if new:
                projects[pin.project][pin] = new

        async def work(project: str) -> list[tuple[str, str, tuple[Target, ...]]]:
            chosen = await self._pull_project(project, projects[project], formats, sdists=sdists)
            return [
                (project, sdist.file.filename, targets) for one in chosen for sdist, targets in one.sdists
            ]

        found = await at_once(_PROJECTS, work, sorted(projects))
        return [sdist for each in found for sdist in each]

    async def _pull_project(
        self, project: str, pins: Pins, formats: Formats, *, sdists: bool
    ) -> list[PinnedFiles]:
        try:
            page = await self._run.index.page(project)
        except SimpleIndexError as error:
            self._fail(project, f"Its page cannot be fetched: {error.message}")
            return []
        chosen = [choose_files(pin, page, targets, formats, sdists=sdists) for pin, targets in pins.items()]
        for one in chosen:
            for sentence in one.missing:
                self._fail(project, sentence)
        files = {file.file.filename: file for one in chosen for file in one.files}
        selection = Selection(project=project, files=tuple(files.values()), page=page)
        if self._dry:
            try:
                self._found.plans.append(await self._run.puller.plan(selection))
            except SimpleIndexError as error:
                self._fail(project, error.message)
        else:
            self._found.add(await self._run.puller.pull(selection))
        return chosen

    async def _build_pins(self, sdists: Sequence[tuple[str, str, tuple[Target, ...]]]) -> Pins:
        """Choose what builds sdists, for each target that builds them."""
        needs: dict[tuple[tuple[str, ...], Target], str] = {}
        for project, name, targets in sdists:
            try:
                lines = await self._run.worker.run(self._build_lines, project, name)
            except UnknownNeeds as error:
                self._fail(name, error.reason)
                continue
            needs |= {(lines, target): name for target in targets if lines}

        async def choose(need: tuple[tuple[str, ...], Target]) -> tuple[Pin, ...]:
            try:
                return await self._run.worker.run(choose_build, need[0], need[1], self._access)
            except SimpleIndexError as error:
                self._fail(needs[need], f"What builds it for {need[1]} cannot be had: {error.message}")
                return ()

        chosen: dict[Target, list[Pin]] = defaultdict(list)
        for need, pins in zip(needs, await at_once(_RESOLVERS, choose, needs), strict=True):
            chosen[need[1]] += pins
        return merged({target: dict.fromkeys(pins) for target, pins in chosen.items()})

    def _build_lines(self, project: str, name: str) -> tuple[str, ...]:
        """
        Read what builds an sdist of the folder; nothing if it is not there, which has been said.

        Raises:
            UnknownNeeds: It does not say so.
        """
        projects = LocalProjects([self._run.folder.root])
        for local in projects.files(project):
            if local.file.filename == name:
                return tuple(map(str, projects.needs(local).build))
        return ()

    def _fail(self, name: str, reason: str) -> None:
        self._found.failures.append(Failure(name=name, reason=reason))
        self._progress.failed(name, reason)
