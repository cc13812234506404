"""The contract of `IStore`, as tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from unittest import SkipTest

from zope.interface.verify import verifyObject

from twisted_index.errors import BadRequest, Conflict, Forbidden, NotFound
from twisted_index.interfaces import AuditQuery, IAuditLog, ISpool, IStore, Upload
from twisted_index.simple.model import ProjectStatus, Sidecar, Status, Yanked
from twisted_index.testing.distributions import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from twisted_index.errors import SimpleIndexError
    from twisted_index.testing.contracts.harness import StoreHarness
    from twisted_index.testing.distributions import BuiltFile

    E = TypeVar("E", bound=SimpleIndexError)

STORED_WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")
STORED_SDIST = make_sdist("demo", "1.0")
STORED_NEWER = make_wheel("demo", "1.1")
#: Of the same name as `STORED_WHEEL`, with other bytes.
CHANGED = make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"})
#: The same to installers as `STORED_WHEEL`, under another name, with other bytes.
RESPELLED = make_wheel("Demo", "1.0", filename="Demo-1.0.0-py3-none-any.whl", files={"demo/a.py": "x = 2\n"})
#: The same bytes as `STORED_WHEEL`, under another name that means the same.
SAME = replace(STORED_WHEEL, filename="Demo-1.0.0-py3-none-any.whl")
#: A file whose name contradicts its metadata.
MISNAMED = make_wheel("demo", "1.0", filename="other-1.0-py3-none-any.whl")
STORED_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"

_DIGESTS: dict[str, Callable[[bytes], Any]] = {
    "sha256": hashlib.sha256,
    "blake2b_256": lambda data: hashlib.blake2b(data, digest_size=32),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False),
}


class StoreContract:
    """
    Tests that any store has to pass; see the package for their usage.

    Out of scope: durability on power loss, and overwriting that a particular store allows.
    """

    def harness(self) -> StoreHarness:
        """Return a harness with a new, empty store. Each test creates its own, and exits it."""
        raise NotImplementedError

    def test_it_provides_the_interfaces(self) -> None:
        """Store and spool have the methods, with the arguments of `IStore` and `ISpool`."""
        with self.harness() as world:
            assert verifyObject(IStore, world.store)
            spool = world.answer(world.store.spool)
            assert verifyObject(ISpool, spool)
            spool.close()
            assert world.audit_log is None or verifyObject(IAuditLog, world.audit_log)

    # -- Receiving

    def test_a_spool_counts_and_digests_what_is_written(self) -> None:
        """The digests are those of all written bytes, whether they were announced or not."""
        with self.harness() as world:
            for announced in ((), tuple(_DIGESTS)):
                spool = world.answer(world.store.spool)
                spool.expect_digests(announced)
                for piece in (b"one ", b"two ", b"three"):
                    world.answer(spool.write, piece)
                assert spool.size == 13
                digests = world.answer(spool.digests, tuple(_DIGESTS))
                for name, make in _DIGESTS.items():
                    assert digests[name] == make(b"one two three").hexdigest()
                spool.close()

    def test_a_spool_that_is_not_published_leaves_nothing(self) -> None:
        """A client that disconnects early has published nothing; closing twice is allowed."""
        with self.harness() as world:
            spool = world.receive(STORED_WHEEL.content[:1000])
            spool.close()
            spool.close()
            assert world.page("demo") is None
            assert world.project_list().value.names == ()

    # -- Publishing

    def test_a_published_file_is_in_the_very_next_answer(self) -> None:
        """Once the upload has succeeded, pip finds the file, with its digest and its bytes."""
        with self.harness() as world:
            absent, empty = world.snapshot("demo"), world.project_list()
            assert world.publish(STORED_WHEEL) is True
            assert not absent.is_current()
            assert not empty.is_current()
            assert world.project_list().value.names == ("demo",)
            file = world.files_of("demo")[STORED_WHEEL.filename]
            assert file.hashes.get("sha256") == STORED_WHEEL.sha256
            assert (file.version, file.requires_python) == (STORED_WHEEL.version, ">=3.9")
            body = world.open("demo", STORED_WHEEL.filename)
            assert body is not None
            assert world.read(body) == STORED_WHEEL.content

    def test_a_signature_lies_beside_its_file(self) -> None:
        """A `gpg_signature` is served as `.asc`."""
        with self.harness() as world:
            world.publish(STORED_WHEEL, signature=STORED_SIGNATURE)
            assert Sidecar.SIGNATURE in world.files_of("demo")[STORED_WHEEL.filename].sidecars
            body = world.open("demo", STORED_WHEEL.filename, Sidecar.SIGNATURE)
            assert body is not None
            assert world.read(body) == STORED_SIGNATURE

    def test_the_same_bytes_again_are_success_without_a_change(self) -> None:
        """An upload that is repeated after a lost connection does not fail, and adds nothing."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            before = world.page("demo")
            assert world.publish(STORED_WHEEL) is False
            assert world.publish(SAME) is False
            assert world.page("demo") == before

    def test_other_bytes_under_the_same_name_are_a_conflict(self) -> None:
        """A file whose digest is in lock files never changes; clients search for this very message."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            for other in (CHANGED, RESPELLED):
                error = self._fails(Conflict, world.publish, other)
                assert "File already exists" in error.message
            assert set(world.files_of("demo")) == {STORED_WHEEL.filename}
            assert world.files_of("demo")[STORED_WHEEL.filename].hashes.get("sha256") == STORED_WHEEL.sha256

    def test_of_two_uploads_of_the_same_bytes_at_once_one_is_new(self) -> None:
        """The other one is success without a change, so that hooks and counters see the file once."""
        with self.harness() as world:
            assert set(self._publish_at_once(world, STORED_WHEEL, STORED_WHEEL)) == {True, False}
            assert set(world.files_of("demo")) == {STORED_WHEEL.filename}

    def test_of_two_uploads_of_one_name_at_once_one_is_a_conflict(self) -> None:
        """Of two clients that publish other bytes under one name, only one gets success."""
        with self.harness() as world:
            outcomes = self._publish_at_once(world, STORED_WHEEL, CHANGED)
            assert {type(outcome) for outcome in outcomes} == {bool, Conflict}
            winner = (STORED_WHEEL, CHANGED)[outcomes.index(True)]
            assert world.files_of("demo")[STORED_WHEEL.filename].hashes.get("sha256") == winner.sha256

    def test_what_is_no_archive_is_refused(self) -> None:
        """No file is listed that installers could not read, or that contradicts its name."""
        with self.harness() as world:
            spool = world.receive(b"This is no wheel.")
            upload = Upload(spool=spool, filename=STORED_WHEEL.filename)
            self._fails(BadRequest, world.answer, world.store.publish, upload)
            self._fails(BadRequest, world.publish, MISNAMED)
            assert world.project_list().value.names == ()
            assert world.publish(STORED_WHEEL) is True

    def test_a_new_project_needs_the_right_to_create(self) -> None:
        """Without the right to create, files go to existing projects only."""
        with self.harness() as world:
            self._fails(Forbidden, world.publish, STORED_WHEEL, may_create=False)
            assert world.page("demo") is None
            world.publish(STORED_WHEEL)
            assert world.publish(STORED_NEWER, may_create=False) is True

    def test_a_closed_project_takes_no_files(self) -> None:
        """Archived and quarantined projects accept no files until their status changes."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            for status in (Status.ARCHIVED, Status.QUARANTINED):
                self._set(world, status)
                self._fails(Forbidden, world.publish, STORED_NEWER)
            self._set(world, Status.ACTIVE)
            assert world.publish(STORED_NEWER) is True

    def test_a_file_for_an_index_that_is_not_there_is_refused(self) -> None:
        """No index receives the files of another."""
        with self.harness() as world:
            self._fails(NotFound, world.publish, STORED_WHEEL, index="no-such-index")
            assert world.page("demo") is None

    def test_a_spool_is_closed_by_publishing_whatever_comes_of_it(self) -> None:
        """A receiver may close its spool again, even after a rejection."""
        with self.harness() as world:
            for content in (STORED_WHEEL.content, STORED_WHEEL.content, CHANGED.content):
                spool = world.receive(content)
                upload = Upload(spool=spool, filename=STORED_WHEEL.filename)
                pending = world.begin(world.store.publish, upload)
                world.settle()
                assert pending.outcome
                spool.close()
            assert set(world.files_of("demo")) == {STORED_WHEEL.filename}

    # -- Deleting

    def test_a_deleted_file_is_gone_with_its_sidecars(self) -> None:
        """Neither the file nor its signature is listed or opened from the next call on."""
        with self.harness() as world:
            world.publish(STORED_WHEEL, signature=STORED_SIGNATURE)
            world.publish(STORED_NEWER)
            before = world.snapshot("demo")
            world.answer(world.store.delete, "demo", STORED_WHEEL.filename, by="alice")
            assert not before.is_current()
            assert set(world.files_of("demo")) == {STORED_NEWER.filename}
            for sidecar in (None, *Sidecar):
                assert world.open("demo", STORED_WHEEL.filename, sidecar) is None

    def test_the_name_of_a_deleted_file_stays_taken(self) -> None:
        """Other bytes are never published under it, in any spelling."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            world.answer(world.store.delete, "demo", STORED_WHEEL.filename, by="alice")
            for again in (CHANGED, RESPELLED):
                self._fails(Conflict, world.publish, again)
            assert world.files_of("demo") == {}
            assert world.publish(STORED_NEWER) is True

    def test_the_very_file_that_was_deleted_may_return(self) -> None:
        """The same bytes are published again, and can be deleted again."""
        with self.harness() as world:
            for _time in range(2):
                assert world.publish(STORED_WHEEL) is True
                assert set(world.files_of("demo")) == {STORED_WHEEL.filename}
                world.answer(world.store.delete, "demo", STORED_WHEEL.filename, by="alice")
                assert world.files_of("demo") == {}
            self._fails(Conflict, world.publish, CHANGED)

    def test_what_is_not_listed_cannot_be_deleted(self) -> None:
        """An unknown name is NotFound, for projects, files, and texts that are neither."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            for project, filename in (
                ("demo", STORED_NEWER.filename),
                ("nothing", STORED_WHEEL.filename),
                ("demo", "../x"),
                ("demo", ""),
            ):
                self._fails(NotFound, world.answer, world.store.delete, project, filename, by="alice")
            assert set(world.files_of("demo")) == {STORED_WHEEL.filename}

    # -- Yanking

    def test_a_version_is_yanked_and_taken_back(self) -> None:
        """All files of a version, in any spelling, are yanked, and no others; the page has the reason."""
        with self.harness() as world:
            for file in (STORED_WHEEL, STORED_SDIST, STORED_NEWER):
                world.publish(file)
            before = world.snapshot("demo")
            names = world.answer(world.store.yank, "demo", version="1.0.0", reason="broken", by="alice")
            now, then = world.files_of("demo")[STORED_WHEEL.filename], before.value
            assert then is not None
            assert replace(now, yanked=None) in then.files
            assert sorted(names) == sorted([STORED_WHEEL.filename, STORED_SDIST.filename])
            assert not before.is_current()
            yanks = {name: file.yanked for name, file in world.files_of("demo").items()}
            broken = Yanked(reason="broken")
            assert yanks == {
                STORED_WHEEL.filename: broken,
                STORED_SDIST.filename: broken,
                STORED_NEWER.filename: None,
            }
            taken_back = world.answer(world.store.unyank, "demo", version="1.0", by="alice")
            assert sorted(taken_back) == sorted(names)
            assert {file.yanked for file in world.files_of("demo").values()} == {None}

    def test_one_file_is_yanked_for_its_latest_reason(self) -> None:
        """The other files of its version are not yanked, and the latest reason applies."""
        with self.harness() as world:
            for file in (STORED_WHEEL, STORED_SDIST):
                world.publish(file)
            for reason in ("", "worse than thought"):
                yank = world.store.yank
                names = world.answer(yank, "demo", filename=STORED_SDIST.filename, reason=reason, by="alice")
                assert tuple(names) == (STORED_SDIST.filename,)
                assert world.files_of("demo")[STORED_SDIST.filename].yanked == Yanked(reason=reason)
            assert world.files_of("demo")[STORED_WHEEL.filename].yanked is None

    def test_what_is_not_there_cannot_be_yanked(self) -> None:
        """Unknown versions, files and projects are NotFound."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            wanted: tuple[tuple[str, dict[str, str]], ...] = (
                ("demo", {"version": "9.0"}),
                ("demo", {"filename": STORED_NEWER.filename}),
                ("nothing", {"version": "1.0"}),
            )
            for method in (world.store.yank, world.store.unyank):
                for project, which in wanted:
                    self._fails(NotFound, world.answer, method, project, **which, by="alice")

    # -- The status

    def test_a_status_is_on_the_page_with_its_reason(self) -> None:
        """Each status replaces the one before, and `active` undoes them."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            for status in (Status.DEPRECATED, Status.ARCHIVED, Status.ACTIVE):
                before = world.snapshot("demo")
                self._set(world, status, "" if status is Status.ACTIVE else "see the other one")
                assert not before.is_current()
                page = world.page("demo")
                assert page is not None
                assert page.status.status is status
                assert page.status.reason == ("" if status is Status.ACTIVE else "see the other one")
                assert [file.filename for file in page.files] == [STORED_WHEEL.filename]

    def test_a_quarantined_project_offers_nothing_until_it_is_released(self) -> None:
        """No file is listed or opened during quarantine, and none is lost (PEP 792)."""
        with self.harness() as world:
            world.publish(STORED_WHEEL)
            self._set(world, Status.QUARANTINED)
            assert world.page("demo") is not None
            assert world.files_of("demo") == {}
            assert world.open("demo", STORED_WHEEL.filename) is None
            self._set(world, Status.ACTIVE)
            assert set(world.files_of("demo")) == {STORED_WHEEL.filename}

    def test_a_project_that_is_not_there_has_no_status(self) -> None:
        """Setting a status creates no project."""
        with self.harness() as world:
            self._fails(NotFound, self._set, world, Status.ARCHIVED)
            assert world.page("demo") is None

    # -- The audit log

    def test_each_change_is_in_the_history(self) -> None:
        """An event has user, action and file, with the digest or the reason; newest first."""
        with self.harness() as world:
            if world.audit_log is None:
                raise SkipTest("The harness has no history.")
            store = world.store
            world.publish(STORED_WHEEL, by="alice")
            world.answer(store.yank, "demo", filename=STORED_WHEEL.filename, reason="broken", by="bob")
            world.answer(store.unyank, "demo", filename=STORED_WHEEL.filename, by="bob")
            self._set(world, Status.DEPRECATED, "old")
            world.answer(store.delete, "demo", STORED_WHEEL.filename, by="carol")
            events = world.answer(world.audit_log.search, AuditQuery()).events
            assert [(event.by, event.action, event.filename) for event in reversed(events)] == [
                ("alice", "upload", STORED_WHEEL.filename),
                ("bob", "yank", STORED_WHEEL.filename),
                ("bob", "unyank", STORED_WHEEL.filename),
                ("alice", "status", ""),
                ("carol", "delete", STORED_WHEEL.filename),
            ]
            assert {(event.project, event.index) for event in events} == {("demo", "")}
            assert all(event.time.tzinfo is not None for event in events)
            details = [event.detail for event in reversed(events)]
            assert STORED_WHEEL.sha256 in details[0]
            assert "broken" in details[1]
            assert "deprecated" in details[3]

    def test_what_was_refused_is_not_in_the_history(self) -> None:
        """Neither rejected changes nor repeated uploads are recorded."""
        with self.harness() as world:
            if world.audit_log is None:
                raise SkipTest("The harness has no history.")
            world.publish(STORED_WHEEL)
            world.publish(STORED_WHEEL)
            self._fails(Conflict, world.publish, CHANGED)
            self._fails(NotFound, world.answer, world.store.delete, "demo", STORED_NEWER.filename, by="alice")
            assert len(world.answer(world.audit_log.search, AuditQuery()).events) == 1

    # -- Helpers

    def _set(self, world: StoreHarness, status: Status, reason: str = "") -> None:
        wanted = ProjectStatus(status=status, reason=reason)
        world.answer(world.store.set_status, "demo", wanted, by="alice")

    def _publish_at_once(self, world: StoreHarness, *files: BuiltFile) -> list[bool | SimpleIndexError]:
        spools = [world.receive(file.content) for file in files]
        uploads = [
            Upload(spool=spool, filename=file.filename) for spool, file in zip(spools, files, strict=True)
        ]
        calls = [world.begin(world.store.publish, upload) for upload in uploads]
        world.settle()
        return [world.attempt(call.result) for call in calls]

    def _fails(self, kind: type[E], change: Callable[..., object], *args: Any, **kwargs: Any) -> E:
        """Check that a change raises the one error of its contract."""
        try:
            done = change(*args, **kwargs)
        except kind as error:
            return error
        raise AssertionError(f"Expected {kind.__name__}, but got {done!r}.")
