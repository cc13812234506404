"""
What of an upstream is there for clients.

Names, versions and kinds may be left out, and by the cool-down every file that has not been public
for a while. What is left out is left out everywhere: on the page, among its versions, as bytes, as
metadata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted_index.interfaces import ISource, Snapshot
from twisted_index.simple.names import InvalidFilename, Kind, parse_filename, version_key
from twisted_index.simple.patterns import Denials, name_test
from twisted_index.sources.derived import Derived
from twisted_index.sources.wrapping import Wrapping, answer, asked, only_while

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from twisted_index.interfaces import Eventually, FileBody
    from twisted_index.settings import Policy
    from twisted_index.simple.model import Companion, File, ProjectList, ProjectPage
    from twisted_index.simple.patterns import Denial

    #: Says since when a file of a project is known, in seconds since the epoch; None if it is not.
    FirstSeen: TypeAlias = Callable[[str, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What a policy says of one project that is not wholly left out.

    Attributes:
        project: A normalized name.
        denials: Of some of its versions.
        cooldown: Seconds; 0 for none.
        no_sdists: Whether sdists are left out.
    """

    project: str
    denials: tuple[Denial, ...] = ()
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

    def due(self, file: File, first_seen: float | None, now: float) -> float:
        """
        Say from when on a file is there.

        Args:
            file: As the upstream tells of it.
            first_seen: Counts if the upstream does not say when it was uploaded.
            now: Counts if nobody knows.

        Returns:
            Seconds since the epoch, as all times here.
        """
        if file.upload_time is not None:
            since = file.upload_time.timestamp()
        else:
            since = now if first_seen is None else first_seen
        return since + self.cooldown


@dataclass(frozen=True, slots=True)
class _Sifted:
    """
    Which files of a page are there, and how long that stays so.

    Attributes:
        names: Of the files that are there.
        since: The time at which it was looked at: seconds since the epoch.
        until: When the next file comes of age; infinite if none does.
    """

    names: frozenset[str]
    since: float
    until: float


@implementer(ISource)
class FilteredSource(Wrapping):
    """
    A source without what a policy leaves out of it.

    Args:
        source: Not asked for names that are left out as a whole.
        policy: What it says of upstreams; `local_only` and `also_upstream` are for `chain`.
        now: Tells the time: seconds since the epoch.
        first_seen: Asked after the source has told of the file.
    """

    def __init__(
        self,
        source: Any,
        policy: Policy,
        now: Callable[[], float],
        first_seen: FirstSeen = lambda _project, _filename: None,
    ) -> None:
        super().__init__(source)
        self._source = source
        self._now = now
        self._first_seen = first_seen
        self._is_named = name_test(policy.upstream_only) if policy.upstream_only else lambda _name: True
        self._denials = Denials.parse(policy.upstream_deny)
        self._cooldown = policy.cooldown
        self._is_excepted = name_test(policy.cooldown_except)
        self._no_sdists = policy.no_sdists
        self._pages: Derived[ProjectPage] = Derived()

    def project_list(self) -> Eventually[Snapshot[ProjectList]]:
        """Say what the source says; an upstream names none."""
        found: Eventually[Snapshot[ProjectList]] = self._source.project_list()
        return found

    def project_page(self, project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """Give the page without what is left out."""
        if self._is_left_out(project):
            return Snapshot(value=None, still_true=_always)
        rules = self._rules(project)
        found: Eventually[Snapshot[ProjectPage | None]] = self._source.project_page(project)
        if rules.empty:
            return found
        return self._filtered(rules, found) if isinstance(found, Snapshot) else self._later(rules, found)

    def open_file(
        self, project: str, filename: str, companion: Companion | None = None
    ) -> Eventually[FileBody | None]:
        """Open a file that the page without what is left out lists."""
        if self._is_left_out(project):
            return None
        if self._rules(project).empty:
            body: Eventually[FileBody | None] = self._source.open_file(project, filename, companion)
            return body
        page = self.project_page(project)
        if isinstance(page, Snapshot) and not _lists(page, filename):
            return None
        return self._open(page, project, filename, companion)

    async def _open(
        self,
        found: Eventually[Snapshot[ProjectPage | None]],
        project: str,
        filename: str,
        companion: Companion | None,
    ) -> FileBody | None:
        page: Snapshot[ProjectPage | None] = await answer(found)
        if not _lists(page, filename):
            return None
        body: FileBody | None = await asked(self._source.open_file, project, filename, companion)
        return None if body is None else only_while(body, page.still_true)

    def _is_left_out(self, project: str) -> bool:
        return not self._is_named(project) or self._denials.whole(project)

    def _rules(self, project: str) -> Rules:
        return Rules(
            project=project,
            denials=self._denials.of(project),
            cooldown=0.0 if self._is_excepted(project) else self._cooldown,
            no_sdists=self._no_sdists,
        )

    async def _later(
        self, rules: Rules, found: Awaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        return self._filtered(rules, await found)

    def _filtered(self, rules: Rules, whole: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        page = whole.value
        if page is None:
            return whole
        sifted = self._sift(rules, page)
        value = self._pages.of(
            rules.project, (page,), lambda: _page_of(page, sifted.names, rules), also=sifted.names
        )
        return Snapshot(
            value=value,
            still_true=lambda: sifted.since <= self._now() < sifted.until and whole.still_true(),
            cache_status=whole.cache_status,
        )

    def _sift(self, rules: Rules, page: ProjectPage) -> _Sifted:
        now, until, names = self._now(), math.inf, []
        for file in page.files:
            if rules.leaves_out(file):
                continue
            due = rules.due(file, self._known_since(rules, file), now) if rules.cooldown else 0.0
            if due > now:
                until = min(until, due)
            else:
                names.append(file.filename)
        return _Sifted(frozenset(names), now, until)

    def _known_since(self, rules: Rules, file: File) -> float | None:
        return None if file.upload_time is not None else self._first_seen(rules.project, file.filename)


def _lists(page: Snapshot[ProjectPage | None], filename: str) -> bool:
    return page.value is not None and any(file.filename == filename for file in page.value.files)


def _page_of(page: ProjectPage, names: frozenset[str], rules: Rules) -> ProjectPage:
    """Make the page of the files that are there."""
    files = tuple(file for file in page.files if file.filename in names)
    there = {version_key(file.version) for file in files}
    had_files = {version_key(file.version) for file in page.files}

    def stays(version: str) -> bool:
        key = version_key(version)
        if key in there:
            return True
        # Nobody knows how old a version without files is.
        return key not in had_files and not rules.cooldown and not rules.forbid(version)

    return replace(page, files=files, versions=tuple(filter(stays, page.versions)))


def _is_wheel(file: File, project: str) -> bool:
    try:
        return parse_filename(file.filename, project).kind is Kind.WHEEL
    except InvalidFilename:
        return False


def _always() -> bool:
    return True
