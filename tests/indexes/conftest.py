"""The folder that stands before other sources."""

from tests.kit.folder_source import folder, serve, times
from tests.kit.named_indexes import indexes, make_indexes
