"""
The promotions on their way into a folder, and what each has written down for the case that it is cut off.

`.staged/ID/` holds the files that are copied, and `promotion.json`. `.staged/ID.list` hides the files that it
names, wherever they lie in the folder: one name a line, and nothing else. Blocking.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING

from twisted_index.backends.folder.staged import LIST, STAGED
from twisted_index.backends.layout.promotion_record import PromotionRecord
from twisted_index.backends.layout.tombstones import is_equivalent
from twisted_index.errors import NotFound, Unavailable
from twisted_index.files.anonymous_file import remove, sync_folder
from twisted_index.files.locks import LockHeld, try_lock
from twisted_index.files.portability import IS_WINDOWS, open_flags
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.simple.names import Distribution

RECORD = b"promotion.json"
#: Bytes that are read of a list or a record: those of 100,000 files.
_MAX_BYTES = 64 << 20
#: Those of lists made by hand too.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Promotions:
    """
    The promotions on their way into a root.

    Args:
        root: An absolute path.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, root: bytes) -> None:
        self.folder = os.path.join(root, STAGED)
        self._named: dict[str, frozenset[str]] | None = None

    def list_path(self, promotion: str) -> bytes:
        """Return the path of the list of a promotion."""
        return os.path.join(self.folder, promotion.encode() + LIST)

    def staging_path(self, promotion: str) -> bytes:
        """Return the path of the folder of a promotion."""
        return os.path.join(self.folder, promotion.encode())

    def ids(self) -> tuple[str, ...]:
        """
        Return the promotions that are not finished, sorted.

        Raises:
            OSError: They cannot be read.
        """
        return tuple(sorted({os.fsdecode(name.removesuffix(LIST)) for name, _is_list in self._entries()}))

    def named(self) -> dict[str, frozenset[str]]:
        """
        Return the names in each list; read once.

        Raises:
            OSError: They cannot be read, so it is not known what is hidden.
        """
        if self._named is None:
            self._named = {
                os.fsdecode(name.removesuffix(LIST)): _read_names(os.path.join(self.folder, name))
                for name, is_list in self._entries()
                if is_list
            }
        return self._named

    def _entries(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the names of lists and of folders, and which of both each is."""
        try:
            entries = os.scandir(self.folder)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                is_list = entry.name.endswith(LIST)
                name = os.fsdecode(entry.name.removesuffix(LIST))
                if _ID.fullmatch(name) and (is_list or entry.is_dir(follow_symlinks=False)):
                    yield entry.name, is_list

    def naming(self, distribution: Distribution) -> str:
        """Return the promotion whose list names a file, in any spelling; empty if there is none."""
        for promotion, names in self.named().items():
            if distribution.filename in names or any(is_equivalent(name, distribution) for name in names):
                return promotion
        return ""

    def require_unfinished(self, promotion: str) -> None:
        """
        Check that nothing works on a promotion now.

        Raises:
            LockHeld: It is just placing its files.
        """
        with contextlib.suppress(FileNotFoundError):
            os.close(self.hold(promotion))

    def hold(self, promotion: str) -> int:
        """
        Lock a promotion, for as long as the returned descriptor is open.

        Raises:
            LockHeld: It is running.
            OSError: It has no folder.
        """
        path = self.staging_path(promotion)
        # Windows opens no folders, and has no locks on them.
        opened = os.open(os.devnull if IS_WINDOWS else path, open_flags(os.O_RDONLY, "O_NOFOLLOW"))
        try:
            if not try_lock(opened):
                raise LockHeld
            if not IS_WINDOWS and not os.path.samestat(os.fstat(opened), os.stat(path)):
                # It was finished, and another has its name.
                raise LockHeld
        except BaseException:
            os.close(opened)
            raise
        return opened

    def remove_list(self, promotion: str) -> None:
        """Show what a list hides that was made by hand."""
        remove(self.list_path(promotion))
        sync_folder(self.folder)

    def remove_folder(self, promotion: str) -> None:
        """Remove the folder of a promotion that has written nothing down."""
        folder = self.staging_path(promotion)
        for name in os.listdir(folder):
            remove(os.path.join(folder, name))
        os.rmdir(folder)

    def is_running(self, promotion: str) -> bool:
        """Return whether something works on a promotion now."""
        try:
            self.require_unfinished(promotion)
        except LockHeld:
            return True
        return False

    def record(self, promotion: str) -> PromotionRecord | None:
        """
        Read what a promotion has written down.

        Returns:
            None if it has written nothing: a list was made by hand, or it was cut off before.

        Raises:
            NotFound: There is no such promotion.
            Unavailable: It cannot be read, or is none.
        """
        if not _ID.fullmatch(promotion) or promotion not in self.ids():
            raise NotFound(f"There is no unfinished promotion {promotion!a} here.")
        try:
            record = PromotionRecord.from_bytes(
                _read(os.path.join(self.staging_path(promotion), RECORD), follow_links=False)
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise Unavailable(f"What the promotion {promotion} has written down cannot be read.") from error
        if record.id != promotion:
            raise Unavailable(f"What the promotion {promotion} has written down is of another one.")
        return record


def _read_names(path: bytes) -> frozenset[str]:
    # An editor may have put a byte order mark before the first name.
    lines = _read(path, follow_links=False).decode("utf-8-sig", "replace").split("\n")
    return frozenset(filter(None, map(str.strip, lines)))


def _read(path: bytes, *, follow_links: bool) -> bytes:
    file = open_regular_file(path, follow_links=follow_links)
    if file is None:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return text
