"""
Exports an index into a folder: what changed, in an order in which every link resolves at each moment.

Files come before the pages that link to them, pages before the list that names their projects. What is gone
leaves the list first, then its pages go, and its files last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import Unavailable
from twisted_index.export.manifest import paths_by_project
from twisted_index.export.target import changing_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.export.layout import ExportLayout
    from twisted_index.export.memory import ExportMemory
    from twisted_index.export.pages import ExportPages
    from twisted_index.export.project_reader import Parts, ReadProject
    from twisted_index.export.target import ExportTarget
    from twisted_index.simple.model import Sidecar


@dataclass(slots=True, kw_only=True)
class ExportResult:
    """
    What an export did, or would do.

    Attributes:
        written: Projects of which anything was written.
        removed: Projects that are in the export no more.
        unchanged: How many projects are as they were.
        failures: Why a project was left as it was exported before, by name.
        notes: Sentences about files that were changed by hand.
        is_changed: Whether anything was written or removed, also a list.
    """

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_changed: bool = False


class IReader(Protocol):
    """Where the projects of an export come from: folders, or the releases of a repository."""

    def parts_by_project(self) -> tuple[dict[str, Parts], list[RootScan]]:
        """Return what the roots have for each project, and the readings of the roots."""

    def read(self, project: str, parts: Parts) -> ReadProject:
        """
        Read a project.

        Raises:
            Unavailable: It cannot be read just now.
        """


class Exporter:
    """
    Exports an index, once.

    Args:
        open_reader: Opens what reads the projects; not called if nothing changed.
        layout: What is written.
        target: Where to.
        memory: What is remembered of the last time.
        may_read: Returns whether a project, by its normalized name, is exported.
    """

    def __init__(
        self,
        open_reader: Callable[[], AbstractContextManager[IReader]],
        layout: ExportLayout,
        target: ExportTarget,
        memory: ExportMemory,
        may_read: Callable[[str], bool] = lambda _project: True,
    ) -> None:
        self._open_reader = open_reader
        self._layout = layout
        self._target = target
        self._memory = memory
        self._may_read = may_read
        self._result = ExportResult()
        self._before: dict[str, list[str]] = {}
        self._current: set[str] = set()
        self._named: set[str] = set()
        self._named_before: set[str] = set()
        self._exported_before: set[str] = set()
        self._is_complete = True

    def run(self) -> ExportResult:
        """
        Export what changed.

        Raises:
            UnreadableFolder: A root cannot be read; nothing is written then.
            Conflict: Something else is where a file has to be; what was written until then is whole.
            SimpleIndexError: The system refuses to write.
        """
        memory, target, result = self._memory, self._target, self._result
        with target.opened():
            memory.load(target.stamp())
            self._current = memory.current_projects()
            if memory.has_same_roots and len(self._current) == len(memory.projects):
                result.unchanged = len(memory.exported)
                return result
            target.read_manifest()
            self._before = paths_by_project(target.recorded)
            with self._open_reader() as reader:
                roots = self._write(reader)
            self._remove()
            target.finish()
            result.is_changed = target.is_changed
            if not target.dry:
                self._remember(roots)
        return result

    def _write(self, reader: IReader) -> Sequence[RootScan]:
        """Write what came and what changed; return how the roots were read."""
        # Imported here, since that takes longer than an export without changes.
        from twisted_index.export.pages import ExportPages

        pages = ExportPages(self._layout)
        self._named_before, self._exported_before = self._memory.named, self._memory.exported
        parts, roots = reader.parts_by_project()
        self._write_server_files()
        projects = sorted(filter(self._may_read, parts))
        for project in projects:
            self._export_project(reader, pages, project, parts[project])
        for project in self._memory.projects.difference(projects):
            self._memory.forget(project)
        if self._memory.is_valid and self._named_before == self._named:
            self._keep(path for path in self._before.get("", ()) if path.startswith("simple/"))
        else:
            for path, data in pages.of_list(sorted(self._named)):
                self._target.put(path, data)
        return roots

    def _write_server_files(self) -> None:
        """Write the files for web servers; those that were changed by hand stay."""
        from twisted_index.export.server_files import server_files

        for name, data in server_files(self._layout):
            if self._target.is_own(name):
                self._target.put(name, data)
            else:
                self._target.recorded.pop(name, None)
                self._result.notes.append(f"{name} is not as an export wrote it, and stays as it is.")

    def _export_project(self, reader: IReader, pages: ExportPages, project: str, parts: Parts) -> None:
        memory, result = self._memory, self._result
        if project in self._current and memory.has_parts(project, parts):
            self._keep(self._before.get(project, ()))
            result.unchanged += project in self._exported_before
            if project in self._named_before:
                self._named.add(project)
            return
        memory.forget(project)
        try:
            read = reader.read(project, parts)
            is_written = read.page is not None and self._write_project(read, pages)
        except Unavailable as error:
            self._keep_failed(project, error)
            return
        self._is_complete &= memory.remember(project, parts, read)
        if read.is_named:
            self._named.add(project)
        if is_written:
            result.written.append(project)
        elif read.page is not None:
            result.unchanged += 1

    def _keep_failed(self, project: str, error: Unavailable) -> None:
        """Leave a project as it was exported before: that is whole."""
        self._is_complete = False
        self._result.failures[project] = error.message
        before = self._before.get(project, ())
        self._keep(before)
        if before:
            self._named.add(project)

    def _write_project(self, read: ReadProject, pages: ExportPages) -> bool:
        """Write the files of a project, then its pages; return whether there was anything to write."""
        assert read.page is not None
        layout, target, is_written = self._layout, self._target, False
        place = target.link if layout.links else target.place
        for file in read.page.files:
            path = f"simple/{read.page.name}/{file.filename}"
            if layout.has_files:
                is_written |= place(path, read.listed[file.filename])
            for sidecar in pages.sidecars(file):
                is_written |= self._write_document(read, file.filename, sidecar, path + sidecar.value)
        for path, data in pages.of_project(read.page, read.description):
            is_written |= target.put(path, data)
        return is_written

    def _write_document(self, read: ReadProject, filename: str, sidecar: Sidecar, path: str) -> bool:
        """Write a document of a file; core metadata that is there is not read again."""
        digest = read.digest(filename, sidecar)
        if digest is not None and self._target.has(path, digest):
            return False
        document = read.document(filename, sidecar)
        if document is None:
            raise changing_error(filename + sidecar.value)
        return self._target.put(path, document)

    def _keep(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._target.keep(path)

    def _remove(self) -> None:
        """Remove what is no more: pages before the files that they link to."""
        target, result = self._target, self._result
        for project, paths in self._before.items():
            gone = [path for path in paths if path not in target.digests]
            if project and len(gone) == len(paths):
                result.removed.append(project)
            elif gone and project and project not in result.written:
                result.written.append(project)
                result.unchanged -= 1
        gone = [path for path in target.recorded if path not in target.digests]
        for path in sorted(gone, key=_is_file):
            if not target.remove(path):
                result.notes.append(f"{path} is not as an export wrote it, and stays as it is.")

    def _remember(self, roots: Sequence[RootScan]) -> None:
        self._memory.save(self._target.stamp(), roots if self._is_complete else ())


def _is_file(path: str) -> bool:
    """Return whether pages may link to what is at a path."""
    return path.startswith("simple/") and not os.path.basename(path).startswith("index.")
