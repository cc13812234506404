"""
What a promotion takes from one index into another, and every reason why it may not. Blocking.

All files of all releases are held against all rules before anything is done, so that one answer names
everything that is in the way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.publishing_rules import CLOSED, check_deleted, check_inherited_tombstones
from twisted_index.errors import BadRequest, Conflict, PromotionRefused, RefusedPart, SimpleIndexError
from twisted_index.simple.model import Sidecar, Status
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from twisted_index.backends.layout.facts import InspectionResult
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.simple.names import Distribution

_COMING_ALONG = (Sidecar.SIGNATURE, Sidecar.PROVENANCE)


class PromotionPlace(Protocol):
    """An index that releases come from or go to; all methods block."""

    @property
    def shown(self) -> str:
        """Its name in a sentence."""

    @property
    def way_on(self) -> str:
        """What to do about an unfinished promotion that is in the way."""

    def begin(self) -> None:
        """Look anew at what is under way."""

    def is_part_of(self, source: Self) -> bool:
        """Return whether files would come to where they are."""

    def read_own(self, project: str) -> Inventory:
        """Read a project without what the index inherits."""

    def read_line(self, project: str) -> Inventory:
        """Read a project with what the index inherits, and with what is not to be seen yet."""

    def folder_for(self, inventory: Inventory) -> bytes:
        """Return the folder that files of a project go to."""

    def naming(self, distribution: Distribution) -> str:
        """Return the unfinished promotion that has a name, in any spelling; empty if there is none."""

    def require_unfinished(self, promotion: str) -> None:
        """Fail if a promotion may come to its end in a moment."""

    def inspect(self, entry: ScannedFile) -> InspectionResult:
        """Inspect a file, not to its end; its digest is empty."""

    def sha256_of(self, path: bytes) -> str | None:
        """Read the digest of a file; None if it is gone."""

    def is_taken(self, path: bytes) -> bool:
        """Return whether anything has a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """
    A file that is promoted.

    Attributes:
        entry: The file in the source.
        facts: What is known of it; without a digest if it was never read to its end.
        sidecars: Paths of what comes along, by suffix.
        folder: The folder in the target that it goes to.
        deleted: The lines there by which the same bytes were deleted.
        is_there: Whether the target has the same bytes under this name already.
    """

    entry: ScannedFile
    facts: FileFacts
    sidecars: dict[str, bytes]
    folder: bytes
    deleted: tuple[bytes, ...] = ()
    is_there: bool = False

    @property
    def name(self) -> str:
        """The file name."""
        return self.entry.distribution.filename

    @property
    def project(self) -> str:
        """The normalized project name."""
        return self.entry.distribution.project


@dataclass(slots=True)
class PromotionPlan:
    """
    The result of an examination.

    Attributes:
        files: All files of all releases, also those that are there.
        refusals: Everything that is in the way.
    """

    files: list[PlannedFile] = field(default_factory=list)
    refusals: list[RefusedPart] = field(default_factory=list)

    def check(self) -> None:
        """Raise `PromotionRefused` if anything is in the way."""
        if self.refusals:
            raise PromotionRefused(self.refusals)


def releases_in(words: Iterable[str]) -> tuple[str, ...]:
    """
    Parse releases: `PROJECT==VERSION`, each once, sorted.

    Raises:
        BadRequest: A word is something else.
    """
    releases = set()
    for word in words:
        project, equals, version = (part.strip() for part in word.partition("=="))
        if not (equals and version and is_valid_name(project)) or any(map(str.isspace, version)):
            shown = word[:100] if word.isascii() and word.isprintable() else ascii(word[:100])
            raise BadRequest(f"{shown!r} is not PROJECT==VERSION.")
        releases.add(f"{normalize(project)}=={version}")
    if not releases:
        raise BadRequest("Name at least one release, as PROJECT==VERSION.")
    return tuple(sorted(releases))


class PromotionRules:
    """
    Holds releases against the rules.

    Args:
        source: Where the releases are; only what is its own is promoted.
        target: Where they shall be.
        releases: As `PROJECT==VERSION`, the project normalized.
        yanked: Whether yanked files come along, with their yanks.
        facts_of: Returns what is known of a file of either index under its present size and times.
        routed_away: Returns True for a project that the target would not serve from its folder.
        may_create: Returns whether a project may be promoted that is new in the target.
        refusals: What is in the way besides.
    """

    def __init__(
        self,
        source: PromotionPlace,
        target: PromotionPlace,
        releases: Sequence[str],
        *,
        yanked: bool = False,
        facts_of: Callable[[ScannedFile], FileFacts | None] = lambda _entry: None,
        routed_away: Callable[[str], bool] = lambda _project: False,
        may_create: Callable[[str], bool] = lambda _project: True,
        refusals: Iterable[RefusedPart] = (),
    ) -> None:
        self._refusals = tuple(refusals)
        self._source = source
        self._target = target
        self._releases = releases
        self._yanked = yanked
        self._facts_of = facts_of
        self._routed_away = routed_away
        self._may_create = may_create
        self._known: dict[ScannedFile, FileFacts] = {}

    def learn(self, entry: ScannedFile, facts: FileFacts) -> None:
        """Remember what was read of a file, so that it is not read again."""
        self._known[entry] = facts

    def run(self) -> PromotionPlan:
        """
        Examine all releases.

        Raises:
            LockHeld: Another promotion is just placing one of these files.
            Unavailable: A folder cannot be read.
        """
        plan = PromotionPlan(refusals=[*self._refusals])
        self._source.begin()
        self._target.begin()
        if self._target.is_part_of(self._source):
            plan.refusals.append(RefusedPart(name=self._target.shown, reason="It is the source itself."))
            return plan
        projects: dict[str, list[str]] = {}
        for release in self._releases:
            projects.setdefault(release.partition("==")[0], []).append(release)
        for project, releases in projects.items():
            self._examine_project(plan, project, releases)
        return plan

    def _examine_project(self, plan: PromotionPlan, project: str, releases: list[str]) -> None:
        try:
            source, target = self._source.read_own(project), self._target.read_line(project)
        except SimpleIndexError as error:
            plan.refusals.append(RefusedPart(name=project, reason=error.message))
            return
        for release in releases:
            found = list(self._files_of(plan, source, target, release))
            if not found and not any(refusal.name == release for refusal in plan.refusals):
                reason = f"There is no such release in the folder of {self._source.shown}."
                plan.refusals.append(RefusedPart(name=release, reason=reason))
            plan.files += [self._held_against_names(plan, planned, target) for planned in found]
        plan.refusals += self._held_against_project(project, target)

    # -- The source

    def _files_of(
        self, plan: PromotionPlan, source: Inventory, target: Inventory, release: str
    ) -> Iterator[PlannedFile]:
        """Yield the files of a release; of those that installers treat as the same, the served one."""
        if source.scan.status.status is Status.QUARANTINED:
            reason = f"It is quarantined in {self._source.shown}."
            plan.refusals.append(RefusedPart(name=release, reason=reason))
            return
        seen = set()
        for entry in source.of_version(release.partition("==")[2]):
            distribution = entry.distribution
            if source.is_hidden(entry) or distribution.identity in seen:
                continue
            seen.add(distribution.identity)
            reason = self._why_not(source, entry)
            if reason:
                plan.refusals.append(RefusedPart(name=distribution.filename, reason=reason))
            facts = self._facts(entry)
            if isinstance(facts, str):
                plan.refusals.append(RefusedPart(name=distribution.filename, reason=facts))
                continue
            yield PlannedFile(
                entry=entry,
                facts=facts,
                sidecars=self._sidecars(source, entry),
                folder=self._target.folder_for(target),
            )

    def _why_not(self, source: Inventory, entry: ScannedFile) -> str:
        name = entry.distribution.filename
        if self._source.naming(entry.distribution):
            return f"It is on its way into {self._source.shown} itself."
        if name in source.scan.yanked and not self._yanked:
            why = source.scan.yanked[name]
            return f"It is yanked{f': {why}' if why else ''}. Yanked files come along with --yanked only."
        return ""

    def _facts(self, entry: ScannedFile) -> FileFacts | str:
        """Return what is known of a file, or why it is not listed."""
        facts = self._known.get(entry) or self._facts_of(entry)
        if facts is None:
            # Its digest is taken while it is copied.
            result = self._source.inspect(entry)
            if not isinstance(result, FileFacts):
                return result.reason
            facts = replace(result, verified=False)
        self._known[entry] = facts
        return facts

    def _sidecars(self, source: Inventory, entry: ScannedFile) -> dict[str, bytes]:
        name = entry.distribution.filename
        documents = source.scan.documents.get(name, {})
        paths = {sidecar.value: documents[sidecar] for sidecar in _COMING_ALONG if sidecar in documents}
        if name in source.scan.yanked:
            paths |= dict.fromkeys([YANKED], source.sidecars_of(name, YANKED)[0])
        return paths

    # -- The target

    def _held_against_project(self, project: str, target: Inventory) -> Iterator[RefusedPart]:
        shown = self._target.shown
        if self._routed_away(project):
            yield RefusedPart(
                name=project,
                reason=f"The server's configuration routes it elsewhere, so {shown} would not serve it.",
            )
        status = target.scan.status.status
        if status in CLOSED:
            yield RefusedPart(
                name=project, reason=f"It is {status.value} in {shown} and accepts no new files."
            )
        if not target.is_owned and not self._may_create(project):
            yield RefusedPart(
                name=project,
                reason=f"It is new in {shown}, and you may not upload to it there.",
                is_forbidden=True,
            )

    def _held_against_names(
        self, plan: PromotionPlan, planned: PlannedFile, target: Inventory
    ) -> PlannedFile:
        distribution = planned.entry.distribution
        busy = self._target.naming(distribution)
        if busy:
            self._target.require_unfinished(busy)
            reason = f"The unfinished promotion {busy} has its name; {self._target.way_on}."
            plan.refusals.append(RefusedPart(name=planned.name, reason=reason))
            return planned
        tombstones = target.tombstones_of(distribution)
        existing = target.equivalents_of(distribution)
        if tombstones or existing:
            planned = self._with_digest(planned)
        try:
            check_inherited_tombstones(distribution, target)
            check_deleted(planned.name, tombstones, planned.facts.sha256)
        except Conflict as error:
            plan.refusals.append(RefusedPart(name=planned.name, reason=error.message))
        others = [entry for entry in existing if not self._is_equal(entry, planned)]
        if others:
            reason = f"{self._target.shown} has other bytes under this name."
            plan.refusals.append(RefusedPart(name=planned.name, reason=_sentence(reason)))
        own = [entry for entry in existing if entry.root not in target.owners and not others]
        if own and tombstones:
            reason = "It was deleted, and lies there nevertheless; remove its line from .deleted."
            plan.refusals.append(RefusedPart(name=planned.name, reason=reason))
        path = os.path.join(planned.folder, os.fsencode(planned.name))
        if not existing and self._target.is_taken(path):
            reason = "Something that is no file has its name in the target."
            plan.refusals.append(RefusedPart(name=planned.name, reason=reason))
        lines = tuple(line.line for line in tombstones if line.line)
        return replace(planned, deleted=lines, is_there=bool(own))

    def _with_digest(self, planned: PlannedFile) -> PlannedFile:
        """Take the digest of a file whose name is taken; it is not known of a file that was never read."""
        if planned.facts.sha256:
            return planned
        facts = replace(planned.facts, sha256=self._source.sha256_of(planned.entry.path) or "")
        self._known[planned.entry] = facts
        return replace(planned, facts=facts)

    def _is_equal(self, entry: ScannedFile, planned: PlannedFile) -> bool:
        if entry.key.size != planned.entry.key.size:
            return False
        facts = self._known.get(entry) or self._facts_of(entry)
        sha256 = facts.sha256 if facts is not None else self._target.sha256_of(entry.path)
        if facts is None and sha256 is not None:
            self._known[entry] = FileFacts(sha256=sha256)
        return sha256 == planned.facts.sha256


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
