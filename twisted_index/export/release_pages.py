"""
The releases of a repository as pages whose files stay where they are: the second reader of an export. Pure.

Out of scope: which assets are distributions (see `release_files`), what is in them (see `asset_reader`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from twisted_index.errors import BadGateway
from twisted_index.export.project_reader import ReadProject
from twisted_index.github.asset_names import name_inside
from twisted_index.github.release_files import ReleaseFile, renamed_file
from twisted_index.simple.core_metadata import BadArchive, CoreMetadata, check_identity
from twisted_index.simple.model import File, ProjectPage, Sidecar
from twisted_index.simple.names import sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.export.project_reader import Parts
    from twisted_index.github.model import Asset


def named_file(asset: Asset, file: ReleaseFile | None, headers: CoreMetadata | None) -> ReleaseFile | None:
    """
    Return an asset as the file that it is.

    Args:
        asset: A wheel or an sdist.
        file: What its name or its label says; None if neither is one of a distribution.
        headers: What is inside of a wheel; None for other files.

    Returns:
        None if the wheel contradicts its name, which is not the one of GitHub for it either.
    """
    if headers is None or (file is not None and _is_of(file, headers)):
        return file
    name = name_inside(asset.name, headers)
    return None if name is None else renamed_file(asset, name)


def _is_of(file: ReleaseFile, headers: CoreMetadata) -> bool:
    try:
        check_identity(headers, project=file.project, version=file.version)
    except BadArchive:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAsset:
    """
    A distribution at a release, and what was read of it.

    Attributes:
        asset: The asset.
        file: See `named_file`.
        sha256: Its digest.
        headers: See `named_file`.
        metadata_sha256: The digest of its `.metadata`, if that is one of its own; else None.
    """

    asset: Asset
    file: ReleaseFile | None
    sha256: str
    headers: CoreMetadata | None = None
    metadata_sha256: str | None = None


class Content(NamedTuple):
    """The digest and the size in bytes of a file; None for a size that is not stated."""

    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class AssetUrls:
    """
    The URLs of files at releases; provides `IFilesUrl`.

    Attributes:
        urls: By the name of the file.
    """

    urls: dict[str, str] = field(default_factory=dict)

    def of(self, project: str, file: File) -> str:
        """Return the URL of a file; see `IFilesUrl`."""
        return self.urls[file.filename]

    def promised(self, file: File) -> File:
        """Return the file: what its page promises is at its release; see `IFilesUrl`."""
        return file


class ReleaseReader:
    """
    Makes pages of releases; provides `IReader`.

    Args:
        assets: The distributions, the preferred one of a name first.
        listed: Digest and size of each file that was ever listed, by name. Its name means these bytes.

    Attributes:
        urls: Where the files are.
        listed: As the argument, with the files that are listed now.
        notes: A sentence for each file that is not listed, or that not every installer finds.
        refused: The names of files that have other content than when they were listed.

    Raises:
        BadGateway: The API gives no URL of a file.
    """

    def __init__(self, assets: Iterable[ReadAsset], listed: Mapping[str, Content]) -> None:
        self.urls = AssetUrls()
        self.listed = dict(listed)
        self.notes: list[str] = []
        self.refused: list[str] = []
        self._files: defaultdict[str, list[File]] = defaultdict(list)
        for read in assets:
            self._add(read)

    def parts_by_project(self) -> tuple[dict[str, Parts], list[RootScan]]:
        """Return the projects, of no folders; see `IReader`."""
        return {project: [] for project in self._files}, []

    def read(self, project: str, parts: Parts) -> ReadProject:
        """Return the page of a project; see `IReader`."""
        files = sorted_files(self._files[project])
        versions = sorted_versions(file.version for file in files)
        page = ProjectPage(name=project, files=files, versions=versions)
        return ReadProject(page=page, listed={}, scan=None, is_named=True, is_final=False)

    def _add(self, read: ReadAsset) -> None:
        asset, file = read.asset, named_file(read.asset, read.file, read.headers)
        if file is None:
            self.notes.append(f"{asset.name} is left out: it is not what its name says.")
        elif file.filename not in self.urls.urls:
            if not asset.download_url:
                raise BadGateway(f"The releases API gives no URL of {asset.name} to which a page could link.")
            self._note_name(file)
            self.urls.urls[file.filename] = asset.download_url
            self._files[file.project].append(self._listed(file, read))

    def _note_name(self, file: ReleaseFile) -> None:
        name = unquote(urlsplit(file.asset.download_url).path.rpartition("/")[2])
        if name != file.filename:
            self.notes.append(
                f"{file.filename} is {name} at its release, which pip takes for its name, and uv does not."
            )

    def _listed(self, file: ReleaseFile, read: ReadAsset) -> File:
        content = self.listed.setdefault(file.filename, Content(read.sha256, file.asset.size))
        if content.sha256 != read.sha256:
            self.refused.append(file.filename)
        has_metadata = read.metadata_sha256 is not None and _is_beside(file, file.metadata, Sidecar.METADATA)
        has_signature = _is_beside(file, file.signature, Sidecar.SIGNATURE)
        return File(
            filename=file.filename,
            version=file.version,
            hashes={"sha256": content.sha256},
            size=content.size,
            upload_time=file.asset.created_at,
            requires_python=None if read.headers is None else read.headers.requires_python,
            core_metadata={"sha256": read.metadata_sha256 or ""} if has_metadata else None,
            sidecars=frozenset({Sidecar.SIGNATURE} if has_signature else ()),
            provenance_url=None if file.provenance is None else file.provenance.download_url,
        )


def _is_beside(file: ReleaseFile, document: Asset | None, sidecar: Sidecar) -> bool:
    """Return whether a document is where clients look for it: at the file's URL plus a suffix."""
    return document is not None and document.download_url == file.asset.download_url + sidecar.value
