"""A folder that is searched."""

from tests.kit.folder_source import folder, serve, times
