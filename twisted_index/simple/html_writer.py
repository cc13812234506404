"""
The simple API in HTML (simple repository API specification; PEPs 503, 592, 658, 714, 740, 792).

A page is laid out like the folder listing of a web server: name, date and size, one file per line, and no
anchors besides the files. PEP 833 froze this format, so new features are in JSON only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted_index.simple.formatting import (
    API_VERSION,
    core_metadata,
    format_upload_time,
    offered_files,
    offered_versions,
    one_line,
    provenance_base_url,
    provenance_url,
    quote_filename,
    relative_url,
    yank_reason,
)
from twisted_index.simple.model import Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from twisted_index.simple.model import File, ProjectList, ProjectPage, ProjectStatus

#: The media type of these pages (PEP 691).
HTML_CONTENT_TYPE = b"application/vnd.pypi.simple.v1+html"

# Columns are text, so that the page looks the same in lynx, in curl and without styles.
STYLE = """\
:root{color-scheme:light dark;--ink:#1f2328;--paper:#fff;--faint:#656d76;--link:#0858b8;--seen:#6b3fa0;\
--mark:#9a3412;--line:#d5d9de;--tint:#fff5eb}
@media(prefers-color-scheme:dark){:root{--ink:#d8dde3;--paper:#14171b;--faint:#8d96a0;--link:#76b3fa;\
--seen:#b99af0;--mark:#f0a070;--line:#343a41;--tint:#2b211a}}
body{margin:2rem clamp(1rem,4vw,4rem);background:var(--paper);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif}
h1{margin:0 0 1rem;font-size:1.5rem;font-weight:600}
pre{margin:0;padding:.75rem 0;overflow-x:auto;border:solid var(--line);border-width:1px 0;\
font:.8125rem/1.7 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre b,p{color:var(--faint);font-weight:400}
a{color:var(--link);text-decoration:underline 1px;text-underline-offset:.15em}
a:visited{color:var(--seen)}
a[data-yanked]{color:var(--faint);text-decoration:line-through}
em{color:var(--mark);font-style:normal}
form{margin:0 0 1rem}
button{padding:.3rem .75rem;border:1px solid var(--faint);border-radius:.25rem;background:none;\
color:var(--link);font:inherit;cursor:pointer}
p.status{padding:.5rem .75rem;border-left:3px solid var(--mark);background:var(--tint);color:var(--ink)}"""

# The meaning of each marker, after PEP 792.
_STATUS_SENTENCES = {
    Status.ARCHIVED: "This project is archived: no new releases are expected.",
    Status.QUARANTINED: "This project is quarantined: it is considered unsafe, and no files are offered.",
    Status.DEPRECATED: "This project is deprecated: it is obsolete, and another may have taken its place.",
}

# A file name longer than this shifts the date on its own line only.
_WIDEST_NAME = 100
# Extra width for names slightly longer than most: "rc1", another platform.
_ROOM = 8

#: Shown on a list that may lack names.
INCOMPLETE = "One of the package folders cannot be read right now, and its projects are not in this list."


def write_html_list(project_list: ProjectList, *, about: str = "") -> bytes:
    """
    Write the list of projects.

    Args:
        project_list: Their names.
        about: As for `write_html_page`: that of the page about the index.
    """
    names = project_list.names
    incomplete = () if project_list.complete else (f'<p class="status">{INCOMPLETE}</p>',)
    return _document(
        title="Simple index",
        metas=tuple(_alternate(about)),
        before=(*incomplete, *_button(about, "About this index")),
        listing=(f'<a href="{quote_filename(name)}/">{_escape(name)}</a>' for name in names),
        summary=_count(len(names), "project"),
    )


def write_html_page(
    page: ProjectPage,
    *,
    public_url: str | None = None,
    file_url: Callable[[File], str] = relative_url,
    about: str = "",
) -> bytes:
    """
    Write the page of a project.

    Args:
        page: Its files are written in their order.
        public_url: URL of the index. Provenance of local files is written only if it is https.
        file_url: Returns the URL of a file, absolute or relative to the page.
        about: The relative URL of the page about the project, for people; empty for none. It is no anchor,
            since installers take anchors for files.
    """
    files = offered_files(page)
    links = map(file_url, files)
    return _document(
        title=f"Index of {page.name}",
        metas=(*_status_metas(page.status), *_alternate(about)),
        before=(*_status_text(page.status), *_button(about, "About this project")),
        listing=_listing(files, provenance_base_url(page.name, public_url), links) if files else (),
        summary=_summary(files, len(offered_versions(page))),
    )


def write_file_list(
    pages: Iterable[ProjectPage],
    left_out: Collection[str] = (),
    *,
    file_urls: Callable[[str], Callable[[File], str]],
) -> bytes:
    """
    Write all files of an index on one page, for `pip install --find-links`.

    Args:
        pages: The pages of all projects.
        left_out: Names of projects that are unavailable right now.
        file_urls: Returns what gives the URL of each file of a project.
    """
    placed = [
        (url_of(file), file)
        for page in pages
        for url_of in (file_urls(page.name),)
        for file in offered_files(page)
    ]
    files = [file for _url, file in placed]
    links = (url for url, _file in placed)
    return _document(
        title="All files",
        metas=(),
        before=_left_out(left_out),
        listing=_listing(files, None, links) if files else (),
        summary=_summary(files, None),
    )


def _left_out(names: Collection[str]) -> Iterator[str]:
    if names:
        yield f'<p class="status">Left out, as unreadable right now: {_escape(", ".join(names))}</p>'


# -- The document


def _document(
    *, title: str, metas: Iterable[str], before: Iterable[str], listing: Iterable[str], summary: str
) -> bytes:
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f'<meta name="pypi:repository-version" content="{API_VERSION}">',
        *metas,
        f"<title>{_escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{_escape(title)}</h1>",
        *before,
        "<pre>",
        *listing,
        "</pre>",
        f"<p>{summary}</p>",
        "</main>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode()


# Characters with a meaning in HTML, and those that are not allowed in it (HTML, "Preprocessing the input
# stream"): control characters, surrogates, noncharacters. Line ends are among them, because programs read
# these pages by lines.
_NOT_PLAIN = re.compile(
    '[&<>"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef'
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
# Nearly every text has these characters only, and matching them takes a fifth of the time.
_PLAIN = re.compile(r"[A-Za-z0-9 !#$%'()*+,./:;=?@\[\]^_`{|}~-]*")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def _escape(text: str) -> str:
    """Escape text for an element or a double-quoted attribute."""
    if _PLAIN.fullmatch(text) is not None:
        return text
    return _NOT_PLAIN.sub(lambda match: _ENTITIES.get(match[0], "\N{REPLACEMENT CHARACTER}"), text)


# -- The status of the project


def _status_metas(status: ProjectStatus) -> Iterator[str]:
    yield f'<meta name="pypi:project-status" content="{status.status.value}">'
    if reason := one_line(status.reason):
        yield f'<meta name="pypi:project-status-reason" content="{_escape(reason)}">'


def _status_text(status: ProjectStatus) -> Iterator[str]:
    sentence = _STATUS_SENTENCES.get(status.status)
    if sentence is not None:
        reason = one_line(status.reason)
        yield f'<p class="status">{sentence}{f"<br>{_escape(reason)}" if reason else ""}</p>'


# -- The way to the page for people


def _alternate(about: str) -> Iterator[str]:
    if about:
        yield f'<link rel="alternate" type="text/html" href="{_escape(about)}">'


def _button(about: str, label: str) -> Iterator[str]:
    if about:
        yield f'<form action="{_escape(about)}"><button>{label}</button></form>'


# -- The files


def _listing(files: Sequence[File], folder: str | None, links: Iterable[str]) -> Iterator[str]:
    """Write a line for each file, below a line of headings."""
    width = _name_width(files)
    # PEP 503: on every link, if on any.
    has_signatures = any(Sidecar.SIGNATURE in file.sidecars for file in files)
    yield f"<b>{'Name':<{width}}  {'Uploaded (UTC)':<16}  {'Size':>8}</b>"
    for file, link in zip(files, links, strict=True):
        moment = "" if file.upload_time is None else format_upload_time(file.upload_time)
        attributes = "".join(_attributes(file, folder, moment, has_signatures))
        padding = " " * (width - len(file.filename))
        date = f"{moment[:10]} {moment[11:16]}" if moment else "-               "
        yield (
            f'<a href="{_escape(link)}{_fragment(file)}"{attributes}>{_escape(file.filename)}</a>{padding}'
            f"  {date}  {_size(file.size):>8}{_yanked_text(file)}"
        )


def _name_width(files: Sequence[File]) -> int:
    """Return a column width that fits nine of ten names, so that a few long ones do not shift all dates."""
    lengths = sorted(len(file.filename) for file in files)
    most = lengths[len(lengths) * 9 // 10]
    return min(most + _ROOM, lengths[-1], _WIDEST_NAME)


def _fragment(file: File) -> str:
    # No other algorithm: uv rejects a whole page for one `#sha1=`.
    sha256 = file.hashes.get("sha256")
    return f"#sha256={_escape(sha256)}" if sha256 else ""


def _attributes(file: File, folder: str | None, moment: str, has_signatures: bool) -> Iterator[str]:
    if file.requires_python:
        yield f' data-requires-python="{_escape(one_line(file.requires_python))}"'
    if (metadata := core_metadata(file)) is not None:
        value = f"sha256={_escape(metadata)}" if metadata else "true"
        # PEP 714: the second is the old name, for pip before 2023.
        yield f' data-core-metadata="{value}" data-dist-info-metadata="{value}"'
    if (reason := yank_reason(file)) is not None:
        yield f' data-yanked="{_escape(reason)}"'
    if has_signatures:
        yield f' data-gpg-sig="{"true" if Sidecar.SIGNATURE in file.sidecars else "false"}"'
    if (provenance := provenance_url(file, folder)) is not None:
        yield f' data-provenance="{_escape(provenance)}"'
    # The next two are not specified; uv reads them, and needs the first for --exclude-newer.
    if moment:
        yield f' data-upload-time="{moment}"'
    if file.size is not None:
        yield f' data-size="{file.size}"'


def _yanked_text(file: File) -> str:
    reason = yank_reason(file)
    if reason is None:
        return ""
    return f"  <em>yanked: {_escape(reason)}</em>" if reason else "  <em>yanked</em>"


def _summary(files: Sequence[File], releases: int | None) -> str:
    if not files:
        return "No files."
    parts = [_count(len(files), "file")]
    if releases is not None:
        parts.append(_count(releases, "release"))
    sizes = [file.size for file in files if file.size is not None]
    if len(sizes) == len(files):
        parts.append(_size(sum(sizes)))
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _size(size: int | None) -> str:
    """Format a size in bytes with three or four digits and its unit (SI: 1 kB is 1,000 bytes)."""
    if size is None:
        return "-"
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
