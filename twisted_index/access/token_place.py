"""Where the tokens lie: a file of the state folder, or an object that the nodes of a bucket share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from twisted_index.access.token_records import TokenTable
from twisted_index.errors import ConfigurationError, Conflict
from twisted_index.files.private_files import make_private_folder, private_lock, replace_private
from twisted_index.files.watched_file import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of all tokens. 100,000 have about 25 million.
MAX_TOKEN_BYTES = 64_000_000


class TokenPlace(Protocol):
    """
    Where tokens lie. `read`, `read_anew` and `change` block; the rest waits for nothing.

    Attributes:
        path: For people.
    """

    path: str

    def exists(self) -> bool:
        """Return whether there may ever have been a token."""

    def cached(self) -> TokenTable | None:
        """Return what `read` would return; None if it has to be called for that."""

    def last(self) -> TokenTable | None:
        """Return what `read` has returned last, though there may be others; None if it never has."""

    def validity(self) -> Callable[[], bool]:
        """Return a check whether the tokens are still those of now; to be called before they are read."""

    def is_behind(self) -> bool:
        """Return whether there may be tokens that the last `read` could not see."""

    def read(self) -> TokenTable:
        """
        Read the tokens.

        Raises:
            ConfigurationError: They are damaged, or cannot be read.
            Unavailable: An object store does not say what they are.
        """

    def read_anew(self) -> TokenTable:
        """Read the tokens for one that `read` does not have while `is_behind`; fails like `read`."""

    def change(self, edit: Callable[[TokenTable], TokenTable]) -> None:
        """
        Change the tokens, against others who do the same.

        Args:
            edit: Returns other tokens, or the very same where its work is done. May be called again, with
                tokens that have its change or not.

        Raises:
            ConfigurationError: They are damaged, or cannot be written.
            Unavailable: The same, in an object store.
            Conflict: There are too many.
        """


class TokensInFile:
    """
    The tokens of a state folder.

    Args:
        state: Absolute folder. Nothing is made in it before the first token.
    """

    def __init__(self, state: str) -> None:
        self._folder = os.path.join(state, "keep")
        self.path = os.path.join(self._folder, "tokens.json")
        self._file = WatchedFile(
            self.path, lambda data: TokenTable.parse(data, self.path), max_bytes=MAX_TOKEN_BYTES
        )
        self.exists = self._file.exists
        self.cached = self._file.cached
        self.last = self._file.last
        self.validity = self._file.validity

    def is_behind(self) -> bool:
        """See `TokenPlace`: a change is seen at once."""
        return False

    def read(self) -> TokenTable:
        """See `TokenPlace`."""
        try:
            return self._file.read()
        except FileNotFoundError:
            return TokenTable({}, self.path)
        except OSError as error:
            raise ConfigurationError(f"{self.path}: the tokens cannot be read: {error.strerror}.") from error

    read_anew = read

    def change(self, edit: Callable[[TokenTable], TokenTable]) -> None:
        """See `TokenPlace`; holds a lock, for other processes."""
        try:
            make_private_folder(self._folder)
            with private_lock(os.path.join(self._folder, "tokens.lock")):
                replace_private(self.path, serialized(edit(self.read())))
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: the tokens cannot be written: {error.strerror}."
            ) from error


def serialized(tokens: TokenTable) -> bytes:
    """
    Write tokens.

    Raises:
        Conflict: There are too many.
    """
    data = tokens.serialize()
    if len(data) > MAX_TOKEN_BYTES:
        raise Conflict("There are too many tokens here; revoke some.")
    return data
