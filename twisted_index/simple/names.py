"""
Names of projects and distribution files, and versions in their order.

Derived from text alone, without reading files.
"""

from __future__ import annotations

from twisted_index.simple._filename_advice import (
    is_unfinished_download,
    looks_like_distribution,
    parse_filename,
)
from twisted_index.simple._filenames import Distribution, DistributionType, InvalidFilename
from twisted_index.simple._name_claims import claimed_project, is_temporary
from twisted_index.simple._project_names import is_valid_name, normalize
from twisted_index.simple._versions import (
    canonical_version,
    is_prerelease,
    normal_form,
    public_version,
    sorted_files,
    sorted_versions,
    version_sort_key,
)

__all__ = [
    "Distribution",
    "DistributionType",
    "InvalidFilename",
    "canonical_version",
    "claimed_project",
    "is_prerelease",
    "is_temporary",
    "is_unfinished_download",
    "is_valid_name",
    "looks_like_distribution",
    "normal_form",
    "normalize",
    "parse_filename",
    "public_version",
    "sorted_files",
    "sorted_versions",
    "version_sort_key",
]
