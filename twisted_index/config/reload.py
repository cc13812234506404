"""
Reloads the configuration file when it changes.

Policies, upload settings, users and rights take effect at once; everything else needs a restart, and the
log says so. The file is checked when a request arrives, so an idle server does nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.config.layers import changed_settings
from twisted_index.config.validation import validate_settings
from twisted_index.errors import ConfigurationError
from twisted_index.files.watched_file import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.config.settings import Settings

_log = Logger()

#: Seconds between checks of the file: every request polls.
_LOOK_SECONDS = 1.0


class ConfigReloader:
    """
    Settings that follow their file, within a second of its last change.

    The reactor thread reads it, as `access.rights_file` does it: the question takes
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

    def poll(self) -> None:
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
            self._object(error.message)
        except OSError as error:
            self._object(f"{self._file.path}: the configuration cannot be read: {error.strerror}.")
        else:
            self._objection = ""

    def _follow(self, wanted: Settings) -> None:
        """Make what is wanted hold, as far as it can without a restart."""
        if wanted == self._wanted:
            return
        holding = reloadable(self.settings, wanted)
        changed = changed_settings(self.settings, holding)
        if changed:
            self.apply(holding)
            self.settings = holding
            _log.info(
                "Reloaded the configuration: {path} ({names})",
                path=self._file.path,
                names=", ".join(changed),
            )
        waiting = changed_settings(holding, wanted)
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
            _log.critical("The settings are unchanged. {objection}", objection=objection)


def reloadable(running: Settings, wanted: Settings) -> Settings:
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
        {"uploads": wanted.uploads},
        {"access": replace(wanted.access, trusted_proxies=running.access.trusted_proxies)},
        {"upstreams": replace(running.upstreams, policy=wanted.upstreams.policy)},
    )
    holding = running
    for part in parts:
        candidate = replace(holding, **part)
        try:
            validate_settings(candidate)
        except ConfigurationError:
            # It takes effect together with something that needs a restart.
            continue
        holding = candidate
    return holding


def _nothing(_settings: Settings) -> None:
    """Do nothing."""
