"""
Which files an installer would take: pip says it, and this reads what it says.

Not for: fetching them (`_fetching`).
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.simple.names import InvalidFilename, normalize, parse_filename, version_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Seconds of silence after which a server is given up.
TIMEOUT = 60.0

#: Bytes; larger pages there are none.
_LARGEST_PAGE = 100_000_000


class Unresolvable(SimpleIndexError):
    """pip finds no versions that go together; it says why itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A file to be fetched.

    Attributes:
        name: What it is called when people are told of it.
        url: Without user and password.
        sha256: What its bytes have to be; None if nobody says.
        size: In bytes; None if nobody says.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """
    A version of a project that pip chose.

    Attributes:
        project: A normalized name.
        version: As its metadata spells it.
        file: The file that pip would install.
    """

    project: str
    version: str
    file: Wanted


class Index:
    """
    The index that is asked.

    Args:
        url: Of its simple API; may hold a user and a password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.rstrip("/") + "/")
        self.url = url.rstrip("/") + "/"
        self._bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._user, self._password = parts.username, parts.password
        self.origin = urlsplit(self._bare)[:2]

    def page_url(self, project: str) -> str:
        """Give the URL of a project page, without user and password."""
        return f"{self._bare}{quote(project, safe='')}/"

    def has(self, url: str) -> bool:
        """Tell whether a URL is this server's."""
        return urlsplit(url)[:2] == self.origin

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """
        Ask this server for something.

        Raises:
            OSError: It does not answer, or not with what was asked for.
        """
        # Only what `has` says yes to, which is http or https, gets here.
        request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310
        if self._user is not None:
            pair = f"{unquote(self._user)}:{unquote(self._password or '')}".encode()
            request.add_unredirected_header(
                "Authorization", "Basic " + base64.b64encode(pair).decode("ascii")
            )
        return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310


def resolve(index: Index, requirements: Sequence[str], files: Sequence[str]) -> list[Release]:
    """
    Let pip choose the versions that it would install here, from this index alone.

    Args:
        index: What it asks.
        requirements: As on the command line of pip.
        files: Of requirements.

    Raises:
        ConfigurationError: There is no pip.
        Unresolvable: It finds no versions that go together.
    """
    words = [*_pip(), "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    for file in files:
        words += ["-r", file]
    # No shell reads this, and no requirement is read as an option.
    run = subprocess.run(  # noqa: S603
        [*words, "--", *requirements],
        env=_environment(index),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if run.returncode:
        sys.stderr.write(run.stderr.decode(errors="replace"))
        raise Unresolvable("pip cannot resolve this; nothing has been fetched beyond what it asked for.")
    return [_release(one) for one in json.loads(run.stdout)["install"]]


def all_files(index: Index, release: Release) -> Iterator[Wanted]:
    """
    Give every file of a version, for all platforms, with the core metadata.

    Raises:
        OSError: The page cannot be had.
        Unavailable: It cannot be read.
    """
    url = index.page_url(release.project)
    with index.open(url, {"Accept": "application/vnd.pypi.simple.v1+json"}) as answer:
        content, base = answer.read(_LARGEST_PAGE), answer.url
    try:
        files = json.loads(content)["files"]
        for file in files:
            if _is_of(file["filename"], release):
                yield from _with_metadata(file, base)
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"The page of {release.project} cannot be read.") from error


def _with_metadata(file: Mapping[str, Any], base: str) -> Iterator[Wanted]:
    name, url = file["filename"], urljoin(base, file["url"]).partition("#")[0]
    yield Wanted(name=name, url=url, sha256=file["hashes"].get("sha256"), size=file.get("size"))
    metadata = file.get("core-metadata")
    if metadata:
        sha256 = metadata.get("sha256") if isinstance(metadata, dict) else None
        yield Wanted(name=f"{name}.metadata", url=f"{url}.metadata", sha256=sha256)


def _is_of(filename: str, release: Release) -> bool:
    try:
        found = parse_filename(filename, release.project)
    except InvalidFilename:
        return False
    return version_key(found.version) == version_key(release.version)


def _release(one: Mapping[str, Any]) -> Release:
    """Read one entry of an installation report (https://pip.pypa.io/en/stable/reference/installation-report/)."""
    download = one["download_info"]
    url = download["url"].partition("#")[0]
    hashes = download.get("archive_info", {}).get("hashes", {})
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return Release(
        project=normalize(one["metadata"]["name"]),
        version=one["metadata"]["version"],
        file=Wanted(name=name, url=url, sha256=hashes.get("sha256")),
    )


def _pip() -> list[str]:
    """Say how pip is called: with this very Python, so that it chooses for it, if that has one."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise ConfigurationError("There is no pip here, which says what a requirement needs; install pip.")
    return [found]


def _environment(index: Index) -> dict[str, str]:
    """
    Make an environment in which pip asks this index alone, and each time.

    The URL is passed here and not as an option: everybody on the machine sees those.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_TRUSTED_HOST": index.origin[1] if index.origin[0] == "http" else "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
