"""
Names: of projects, of distribution files, and of versions in their order.

All of it is decided by text alone. Not for: what a file holds, or whether it exists.
"""

from __future__ import annotations

from twisted_index.simple._claims import claimed_project, is_temporary
from twisted_index.simple._filenames import Distribution, InvalidFilename, Kind, parse_filename
from twisted_index.simple._project_names import is_valid_name, normalize
from twisted_index.simple._versions import file_order, ordered_versions, version_key

__all__ = [
    "Distribution",
    "InvalidFilename",
    "Kind",
    "claimed_project",
    "file_order",
    "is_temporary",
    "is_valid_name",
    "normalize",
    "ordered_versions",
    "parse_filename",
    "version_key",
]
