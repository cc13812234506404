"""
The contracts as tests, so that an implementation can prove itself.

A class of tests inherits `SourceContract` or `StoreContract` and says how to make what is tested; it
runs under pytest as it is, and under unittest together with `unittest.TestCase`:

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

What an implementation cannot do, such as breaking off a transfer, is skipped unless the harness says
how. With pytest, `pytest.register_assert_rewrite("twisted_index.testing.contracts")` before the import
makes failures tell more.
"""

from twisted_index.testing.contracts.harness import SourceHarness, StoreHarness
from twisted_index.testing.contracts.source import SourceContract
from twisted_index.testing.contracts.store import StoreContract

__all__ = ["SourceContract", "SourceHarness", "StoreContract", "StoreHarness"]
