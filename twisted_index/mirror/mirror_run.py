"""
One run of a mirror: each project as the rules choose it, and then, within the limit, what has to go.

A project that cannot be read keeps its files, and stops no other one. Out of scope: which files are chosen
(see `choice`), and placing them (see `puller`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import SimpleIndexError
from twisted_index.mirror.choice import Learned, choose
from twisted_index.mirror.plan import Failure, Selection
from twisted_index.mirror.puller import ProjectResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.upstream.page_record import PageRecord
    from twisted_index.backends.upstream.remote import RemoteFile
    from twisted_index.mirror.choice import Choice
    from twisted_index.mirror.plan import ProjectPlan
    from twisted_index.mirror.puller import Puller
    from twisted_index.mirror.rules import RuleSet
    from twisted_index.mirror.source_index import SourceIndex
    from twisted_index.simple.retention import DeletionLimit

#: Projects that are compared at once; how many files are fetched at once is the puller's.
_PROJECTS = 16


@dataclass(slots=True, kw_only=True)
class MirrorReport:
    """
    What a run has done so far, or would do.

    Attributes:
        results: Of the projects that were read, by name.
        gone: Projects that the rules name or the folder has, and the source has not.
        empty: Projects with files of which the rules take none.
        unread: Projects whose page cannot be had, and why.
        unmet: What requirements need and no file provides, by project.
        removed: Names of removed files.
        withheld: Why nothing was removed; empty otherwise.
        failures: Removals that failed.
        interrupted: Whether there was more to do.
        error: Why nothing could be done at all; empty otherwise.
    """

    results: dict[str, ProjectResult] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    unmet: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    withheld: str = ""
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False
    error: str = ""

    @property
    def refused(self) -> dict[str, str]:
        """Why nothing was done about a project, by name."""
        return {name: result.refused for name, result in sorted(self.results.items()) if result.refused}

    @property
    def all_failures(self) -> list[Failure]:
        """What could not be placed or removed."""
        placing = (failure for _name, result in sorted(self.results.items()) for failure in result.failures)
        return [*placing, *self.failures]

    @property
    def is_complete(self) -> bool:
        """Whether the folder is what the rules say, as far as the source has it."""
        problems = (self.unread, self.unmet, self.refused, self.all_failures, self.withheld, self.error)
        return not any(problems)


class MirrorRun:
    """
    A run.

    Args:
        index: The source.
        puller: Fills the folder.
        rules: What to take.
        copies: Number of copies in the folder, by project.
        max_delete: How many of them may go.
        now: The time of the run, in seconds since the epoch.
        dry: Whether to change nothing.

    Attributes:
        report: What was done so far.
    """

    def __init__(
        self,
        index: SourceIndex,
        puller: Puller,
        rules: RuleSet,
        *,
        copies: Mapping[str, int],
        max_delete: DeletionLimit,
        now: float,
        dry: bool = False,
    ) -> None:
        self._index = index
        self._puller = puller
        self._rules = rules
        self._copies = copies
        self._max_delete = max_delete
        self._now = now
        self._dry = dry
        self.report = MirrorReport()

    async def run(self) -> None:
        """
        Mirror all projects that the rules are about, and those with copies that they no longer are about.

        Raises:
            SimpleIndexError: The rules need the list of projects, which cannot be had.
            CancelledError: It was interrupted; the report says what was done.
        """
        listed = await self._index.projects() if self._rules.needs_list else {}
        projects = self._rules.matching(listed) | self._copies.keys()
        await at_once(_PROJECTS, self._mirror, sorted(projects))
        await self._remove()

    async def choice(self, project: str) -> Choice | None:
        """
        Choose files of a project.

        Returns:
            None if the source does not have it.

        Raises:
            SimpleIndexError: Its page cannot be had.
        """
        record = await self._index.record(project)
        return None if record is None else await self._choose(record)

    async def _mirror(self, project: str) -> None:
        try:
            selection = await self._select(project)
            if self._dry:
                self.report.results[project] = _as_planned(await self._puller.plan(selection))
            else:
                self.report.results[project] = await self._puller.pull(selection)
        except SimpleIndexError as error:
            self.report.unread[project] = error.message

    async def _select(self, project: str) -> Selection:
        if not self._rules.concerning(project):
            return Selection(project=project)
        record = await self._index.record(project)
        if record is None:
            self.report.gone.append(project)
            return Selection(project=project)
        choice = await self._choose(record)
        if choice.unmet:
            self.report.unmet[project] = choice.unmet
        elif record.page.files and not choice.files:
            self.report.empty.append(project)
        return Selection(project=project, files=choice.files, page=record.page)

    async def _choose(self, record: PageRecord) -> Choice:
        """Choose files, with the sizes that the page lacks where a rule limits them."""
        sizes = {name: file.size for name, file in record.known.items() if file.size is not None}
        first_seen = {name: file.first_seen for name, file in record.known.items()}
        while True:
            learned = Learned(first_seen=first_seen, sizes=sizes)
            choice = choose(record.page, self._rules, self._now, learned)
            if not choice.unsized:
                return choice
            for remote in choice.unsized:
                sizes[remote.file.filename] = await self._size(record.page.project, remote)

    async def _size(self, project: str, remote: RemoteFile) -> int:
        """Return the size that the source states when the file is requested; 0 if it states none."""
        stream = await self._index.fetch(project, remote.url)
        if stream is None:
            return 0
        size = stream.total if stream.total is not None else stream.length
        stream.abort()
        return size or 0

    async def _remove(self) -> None:
        removable = {name: result.removable for name, result in self.report.results.items()}
        number, total = sum(map(len, removable.values())), sum(self._copies.values())
        if self._max_delete.forbids(number, total):
            self.report.withheld = (
                f"{number} of {total} files would go, and max-delete allows {self._max_delete}: nothing was"
                f" removed. If they may go, run it once with --max-delete {number}."
            )
            return
        for project, names in sorted(removable.items()):
            failures = () if self._dry or not names else await self._puller.remove(project, names)
            failed = {failure.name for failure in failures}
            self.report.failures += failures
            self.report.removed += (name for name in names if name not in failed)


def _as_planned(plan: ProjectPlan) -> ProjectResult:
    """Return what carrying out a plan would result in, if all goes well."""
    adopted = tuple(file.name for file, _remote in plan.adopt)
    return ProjectResult(
        project=plan.project,
        placed=tuple(remote.file.filename for remote in plan.place),
        adopted=adopted,
        unchanged=(*plan.unchanged, *adopted),
        removable=plan.removable,
        deleted=plan.deleted,
        size=sum(remote.file.size or 0 for remote in plan.place),
        refused=plan.refused,
        failures=plan.failures,
    )
