"""
The configuration file while the server runs: read again when it changes.

Policy, what may be uploaded, users and rights hold from then on. All else needs a restart, and the
log says so. Nothing runs while nobody asks: it is looked at when a request comes.
Not for: what is made of the settings (`assembly`).
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.access.watched import WatchedFile
from twisted_index.combinations import check
from twisted_index.configuration import differing
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.settings import Settings

_log = Logger()

#: Seconds between two looks at the file: it is asked about on every request.
_LOOK_SECONDS = 1.0


class Reconfiguration:
    """
    Settings that follow their file, within a second of its last change.

    It is read by whoever asks, in the reactor, as `access.rights_file` does it: the question takes
    no Deferred, and the file has a few hundred bytes.

    Args:
        settings: That hold now.
        path: Of the file: absolute.
        load: Reads the settings anew, from the file and all else that they are from.
        clock: Tells when to look again.
        stat: As for `WatchedFile`.
        wall: Likewise.

    Attributes:
        settings: That hold now.
        apply: Is called with others that are to hold, and makes them hold; `ConfigurationError`,
            and nothing done, if that cannot be.
    """

    def __init__(
        self,
        settings: Settings,
        path: str,
        load: Callable[[], Settings],
        clock: IReactorTime,
        *,
        stat: Callable[[str], os.stat_result] = os.stat,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.apply: Callable[[Settings], None] = _nothing
        self._wanted = settings
        self._waiting: list[str] = []
        self._load = load
        self._file = WatchedFile(path, bytes, stat=stat, wall=wall)
        self._clock = clock
        self._looked_at = float("-inf")
        self._objection = ""

    def look(self) -> None:
        """Follow the file, if it is time to look and it has changed. Cheap, and never raises."""
        now = self._clock.seconds()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            # What was wrong may have been another file that this one names.
            if self._objection or self._file.changed():
                self._read()

    def _read(self) -> None:
        try:
            self._file.read()
            self._follow(self._load())
        except ConfigurationError as error:
            self._object(error.sentence)
        except OSError as error:
            self._object(f"{self._file.path}: the configuration cannot be read: {error.strerror}.")
        else:
            self._objection = ""

    def _follow(self, wanted: Settings) -> None:
        """Make what is wanted hold, as far as it can without a restart."""
        if wanted == self._wanted:
            return
        holding = applicable(self.settings, wanted)
        changed = differing(self.settings, holding)
        if changed:
            self.apply(holding)
            self.settings = holding
            _log.info(
                "The configuration is read anew: {path} ({names})",
                path=self._file.path,
                names=", ".join(changed),
            )
        waiting = differing(holding, wanted)
        if waiting and waiting != self._waiting:
            _log.warn(
                "{path}: these settings need a restart: {names}.",
                path=self._file.path,
                names=", ".join(waiting),
            )
        self._wanted, self._waiting = wanted, waiting

    def _object(self, objection: str) -> None:
        """Say once what is wrong with the file."""
        if objection != self._objection:
            self._objection = objection
            _log.critical("The settings stay as they were. {objection}", objection=objection)


def applicable(running: Settings, wanted: Settings) -> Settings:
    """
    Give the settings that can hold without a restart.

    Args:
        running: What holds now.
        wanted: What is to hold; its parts go together.

    Returns:
        What runs, with those parts of what is wanted that can be taken over and go together with
        the rest of it.
    """
    parts = (
        {"publishing": wanted.publishing},
        {"guarding": replace(wanted.guarding, trusted_proxies=running.guarding.trusted_proxies)},
        {"upstreams": replace(running.upstreams, policy=wanted.upstreams.policy)},
    )
    holding = running
    for part in parts:
        candidate = replace(holding, **part)
        try:
            check(candidate)
        except ConfigurationError:
            # It takes effect together with something that needs a restart.
            continue
        holding = candidate
    return holding


def _nothing(_settings: Settings) -> None:
    """Do nothing, where nobody has anything to apply."""
