"""The current rights: fixed ones, or those of a file that may change while the server runs."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from twisted.logger import Logger

from twisted_index.access.rights import Rights, parse_rights
from twisted_index.errors import ConfigurationError
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.files.watched_file import WatchedFile

_log = Logger()

_UNCHANGED = "The rights are unchanged."


class IRightsProvider(Protocol):
    """The current rights."""

    def current(self) -> Rights:
        """Return the current rights: the very same object until they change."""


class FixedRights:
    """Rights that never change."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights

    def current(self) -> Rights:
        """Return the rights."""
        return self._rights


class RightsFile:
    """
    The rights of a file as it is now.

    Read in the reactor thread: every request needs the rights synchronously, and the file has a few
    hundred bytes. A look whether it has changed costs one `stat`.

    Args:
        file: The rights file.

    Raises:
        ConfigurationError: The file is unreadable or invalid. Later, the error of such a file is logged,
            and the rights stay unchanged.

    Attributes:
        status: Whether the file could be used.
    """

    def __init__(self, file: WatchedFile[Rights]) -> None:
        self._file = file
        self.status = ReloadStatus("file of rights", file.path)
        try:
            self._rights = file.read()
        except OSError as error:
            raise ConfigurationError(_unreadable(file.path, error)) from error

    @classmethod
    def at(cls, path: str, *, proxy_groups: bool = False, default_index: str = "") -> RightsFile:
        """Create it for the absolute path of a file; see `parse_rights`."""
        read = partial(rights_from_bytes, place=path, proxy_groups=proxy_groups, default_index=default_index)
        return cls(WatchedFile(path, read))

    def current(self) -> Rights:
        """Return the current rights."""
        if self._file.changed():
            self._read()
        return self._rights

    def check(self) -> None:
        """See `ReloadedFile`."""
        self.current()

    def _read(self) -> None:
        try:
            rights = self._file.read()
        except ConfigurationError as error:
            self.status.fail(error.message, _UNCHANGED)
        except OSError as error:
            self.status.fail(_unreadable(self._file.path, error), _UNCHANGED)
        else:
            if self.status.succeed() and rights is self._rights:
                _log.info("{path} is valid again.", path=self._file.path)
            if rights is not self._rights:
                self._rights = rights
                _log.info("Reloaded the rights: {path}", path=self._file.path)
                self.status.take_effect()


def rights_from_bytes(
    data: bytes, place: str, *, proxy_groups: bool = False, default_index: str = ""
) -> Rights:
    """
    Parse the content of a rights file; see `parse_rights`.

    Raises:
        ConfigurationError: Also if it is not UTF-8.
    """
    try:
        return parse_rights(data.decode(), place, proxy_groups=proxy_groups, default_index=default_index)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{place}: TOML must be UTF-8, and byte {error.start} is not.") from error


def _unreadable(path: str, error: OSError) -> str:
    return f"{path}: the rights cannot be read: {error.strerror}."
