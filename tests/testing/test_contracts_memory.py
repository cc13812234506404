"""Source and store in memory keep the contracts; the suites run under unittest as well as under pytest."""

from __future__ import annotations

import unittest
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_index.errors import Unavailable
from twisted_index.interfaces import ISource, Snapshot
from twisted_index.simple.model import ProjectPage, Status
from twisted_index.testing import (
    BuiltFile,
    MemorySource,
    MemoryStore,
    SourceContract,
    SourceHarness,
    StoreContract,
    StoreHarness,
)


class MemoryHarness(SourceHarness):
    def __init__(self) -> None:
        self.source: MemorySource = MemorySource()

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        self.source.add(file, signature=signature)

    def remove(self, file: BuiltFile) -> None:
        self.source.remove(file)

    def add_empty(self, project: str) -> None:
        self.source.set_status(project, Status.ACTIVE)

    def fail(self) -> None:
        self.source.failure = Unavailable("It is down.")

    def recover(self) -> None:
        self.source.failure = None


class MemoryStoreHarness(StoreHarness):
    def __init__(self) -> None:
        self.source: MemorySource = MemorySource()
        self.store = MemoryStore(self.source)
        self.audit_log = self.store.audit_log


class TestMemorySource(SourceContract):
    def harness(self) -> MemoryHarness:
        return MemoryHarness()


class TestMemoryStore(StoreContract):
    def harness(self) -> MemoryStoreHarness:
        return MemoryStoreHarness()


class Run(SourceContract, unittest.TestCase):
    """Not collected here: the tests below run it, and others made of it, by unittest."""

    __test__ = False

    def harness(self) -> SourceHarness:
        return MemoryHarness()


def run(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun > 20
    return result


def failed(source: type[MemorySource]) -> set[str]:
    """Run the suite over a source that is not what it should be, and say which tests noticed."""

    class Harness(MemoryHarness):
        def __init__(self) -> None:
            self.source = source()

    class Case(Run):
        def harness(self) -> SourceHarness:
            return Harness()

    result = run(Case)
    return {test.id().rpartition(".")[2] for test, _trace in [*result.failures, *result.errors]}


def failed_store(store: type[MemoryStore]) -> set[str]:
    """The same for a store."""

    class Harness(MemoryStoreHarness):
        def __init__(self) -> None:
            self.source = MemorySource()
            self.store = store(self.source)
            self.audit_log = self.store.audit_log

    class Case(StoreContract, unittest.TestCase):
        def harness(self) -> StoreHarness:
            return Harness()

    result = run(Case)
    return {test.id().rpartition(".")[2] for test, _trace in [*result.failures, *result.errors]}


def test_unittest_runs_the_same_suite():
    """A program whose tests know no pytest can use it; what a harness cannot do is skipped."""
    result = run(Run)
    assert result.wasSuccessful(), result.failures or result.errors
    assert {reason for _test, reason in result.skipped} >= {"This source holds nothing open."}


def test_answers_may_come_later_than_the_question():
    """A harness whose source waits for something lets it happen in `settle`."""

    class Later(MemorySource):
        def __init__(self) -> None:
            super().__init__()
            self.waiting: list[Deferred[None]] = []

        async def project_page(self, project):
            self.waiting.append(Deferred())
            await self.waiting[-1]
            return super().project_page(project)

    class Harness(MemoryHarness):
        def __init__(self) -> None:
            self.source: Later = Later()

        def settle(self) -> None:
            while self.source.waiting:
                self.source.waiting.pop().callback(None)

    class Case(Run):
        def harness(self) -> SourceHarness:
            return Harness()

    result = run(Case)
    assert result.wasSuccessful(), result.failures or result.errors


class TestAWrongStoreIsNoticed:
    """The suite fails for a store that breaks a promise."""

    def test_a_name_that_is_free_again(self):
        class Forgetful(MemoryStore):
            async def delete(self, project, filename, *, by):
                await super().delete(project, filename, by=by)
                self._deleted.clear()

        assert failed_store(Forgetful) == {
            "test_the_name_of_a_deleted_file_stays_taken",
            "test_the_very_file_that_was_deleted_may_return",
        }

    def test_a_change_without_an_event(self):
        class Silent(MemoryStore):
            async def _note(self, *about):
                pass

        assert "test_each_change_is_in_the_history" in failed_store(Silent)

    def test_a_right_that_is_not_looked_at(self):
        class Generous(MemoryStore):
            async def publish(self, upload):
                return await super().publish(replace(upload, may_create=True))

        assert failed_store(Generous) == {"test_a_new_project_needs_the_right_to_create"}

    def test_a_success_before_the_file_is_there(self):
        class Hasty(MemoryStore):
            async def publish(self, upload):
                return True

        assert "test_a_published_file_is_in_the_very_next_answer" in failed_store(Hasty)


class TestWhatIsWrongIsNoticed:
    """The suite fails for a source that breaks a promise, and where the promise is named."""

    def test_an_old_page_that_is_called_true(self):
        class Stale(MemorySource):
            def project_page(self, project):
                return Snapshot(value=super().project_page(project).value, is_current=lambda: True)

        assert "test_a_project_that_came_makes_its_absence_untrue" in failed(Stale)

    def test_a_truth_that_has_to_be_waited_for(self):
        class Slow(MemorySource):
            def project_page(self, project):
                return Snapshot(value=super().project_page(project).value, is_current=lambda: succeed(True))

        assert "test_still_true_answers_at_once" in failed(Slow)

    def test_an_absence_that_is_an_empty_page(self):
        class Claiming(MemorySource):
            def project_page(self, project):
                seen = super().project_page(project)
                return Snapshot(value=seen.value or ProjectPage(name=project), is_current=seen.is_current)

        assert "test_a_project_that_is_not_there_is_none" in failed(Claiming)

    def test_a_file_that_is_not_listed(self):
        class Open(MemorySource):
            def open_file(self, project, filename, sidecar=None):
                return super().open_file(project, filename.rpartition("/")[2], sidecar)

        assert failed(Open) == {"test_only_what_is_listed_can_be_opened"}

    def test_a_failure_that_is_called_an_absence(self):
        class Hiding(MemorySource):
            def project_page(self, project):
                try:
                    return super().project_page(project)
                except Unavailable:
                    return Snapshot(value=None, is_current=lambda: False)

        assert "test_what_cannot_be_told_now_is_an_error_and_never_less_than_the_truth" in failed(Hiding)

    def test_an_error_that_is_none_of_ours(self):
        class Raising(MemorySource):
            def open_file(self, project, filename, sidecar=None):
                if filename == "":
                    raise KeyError(filename)
                return super().open_file(project, filename, sidecar)

        assert failed(Raising) == {"test_only_what_is_listed_can_be_opened"}

    def test_a_page_that_is_made_anew_each_time(self):
        class Forgetful(MemorySource):
            def project_page(self, project):
                page = super().project_page(project).value
                value = None if page is None else ProjectPage(name=page.name, files=page.files)
                return Snapshot(value=value, is_current=lambda: False)

        assert "test_a_page_without_news_is_the_very_same_object" in failed(Forgetful)

    def test_arguments_that_are_not_those_of_the_interface(self):
        @implementer(ISource)
        class Incomplete(MemorySource):
            def open_file(self, project, filename):
                return super().open_file(project, filename)

        assert "test_it_provides_the_interface" in failed(Incomplete)
