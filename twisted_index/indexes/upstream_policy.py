"""
Upstream policy: which names are requested from an upstream, and which of its files are visible.

Names outside `upstream-only` and denied names are never requested. Denied versions, sdists, and files
younger than the cool-down are hidden everywhere: on the page, in its versions, as bytes, as metadata. Denials
hide copies in the folder too. Denials and exceptions may end; no timer notices that, but the snapshots that
they have shaped end with them. Out of scope: `local-only`, and names that the folder claims (see
`name_ownership`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.config.policy_entry import PolicyEntry
from twisted_index.indexes.composite import CompositeSource, explain, only_while, snapshot_of
from twisted_index.interfaces import Explanation, IExplains, ISource, Problem, Snapshot
from twisted_index.simple.explanation import HiddenFile, Obstacle
from twisted_index.simple.name_patterns import VersionRule, name_matcher
from twisted_index.simple.names import DistributionType, InvalidFilename, canonical_version, parse_filename

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from typing import TypeAlias

    from twisted_index.config.settings import UpstreamPolicy
    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar

    #: Takes a project and a file name; returns when it was first seen, seconds since the epoch, or None.
    FirstSeen: TypeAlias = Callable[[str, str], float | None]


_log = Logger()

#: Number of projects with hidden files to report.
_MAX_REPORTED = 1000


class PolicyRule(NamedTuple):
    """An entry of the policy, ready to be applied."""

    rule: VersionRule
    entry: PolicyEntry

    @classmethod
    def all_of(cls, entries: Iterable[PolicyEntry]) -> tuple[PolicyRule, ...]:
        """Prepare the entries of a setting."""
        return tuple(cls(VersionRule.parse(entry.match), entry) for entry in entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPolicy:
    """
    The policy for one project at one time.

    Attributes:
        project: The normalized project name.
        denials: Denials of the project, or of some of its versions.
        exceptions: Exceptions from the cool-down for some of its versions.
        cooldown: Seconds; 0 for none.
        no_sdists: Whether sdists are hidden.
        since: The time, in seconds since the epoch, as all times here.
        until: The next time at which a denial or an exception ends; infinite if there is none.
        timed: Whether there are any that end, or have ended.
    """

    project: str
    denials: tuple[PolicyRule, ...] = ()
    exceptions: tuple[PolicyRule, ...] = ()
    cooldown: float = 0.0
    no_sdists: bool = False
    since: float = 0.0
    until: float = math.inf
    timed: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is hidden, at any time."""
        return not (self.denials or self.cooldown or self.no_sdists or self.timed)

    @property
    def denial(self) -> PolicyEntry | None:
        """The denial of the whole project; None without one."""
        return next((denial.entry for denial in self.denials if denial.rule.versions is None), None)

    def denial_of(self, version: str) -> PolicyEntry | None:
        """Return the denial of a version; None without one."""
        return next((one.entry for one in self.denials if one.rule.covers(version, unclear=True)), None)

    def cools_down(self, version: str) -> bool:
        """Return whether files of a version are subject to the cool-down."""
        return bool(self.cooldown) and not any(
            one.rule.covers(version, unclear=False) for one in self.exceptions
        )

    def hides_kind(self, file: File) -> bool:
        """Return whether files of this kind are hidden."""
        return self.no_sdists and not _is_wheel(file, self.project)

    def verdict(
        self, file: File, first_seen: float | None
    ) -> PolicyEntry | Literal[Obstacle.NO_SDISTS] | float:
        """
        Return what the policy says of a file at its time.

        Args:
            file: The file on the upstream's page.
            first_seen: Used if the upstream gives no upload time.

        Returns:
            The denial that hides it, the rule that hides its kind, or the time from which it is visible.
        """
        denial = self.denial_of(file.version)
        if denial is not None:
            return denial
        if self.hides_kind(file):
            return Obstacle.NO_SDISTS
        return self.visible_from(file, first_seen, self.since)

    def visible_from(self, file: File, first_seen: float | None, now: float) -> float:
        """
        Return the time at which the cool-down of a file ends.

        Args:
            file: The file on the upstream's page.
            first_seen: Used if the upstream gives no upload time.
            now: The current time, for files of unknown age.

        Returns:
            Minus infinity without a cool-down for its version.
        """
        if not self.cools_down(file.version):
            return -math.inf
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
        held: The files hidden by the cool-down only; None without any.
        denied: Number of files hidden by each denial.
        since: The time of filtering.
        until: The end of the next cool-down, denial or exception; infinite if there is none.
    """

    names: frozenset[str]
    held: _Held | None
    denied: dict[PolicyEntry, int]
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


@implementer(ISource, IExplains)
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
        self._denials = PolicyRule.all_of(policy.upstream_deny)
        self._cooldown = policy.cooldown
        self._exceptions = PolicyRule.all_of(policy.cooldown_except if policy.cooldown else ())
        self._no_sdists = policy.no_sdists
        self._pages: IdentityMemo[ProjectPage] = IdentityMemo()
        self._copies: IdentityMemo[ProjectPage] = IdentityMemo()
        self._reported = LRU[str, "tuple[Problem, ...]"](_MAX_REPORTED)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Return the source's list; that of an upstream is empty."""
        return self._source.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the page without hidden files."""
        if not self._is_allowed(project):
            return Snapshot(value=None, is_current=_always)
        rules = self._rules(project)
        if rules.denial is not None:
            return self._absence(rules, rules.denial)
        full = self._source.project_page(project)
        if rules.empty:
            return full
        return self._apply(rules, full) if isinstance(full, Snapshot) else self._apply_later(project, full)

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open a file unless it is hidden."""
        if not self._is_allowed(project):
            return None
        if self._rules(project).empty:
            return self._source.open_file(project, filename, sidecar)
        page = self.project_page(project)
        if isinstance(page, Snapshot) and not _lists(page, filename):
            return None
        return self._open(page, project, filename, sidecar)

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        if not self._is_allowed(project):
            absent: Snapshot[ProjectPage | None] = Snapshot(value=None, is_current=_always)
            return Explanation(
                snapshot=absent,
                sources=self.unasked("was not asked, as upstream-only does not have the name"),
            )
        rules = self._rules(project)
        if rules.denial is not None:
            why = f"was not asked: the name is denied by {_entry_in_words(rules.denial)}".rstrip(".")
            return Explanation(snapshot=self._absence(rules, rules.denial), sources=self.unasked(why))
        full = await explain(self._source, project)
        rules = self._rules(project)
        if full.snapshot is None or rules.empty:
            return full
        return full.narrowed(self._apply(rules, full.snapshot), lambda file: self._hidden(rules, file))

    def hidden_copy(self, project: str, file: File) -> HiddenFile:
        """Return what hides a copy that is not among `visible_copies`."""
        return self._hidden(replace(self._rules(project), cooldown=0.0, no_sdists=False), file)

    def _hidden(self, rules: ProjectPolicy, file: File) -> HiddenFile:
        verdict = rules.verdict(file, self._first_seen_at(rules, file))
        obstacle, until = Obstacle.COOLDOWN, None
        if isinstance(verdict, PolicyEntry):
            obstacle, until = Obstacle.DENIED, verdict.until
            reason = f"It is denied by {_entry_in_words(verdict)}"
        elif verdict == -math.inf:
            reason = "The rule that hid it has just ended."
        elif isinstance(verdict, float):
            until = datetime.fromtimestamp(verdict, UTC)
            reason = f"It is held back by the cool-down until {until:%Y-%m-%d %H:%M UTC}."
        else:
            obstacle, reason = verdict, "It is an sdist, and no-sdists hides these."
        return HiddenFile(
            filename=file.filename, version=file.version, obstacle=obstacle, reason=reason, until=until
        )

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

    def visible_copies(self, copies: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        """
        Return a page of copies without the files that are denied.

        Cool-down and kinds do not apply to them: it was decided elsewhere to place them.
        """
        page = copies.value
        if page is None:
            return copies
        rules = replace(self._rules(page.name), cooldown=0.0, no_sdists=False)
        if rules.denial is not None:
            absence = self._absence(rules, rules.denial)
            return replace(absence, is_current=lambda: absence.is_current() and copies.is_current())
        return (
            copies
            if rules.empty
            else self._show(rules, copies, page, self._filter(rules, page), self._copies)
        )

    def _rules(self, project: str) -> ProjectPolicy:
        """Return the policy for a project now."""
        now = self._now()
        denials = [one for one in self._denials if one.rule.matches(project)]
        exceptions = [one for one in self._exceptions if one.rule.matches(project)]
        ends = [one.entry.ends for one in (*denials, *exceptions)]
        active = tuple(one for one in exceptions if now < one.entry.ends)
        exempt = any(one.rule.versions is None for one in active)
        return ProjectPolicy(
            project=project,
            denials=tuple(one for one in denials if now < one.entry.ends),
            exceptions=active,
            cooldown=0.0 if exempt else self._cooldown,
            no_sdists=self._no_sdists,
            since=now,
            until=min((end for end in ends if now < end), default=math.inf),
            timed=any(end < math.inf for end in ends),
        )

    def _absence(self, rules: ProjectPolicy, denial: PolicyEntry) -> Snapshot[ProjectPage | None]:
        """
        Return the absence of a project that is denied as a whole.

        It is not reported: clients that make up names for a pattern would drive all else out of the report.
        """
        return Snapshot(
            value=None,
            is_current=lambda: rules.since <= self._now() < rules.until,
            absence=f"It is denied by upstream-deny{denial.terms}",
        )

    async def _apply_later(
        self, project: str, full: Awaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        snapshot = await full
        # By now an exception may have ended.
        return self._apply(self._rules(project), snapshot)

    def _apply(
        self, rules: ProjectPolicy, full: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        page = full.value
        if page is None:
            return full
        filtered = self._filter(rules, page)
        self._note(rules.project, filtered)
        return self._show(rules, full, page, filtered, self._pages)

    def _show(
        self,
        rules: ProjectPolicy,
        full: Snapshot[ProjectPage | None],
        page: ProjectPage,
        filtered: _FilteredFiles,
        pages: IdentityMemo[ProjectPage],
    ) -> Snapshot[ProjectPage | None]:
        """Make the snapshot of the visible files of a page."""
        value = pages.get(
            rules.project,
            (page,),
            lambda: _page_of(page, filtered.names, rules),
            also=(filtered.names, rules.denials, rules.exceptions, rules.cooldown),
        )
        return Snapshot(
            value=value,
            is_current=lambda: filtered.since <= self._now() < filtered.until and full.is_current(),
            cache_status=full.cache_status,
        )

    def _note(self, project: str, filtered: _FilteredFiles) -> None:
        """Record hidden files; log them if no file of the project is visible."""
        problems = [_denial_problem(project, files, denial) for denial, files in filtered.denied.items()]
        if filtered.held is not None:
            advice = "Wait, or add the project to cooldown-except."
            problems.append(Problem(path=f"{project}/", reason=filtered.held.sentence, advice=advice))
        if self._report(project, tuple(problems)) and not filtered.names:
            _log.warn(
                "{project} has no visible files for now: {held}",
                project=project,
                held=" ".join(problem.reason for problem in problems),
            )

    def _report(self, project: str, problems: tuple[Problem, ...]) -> bool:
        """Replace the problems of a project; return whether there are any, and other ones than before."""
        if not problems:
            self._reported.pop(project)
            return False
        changed = self._reported.peek(project) != problems
        self._reported.put(project, problems)
        return changed

    def held_back(self) -> Iterator[Problem]:
        """Yield the problems of projects with denied files, or files held back by the cool-down."""
        for _project, problems in self._reported.items():
            yield from problems

    def _filter(self, rules: ProjectPolicy, page: ProjectPage) -> _FilteredFiles:
        now = rules.since
        names: list[str] = []
        due: list[float] = []
        denied: dict[PolicyEntry, int] = {}
        undated = False
        for file in page.files:
            verdict = rules.verdict(file, self._first_seen_at(rules, file))
            if isinstance(verdict, float):
                if verdict > now:
                    due.append(verdict)
                    undated |= file.upload_time is None
                else:
                    names.append(file.filename)
            elif isinstance(verdict, PolicyEntry):
                denied[verdict] = denied.get(verdict, 0) + 1
        held = _Held(len(due), undated, min(due)) if due else None
        return _FilteredFiles(frozenset(names), held, denied, now, min(rules.until, *due, math.inf))

    def _first_seen_at(self, rules: ProjectPolicy, file: File) -> float | None:
        if file.upload_time is not None or not rules.cooldown:
            return None
        return self._first_seen(rules.project, file.filename)


def _entry_in_words(denial: PolicyEntry) -> str:
    return f"the entry {denial.match!r} of upstream-deny{denial.terms}"


def _denial_problem(project: str, files: int, denial: PolicyEntry) -> Problem:
    number = "1 file is" if files == 1 else f"{files} files are"
    return Problem(
        path=f"{project}/",
        reason=f"{number} denied by {_entry_in_words(denial)}",
        advice="To allow what it denies, change the entry.",
    )


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
        if release in upstream_releases or rules.denial_of(version) is not None:
            return False
        # The age of a version without files is unknown.
        return not rules.cools_down(version)

    return replace(page, files=files, versions=tuple(filter(is_visible, page.versions)))


def _is_wheel(file: File, project: str) -> bool:
    try:
        return parse_filename(file.filename, project).kind is DistributionType.WHEEL
    except InvalidFilename:
        return False


def _always() -> bool:
    return True
