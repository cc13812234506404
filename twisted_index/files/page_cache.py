"""Reading files without pushing others out of the memory of the system (its page cache)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from twisted_index.files.portability import advise_not_needed
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

_NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)
_preadv: Any = getattr(os, "preadv", None)


@contextlib.contextmanager
def not_kept(path: bytes) -> Iterator[None]:
    """
    Let go of a file's bytes in memory after it was read, unless they were there before.

    Args:
        path: The file, to be read meanwhile by any descriptor.
    """
    file = _open_if_on_disk(path)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError), file:
                advise_not_needed(file.fileno(), 0, 0)


def _open_if_on_disk(path: bytes) -> io.FileIO | None:
    """Open a file whose beginning cannot be read without the disk; None too if that cannot be known."""
    if not _NO_WAIT:
        return None
    try:
        file = open_regular_file(path)
    except OSError:
        return None
    try:
        if file is not None:
            _preadv(file.fileno(), [bytearray(1)], 0, _NO_WAIT)
    except BlockingIOError:
        return file
    except OSError:
        # The file system cannot say.
        pass
    if file is not None:
        file.close()
    return None
