"""
Promotion: releases of several projects come from one index into another, in one step. Blocking.

The files are copied, verified and synced in `.staged/ID/` of the target, where no page looks. Then
`.staged/ID.list` names them while they get their names, and when the list goes, all of them are there. They
are copies and no hard links: these share the time of publication, and a change in one would be one in both.

Wherever it is cut off, nothing of it shows, or all; `resume` or `cancel` goes on from there.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted.logger import Logger

from twisted_index.backends.folder.blocking_store import retry_while_locked
from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.promotion_placement import Placement, State
from twisted_index.backends.folder.promotion_plan import Examination
from twisted_index.backends.folder.promotion_record import RECORD, Promotions
from twisted_index.backends.layout.facts import FileFacts, StatKey
from twisted_index.backends.layout.promotion_record import (
    PromotionRecord,
    PromotionResult,
    StagedFile,
    new_id,
)
from twisted_index.backends.layout.promotion_rules import PromotionPlan
from twisted_index.errors import Conflict, PromotionRefused, RefusedPart, SimpleIndexError, Unavailable
from twisted_index.files.anonymous_file import (
    FILE_MODE,
    make_folder,
    remove,
    sync_folder,
    write_atomically,
)
from twisted_index.files.filesystems import file_clock
from twisted_index.files.free_space import require_space
from twisted_index.files.locks import LockHeld, project_lock
from twisted_index.files.os_errors import error_text, translate_os_errors
from twisted_index.files.ownership import group_write, hand_over
from twisted_index.files.portability import open_flags, set_mode
from twisted_index.files.safe_open import open_regular_file
from twisted_index.files.steps import Steps, run_step
from twisted_index.files.verified_copy import copy_bytes
from twisted_index.simple.archives.limits import MAX_DOCUMENT

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from twisted_index.backends.folder.promotion_plan import PromotionRequest
    from twisted_index.backends.layout.promotion_rules import PlannedFile
    from twisted_index.files.steps import RunStep

    #: What is known of files under their new names, to be remembered before they are shown.
    Seeds: TypeAlias = Sequence[tuple[bytes, StatKey, FileFacts]]

T = TypeVar("T")
_log = Logger()
_CREATE = open_flags(os.O_RDWR | os.O_CREAT | os.O_EXCL, "O_NOFOLLOW")


def _moment() -> int:
    """Return the time in nanoseconds since 1970, never ahead of what files are given; to the microsecond."""
    return int(file_clock() * 1_000_000) * 1000


class Promotion:
    """
    One promotion, in steps.

    They are called in this order, in any threads: `examine`, `begin`, each of `copies`, `place`, `show`,
    `finish`, `close`; after an error `abandon` and `close`.

    Args:
        request: What is wanted.
        examination: The rules; by default those that the folders alone know.
        record: What an earlier process has written down, to go on from; None for a new one.
        min_free: Bytes that have to be left on the file system of the target.
        now: Returns the time in nanoseconds since 1970.
        run: Carries out one step; the tests die after any of them.
        advance: Called with the bytes of each step of a copy.

    Attributes:
        request: As given.
        id: Its name in `.staged/`.
        placement: The last part.
    """

    def __init__(
        self,
        request: PromotionRequest,
        *,
        examination: Examination | None = None,
        record: PromotionRecord | None = None,
        min_free: int = 0,
        now: Callable[[], int] = _moment,
        run: RunStep = run_step,
        advance: Callable[[int], object] = lambda _size: None,
    ) -> None:
        self.request = request
        self._examination = examination or Examination(request)
        self._min_free = min_free
        self._now = now
        self._step = Steps(run)
        self._advance = advance
        self._root = request.target.root
        self._promotions = Promotions(self._root)
        self._plan = PromotionPlan()
        self._staged: dict[str, PlannedFile] = {}
        self._late: list[RefusedPart] = []
        self._hold = -1
        self._record = record or PromotionRecord(
            id=new_id(),
            source=request.source.name,
            target=request.target.name,
            releases=request.releases,
            by=request.by,
            yanked=request.yanked,
            move=request.move,
        )
        self.id = self._record.id
        self._staging = self._promotions.staging_path(self.id)
        self.placement = Placement(request.target.own_roots, request.source.root, self._record, run)

    @property
    def new(self) -> list[PlannedFile]:
        """The files that are new in the target."""
        return [planned for planned in self._plan.files if not planned.is_there]

    @property
    def result(self) -> PromotionResult:
        """What it has done."""
        present = tuple(planned.name for planned in self._plan.files if planned.is_there)
        return PromotionResult(id=self.id, published=self._record.files, present=present)

    # -- In order

    def examine(self) -> PromotionPlan:
        """
        Hold all files of all releases against all rules.

        Raises:
            LockHeld: Another promotion is just placing one of them.
            PromotionRefused: Something is in the way.
        """
        with translate_os_errors():
            self._plan = self._examination.run()
        self._plan.check()
        return self._plan

    def begin(self) -> None:
        """
        Make the folder in which the files are prepared.

        Raises:
            InsufficientStorage, Unavailable: It cannot be made.
        """
        if self._min_free:
            require_space(self._root, sum(each.entry.key.size for each in self.new), self._min_free)
        with translate_os_errors():
            for folder in (self._promotions.folder, self._staging):
                self._step(make_folder, self._root, folder)
            self.hold()
            for name in os.listdir(self._staging):
                # Of an earlier process: it may have been cut off at any byte.
                self._step(remove, os.path.join(self._staging, name))
            self._step(sync_folder, self._promotions.folder)
            self._write_down(self._record)

    def hold(self) -> None:
        """
        Keep others from going on with it, until it is closed.

        Raises:
            Unavailable: It is running.
        """
        if self._hold >= 0:
            return
        try:
            self._hold = self._promotions.hold(self.id)
        except LockHeld:
            raise Unavailable(f"The promotion {self.id} is running.") from None

    def copies(self) -> Iterator[Callable[[], None]]:
        """Yield a step for each file, which copies it, or reads it if it is to be moved."""
        for planned in self.new:
            yield partial(self._prepare, planned)

    def place(self) -> None:
        """
        Examine everything again, and give the files their names, still hidden.

        Raises:
            LockHeld: Others change the target right now: to be repeated.
            PromotionRefused: Something has come in the way.
        """
        if self._late:
            raise PromotionRefused(self._late)
        with translate_os_errors(), project_lock(self._root):
            if self.placement.state is not State.PLACING:
                self.examine()
                files = self._prepared()
                if files:
                    self._write_down(replace(self._record, moment=self._now(), files=files))
            if self._record.files:
                self.placement.place()

    def show(self) -> None:
        """Show all files of all releases."""
        with translate_os_errors():
            self.placement.show()

    def finish(self) -> None:
        """Remove what was written down, once the audit log has it."""
        with translate_os_errors():
            self.placement.finish()

    def abandon(self) -> None:
        """
        Undo all of it, unless it is shown.

        Raises:
            LockHeld: Others change the target right now: to be repeated.
            Conflict: It is shown.
            Unavailable: It was not all undone, and has to be cancelled.
        """
        if self._hold >= 0:
            with translate_os_errors(), project_lock(self._root):
                self.placement.undo()

    def close(self) -> None:
        """Let others go on with what is left."""
        hold, self._hold = self._hold, -1
        if hold >= 0:
            os.close(hold)

    # -- One file

    def _prepare(self, planned: PlannedFile) -> None:
        with translate_os_errors():
            try:
                facts = self._read(planned) if self.request.move else self._copy(planned)
            except _NotAsExpected as error:
                self._late.append(RefusedPart(name=planned.name, reason=str(error)))
                return
        self._examination.learn(planned.entry, facts)
        self._staged[planned.name] = replace(planned, facts=facts)

    def _copy(self, planned: PlannedFile) -> FileFacts:
        entry, path = planned.entry, os.path.join(self._staging, os.fsencode(planned.name))
        with _opened(entry.path) as source:
            _require_key(source, entry.key)
            sha256 = self._write(path, lambda target: copy_bytes(source.fileno(), target, self._advance))
            _require_key(source, entry.key)
        if planned.facts.sha256 not in ("", sha256):
            raise _NotAsExpected(_CHANGED)
        for suffix, sidecar in planned.sidecars.items():
            with _opened(sidecar, follow_links=False) as file:
                content = file.read(MAX_DOCUMENT)
            self._write(path + suffix.encode(), partial(_write_all, content))
        return _inspected(planned, path, sha256)

    def _write(self, path: bytes, fill: Callable[[int], T]) -> T:
        descriptor = os.open(path, _CREATE, 0o600)
        try:
            hand_over(descriptor, self._root)
            set_mode(descriptor, FILE_MODE | group_write(self._root))
            filled = fill(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return filled

    def _read(self, planned: PlannedFile) -> FileFacts:
        if planned.facts.verified and planned.facts.sha256:
            return planned.facts
        return _inspected(planned, planned.entry.path, None)

    # -- What is placed

    def _prepared(self) -> tuple[StagedFile, ...]:
        """Return the files that are new, as they were prepared."""
        prepared = {planned.name: planned.entry for planned in self._staged.values()}
        new = {planned.name: planned.entry for planned in self.new}
        gone = prepared.keys() - {planned.name for planned in self._plan.files}
        changed = [name for name, entry in new.items() if prepared.get(name) != entry]
        if gone or changed:
            raise PromotionRefused(
                RefusedPart(name=name, reason=_CHANGED) for name in sorted({*gone, *changed})
            )
        return tuple(map(self._staged_file, self.new))

    def _staged_file(self, planned: PlannedFile) -> StagedFile:
        facts, entry = planned.facts, planned.entry
        folder = b"" if planned.folder == self._root else os.path.relpath(planned.folder, self._root)
        origin = b"" if entry.folder == entry.root else os.path.relpath(entry.folder, entry.root)
        return StagedFile(
            project=planned.project,
            name=planned.name,
            sha256=facts.sha256,
            size=entry.key.size,
            metadata_sha256=facts.metadata_sha256,
            requires_python=facts.requires_python,
            folder=os.fsdecode(folder),
            sidecars=tuple(self._staged[planned.name].sidecars),
            deleted=tuple(line.decode() for line in planned.deleted),
            origin=os.fsdecode(origin) if self.request.move else None,
        )

    def _write_down(self, record: PromotionRecord) -> None:
        path = os.path.join(self._staging, RECORD)
        self._step(write_atomically, self._root, path, record.to_bytes())
        self._record = record
        source = self.request.source.root
        self.placement = Placement(self.request.target.own_roots, source, record, self._step.run)


class _NotAsExpected(Exception):
    """A file of the source is not what was examined; says why in a sentence."""


_CHANGED = "It was changed, added or removed while it was promoted; promote it again."


@contextlib.contextmanager
def _opened(path: bytes, *, follow_links: bool = True) -> Iterator[io.FileIO]:
    try:
        file = open_regular_file(path, follow_links=follow_links)
    except FileNotFoundError:
        raise _NotAsExpected(_CHANGED) from None
    except OSError as error:
        raise _NotAsExpected(f"It cannot be read: {error_text(error)}.") from None
    if file is None:
        raise _NotAsExpected(_CHANGED)
    with file:
        yield file


def _write_all(content: bytes, target: int) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(target, rest) :]


def _require_key(file: io.FileIO, key: StatKey) -> None:
    if StatKey.from_stat(os.fstat(file.fileno())) != key:
        raise _NotAsExpected(_CHANGED)


def _inspected(planned: PlannedFile, path: bytes, sha256: str | None) -> FileFacts:
    """Return what is known of a prepared file; it is inspected if it never was from end to end."""
    if planned.facts.verified and sha256 is not None:
        return replace(planned.facts, sha256=sha256)
    key = StatKey.from_stat(os.stat(path))
    result = inspect(path, planned.entry.distribution, key, verify_members=True, sha256=sha256)
    if not isinstance(result, FileFacts):
        raise _NotAsExpected(result.reason)
    return result


def carry_out(
    promotion: Promotion,
    remember: Callable[[Seeds], object] = lambda _seeds: None,
    note: Callable[[PromotionResult], object] = lambda _result: None,
) -> PromotionResult:
    """
    Carry out a promotion from its beginning. Not for the threads of a server, as it waits for locks.

    Args:
        promotion: Closed at the end.
        remember: Stores what is known of the files under their new names.
        note: Writes the audit log, once the files are shown.

    Raises:
        PromotionRefused, InsufficientStorage, Unavailable: Nothing was promoted.
    """
    try:
        retry_while_locked(promotion.examine)
        if promotion.new:
            promotion.begin()
            for step in promotion.copies():
                step()
            _complete(promotion, remember, note)
        else:
            promotion.finish()
        return promotion.result
    except (SimpleIndexError, KeyboardInterrupt):
        _give_up(promotion)
        raise
    finally:
        promotion.close()


def _complete(
    promotion: Promotion, remember: Callable[[Seeds], object], note: Callable[[PromotionResult], object]
) -> None:
    retry_while_locked(promotion.place)
    remember(promotion.placement.placed)
    promotion.show()
    note(promotion.result)
    promotion.finish()


def _give_up(promotion: Promotion) -> None:
    """Undo what can be undone; what cannot is said in the log, and can be cancelled."""
    try:
        retry_while_locked(promotion.abandon)
    except SimpleIndexError as error:
        log_unfinished(promotion.id, error)


def log_unfinished(promotion: str, error: SimpleIndexError) -> None:
    """Say in the log that something is left of a promotion."""
    _log.warn(
        "The promotion {id} was not undone: {error} `twisted-index promote --list` has what is left.",
        id=promotion,
        error=error.message,
    )


def resume(
    promotion: Promotion,
    remember: Callable[[Seeds], object] = lambda _seeds: None,
    note: Callable[[PromotionResult], object] = lambda _result: None,
) -> PromotionResult:
    """
    Go on with a promotion that was cut off; see `carry_out`.

    Raises:
        Conflict: It was about to be cancelled; now it is.
        Unavailable: It is running.
    """
    try:
        promotion.hold()
        state = promotion.placement.state
        if state is State.COPYING:
            return carry_out(promotion, remember, note)
        if state is State.PLACING:
            _complete(promotion, remember, note)
            return promotion.result
        if state is State.SHOWN:
            note(promotion.result)
        promotion.finish()
        if state is State.CANCELLED:
            raise Conflict(f"The promotion {promotion.id} was cancelled; nothing is left of it now.")
        return promotion.result
    finally:
        promotion.close()


def cancel(promotion: Promotion) -> None:
    """
    Undo a promotion that was cut off.

    Raises:
        Conflict: It is shown already.
        Unavailable: It is running, or was not all undone.
    """
    try:
        promotion.hold()
        retry_while_locked(promotion.abandon)
    finally:
        promotion.close()
