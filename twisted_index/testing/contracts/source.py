"""The contract of `ISource`, as tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from unittest import SkipTest

from zope.interface.verify import verifyObject

from twisted_index.errors import NotImplementedHere, SimpleIndexError
from twisted_index.interfaces import FileBody, ILifecycle, IProblemSource, ISource, Snapshot, StreamingContent
from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar
from twisted_index.simple.names import normalize, version_sort_key
from twisted_index.testing.distributions import make_sdist, make_wheel

if TYPE_CHECKING:
    from twisted_index.simple.model import File
    from twisted_index.testing.contracts.harness import SourceHarness

WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")
NEWER = make_wheel("demo", "1.10")
SDIST = make_sdist("demo", "1.9")
#: Of the same name as `STORED_WHEEL`, with other bytes.
REWRITTEN = make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"})
#: A file of another project, whose name has to be normalized.
ELSEWHERE = make_wheel("Zope.Other", "2.0")
#: Larger than any transport's buffer.
LARGE = make_wheel("large", "1.0", files={"large/data.bin": bytes(range(256)) * 2000}, compress=False)
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"

#: Invalid values for a file name in a URL.
_HOSTILE = (
    "",
    ".",
    "..",
    "/",
    "../demo-1.0-py3-none-any.whl",
    "demo/demo-1.0-py3-none-any.whl",
    "/etc/passwd",
    "DEMO-1.0-py3-none-any.whl",
    "demo-1.0-py3-none-any.whl/",
    "demo-1.0-py3-none-any.whl\0",
    "demo-1.0-py3-none-any.whl.metadata",
    "demo-9.0-py3-none-any.whl",
    "demo-1.0-py3-none-any.whl" * 200,
    "d\udce4mo-1.0.tar.gz",
)


class SourceContract:
    """
    Tests that any source has to pass; see the package for their usage.

    Out of scope: features of a particular source, such as which files it leaves out.
    """

    def harness(self) -> SourceHarness:
        """Return a harness with a new, empty source. Each test creates its own, and exits it."""
        raise NotImplementedError

    def test_it_provides_the_interface(self) -> None:
        """A source has the three methods, with the arguments of `ISource`."""
        with self.harness() as world:
            assert verifyObject(ISource, world.source)

    # -- Which projects

    def test_the_list_names_each_project_once_normalized_and_in_order(self) -> None:
        """The project list is a sorted tuple of normalized names, without repetition."""
        with self.harness() as world:
            assert world.project_list().value == ProjectList()
            for file in (ELSEWHERE, WHEEL, SDIST):
                world.add(file)
            world.show_changes()
            names = world.project_list().value.names
            assert names == (("demo", "zope-other") if world.lists_projects else ())
            assert all(normalize(name) == name for name in names)

    def test_a_project_that_came_is_in_the_list_and_the_old_list_is_not_true(self) -> None:
        """A list is no longer current as soon as another project exists."""
        with self.harness() as world:
            if not world.lists_projects:
                raise SkipTest("This source lists no projects.")
            world.add(WHEEL)
            before = world.project_list()
            world.add(ELSEWHERE)
            world.show_changes()
            assert not before.is_current()
            assert world.project_list().value.names == ("demo", "zope-other")

    def test_a_list_without_news_is_the_very_same_object(self) -> None:
        """A response rendered from a project list can be cached until the list changes."""
        with self.harness() as world:
            world.add(WHEEL)
            before = world.project_list().value
            world.show_changes()
            assert world.project_list().value is before

    # -- Which files

    def test_a_project_that_is_not_there_is_none(self) -> None:
        """A name without a project is None as the value, never an error and never an empty page."""
        with self.harness() as world:
            world.add(ELSEWHERE)
            found = world.snapshot("demo")
            assert isinstance(found, Snapshot)
            assert found.value is None

    def test_a_project_without_files_is_a_page_without_files(self) -> None:
        """A project without files has a page: its name must not be requested from other indexes."""
        with self.harness() as world:
            world.add_empty("demo")
            world.show_changes()
            page = world.page("demo")
            assert isinstance(page, ProjectPage)
            assert (page.name, page.files) == ("demo", ())

    def test_a_page_tells_name_digest_size_and_version_of_each_file(self) -> None:
        """Installers verify the digest, and select by version; a size may be missing, but not wrong."""
        with self.harness() as world:
            for file in (WHEEL, SDIST):
                world.add(file)
            files = world.files_of("demo")
            assert set(files) == {WHEEL.filename, SDIST.filename}
            for built in (WHEEL, SDIST):
                listed = files[built.filename]
                assert listed.version == built.version
                assert listed.hashes.get("sha256") == built.sha256
                assert listed.size in (None, built.size)
                assert listed.upload_time is None or listed.upload_time.tzinfo is not None

    def test_a_page_is_in_the_order_of_versions(self) -> None:
        """Files and versions ascend by PEP 440, not as text, and each version occurs once."""
        with self.harness() as world:
            for file in (NEWER, SDIST, WHEEL):
                world.add(file)
            page = world.page("demo")
            assert page is not None
            assert page.name == "demo"
            assert [file.filename for file in page.files] == [WHEEL.filename, SDIST.filename, NEWER.filename]
            assert list(page.versions) == sorted(set(page.versions), key=version_sort_key)
            assert set(page.versions) >= {file.version for file in page.files}

    def test_a_page_of_one_project_has_no_files_of_another(self) -> None:
        """A page has files of its own project only."""
        with self.harness() as world:
            world.add(WHEEL)
            world.add(ELSEWHERE)
            assert set(world.files_of("demo")) == {WHEEL.filename}
            assert set(world.files_of("zope-other")) == {ELSEWHERE.filename}

    def test_two_questions_at_once_have_the_same_answer(self) -> None:
        """Concurrent calls have equal results."""
        with self.harness() as world:
            world.add(WHEEL)
            calls = [world.begin(world.source.project_page, "demo") for _time in range(2)]
            world.settle()
            pages = [call.result().value for call in calls]
            assert pages[0] is not None
            assert pages[0] == pages[1]

    # -- Validity

    def test_still_true_answers_at_once(self) -> None:
        """`is_current` returns a bool: no Deferred, no coroutine."""
        with self.harness() as world:
            world.add(WHEEL)
            for snapshot in (world.project_list(), world.snapshot("demo"), world.snapshot("nothing")):
                assert isinstance(snapshot.is_current(), bool)

    def test_a_file_that_came_is_in_the_next_answer_and_the_old_one_is_not_true(self) -> None:
        """Once a new file has to show, no earlier snapshot is current."""
        with self.harness() as world:
            world.add(WHEEL)
            before = world.snapshot("demo")
            world.add(NEWER)
            world.show_changes()
            assert not before.is_current()
            assert set(world.files_of("demo")) == {WHEEL.filename, NEWER.filename}

    def test_a_file_that_went_is_not_in_the_next_answer_and_cannot_be_opened(self) -> None:
        """Only listed files can be opened, from the time on at which a change has to show."""
        with self.harness() as world:
            world.add(WHEEL)
            world.add(NEWER)
            before = world.snapshot("demo")
            world.remove(NEWER)
            world.show_changes()
            assert not before.is_current()
            assert set(world.files_of("demo")) == {WHEEL.filename}
            assert world.open("demo", NEWER.filename) is None
            assert world.open("demo", NEWER.filename, Sidecar.METADATA) is None

    def test_a_project_that_came_makes_its_absence_untrue(self) -> None:
        """An absence is current no longer than a page."""
        with self.harness() as world:
            absent = world.snapshot("demo")
            world.add(WHEEL)
            world.show_changes()
            assert not absent.is_current()
            assert set(world.files_of("demo")) == {WHEEL.filename}

    def test_other_bytes_under_the_same_name_show_with_their_digest(self) -> None:
        """A page with the old digest, or the new bytes under it, would fail every installation."""
        with self.harness() as world:
            world.add(WHEEL)
            before = world.snapshot("demo")
            world.add(REWRITTEN)
            world.advance(world.rewrite_delay)
            assert not before.is_current()
            assert world.files_of("demo")[WHEEL.filename].hashes.get("sha256") == REWRITTEN.sha256
            body = world.open("demo", WHEEL.filename)
            assert body is not None
            assert world.read(body) == REWRITTEN.content

    def test_a_page_without_news_is_the_very_same_object(self) -> None:
        """A response rendered from a page can be cached until the page changes, also after revalidation."""
        with self.harness() as world:
            world.add(WHEEL)
            before = world.page("demo")
            assert world.page("demo") is before
            world.show_changes()
            world.advance(world.rewrite_delay)
            assert world.page("demo") is before

    # -- The bytes

    def test_a_file_is_opened_with_its_bytes_and_what_is_true_of_them(self) -> None:
        """Size and digest are those of exactly the bytes that follow; a digest may be missing."""
        with self.harness() as world:
            for file in (WHEEL, SDIST, LARGE):
                world.add(file)
            for file in (WHEEL, SDIST, LARGE):
                body = world.open(file.project, file.filename)
                assert isinstance(body, FileBody)
                assert (body.size, body.sha256) in ((file.size, file.sha256), (file.size, None))
                assert body.modified > 0
                assert world.read(body) == file.content

    def test_a_file_may_be_opened_before_its_page_was_asked_for(self) -> None:
        """Clients with a lock file request the file directly."""
        with self.harness() as world:
            world.add(WHEEL)
            body = world.open("demo", WHEEL.filename)
            assert body is not None
            assert world.read(body) == WHEEL.content

    def test_several_readers_have_one_file_at_once(self) -> None:
        """Each reader has its own position, and closing one does not affect the others."""
        with self.harness() as world:
            world.add(LARGE)
            bodies = [world.open("large", LARGE.filename) for _time in range(3)]
            for body in bodies:
                assert body is not None
            leaving, *staying = [body for body in bodies if body is not None]
            if isinstance(leaving.content, StreamingContent):
                assert world.answer(leaving.content.wait_for, 0) > 0
            if not isinstance(leaving.content, bytes):
                leaving.content.close()
            assert [world.read(body) for body in staying] == [LARGE.content] * 2

    def test_only_what_is_listed_can_be_opened(self) -> None:
        """A file name comes from a URL: it is looked up, and an unknown one is None, without an error."""
        with self.harness() as world:
            world.add(WHEEL)
            for filename in _HOSTILE:
                for sidecar in (None, *Sidecar):
                    assert world.open("demo", filename, sidecar) is None, filename
            assert world.open("nothing", WHEEL.filename) is None
            assert world.open("zope-other", WHEEL.filename) is None

    def test_sidecars_are_there_exactly_if_the_page_says_so(self) -> None:
        """Metadata has the digest of the page, and a signature its original bytes."""
        with self.harness() as world:
            world.add(WHEEL, signature=SIGNATURE)
            world.add(SDIST)
            expected = {Sidecar.METADATA: WHEEL.metadata, Sidecar.SIGNATURE: SIGNATURE}
            for file in world.files_of("demo").values():
                for sidecar in Sidecar:
                    body = world.open("demo", file.filename, sidecar)
                    if sidecar not in _sidecars(file):
                        assert body is None, (file.filename, sidecar)
                        continue
                    assert body is not None, (file.filename, sidecar)
                    document = world.read(body)
                    assert document == expected[sidecar]
                    promised = (file.core_metadata or {}).get("sha256")
                    if sidecar is Sidecar.METADATA and promised is not None:
                        assert hashlib.sha256(document).hexdigest() == promised

    def test_a_file_opens_again_only_while_it_is_listed(self) -> None:
        """`reopen` returns the same bytes immediately, and None as soon as a removal has to show."""
        with self.harness() as world:
            world.add(WHEEL)
            world.add(NEWER)
            world.page("demo")
            # A file that has to be fetched first can be reopened only from the second time on.
            for _time in range(2):
                body = world.open("demo", WHEEL.filename)
                assert body is not None
                world.read(body)
            if body is None or body.reopen is None:
                raise SkipTest("This source opens nothing again without being asked.")
            reopened = body.reopen()
            assert reopened is None or world.read(reopened) == WHEEL.content
            world.remove(WHEEL)
            world.show_changes()
            assert body.reopen() is None

    def test_bytes_that_are_still_coming_are_read_as_they_come(self) -> None:
        """All bytes may be read once `wait_complete` has fired, and none is missing before."""
        with self.harness() as world:
            world.add(LARGE)
            body = world.open("large", LARGE.filename)
            assert body is not None
            if not isinstance(body.content, StreamingContent):
                world.read(body)
                raise SkipTest("The bytes of this source do not arrive; they are there.")
            content = body.content
            try:
                world.answer(content.wait_complete)
            except NotImplementedHere:
                content.close()
                raise SkipTest("The bytes of this source are passed on, each once.") from None
            assert content.read(0, 10) == LARGE.content[:10]
            assert content.read(LARGE.size - 10, 100) == LARGE.content[-10:]
            assert content.read(LARGE.size, 100) == b""
            assert world.answer(content.wait_for, 0) == LARGE.size
            content.close()

    def test_bytes_that_are_not_the_promised_ones_never_come_whole(self) -> None:
        """The last bytes are withheld until the digest is verified: no client gets a complete wrong file."""
        with self.harness() as world:
            world.add(LARGE)
            world.page("large")
            world.corrupt(LARGE)
            body = world.attempt(world.open, "large", LARGE.filename)
            if isinstance(body, FileBody):
                assert _is_unavailable(world.attempt(world.read, body)), "they came to their end"
            else:
                assert _is_unavailable(body)

    # -- Failing, starting and stopping

    def test_what_cannot_be_told_now_is_an_error_and_never_less_than_the_truth(self) -> None:
        """While a source fails, earlier results and 5xx errors are allowed, missing projects or files not."""
        with self.harness() as world:
            world.add(WHEEL)
            world.page("demo")
            world.fail()
            world.show_changes()
            self._is_complete_or_fails(world)
            found = world.attempt(world.page, "never-asked-for")
            assert _is_unavailable(found), f"the source cannot know this project, but returned {found!r}"

    def test_it_answers_again_when_it_can(self) -> None:
        """A failure is not cached beyond its cause."""
        with self.harness() as world:
            world.add(WHEEL)
            before = world.page("demo")
            world.fail()
            world.show_changes()
            self._is_complete_or_fails(world)
            world.recover()
            world.show_changes()
            assert world.page("demo") == before
            assert world.page("never-asked-for") is None

    def _is_complete_or_fails(self, world: SourceHarness) -> None:
        files = world.attempt(world.files_of, "demo")
        assert _is_unavailable(files) or (isinstance(files, dict) and set(files) == {WHEEL.filename})
        body = world.attempt(world.open, "demo", WHEEL.filename)
        if isinstance(body, FileBody):
            content = world.attempt(world.read, body)
            assert _is_unavailable(content) or content == WHEEL.content
        else:
            assert _is_unavailable(body)

    def test_it_can_be_stopped_and_started_again(self) -> None:
        """A service that is started again returns the same results."""
        with self.harness() as world:
            lifecycle = ILifecycle(world.source, None)
            if lifecycle is None:
                raise SkipTest("This source holds nothing open.")
            assert verifyObject(ILifecycle, lifecycle)
            world.add(WHEEL)
            before = world.page("demo")
            world.answer(lifecycle.stop)
            lifecycle.start()
            assert world.page("demo") == before
            body = world.open("demo", WHEEL.filename)
            assert body is not None
            assert world.read(body) == WHEEL.content

    def test_what_changes_while_it_is_stopped_is_in_its_first_answer(self) -> None:
        """No snapshot from before a stop is current after the start, if something has changed."""
        with self.harness() as world:
            lifecycle = ILifecycle(world.source, None)
            if lifecycle is None:
                raise SkipTest("This source holds nothing open.")
            world.add(WHEEL)
            before = world.snapshot("demo")
            world.answer(lifecycle.stop)
            world.add(NEWER)
            world.show_changes()
            lifecycle.start()
            assert not before.is_current()
            assert set(world.files_of("demo")) == {WHEEL.filename, NEWER.filename}

    def test_its_problems_are_in_order(self) -> None:
        """A source reports the files that it leaves out, ordered by path, and no valid files."""
        with self.harness() as world:
            problem_source = IProblemSource(world.source, None)
            if problem_source is None:
                raise SkipTest("This source reports no problems.")
            assert verifyObject(IProblemSource, problem_source)
            world.add(WHEEL)
            report = world.answer(problem_source.problems)
            assert list(report.problems) == sorted(report.problems, key=lambda problem: problem.path)
            assert report.problems == ()


def _is_unavailable(found: object) -> bool:
    """Whether a result is an error that does not send clients to another index."""
    return isinstance(found, SimpleIndexError) and found.status >= 500


def _sidecars(file: File) -> set[Sidecar]:
    """Return the sidecars of a file according to its page."""
    return {*file.sidecars, *([Sidecar.METADATA] if file.core_metadata is not None else [])}
