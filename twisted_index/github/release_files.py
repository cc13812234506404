"""From releases to distributions by project: sidecars, duplicates. Pure; for names see `asset_names`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.github.asset_names import is_renamed, parse_asset_name, project_of
from twisted_index.simple.names import parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from twisted_index.github.model import Asset, Release
    from twisted_index.simple.names import Distribution

_LATEST = datetime.max.replace(tzinfo=UTC)

#: Why a file is left out, as a clause.
OTHER_CONTENT = "a release has other content under the name of an older one's file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """
    A distribution among the assets of releases.

    Attributes:
        filename: Its own name, which may be another than the asset's.
        project: Normalized (PEP 503).
        version: In PEP 440 normal form.
        asset: The file.
        metadata: The asset of its `.metadata` in the same release; None without one.
        signature: That of its `.asc`.
        provenance: That of its `.provenance`.
    """

    filename: str
    project: str
    version: str
    asset: Asset
    metadata: Asset | None = None
    signature: Asset | None = None
    provenance: Asset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """
    The distributions of some releases.

    Attributes:
        projects: By normalized name; the names of a project's files are unique, the oldest file comes first.
        unnamed: By project, wheels whose name is not valid, and whose label does not help: only what is in
            them can.
        left_out: By project, number of files that are left out, by reason (a clause).
    """

    projects: Mapping[str, tuple[ReleaseFile, ...]]
    unnamed: Mapping[str, tuple[Asset, ...]]
    left_out: Mapping[str, Mapping[str, int]]


def release_files(releases: Iterable[Release]) -> ReleaseFiles:
    """
    Find the distributions among the assets of releases; other assets are ignored.

    Of files with the same name the oldest counts, as it may have been installed already.
    """
    found = sorted(_found(releases), key=lambda pair: _age(pair[0]))
    files: dict[str, ReleaseFile] = {}
    left_out: dict[str, Counter[str]] = {}
    unnamed: dict[str, list[Asset]] = {}
    for asset, file in found:
        if file is None:
            if (project := project_of(asset)) is not None:
                unnamed.setdefault(project, []).append(asset)
            continue
        older = files.setdefault(file.filename, file)
        if older is not file and not _is_same(older.asset, asset):
            left_out.setdefault(file.project, Counter())[OTHER_CONTENT] += 1
    projects: dict[str, list[ReleaseFile]] = {}
    for file in files.values():
        projects.setdefault(file.project, []).append(file)
    return ReleaseFiles(
        projects={name: tuple(members) for name, members in projects.items()},
        unnamed={name: tuple(assets) for name, assets in unnamed.items()},
        left_out=left_out,
    )


def renamed_file(asset: Asset, filename: str) -> ReleaseFile:
    """Return a wheel under the name that is in it."""
    return _file(parse_filename(filename), asset, {})


def _found(releases: Iterable[Release]) -> Iterator[tuple[Asset, ReleaseFile | None]]:
    """Yield all assets, each with the distribution that its name says, or None."""
    for release in releases:
        siblings = _siblings(release)
        for asset in release.assets:
            distribution = parse_asset_name(asset)
            if distribution is not None:
                yield asset, _file(distribution, asset, siblings)
            else:
                yield asset, None


def _siblings(release: Release) -> dict[str, Asset]:
    """Return the assets of a release by name, and by label where that is the name before the upload."""
    labels = {asset.label: asset for asset in release.assets if is_renamed(asset.name, asset.label)}
    return labels | {asset.name: asset for asset in release.assets}


def _file(distribution: Distribution, asset: Asset, siblings: Mapping[str, Asset]) -> ReleaseFile:
    def sidecar(extension: str) -> Asset | None:
        own, uploaded = distribution.filename + extension, asset.name + extension
        return siblings.get(own) or siblings.get(uploaded)

    return ReleaseFile(
        filename=distribution.filename,
        project=distribution.project,
        version=distribution.version,
        asset=asset,
        metadata=sidecar(".metadata"),
        signature=sidecar(".asc"),
        provenance=sidecar(".provenance"),
    )


def _age(asset: Asset) -> tuple[datetime, int]:
    return asset.created_at or _LATEST, asset.id


def _is_same(one: Asset, other: Asset) -> bool:
    return one.sha256 is not None and one.sha256 == other.sha256
