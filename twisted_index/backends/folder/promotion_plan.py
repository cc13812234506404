"""
What a promotion takes from one index into another, and every reason why it may not. Blocking.

All files of all releases are held against all rules before anything is done, so that one answer names
everything that is in the way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.folder.root_set import owners_by_root
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.inventory import YANKED
from twisted_index.backends.layout.publishing_rules import CLOSED, check_deleted, check_inherited_tombstones
from twisted_index.errors import BadRequest, Conflict, PromotionRefused, RefusedPart, SimpleIndexError
from twisted_index.files.safe_open import sha256_of
from twisted_index.simple.model import Sidecar, Status
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile

_COMING_ALONG = (Sidecar.SIGNATURE, Sidecar.PROVENANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFolders:
    """
    The folders of an index.

    Attributes:
        name: For sentences and the audit log; empty for the index without a name.
        title: What to call it in sentences, if not by its name.
        roots: Absolute paths, in order; files come into the first.
        owners: For each root the index that it is inherited from, or None; by default None for all.
    """

    name: str
    roots: tuple[bytes, ...]
    owners: tuple[str | None, ...] = ()
    title: str = ""

    @property
    def root(self) -> bytes:
        """The folder that files come into."""
        return self.roots[0]

    @property
    def own_roots(self) -> tuple[bytes, ...]:
        """The folders that are not inherited."""
        owners = self.owners or (None,) * len(self.roots)
        return tuple(root for root, owner in zip(self.roots, owners, strict=True) if owner is None)

    def reader(self) -> InventoryReader:
        """Return a reader of all folders."""
        owners = self.owners or (None,) * len(self.roots)
        return InventoryReader(self.roots, owners=owners_by_root(self.roots, owners))

    @property
    def shown(self) -> str:
        """Its name in a sentence."""
        return self.title or self.name or "the index without a name"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """
    What is wanted.

    Attributes:
        source: Where the releases are; only what lies in its own folder is promoted.
        target: Where they shall be.
        releases: As `PROJECT==VERSION`, the project normalized.
        by: For the audit log.
        yanked: Whether yanked files come along, with their yanks.
        move: Whether the files leave the source.
    """

    source: IndexFolders
    target: IndexFolders
    releases: tuple[str, ...]
    by: str
    yanked: bool = False
    move: bool = False


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


class Examination:
    """
    Holds releases against the rules.

    Args:
        request: What is wanted.
        facts_of: Returns what is known of a file of either index under its present size and times.
        routed_away: Returns True for a project that the target would not serve from its folder.
        may_create: Returns whether a project may be promoted that is new in the target.
        refusals: What is in the way besides.
    """

    def __init__(
        self,
        request: PromotionRequest,
        *,
        facts_of: Callable[[ScannedFile], FileFacts | None] = lambda _entry: None,
        routed_away: Callable[[str], bool] = lambda _project: False,
        may_create: Callable[[str], bool] = lambda _project: True,
        refusals: Iterable[RefusedPart] = (),
    ) -> None:
        self._refusals = tuple(refusals)
        self._request = request
        self._facts_of = facts_of
        self._routed_away = routed_away
        self._may_create = may_create
        self._sources = InventoryReader(request.source.own_roots)
        self._targets = request.target.reader()
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
        target = os.path.realpath(self._request.target.root)
        if target in map(os.path.realpath, self._request.source.own_roots):
            plan.refusals.append(
                RefusedPart(name=self._request.target.shown, reason="It is the source itself.")
            )
            return plan
        under_way = Promotions(self._request.source.root), Promotions(self._request.target.root)
        projects: dict[str, list[str]] = {}
        for release in self._request.releases:
            projects.setdefault(release.partition("==")[0], []).append(release)
        for project, releases in projects.items():
            self._examine_project(plan, project, releases, *under_way)
        return plan

    def _examine_project(
        self, plan: PromotionPlan, project: str, releases: list[str], coming: Promotions, going: Promotions
    ) -> None:
        try:
            source, target = self._sources.read(project), self._targets.read(project)
        except SimpleIndexError as error:
            plan.refusals.append(RefusedPart(name=project, reason=error.message))
            return
        for release in releases:
            found = list(self._files_of(plan, source, target, release, coming))
            if not found and not any(refusal.name == release for refusal in plan.refusals):
                reason = f"There is no such release in the folder of {self._request.source.shown}."
                plan.refusals.append(RefusedPart(name=release, reason=reason))
            plan.files += [self._held_against_names(plan, planned, target, going) for planned in found]
        plan.refusals += self._held_against_project(project, target)

    # -- The source

    def _files_of(
        self, plan: PromotionPlan, source: Inventory, target: Inventory, release: str, coming: Promotions
    ) -> Iterator[PlannedFile]:
        """Yield the files of a release; of those that installers treat as the same, the served one."""
        if source.scan.status.status is Status.QUARANTINED:
            reason = f"It is quarantined in {self._request.source.shown}."
            plan.refusals.append(RefusedPart(name=release, reason=reason))
            return
        seen = set()
        for entry in source.of_version(release.partition("==")[2]):
            distribution = entry.distribution
            if source.is_hidden(entry) or distribution.identity in seen:
                continue
            seen.add(distribution.identity)
            reason = self._why_not(source, entry, coming)
            if reason:
                plan.refusals.append(RefusedPart(name=distribution.filename, reason=reason))
            facts = self._facts(entry)
            if isinstance(facts, str):
                plan.refusals.append(RefusedPart(name=distribution.filename, reason=facts))
                continue
            yield PlannedFile(
                entry=entry, facts=facts, sidecars=self._sidecars(source, entry), folder=target.target
            )

    def _why_not(self, source: Inventory, entry: ScannedFile, coming: Promotions) -> str:
        name = entry.distribution.filename
        if coming.naming(entry.distribution):
            return f"It is on its way into {self._request.source.shown} itself."
        if name in source.scan.yanked and not self._request.yanked:
            why = source.scan.yanked[name]
            return f"It is yanked{f': {why}' if why else ''}. Yanked files come along with --yanked only."
        return ""

    def _facts(self, entry: ScannedFile) -> FileFacts | str:
        """Return what is known of a file, or why it is not listed."""
        facts = self._known.get(entry) or self._facts_of(entry)
        if facts is None:
            # Its digest is taken while it is copied.
            result = inspect(entry.path, entry.distribution, entry.key, verify_members=False, sha256="")
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
        shown = self._request.target.shown
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
        self, plan: PromotionPlan, planned: PlannedFile, target: Inventory, going: Promotions
    ) -> PlannedFile:
        distribution = planned.entry.distribution
        busy = going.naming(distribution)
        if busy:
            going.require_unfinished(busy)
            reason = f"The unfinished promotion {busy} has its name; resume or cancel that one first."
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
            reason = f"{self._request.target.shown} has other bytes under this name."
            plan.refusals.append(RefusedPart(name=planned.name, reason=_sentence(reason)))
        own = [entry for entry in existing if entry.root not in target.owners and not others]
        if own and tombstones:
            reason = "It was deleted, and lies there nevertheless; remove its line from .deleted."
            plan.refusals.append(RefusedPart(name=planned.name, reason=reason))
        path = os.path.join(planned.folder, os.fsencode(planned.name))
        if not existing and os.path.lexists(path):
            reason = "Something that is no file has its name in the target."
            plan.refusals.append(RefusedPart(name=planned.name, reason=reason))
        lines = tuple(line.line for line in tombstones if line.line)
        return replace(planned, deleted=lines, is_there=bool(own))

    def _with_digest(self, planned: PlannedFile) -> PlannedFile:
        """Take the digest of a file whose name is taken; it is not known of a file that was never read."""
        if planned.facts.sha256:
            return planned
        facts = replace(planned.facts, sha256=sha256_of(planned.entry.path) or "")
        self._known[planned.entry] = facts
        return replace(planned, facts=facts)

    def _is_equal(self, entry: ScannedFile, planned: PlannedFile) -> bool:
        if entry.key.size != planned.entry.key.size:
            return False
        facts = self._known.get(entry) or self._facts_of(entry)
        sha256 = facts.sha256 if facts is not None else sha256_of(entry.path)
        if facts is None and sha256 is not None:
            self._known[entry] = FileFacts(sha256=sha256)
        return sha256 == planned.facts.sha256


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
