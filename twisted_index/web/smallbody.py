"""Where the body of a request goes that is no upload: into memory, and no further than a bound."""

from __future__ import annotations

import io

#: Bytes of such a body. What is sent to manage projects is some hundred bytes.
MAX_SMALL_BODY = 1 << 16


class SmallBody(io.BytesIO):
    """A file that keeps its first bytes, with one more to tell that there were too many."""

    def write(self, data: object) -> int:
        """Keep what is within the bound."""
        assert isinstance(data, bytes)
        return super().write(data[: max(0, MAX_SMALL_BODY + 1 - self.tell())])
