"""The roots of a directory source, read together and kept true."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.errors import Unavailable
from twisted_index.sources.joint import Joint
from twisted_index.sources.roots import read_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.sources.roots import Part, RootReading
    from twisted_index.sources.stamps import Freshness, Seen
    from twisted_index.worker import Works

_log = Logger()


class RootSet:
    """
    The roots, in order.

    Args:
        paths: Absolute.
        reader: Threads that read them.
        freshness: Takes the stamps.

    Attributes:
        generation: Grows whenever a name has come to or gone from any root.
        appeared: Projects that had no part in any root when it was read before, until somebody looks.
    """

    def __init__(self, paths: Sequence[bytes], reader: Works, freshness: Freshness) -> None:
        self._paths = tuple(paths)
        self._reader = reader
        self._freshness = freshness
        self._readings: list[RootReading | None] = [None] * len(self._paths)
        self._joint = Joint(self._read)
        self.generation = 0
        self.appeared: set[str] = set()

    @property
    def readings(self) -> list[RootReading]:
        """The last readings; empty before the first."""
        return [reading for reading in self._readings if reading is not None]

    def seen(self) -> list[tuple[bytes, Seen]] | None:
        """Give the roots with their stamps; None while one of them has not been read."""
        readings = self.readings
        return [(one.path, one.seen) for one in readings] if len(readings) == len(self._paths) else None

    def hold(self) -> bool:
        """Say whether every root is still as it was read: one `stat` each."""
        return all(self._holds(reading) for reading in self._readings)

    def parts_of(self, project: str) -> list[tuple[bytes, Part]]:
        """Say what each root held for a project when it was last read; roots without it are left out."""
        return [
            (reading.path, reading.parts[project]) for reading in self.readings if project in reading.parts
        ]

    async def refresh(self) -> None:
        """
        Read again what does not hold.

        Raises:
            Unavailable: If a root cannot be read; never is its content taken for absent.
        """
        stale = [index for index, reading in enumerate(self._readings) if not self._holds(reading)]
        readings = [self._joint.ask(index) for index in stale]
        for outcome in await DeferredList(readings, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value

    def _holds(self, reading: RootReading | None) -> bool:
        return reading is not None and self._freshness.holds(reading.path, reading.seen)

    async def _read(self, index: int) -> None:
        path, before = self._paths[index], self._readings[index]
        try:
            reading = await self._reader.run(read_root, path, self._freshness, before)
        except OSError as error:
            self._readings[index] = None
            self.generation += 1
            _log.error(
                "The folder {path} cannot be read: {error}", path=os.fsdecode(path), error=error.strerror
            )
            raise Unavailable(
                "The package folder cannot be read right now. Its server's log says why."
            ) from None
        if before is None or reading.places is not before.places:
            self.generation += 1
        new = set() if before is None else reading.parts.keys() - before.parts.keys()
        self.appeared |= {name for name in new if not self.parts_of(name)}
        self._readings[index] = reading
        self.appeared = {name for name in self.appeared if self.parts_of(name)}
