"""The files of a release in a table, and which Pythons and platforms have a wheel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted.web.template import Tag, tags

from twisted_index.simple.formatting import core_metadata, one_line, yank_reason
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.simple.wheel_words import EVERY_PLATFORM, tag_words, wheel_grid
from twisted_index.web.pages.clean_html import LINK_RELATION, safe_link, unturned
from twisted_index.web.pages.elements import moment, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.simple.model import File
    from twisted_index.web.pages.layout import Markup

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def files_table(files: Sequence[File], file_url: Callable[[File], str]) -> Markup:
    """Return the table of the files of a release."""
    heads = ("File", "For", "Size", "Uploaded", "SHA-256")
    # What all require is said once, above.
    differ = len({file.requires_python for file in files}) > 1
    rows = [_row(file, file_url(file), has_python=differ) for file in files]
    return table(heads, rows, caption="Files of this release")


def _row(file: File, url: str, *, has_python: bool) -> Sequence[Markup]:
    digest = file.hashes.get("sha256", "")
    marks: list[Markup] = []
    if core_metadata(file) is not None:
        marks.append(tags.a("metadata", href=f"{url}{Sidecar.METADATA.value}"))
    if Sidecar.SIGNATURE in file.sidecars:
        marks.append(tags.a("signature", href=f"{url}{Sidecar.SIGNATURE.value}"))
    marks += _provenance(file, url)
    reason = yank_reason(file)
    yanked = f"Yanked{f': {unturned(reason)}' if reason else ''}" if reason is not None else ""
    return (
        tags.th(
            tags.a(_breakable(file.filename), href=url),
            tags.div([[mark, " "] for mark in marks], class_="marks") if marks else [],
            tags.div(yanked, class_="yanked") if yanked else [],
            class_="long",
            scope="row",
        ),
        tags.td(_purpose(file, has_python=has_python), class_="purpose"),
        tags.td(_size(file.size), class_="number"),
        moment(file.upload_time) if file.upload_time is not None else "",
        _digest(digest, file.filename) if digest else "",
    )


def _breakable(filename: str) -> list[Markup]:
    """Let a long name go on in the next line between its words, not in the middle of one."""
    first, *others = re.split(r"(?<=[._-])", filename)
    return [first, *([tags.wbr(), part] for part in others)]


def _provenance(file: File, url: str) -> list[Markup]:
    if file.provenance_url is not None:
        link = safe_link(file.provenance_url)
        return [] if link is None else [tags.a("provenance", href=link, rel=LINK_RELATION)]
    if Sidecar.PROVENANCE in file.sidecars:
        return [tags.a("provenance", href=f"{url}{Sidecar.PROVENANCE.value}")]
    return []


def _digest(digest: str, filename: str) -> Tag:
    """Show a digest, which scrolls in its place, with the button that copies all of it."""
    button = tags.button(
        "Copy", type="button", class_="copy", hidden="", **{"aria-label": f"Copy the SHA-256 of {filename}"}
    )
    return tags.div(tags.code(digest, title=digest), button, class_="digest")


def _tags(file: File) -> str:
    """Return the tags of a wheel; empty for an sdist."""
    try:
        return parse_filename(file.filename).tags
    except InvalidFilename:
        return ""


def _purpose(file: File, *, has_python: bool) -> Markup:
    tag_set = _tags(file)
    if not tag_set:
        return "source" if not file.filename.endswith(".whl") else ""
    pythons, platforms = tag_words(tag_set)
    needs = f" ({one_line(file.requires_python)})" if has_python and file.requires_python else ""
    return [tags.div(pythons + needs), tags.div(platforms, class_="faint")]


def _size(size: int | None) -> str:
    if size is None:
        return ""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 99.5 else f"{number:.1f} {_UNITS[unit]}"


def grid_table(files: Sequence[File]) -> Markup:
    """Return the grid of Pythons and platforms, and what the rest may build from."""
    wheels = [found for found in map(_tags, files) if found]
    sdists = any(not file.filename.endswith(".whl") for file in files)
    heading = tags.h2("Wheels", id="wheels")
    if not wheels:
        return [heading, tags.p("There is no wheel: installers build one from the source.", class_="note")]
    grid = wheel_grid(wheels)
    rest = "Elsewhere installers build one from the source." if sdists else "There is no source distribution."
    if not grid.cells:
        return [heading, tags.p("Their tags are not known here.", class_="note")]
    if len(grid.cells) == 1 and grid.platforms == (EVERY_PLATFORM,):
        return [heading, tags.p(f"There is a wheel for {grid.pythons[0]} on any platform. {rest}")]
    rows = [
        (tags.th(python, scope="row"), *(_cell(grid.cells.get((python, name))) for name in grid.platforms))
        for python in grid.pythons
    ]
    return [
        heading,
        table(
            ("Python", *grid.platforms),
            rows,
            caption="Which Pythons and platforms have a wheel",
            is_grid=True,
        ),
        tags.p(rest, class_="note"),
    ]


def _cell(since: str | None) -> Tag:
    if since is None:
        return tags.td("–", class_="without", **{"aria-label": "no"})
    return tags.td(f"✓ {since}".strip(), class_="with")
