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

#: The Accept header for pages (PEP 691): JSON holds more, and is parsed faster.
ACCEPT = b"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

#: Media types of pages, by parser.
ACCEPT_JSON = ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json")
_HTML_OF_API = ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html")
ACCEPT_HTML = (*_HTML_OF_API, "text/html", "application/xhtml+xml")

#: Longest version in characters; longer ones are ignored.
_MAX_VERSION = 128
#: Limit of commas and brackets in a JSON page: Python's parser holds the GIL, and 60 MB of nothing else
#: took half a minute, and 1.7 GB. A file has about a dozen.
_MAX_JSON_TOKENS = 1_000_000
#: Headings of pages that list files: PyPI and compatible servers; devpi; Artifactory; nginx, Apache and
#: lighttpd; Python and Twisted. IIS is recognized by the path in its heading.
_LISTING = re.compile(r"\b(links for|simple (index|list)|index of|directory listing)\b", re.IGNORECASE)
#: Suffixes of files whose omission is reported. Listings link to other things too, and old projects have
#: eggs and Windows installers, which no installer uses any more.
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")


class _LeftOut(ValueError):
    """A file of a page that must not be listed; the message is a clause that gives the reason."""


def parse_page(
    project: str,
    body: bytes,
    *,
    content_type: str,
    url: str,
    whole: bool = True,
    etag: str | None = None,
    modified: str | None = None,
    serial: int | None = None,
) -> RemotePage:
    """
    Parse a project page.

    Args:
        project: The requested, normalized name.
        body: The decoded body, of bounded size.
        content_type: The Content-Type field; it alone decides the format.
        url: URL of the page after all redirects.
        whole: False if only the end of the connection delimited the body. The page must then have an end
            tag.
        etag: Passed to the result.
        modified: Passed to the result.
        serial: Passed to the result.

    Raises:
        BadGateway: This is not a page of the simple API.
    """
    try:
        parsed = _parse(body, content_type, whole)
        is_quarantined = parsed.status.status is Status.QUARANTINED
        files, left_out = ((), {}) if is_quarantined else _files(project, parsed, url)
        if not files and not _is_simple(project, parsed):
            raise InvalidPage("it lists no file, and does not look like a page of the simple API")
    except InvalidPage as error:
        raise BadGateway(f"The page of {project} cannot be used: {error.reason}.") from None
    return RemotePage(
        project=project,
        files=files,
        versions=() if is_quarantined else _other_versions(parsed.versions, files),
        status=parsed.status,
        left_out=left_out,
        etag=etag,
        modified=modified,
        serial=serial,
    )


def _parse(body: bytes, content_type: str, whole: bool) -> ParsedPage:
    field = Message()
    field["Content-Type"] = content_type
    media_type = field.get_content_type() if content_type else ""
    if media_type in ACCEPT_JSON:
        if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_JSON_TOKENS:
            raise InvalidPage("it is larger than any page of files")
        return json_parser.parse_json_page(body)
    if media_type not in ACCEPT_HTML:
        what = media_type[:80] if media_type.isprintable() and media_type.isascii() else "something"
        raise InvalidPage(f"it is {what or 'of no type'} instead of a simple API page")
    if not whole and b"</html" not in body[-4096:].lower() and b"</body" not in body[-4096:].lower():
        raise InvalidPage("it is truncated")
    if b"<" not in body:  # a page without files still has tags; an empty body is an error
        raise InvalidPage("it is not HTML")
    parsed = html_parser.parse_html_page(body, field.get_content_charset())
    return parsed if media_type not in _HTML_OF_API else replace(parsed, headings=None)


def _is_simple(project: str, parsed: ParsedPage) -> bool:
    """
    Return whether a page without usable files is a page of the simple API.

    Maintenance pages, captive portals, sign-in pages and application shells have status 200 too, and may
    link to downloads. A page of an index has a known heading, or the project's name as heading, or links
    to files named for the project.
    """
    if parsed.headings is None or any(_is_named_for(project, entry) for entry in parsed.files):
        return True
    return any(
        is_listing_heading(heading) or _is_name(project, heading.strip("/ ").rpartition("/")[2])
        for heading in parsed.headings
    )


def is_listing_heading(heading: str) -> bool:
    """Return whether indexes and web servers use this heading for their listings."""
    return _LISTING.search(heading) is not None


def _is_name(project: str, text: str) -> bool:
    return is_valid_name(text) and normalize(text) == project


def _files(project: str, parsed: ParsedPage, url: str) -> tuple[tuple[RemoteFile, ...], dict[str, int]]:
    """Return the files of a page, and the number of files left out, by reason."""
    base = url
    if parsed.base is not None:
        try:
            base = normalize_url(parsed.base, base=url)
        except InvalidURL as error:
            raise InvalidPage(f"its base URL cannot be used: {error}") from None
    files: dict[str, RemoteFile] = {}
    left_out: Counter[str] = Counter()
    for entry in parsed.files:
        try:
            file = _file(project, entry, base, url)
        except _LeftOut as reason:
            left_out[str(reason)] += 1
        else:
            if file is not None:
                files.setdefault(file.file.filename, file)
    return tuple(files.values()), dict(left_out)


def _file(project: str, entry: ParsedFile, base: str, page_url: str) -> RemoteFile | None:
    """
    Make a file from a page entry.

    Returns:
        None if the link is not to a file.

    Raises:
        _LeftOut: The file belongs to another project, or must not be fetched.
    """
    try:
        url = normalize_url(entry.url, base=base)
    except InvalidURL as error:
        if _looks_like_file(entry):
            raise _LeftOut(f"their URL cannot be requested: {error}") from None
        return None
    distribution = _distribution(project, entry, url)
    if distribution is None:
        return None
    if is_downgrade(page_url, url):
        raise _LeftOut("they are linked by http from a page fetched by https")
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
    Return the distribution that a link names; None if it is not a file.

    The last path segment of the URL counts, as for pip: web servers truncate long names in the text of
    their listings. Only where it names no distribution (`…/download?id=7`), the link text does.

    Raises:
        _LeftOut: The file belongs to another project, or has no valid name.
    """
    for name in (unquote(urlsplit(url).path.rpartition("/")[2]), entry.name):
        try:
            distribution = parse_filename(name or "", project)
        except InvalidFilename:
            continue
        if distribution.project != project:
            raise _LeftOut("they are named for another project")
        return distribution
    if _looks_like_file(entry):
        raise _LeftOut("their names are not those of a wheel or an sdist with a valid version")
    return None


def _is_named_for(project: str, entry: ParsedFile) -> bool:
    """Return whether a link is to a file whose name begins with the project's, listed or not."""
    names = (_path(entry).rpartition("/")[2], entry.name or "")
    return _looks_like_file(entry) and any(normalize(unquote(name)).startswith(project) for name in names)


def _looks_like_file(entry: ParsedFile) -> bool:
    return any(name.lower().endswith(_SUFFIXES) for name in (_path(entry), entry.name or ""))


def _path(entry: ParsedFile) -> str:
    return entry.url.partition("#")[0].partition("?")[0].strip()


def _other_versions(parsed: tuple[str, ...], files: tuple[RemoteFile, ...]) -> tuple[str, ...]:
    """Return the versions that a page states, in order, without invalid ones and those of its files."""
    known = {canonical_version(file.file.version) for file in files}
    short = (version.strip() for version in parsed if len(version) <= _MAX_VERSION)
    return tuple(
        version
        for version in sorted_versions(short)
        if canonical_version(version) not in known and normal_form(version) is not None
    )
