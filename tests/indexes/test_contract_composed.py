"""Sources that are made of others keep the contract as well as those do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.folder.test_contract_source import FolderHarness
from tests.kit.copies import line_of, record
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import Unavailable
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.interfaces import ISource
from twisted_index.simple.model import Status
from twisted_index.testing import BuiltFile, MemorySource, SourceContract, SourceHarness


class ComposedHarness(SourceHarness):
    """Files come to one source in memory, of which another one is made."""

    def __init__(self) -> None:
        self.inner = MemorySource()
        self.source = self.compose(self.inner)

    def compose(self, inner: MemorySource) -> ISource:
        raise NotImplementedError

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        self.inner.add(file, signature=signature)

    def remove(self, file: BuiltFile) -> None:
        self.inner.remove(file)

    def add_empty(self, project: str) -> None:
        self.inner.set_status(project, Status.ACTIVE)

    def fail(self) -> None:
        self.inner.failure = Unavailable("It is down.")

    def recover(self) -> None:
        self.inner.failure = None


class TestFolderBeforeAnUpstream(SourceContract):
    class Harness(ComposedHarness):
        def compose(self, inner):
            return NameOwnershipSource(inner, MemorySource())

    def harness(self) -> SourceHarness:
        return self.Harness()


class TestUpstreamBehindAFolder(SourceContract):
    class Harness(ComposedHarness):
        lists_projects = False

        def compose(self, inner):
            return NameOwnershipSource(MemorySource(), inner)

    def harness(self) -> SourceHarness:
        return self.Harness()


class TestFolderAndUpstreamTogether(SourceContract):
    class Harness(ComposedHarness):
        lists_projects = False

        def compose(self, inner):
            return NameOwnershipSource(MemorySource(), inner, merge_upstream=["*"])

    def harness(self) -> SourceHarness:
        return self.Harness()


class CopiesHarness(FolderHarness):
    """A folder of copies before an upstream that does not have them any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.source = NameOwnershipSource(self.source, MemorySource())

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        folder = self.root / file.project
        record(folder, line_of(file.filename, file.content))
        if signature is not None:
            record(folder, line_of(f"{file.filename}.asc", signature))
        super().add(file, signature=signature)


class TestCopiesBeforeAnUpstream(SourceContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> SourceHarness:
        return CopiesHarness(self.path)


class TestFiltered(SourceContract):
    class Harness(ComposedHarness):
        def compose(self, inner):
            policy = UpstreamPolicy(
                cooldown=60.0, upstream_deny=tuple(map(policy_entry, ("evil", "demo==0.1")))
            )
            return PolicySource(inner, policy, lambda: 1_900_000_000.0)

    def harness(self) -> SourceHarness:
        return self.Harness()


class TestRouted(SourceContract):
    class Harness(ComposedHarness):
        def compose(self, inner):
            rules = [SourceRoute(pattern="demo", source=inner), SourceRoute(pattern="hidden-*")]
            return RoutedSource(rules, inner)

    def harness(self) -> SourceHarness:
        return self.Harness()
