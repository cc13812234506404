"""
Which pages an export has, and their bytes: those of the server. Pure.

A page of the simple API has a compressed form beside it, unless that is larger.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.http_semantics.content_coding import gzip_smaller
from twisted_index.simple.formatting import relative_url
from twisted_index.simple.html_writer import write_html_list, write_html_page
from twisted_index.simple.json_writer import write_json_list, write_json_page
from twisted_index.simple.legacy_json import write_project
from twisted_index.simple.model import ProjectList, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted_index.export.layout import ExportLayout
    from twisted_index.simple.model import File, ProjectPage

#: The names of a page: what a directory URL stands for, and the form for which a server negotiates.
INDEX, JSON_INDEX = "index.html", "index.v1.json"
#: What follows the name of a page's compressed form.
GZIP = ".gz"


class ExportPages:
    """
    Writes pages.

    Args:
        layout: Which.
    """

    def __init__(self, layout: ExportLayout) -> None:
        self._layout = layout

    def of_list(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the path and the bytes of each page with the list of projects."""
        projects = ProjectList(names=tuple(names))
        html, json = partial(write_html_list, projects), partial(write_json_list, projects)
        yield from self._forms("simple/", html, json)

    def of_project(self, page: ProjectPage, metadata: bytes | None) -> Iterator[tuple[str, bytes]]:
        """
        Yield the path and the bytes of each page of a project.

        Args:
            page: Of the folders.
            metadata: The core metadata of the release that represents the project.
        """
        elsewhere = self._layout.files_url
        url: Callable[[File], str] = relative_url
        if elsewhere is not None:
            # What a page promises has to be there, too.
            page = replace(page, files=tuple(map(elsewhere.promised, page.files)))
            url = partial(elsewhere.of, page.name)
        yield from self._forms(
            f"simple/{page.name}/",
            lambda: write_html_page(page, public_url=self._layout.public_url, file_url=url),
            lambda: write_json_page(page, public_url=self._layout.public_url, file_url=url),
        )
        if page.files:
            absolute = None if elsewhere is None else url
            document = write_project(page, metadata, base_url=self._layout.public_url, file_url=absolute)
            yield f"pypi/{page.name}/json", document

    def sidecars(self, file: File) -> list[Sidecar]:
        """Return which documents of a file are exported: those that a page may lead to."""
        if self._layout.has_files:
            embedded = [] if file.core_metadata is None else [Sidecar.METADATA]
            return [*embedded, *sorted(file.sidecars, key=lambda sidecar: sidecar.value)]
        # Clients find this one by a URL of its own.
        return [Sidecar.PROVENANCE] if Sidecar.PROVENANCE in file.sidecars else []

    def _forms(
        self, folder: str, html: Callable[[], bytes], json: Callable[[], bytes]
    ) -> Iterator[tuple[str, bytes]]:
        if self._layout.json_only:
            yield from _with_gzip(folder + INDEX, json())
        else:
            yield from _with_gzip(folder + INDEX, html())
            yield from _with_gzip(folder + JSON_INDEX, json())


def _with_gzip(path: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    yield path, body
    packed = gzip_smaller(body)
    if packed is not None:
        yield path + GZIP, packed
