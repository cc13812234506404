"""
Upstream policy: hides names, versions and kinds of files, and by the cool-down young files.

A hidden file is hidden everywhere: on the page, among its versions, as bytes, as metadata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.indexes.composite import CompositeSource, answer, only_while
from twisted_index.interfaces import ISource, Problem, Snapshot
from twisted_index.simple.name_patterns import DenyRules, name_matcher
from twisted_index.simple.names import DistributionType, InvalidFilename, canonical_version, parse_filename

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import TypeAlias

    from twisted_index.config.settings import UpstreamPolicy
    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar
    from twisted_index.simple.name_patterns import DenyRule

    #: Says since when a file of a project is known, in seconds since the epoch; None if it is not.
    FirstSeen: TypeAlias = Callable[[str, str], float | None]


_log = Logger()

#: Projects with files that are held back, of which it can be told.
_MOST_HELD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPolicy:
    """
    What a policy says of one project that is not wholly left out.

    Attributes:
        project: A normalized name.
        denials: Of some of its versions.
        cooldown: Seconds; 0 for none.
        no_sdists: Whether sdists are left out.
    """

    project: str
    denials: tuple[DenyRule, ...] = ()
    cooldown: float = 0.0
    no_sdists: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is left out."""
        return not (self.denials or self.cooldown or self.no_sdists)

    def forbid(self, version: str) -> bool:
        """Tell whether a version is denied."""
        return any(denial.forbids(version) for denial in self.denials)

    def leaves_out(self, file: File) -> bool:
        """Tell whether a file is left out for good."""
        return self.forbid(file.version) or (self.no_sdists and not _is_wheel(file, self.project))

    def visible_from(self, file: File, first_seen: float | None, now: float) -> float:
        """
        Say from when on a file is there.

        Args:
            file: As the upstream tells of it.
            first_seen: Counts if the upstream does not say when it was uploaded.
            now: The clock, for files of unknown age.

        Returns:
            Seconds since the epoch, as all times here.
        """
        if file.upload_time is not None:
            since = file.upload_time.timestamp()
        else:
            since = now if first_seen is None else first_seen
        return since + self.cooldown


@dataclass(frozen=True, slots=True)
class _FilteredFiles:
    """
    Which files of a page are there, and how long that stays so.

    Attributes:
        names: Of the files that are there.
        held: How many are not, only because they are too young.
        undated: Whether only we know their age.
        since: The time at which it was looked at: seconds since the epoch.
        until: When the next file comes of age; infinite if none does.
    """

    names: frozenset[str]
    held: int
    undated: bool
    since: float
    until: float


class _Held(NamedTuple):
    """How many files of a project are too young, whether their upstream dates them, and until when."""

    files: int
    undated: bool
    until: float

    @property
    def sentence(self) -> str:
        """All that in words."""
        number = "1 file is" if self.files == 1 else f"{self.files} files are"
        until = datetime.fromtimestamp(self.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        undated = (
            " The upstream does not say when they were uploaded, so that they count as new from when they"
            " were first seen here."
            if self.undated
            else ""
        )
        return f"{number} held back by the cool-down, until {until} the first of them.{undated}"


@implementer(ISource)
class PolicySource(CompositeSource):
    """
    A source without what a policy leaves out of it.

    Args:
        source: Not asked for names that are left out as a whole.
        policy: What it says of upstreams; `local_only` and `merge_upstream` are for `name_ownership`.
        now: Tells the time: seconds since the epoch.
        first_seen: Asked after the source has told of the file.
    """

    def __init__(
        self,
        source: ISource,
        policy: UpstreamPolicy,
        now: Callable[[], float],
        first_seen: FirstSeen = lambda _project, _filename: None,
    ) -> None:
        super().__init__(source)
        self._source = source
        self._now = now
        self._first_seen = first_seen
        self._is_named = name_matcher(policy.upstream_only) if policy.upstream_only else lambda _name: True
        self._denials = DenyRules.parse(policy.upstream_deny)
        self._cooldown = policy.cooldown
        self._is_excepted = name_matcher(policy.cooldown_except)
        self._no_sdists = policy.no_sdists
        self._pages: IdentityMemo[ProjectPage] = IdentityMemo()
        self._held = LRU[str, _Held](_MOST_HELD)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Say what the source says; an upstream names none."""
        return self._source.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Give the page without what is left out."""
        if self._is_left_out(project):
            return Snapshot(value=None, is_current=_always)
        rules = self._rules(project)
        found = self._source.project_page(project)
        if rules.empty:
            return found
        return self._filtered(rules, found) if isinstance(found, Snapshot) else self._later(rules, found)

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open a file that the page without what is left out lists."""
        if self._is_left_out(project):
            return None
        if self._rules(project).empty:
            return self._source.open_file(project, filename, sidecar)
        page = self.project_page(project)
        if isinstance(page, Snapshot) and not _lists(page, filename):
            return None
        return self._open(page, project, filename, sidecar)

    async def _open(
        self,
        found: MaybeAwaitable[Snapshot[ProjectPage | None]],
        project: str,
        filename: str,
        sidecar: Sidecar | None,
    ) -> FileBody | None:
        page = await answer(found)
        if not _lists(page, filename):
            return None
        body = await result_of(self._source.open_file, project, filename, sidecar)
        return None if body is None else only_while(body, page.is_current)

    def _is_left_out(self, project: str) -> bool:
        return not self._is_named(project) or self._denials.denies_project(project)

    def _rules(self, project: str) -> ProjectPolicy:
        return ProjectPolicy(
            project=project,
            denials=self._denials.for_project(project),
            cooldown=0.0 if self._is_excepted(project) else self._cooldown,
            no_sdists=self._no_sdists,
        )

    async def _later(
        self, rules: ProjectPolicy, found: Awaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        return self._filtered(rules, await found)

    def _filtered(
        self, rules: ProjectPolicy, whole: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        page = whole.value
        if page is None:
            return whole
        sifted = self._sift(rules, page)
        self._note(rules.project, sifted)
        value = self._pages.get(
            rules.project, (page,), lambda: _page_of(page, sifted.names, rules), also=sifted.names
        )
        return Snapshot(
            value=value,
            is_current=lambda: sifted.since <= self._now() < sifted.until and whole.is_current(),
            cache_status=whole.cache_status,
        )

    def _note(self, project: str, sifted: _FilteredFiles) -> None:
        """Remember what is held back, and say it in the log if there is nothing else."""
        if not sifted.held:
            self._held.pop(project)
            return
        held = _Held(sifted.held, sifted.undated, sifted.until)
        if self._held.peek(project) == held:
            return
        self._held.put(project, held)
        if not sifted.names:
            _log.warn("There is no file of {project} for now: {held}", project=project, held=held.sentence)

    def held_back(self) -> Iterator[Problem]:
        """Say of which projects the cool-down holds files back."""
        for project, held in self._held.items():
            advice = "Wait, or name the project in cooldown-except."
            yield Problem(path=f"{project}/", reason=held.sentence, advice=advice)

    def _sift(self, rules: ProjectPolicy, page: ProjectPage) -> _FilteredFiles:
        now, until, names, held, undated = self._now(), math.inf, [], 0, False
        for file in page.files:
            if rules.leaves_out(file):
                continue
            due = rules.visible_from(file, self._known_since(rules, file), now) if rules.cooldown else 0.0
            if due > now:
                until = min(until, due)
                held += 1
                undated |= file.upload_time is None
            else:
                names.append(file.filename)
        return _FilteredFiles(frozenset(names), held, undated, now, until)

    def _known_since(self, rules: ProjectPolicy, file: File) -> float | None:
        return None if file.upload_time is not None else self._first_seen(rules.project, file.filename)


def _lists(page: Snapshot[ProjectPage | None], filename: str) -> bool:
    return page.value is not None and any(file.filename == filename for file in page.value.files)


def _page_of(page: ProjectPage, names: frozenset[str], rules: ProjectPolicy) -> ProjectPage:
    """Make the page of the files that are there."""
    files = tuple(file for file in page.files if file.filename in names)
    there = {canonical_version(file.version) for file in files}
    had_files = {canonical_version(file.version) for file in page.files}

    def stays(version: str) -> bool:
        release = canonical_version(version)
        if release in there:
            return True
        # The age of a version without files is unknown.
        return release not in had_files and not rules.cooldown and not rules.forbid(version)

    return replace(page, files=files, versions=tuple(filter(stays, page.versions)))


def _is_wheel(file: File, project: str) -> bool:
    try:
        return parse_filename(file.filename, project).kind is DistributionType.WHEEL
    except InvalidFilename:
        return False


def _always() -> bool:
    return True
