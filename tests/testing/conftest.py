"""The kit's own fixture, as any other project would have it by `pytest_plugins`."""

from twisted_index.testing.fixtures import simple_index

__all__ = ["simple_index"]
