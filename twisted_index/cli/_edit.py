"""Shared by the subcommands that change files: options, targets, and the audit log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.task import Clock

from twisted_index.backends.folder.blocking_store import BlockingStore, retry_while_locked
from twisted_index.backends.folder.promotion_plan import IndexFolders
from twisted_index.cli._options import SubcommandOptions, require_folders
from twisted_index.cli._server_state import console_user, require_primary, settings_of_server
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import ConfigurationError, NotFound
from twisted_index.events.audit_log import AuditFile
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.server.bucket_indexes import BucketIndexes
from twisted_index.server.buckets import build_bucket_editor, build_bucket_source, shared_history
from twisted_index.simple.names import (
    InvalidFilename,
    is_valid_name,
    normalize,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.layout.change_result import ChangeResult
    from twisted_index.backends.object_store.object_editor import ObjectEditor
    from twisted_index.config.settings import Settings

    Editor: TypeAlias = BlockingStore | ObjectEditor


class ChangeOptions(SubcommandOptions):
    """Options for the folders and the state; a subcommand adds its own."""

    optParameters = [  # noqa: RUF012  (usage.Options reads it and leaves it alone)
        ["state", None, None, "Folder of the history; none: record nothing. [default: per user]"],
        ["config", None, None, "TOML file with the same names as for serve. [default: none]"],
    ]

    def __init__(self) -> None:
        SubcommandOptions.__init__(self)
        self["path"] = []

    def opt_path(self, folder: str) -> None:
        """Folder of packages, repeat it for more; or s3://BUCKET/PREFIX. [default: the current folder]"""
        self["path"].append(folder)


class IndexOptions(ChangeOptions):
    """Options for one index: of a folder of indexes, or the one without a name."""

    optParameters = [  # noqa: RUF012
        ["indexes", None, None, "Folder of indexes, or s3://BUCKET/PREFIX. [default: from the file]"],
        ["index", None, None, "The index, of that folder. [default: the one without a name]"],
    ]

    def settings(self) -> Settings:
        """Return the settings of the server."""
        given = {name: self[name] for name in ("path", "state", "config", "indexes")}
        return settings_of_server(given)

    def folders(self, settings: Settings) -> IndexFolders:
        """Return the folders that the index consists of, its own first."""
        name = self["index"] or settings.default_index
        require_folders(settings.bucket_of_indexes if name else settings.bucket)
        if name:
            if settings.indexes is None:
                raise ConfigurationError("--index is the name of an index; give --indexes DIR too.")
            line = IndexLines(IndexCatalog(settings.indexes)).line(name)
            owners = (None, *(member.name for member in line[1:]))
            return IndexFolders(name=name, roots=tuple(member.path for member in line), owners=owners)
        for path in settings.paths:
            if not os.path.isdir(path):
                raise ConfigurationError(f"There is no folder {path!r}.")
        roots = tuple(os.path.abspath(os.fsencode(path)) for path in settings.paths)
        return IndexFolders(name="", roots=roots)

    def editor(self, settings: Settings) -> Editor:
        """Return what changes the index."""
        name = self["index"] or settings.default_index
        if name and settings.bucket_of_indexes is not None:
            return BucketIndexes(settings, Clock(), worker=SynchronousRunner()).make_editor(name)
        if settings.bucket is not None and not name:
            # Nothing here waits for the source, which needs a reactor only for that.
            return build_bucket_editor(settings, build_bucket_source(settings, Clock(), None))
        folders = self.folders(settings)
        return BlockingStore(
            folders.roots,
            owners=folders.owners,
            keep_deleted=settings.uploads.keep_deleted,
            index=folders.name,
        )


class OfflineEdit:
    """
    Makes changes from the console.

    Args:
        options: Parsed.

    Attributes:
        editor: Makes the changes.
        settings: Those of the server.
        by: The user, for the audit log.
    """

    def __init__(self, options: IndexOptions) -> None:
        settings = self.settings = options.settings()
        self.editor = options.editor(settings)
        self._folders = self.editor.own_roots if isinstance(self.editor, BlockingStore) else ()
        self.by = console_user()
        self._history = shared_history(settings) or AuditFile(settings.state)

    def make(self, change: Callable[[], ChangeResult]) -> tuple[str, ...]:
        """
        Make a change, and record it in the audit log.

        Returns:
            The names of the affected files.

        Raises:
            Conflict: The server is no primary, so that the change would be undone.
        """
        require_primary(self.settings, self._folders)
        result = retry_while_locked(change)
        for event in result.events:
            self._history.append(event)
        return result.names


class EditTarget:
    """
    A file or a release that the command line names.

    Args:
        word: `PROJECT==VERSION`, or the name of a file, or a path to it.

    Attributes:
        project: Normalized.
        version: None for a file.
        filename: None for a release.

    Raises:
        ConfigurationError: The word is neither.
    """

    def __init__(self, word: str) -> None:
        project, equals, version = (part.strip() for part in word.partition("=="))
        self.version: str | None = None
        self.filename: str | None = None
        if equals and version and is_valid_name(project):
            self.project, self.version = normalize(project), version
            return
        self.filename = os.path.basename(word)
        self.project = _project_of(self.filename, word)


def _project_of(filename: str, word: str) -> str:
    try:
        return parse_filename(filename).project
    except InvalidFilename as error:
        raise ConfigurationError(
            f"{word!r} is neither PROJECT==VERSION nor the name of a wheel or an sdist."
        ) from error


def parse_project(word: str) -> str:
    """
    Parse the name of a project.

    Raises:
        ConfigurationError: The name is invalid.
    """
    if not is_valid_name(word):
        raise ConfigurationError(f"{word!r} is not the name of a project.")
    return normalize(word)


def find_files(editor: Editor, target: EditTarget) -> list[str]:
    """
    Return the names of the files of a target; of files that installers treat as the same, the first.

    Raises:
        NotFound: There is no such file.
    """
    inventory = editor.inventory(target.project)
    if target.filename is not None:
        distribution = parse_filename(target.filename, target.project)
        entries = inventory.equivalents_of(distribution)
    else:
        assert target.version is not None
        entries = inventory.of_version(target.version)
    names: dict[object, str] = {}
    for entry in entries:
        names.setdefault(entry.distribution.identity, entry.distribution.filename)
    if not names and target.filename is not None and inventory.is_announced(target.filename):
        return [target.filename]
    if not names:
        raise NotFound(f"There is no {target.filename or f'{target.project}=={target.version}'} here.")
    return sorted(names.values())
