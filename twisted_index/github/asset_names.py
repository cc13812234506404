"""
The names of files whose releases show another: GitHub changes names at upload. Pure.

`demo-1.0+cu118-py3-none-any.whl` may be shown as `demo-1.0.cu118-py3-none-any.whl`, which is no name of
a wheel, and `demo-1.0+1-…` as `demo-1.0.1-…`, which is one of another version. The label of an asset, or what
is in a wheel, tells the right one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted_index.simple.names import InvalidFilename, is_valid_name, normal_form, normalize, parse_filename

if TYPE_CHECKING:
    from twisted_index.github.model import Asset
    from twisted_index.simple.core_metadata import CoreMetadata
    from twisted_index.simple.names import Distribution

_CHANGED = re.compile(r"[^A-Za-z0-9_+-]+")


def mangled(name: str) -> str:
    """
    Return what GitHub makes of a file name at upload: other characters become dots, one for a run of them.

    `+` stays if the client escaped it in the URL; `is_renamed` allows for those that did not.
    """
    return _CHANGED.sub(".", name).strip(".")


def is_renamed(asset_name: str, filename: str) -> bool:
    """Return whether an asset may have got its name from a file name, at upload."""
    return mangled(asset_name.replace("+", ".")) == mangled(filename.replace("+", "."))


def parse_asset_name(asset: Asset) -> Distribution | None:
    """
    Parse the file name of an asset.

    The label counts if the name may have been made from it: `demo-1.0+2.tar.gz` becomes
    `demo-1.0.2.tar.gz`, which is another version.

    Returns:
        None if it is no distribution, or its name cannot be known without its content.
    """
    by_label = _parse(asset.label) if is_renamed(asset.name, asset.label) else None
    return by_label or _parse(asset.name)


def project_of(asset: Asset) -> str | None:
    """Return the project for which an asset can be a wheel: no upload changes that part of a name."""
    stem, _, rest = asset.name.partition("-")
    return normalize(stem) if rest.endswith(".whl") and is_valid_name(stem) else None


def name_inside(shown: str, headers: CoreMetadata) -> str | None:
    """
    Return the name of a wheel whose name was changed at upload.

    Args:
        shown: The name of the asset.
        headers: Those of the METADATA in the wheel, unchecked.

    Returns:
        The name that `shown` was made of; None if they give none.
    """
    project, *rest = shown.split("-")
    if len(rest) < 4 or headers.version is None or not _is_same(headers.name or "", project):
        return None
    for version in (headers.version, normal_form(headers.version)):
        name = "-".join((project, (version or "").replace("-", "_"), *rest[1:]))
        if is_renamed(shown, name) and _parse(name) is not None:
            return name
    return None


def _is_same(one: str, other: str) -> bool:
    return is_valid_name(one) and is_valid_name(other) and normalize(one) == normalize(other)


def _parse(name: str) -> Distribution | None:
    try:
        return parse_filename(name)
    except InvalidFilename:
        return None
