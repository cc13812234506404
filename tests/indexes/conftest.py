"""The folder that stands before other sources."""

from tests.kit.folder_source import folder, serve, times
