"""
The files that pip would install, from pip's own report.

Out of scope: downloading them (see `_download`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from twisted.web.http_headers import Headers

from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.http_client.egress import EgressPolicy
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of
from twisted_index.simple.names import InvalidFilename, normalize, parse_filename, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.http_client.client import HTTPResponse

#: A server that fetches a large file from its own upstream may take long, and send Retry-After: at most
#: two minutes, if it is a twisted-index server.
_LIMITS = ClientLimits(head=60.0, idle=60.0, tries=4, retry_after=120.0, max_body=100_000_000)
_JSON = Headers({b"Accept": [b"application/vnd.pypi.simple.v1+json"], b"Accept-Encoding": [b"gzip"]})


class ResolutionImpossible(SimpleIndexError):
    """pip finds no compatible versions; it prints the reason itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadItem:
    """
    A file to download.

    Attributes:
        name: For messages.
        url: Without user and password.
        sha256: The digest that the index promises; None without one.
        size: In bytes; None if unknown.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRelease:
    """
    A version of a project that pip has selected.

    Attributes:
        project: A normalized name.
        version: As spelled in its metadata.
        file: The file that pip would install.
    """

    project: str
    version: str
    file: DownloadItem


class IndexClient:
    """
    A client of the index.

    Args:
        url: The URL of its simple API; may contain a user and a password.
        reactor: The reactor to connect with.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        self.url = url.rstrip("/") + "/"
        self._bare, account = split_userinfo(url)
        self.origin = origin_of(self._bare)
        policy = EgressPolicy(self.origin)
        self._client = HTTPClient(
            self.origin,
            reactor,
            "index",
            environ=os.environ,
            egress_policy=policy,
            credentials=account,
            limits=_LIMITS,
        )
        self.retrying = self._client.retrying

    def serves(self, url: str) -> bool:
        """Whether a URL has the origin of this server."""
        try:
            return origin_of(normalize_url(url)) == self.origin
        except InvalidURL:
            return False

    async def page(self, project: str) -> tuple[str, bytes]:
        """Read a project page in JSON: its URL after redirects, and its content."""
        response = _require_found(await self._client.get(f"{self._bare}{quote(project, safe='')}/", _JSON))
        return response.url, await response.body.read()

    async def digest(self, url: str, advance: Callable[[int], None]) -> tuple[int, str]:
        """Fetch a file, count its bytes as they come, discard it; return their number and their SHA-256."""
        response = _require_found(await self._client.stream(url, Headers()))
        digest, size = hashlib.sha256(), 0

        def take(data: bytes) -> None:
            nonlocal size
            digest.update(data)
            size += len(data)
            advance(len(data))

        await response.body.deliver(take)
        return size, digest.hexdigest()

    def close(self) -> Deferred[None]:
        """Close persistent connections."""
        return self._client.close()


def _require_found(response: HTTPResponse | None) -> HTTPResponse:
    if response is None:
        raise SimpleIndexError("It does not exist.")
    return response


def resolve(index: IndexClient, requirements: Sequence[str], files: Sequence[str]) -> list[ResolvedRelease]:
    """
    Let pip select the versions that it would install here, from this index alone.

    Args:
        index: The only index of pip.
        requirements: As on the command line of pip.
        files: Requirements files.

    Raises:
        ConfigurationError: There is no pip.
        ResolutionImpossible: pip finds no compatible versions.
    """
    words = [*_pip(), "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    for file in files:
        words += ["-r", file]
    # Without a shell, and with "--" so that no requirement is parsed as an option.
    run = subprocess.run(  # noqa: S603
        [*words, "--", *requirements],
        env=_environment(index),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if run.returncode:
        sys.stderr.write(run.stderr.decode(errors="replace"))
        raise ResolutionImpossible(
            "pip cannot resolve the requirements; nothing was fetched beyond what pip requested."
        )
    return [_release(entry) for entry in json.loads(run.stdout)["install"]]


async def all_files(index: IndexClient, release: ResolvedRelease) -> list[DownloadItem]:
    """
    Return every file of a version, for all platforms, with the core metadata.

    Raises:
        SimpleIndexError: The page cannot be fetched or parsed.
    """
    base, content = await index.retrying(lambda: index.page(release.project))
    try:
        files = [file for file in json.loads(content)["files"] if _is_of(file["filename"], release)]
        return [item for file in files for item in _with_metadata(file, base)]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("It is not a project page in JSON.") from error


def _with_metadata(file: Mapping[str, Any], base: str) -> Iterator[DownloadItem]:
    name, url = file["filename"], urljoin(base, file["url"]).partition("#")[0]
    yield DownloadItem(name=name, url=url, sha256=file["hashes"].get("sha256"), size=file.get("size"))
    metadata = file.get("core-metadata")
    if metadata:
        sha256 = metadata.get("sha256") if isinstance(metadata, dict) else None
        yield DownloadItem(name=f"{name}.metadata", url=f"{url}.metadata", sha256=sha256)


def _is_of(filename: str, release: ResolvedRelease) -> bool:
    try:
        found = parse_filename(filename, release.project)
    except InvalidFilename:
        return False
    return version_sort_key(found.version) == version_sort_key(release.version)


def _release(entry: Mapping[str, Any]) -> ResolvedRelease:
    """Parse an entry of an installation report (https://pip.pypa.io/en/stable/reference/installation-report/)."""
    download = entry["download_info"]
    url = download["url"].partition("#")[0]
    hashes = download.get("archive_info", {}).get("hashes", {})
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return ResolvedRelease(
        project=normalize(entry["metadata"]["name"]),
        version=entry["metadata"]["version"],
        file=DownloadItem(name=name, url=url, sha256=hashes.get("sha256")),
    )


def _pip() -> list[str]:
    """Return the command of pip: of this Python if it has one, so that pip selects files for it."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise ConfigurationError("pip is not installed, but is needed to resolve requirements; install pip.")
    return [found]


def _environment(index: IndexClient) -> dict[str, str]:
    """
    Return an environment in which pip uses this index alone, and no cache.

    The URL is passed here and not as an option, which every user of the machine can see.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return others | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_TRUSTED_HOST": index.origin.authority if index.origin.scheme == "http" else "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
