"""
Upstream policy: which names are requested from an upstream, and which of its files are visible.

Names outside `upstream-only` and denied names are never requested. Denied versions, sdists, and files
younger than the cool-down are hidden everywhere: on the page, in its versions, as bytes, as metadata.
Out of scope: `local-only`, and names that the folder claims (see `name_ownership`).
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
from twisted_index.indexes.composite import CompositeSource, only_while, snapshot_of
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

    #: Takes a project and a file name; returns when it was first seen, seconds since the epoch, or None.
    FirstSeen: TypeAlias = Callable[[str, str], float | None]


_log = Logger()

#: Number of projects with held back files to report.
_MAX_HELD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPolicy:
    """
    The policy for one project that is not denied as a whole.

    Attributes:
        project: The normalized project name.
        denials: Denials of some of its versions.
        cooldown: Seconds; 0 for none.
        no_sdists: Whether sdists are hidden.
    """

    project: str
    denials: tuple[DenyRule, ...] = ()
    cooldown: float = 0.0
    no_sdists: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is hidden."""
        return not (self.denials or self.cooldown or self.no_sdists)

    def forbids(self, version: str) -> bool:
        """Return whether a version is denied."""
        return any(denial.forbids(version) for denial in self.denials)

    def leaves_out(self, file: File) -> bool:
        """Return whether a file is hidden permanently."""
        return self.forbids(file.version) or (self.no_sdists and not _is_wheel(file, self.project))

    def visible_from(self, file: File, first_seen: float | None, now: float) -> float:
        """
        Return the time at which the cool-down of a file ends.

        Args:
            file: The file on the upstream's page.
            first_seen: Used if the upstream gives no upload time.
            now: The current time, for files of unknown age.

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
    The visible files of a page, and for how long this holds.

    Attributes:
        names: Names of the visible files.
        held: Number of files hidden by the cool-down only.
        undated: Whether one of these has no upload time.
        since: The time of filtering: seconds since the epoch.
        until: The end of the next cool-down; infinite if there is none.
    """

    names: frozenset[str]
    held: int
    undated: bool
    since: float
    until: float


class _Held(NamedTuple):
    """Number of files held back, whether one has no upload time, and the end of the first cool-down."""

    files: int
    undated: bool
    until: float

    @property
    def sentence(self) -> str:
        """The public message."""
        number = "1 file is" if self.files == 1 else f"{self.files} files are"
        until = datetime.fromtimestamp(self.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        undated = (
            " Those without an upload time count as new from when this server first saw them."
            if self.undated
            else ""
        )
        return f"{number} held back by the cool-down; the first is released at {until}.{undated}"


@implementer(ISource)
class PolicySource(CompositeSource):
    """
    Applies a policy to a source.

    Args:
        source: Gets no request for hidden names.
        policy: The upstream policy; `local_only` and `merge_upstream` are applied by `name_ownership`.
        now: Returns the current time, seconds since the epoch.
        first_seen: Called once the source has listed the file.
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
        self._is_allowed = name_matcher(policy.upstream_only) if policy.upstream_only else lambda _name: True
        self._denials = DenyRules.parse(policy.upstream_deny)
        self._cooldown = policy.cooldown
        self._is_exempt = name_matcher(policy.cooldown_except)
        self._no_sdists = policy.no_sdists
        self._pages: IdentityMemo[ProjectPage] = IdentityMemo()
        self._held = LRU[str, _Held](_MAX_HELD)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Return the source's list; that of an upstream is empty."""
        return self._source.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the page without hidden files."""
        if self._is_blocked(project):
            return Snapshot(value=None, is_current=_always)
        rules = self._rules(project)
        full = self._source.project_page(project)
        if rules.empty:
            return full
        return self._apply(rules, full) if isinstance(full, Snapshot) else self._apply_later(rules, full)

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open a file unless it is hidden."""
        if self._is_blocked(project):
            return None
        if self._rules(project).empty:
            return self._source.open_file(project, filename, sidecar)
        page = self.project_page(project)
        if isinstance(page, Snapshot) and not _lists(page, filename):
            return None
        return self._open(page, project, filename, sidecar)

    async def _open(
        self,
        full: MaybeAwaitable[Snapshot[ProjectPage | None]],
        project: str,
        filename: str,
        sidecar: Sidecar | None,
    ) -> FileBody | None:
        page = await snapshot_of(full)
        if not _lists(page, filename):
            return None
        body = await result_of(self._source.open_file, project, filename, sidecar)
        return None if body is None else only_while(body, page.is_current)

    def _is_blocked(self, project: str) -> bool:
        return not self._is_allowed(project) or self._denials.denies_project(project)

    def _rules(self, project: str) -> ProjectPolicy:
        return ProjectPolicy(
            project=project,
            denials=self._denials.for_project(project),
            cooldown=0.0 if self._is_exempt(project) else self._cooldown,
            no_sdists=self._no_sdists,
        )

    async def _apply_later(
        self, rules: ProjectPolicy, full: Awaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        return self._apply(rules, await full)

    def _apply(
        self, rules: ProjectPolicy, full: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        page = full.value
        if page is None:
            return full
        filtered = self._filter(rules, page)
        self._note(rules.project, filtered)
        value = self._pages.get(
            rules.project, (page,), lambda: _page_of(page, filtered.names, rules), also=filtered.names
        )
        return Snapshot(
            value=value,
            is_current=lambda: filtered.since <= self._now() < filtered.until and full.is_current(),
            cache_status=full.cache_status,
        )

    def _note(self, project: str, filtered: _FilteredFiles) -> None:
        """Record held back files; log them if no file of the project is visible."""
        if not filtered.held:
            self._held.pop(project)
            return
        held = _Held(filtered.held, filtered.undated, filtered.until)
        if self._held.peek(project) == held:
            return
        self._held.put(project, held)
        if not filtered.names:
            _log.warn("{project} has no visible files for now: {held}", project=project, held=held.sentence)

    def held_back(self) -> Iterator[Problem]:
        """Yield a problem for each project with files held back by the cool-down."""
        for project, held in self._held.items():
            advice = "Wait, or add the project to cooldown-except."
            yield Problem(path=f"{project}/", reason=held.sentence, advice=advice)

    def _filter(self, rules: ProjectPolicy, page: ProjectPage) -> _FilteredFiles:
        now, until, names, held, undated = self._now(), math.inf, [], 0, False
        for file in page.files:
            if rules.leaves_out(file):
                continue
            due = rules.visible_from(file, self._first_seen_at(rules, file), now) if rules.cooldown else 0.0
            if due > now:
                until = min(until, due)
                held += 1
                undated |= file.upload_time is None
            else:
                names.append(file.filename)
        return _FilteredFiles(frozenset(names), held, undated, now, until)

    def _first_seen_at(self, rules: ProjectPolicy, file: File) -> float | None:
        return None if file.upload_time is not None else self._first_seen(rules.project, file.filename)


def _lists(page: Snapshot[ProjectPage | None], filename: str) -> bool:
    return page.value is not None and any(file.filename == filename for file in page.value.files)


def _page_of(page: ProjectPage, names: frozenset[str], rules: ProjectPolicy) -> ProjectPage:
    """Make the page of the visible files."""
    files = tuple(file for file in page.files if file.filename in names)
    visible = {canonical_version(file.version) for file in files}
    upstream_releases = {canonical_version(file.version) for file in page.files}

    def is_visible(version: str) -> bool:
        release = canonical_version(version)
        if release in visible:
            return True
        # The age of a version without files is unknown.
        return release not in upstream_releases and not rules.cooldown and not rules.forbids(version)

    return replace(page, files=files, versions=tuple(filter(is_visible, page.versions)))


def _is_wheel(file: File, project: str) -> bool:
    try:
        return parse_filename(file.filename, project).kind is DistributionType.WHEEL
    except InvalidFilename:
        return False


def _always() -> bool:
    return True
