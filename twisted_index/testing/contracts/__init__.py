"""
The contracts of sources and stores, as test suites for implementations.

A test class inherits `SourceContract` or `StoreContract` and creates the object under test; it runs under
pytest as it is, and under unittest together with `unittest.TestCase`:

    class NightlyHarness(SourceHarness):
        def __init__(self):
            self.server = NightlyServer()
            self.source = Nightly(self.server)

        def add(self, file, *, signature=None):
            self.server.put(file.project, file.filename, file.content)

        def remove(self, file):
            self.server.delete(file.project, file.filename)

    class TestNightly(SourceContract):
        def harness(self):
            return NightlyHarness()

Tests of optional features, such as broken transfers, are skipped unless the harness implements them. With
pytest, `pytest.register_assert_rewrite("twisted_index.testing.contracts")` before the import gives more
detailed failures.
"""

from twisted_index.testing.contracts.harness import SourceHarness, StoreHarness
from twisted_index.testing.contracts.source import SourceContract
from twisted_index.testing.contracts.store import StoreContract

__all__ = ["SourceContract", "SourceHarness", "StoreContract", "StoreHarness"]
