"""
Parses and checks a page of an upstream: only files of the project, at permitted URLs.

Pure, and slow for large pages: the caller runs it in a thread.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.errors import BadGateway
from twisted_index.http_client.urls import InvalidURL, is_downgrade, normalize_url
from twisted_index.simple import html_parser, json_parser
from twisted_index.simple.model import File, Sidecar, Status
from twisted_index.simple.names import (
    DistributionType,
    InvalidFilename,
    canonical_version,
    is_valid_name,
    normal_form,
    normalize,
    parse_filename,
    sorted_versions,
)
from twisted_index.simple.parsed import InvalidPage

if TYPE_CHECKING:
    from twisted_index.simple.names import Distribution
    from twisted_index.simple.parsed import ParsedFile, ParsedPage

#: What pages are asked for as (PEP 691): JSON says more, and is read faster.
ACCEPT = b"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

#: Media types of pages, by how they are read.
ACCEPT_JSON = ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json")
_HTML_OF_API = ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html")
ACCEPT_HTML = (*_HTML_OF_API, "text/html", "application/xhtml+xml")

#: Characters of a version that is looked at.
_MAX_VERSION = 128
#: Commas and brackets of a page in JSON: Python's reader lets no other thread run, and 60 MB of nothing
#: else kept it for half a minute, and 1.7 GB. A file has about a dozen.
_MAX_MARKS = 1_000_000
#: What pages call themselves that list files: PyPI and all who followed it; devpi; Artifactory; nginx,
#: Apache and lighttpd; Python and Twisted; IIS is known by the path that it shows.
_LISTING = re.compile(r"\b(links for|simple (index|list)|index of|directory listing)\b", re.IGNORECASE)
#: Endings of files whose omission is reported. A listing has links to other things too; and old projects
#: have eggs and programs for Windows, which no installer takes any more.
_FILES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")


class _LeftOut(ValueError):
    """A file of a page that is not listed here; the text says why, as a clause."""


def parse_page(
    project: str,
    body: bytes,
    *,
    content_type: str,
    url: str,
    whole: bool = True,
    etag: str | None = None,
    modified: str | None = None,
) -> RemotePage:
    """
    Read a project page.

    Args:
        project: The normalized name that was asked for.
        body: Decoded, of bounded size.
        content_type: As it came; it alone says which format this is.
        url: Where the page was found, after all redirects.
        whole: False if nothing but the end of the connection said that this is all. Such a page
            must end like one.
        etag: Goes into the result.
        modified: Likewise.

    Raises:
        BadGateway: This is no page of the simple API.
    """
    try:
        stated = _stated(body, content_type, whole)
        is_quarantined = stated.status.status is Status.QUARANTINED
        files, left_out = ((), {}) if is_quarantined else _files(project, stated, url)
        if not files and not _is_simple(project, stated):
            raise InvalidPage("it lists no file, and does not look like a page of the simple API")
    except InvalidPage as error:
        raise BadGateway(f"The page of {project} cannot be used: {error.reason}.") from None
    return RemotePage(
        project=project,
        files=files,
        versions=() if is_quarantined else _other_versions(stated.versions, files),
        status=stated.status,
        left_out=left_out,
        etag=etag,
        modified=modified,
    )


def _stated(body: bytes, content_type: str, whole: bool) -> ParsedPage:
    field = Message()
    field["Content-Type"] = content_type
    media_type = field.get_content_type() if content_type else ""
    if media_type in ACCEPT_JSON:
        if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_MARKS:
            raise InvalidPage("it is larger than any page of files")
        return json_parser.parse_json_page(body)
    if media_type not in ACCEPT_HTML:
        what = media_type[:80] if media_type.isprintable() and media_type.isascii() else "something"
        raise InvalidPage(f"it is {what or 'of no type'} instead of a simple API page")
    if not whole and b"</html" not in body[-4096:].lower() and b"</body" not in body[-4096:].lower():
        raise InvalidPage("it was broken off")
    if b"<" not in body:  # an empty page has tags all the same; an empty answer is an accident
        raise InvalidPage("it is no HTML")
    stated = html_parser.parse_html_page(body, field.get_content_charset())
    return stated if media_type not in _HTML_OF_API else replace(stated, headings=None)


def _is_simple(project: str, stated: ParsedPage) -> bool:
    """
    Tell whether a page that lists nothing means that there is nothing.

    Maintenance, a captive portal, a sign-in or the shell of an application comes with 200 too, and may
    offer something to download. What comes from an index calls itself by one of a few names, or by that
    of the project, or has files that are named for it.
    """
    if stated.headings is None or any(_is_named_for(project, entry) for entry in stated.files):
        return True
    return any(
        is_listing_heading(heading) or _is_name(project, heading.strip("/ ").rpartition("/")[2])
        for heading in stated.headings
    )


def is_listing_heading(heading: str) -> bool:
    """Tell whether a heading is one of those that indexes and web servers put over their lists."""
    return _LISTING.search(heading) is not None


def _is_name(project: str, text: str) -> bool:
    return is_valid_name(text) and normalize(text) == project


def _files(project: str, stated: ParsedPage, url: str) -> tuple[tuple[RemoteFile, ...], dict[str, int]]:
    """Give the files of a page, and how many others it has for each reason to leave them out."""
    base = url
    if stated.base is not None:
        try:
            base = normalize_url(stated.base, base=url)
        except InvalidURL as error:
            raise InvalidPage(f"of its base, {error}") from None
    found: dict[str, RemoteFile] = {}
    left_out: Counter[str] = Counter()
    for entry in stated.files:
        try:
            file = _file(project, entry, base, url)
        except _LeftOut as reason:
            left_out[str(reason)] += 1
        else:
            if file is not None:
                found.setdefault(file.file.filename, file)
    return tuple(found.values()), dict(left_out)


def _file(project: str, entry: ParsedFile, base: str, page_url: str) -> RemoteFile | None:
    """
    Make a file of an entry.

    Returns:
        None if it is a link to something else than a file.

    Raises:
        _LeftOut: It is a file that is not this project's, or may not be fetched.
    """
    try:
        url = normalize_url(entry.url, base=base)
    except InvalidURL as error:
        if _looks_like_file(entry):
            raise _LeftOut(f"their URL cannot be asked: {error}") from None
        return None
    distribution = _distribution(project, entry, url)
    if distribution is None:
        return None
    if is_downgrade(page_url, url):
        raise _LeftOut("they would come by http from a page that came by https")
    is_wheel = distribution.kind is DistributionType.WHEEL
    file = File(
        filename=distribution.filename,
        version=distribution.version,
        hashes=entry.hashes,
        size=entry.size,
        upload_time=entry.upload_time,
        requires_python=entry.requires_python,
        core_metadata=(entry.core_metadata or {}) if is_wheel else None,
        yanked=entry.yanked,
        sidecars=frozenset({Sidecar.SIGNATURE} if entry.signed else ()),
        provenance_url=entry.provenance_url,
    )
    return RemoteFile(file=file, url=url, offers_metadata=is_wheel and entry.core_metadata is not None)


def _distribution(project: str, entry: ParsedFile, url: str) -> Distribution | None:
    """
    Find out what a link is the file of.

    The end of the URL counts, as it does for pip: web servers cut long names short in the text of
    their listings. Only where it names no distribution at all (`…/download?id=7`), what the page
    calls the file does.

    Raises:
        _LeftOut: Of a file that is not this project's.
    """
    for name in (unquote(urlsplit(url).path.rpartition("/")[2]), entry.name):
        try:
            found = parse_filename(name or "", project)
        except InvalidFilename:
            continue
        if found.project != project:
            raise _LeftOut("they are named for another project")
        return found
    if _looks_like_file(entry):
        raise _LeftOut("their names are none of a wheel or an sdist with a valid version")
    return None


def _is_named_for(project: str, entry: ParsedFile) -> bool:
    """Tell whether a link is to a file whose name begins with that of a project, listed or not."""
    names = (_path(entry).rpartition("/")[2], entry.name or "")
    return _looks_like_file(entry) and any(normalize(unquote(name)).startswith(project) for name in names)


def _looks_like_file(entry: ParsedFile) -> bool:
    return any(name.lower().endswith(_FILES) for name in (_path(entry), entry.name or ""))


def _path(entry: ParsedFile) -> str:
    return entry.url.partition("#")[0].partition("?")[0].strip()


def _other_versions(stated: tuple[str, ...], files: tuple[RemoteFile, ...]) -> tuple[str, ...]:
    """Put what is stated in order, without what is no version and what the files say already."""
    known = {canonical_version(file.file.version) for file in files}
    short = (version.strip() for version in stated if len(version) <= _MAX_VERSION)
    return tuple(
        version
        for version in sorted_versions(short)
        if canonical_version(version) not in known and normal_form(version) is not None
    )
