"""
Reloads the configuration file when it changes.

Policies, upload settings, users and rights take effect at once; everything else needs a restart, and the
log says so. The file is checked when a request arrives, so an idle server does nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_index.config.layers import changed_settings
from twisted_index.config.validation import validate_settings
from twisted_index.errors import ConfigurationError
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.files.watched_file import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.config.settings import AccessSettings, Settings

_log = Logger()

#: Seconds between checks of the file: every request polls.
_CHECK_INTERVAL = 1.0

_UNCHANGED = "The settings are unchanged."


class ConfigReloader:
    """
    Applies changes of a configuration file within a second.

    Reads the file in the reactor thread, like `access.rights_file`: callers need the settings at once, and
    the file has a few hundred bytes.

    Args:
        settings: The settings at the start.
        path: Absolute path of the file.
        load: Loads the settings from the file and all other sources.
        clock: Reactor.
        stat: As for `WatchedFile`.
        wall: As for `WatchedFile`.

    Attributes:
        settings: The current settings.
        status: Whether the file could be used.
        apply: Called with changed settings; applies them all, or raises ConfigurationError and applies none.
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
        self._checked_at = float("-inf")
        self.status = ReloadStatus("configuration", path, wall=wall)

    def poll(self) -> None:
        """Apply the file if it has changed; checks once a second. Never raises."""
        now = self._clock.seconds()
        if now - self._checked_at >= _CHECK_INTERVAL:
            self._checked_at = now
            self.check()

    def check(self) -> None:
        """See `ReloadedFile`."""
        # The error may have been in another file that this one names.
        if self.status.error is not None or self._file.changed():
            self._read()

    def _read(self) -> None:
        try:
            self._file.read()
            self._apply(self._load())
        except ConfigurationError as error:
            self.status.fail(error.message, _UNCHANGED)
        except OSError as error:
            self.status.fail(
                f"{self._file.path}: the configuration cannot be read: {error.strerror}.", _UNCHANGED
            )
        else:
            if self.status.succeed():
                _log.info("{path} is valid again.", path=self._file.path)

    def _apply(self, wanted: Settings) -> None:
        """Apply the wanted settings, as far as possible without a restart."""
        if wanted == self._wanted:
            return
        applied = reloadable(self.settings, wanted)
        changed = changed_settings(self.settings, applied)
        if changed:
            self.apply(applied)
            self.settings = applied
            _log.info(
                "Reloaded the configuration: {path} ({names})",
                path=self._file.path,
                names=", ".join(changed),
            )
            self.status.take_effect(", ".join(changed))
        waiting = changed_settings(applied, wanted)
        if waiting and waiting != self._waiting:
            _log.warn(
                "{path}: these settings need a restart: {names}.",
                path=self._file.path,
                names=", ".join(waiting),
            )
        self._wanted, self._waiting = wanted, waiting


def reloadable(running: Settings, wanted: Settings) -> Settings:
    """
    Return the settings that can be applied without a restart.

    Args:
        running: The current settings.
        wanted: The settings of the file; valid together.

    Returns:
        The running settings with each reloadable part of the wanted ones that is valid with the rest.
    """
    upstreams = wanted.upstreams
    parts: tuple[Callable[[Settings], Settings], ...] = (
        lambda settings: replace(settings, uploads=wanted.uploads),
        lambda settings: replace(settings, access=_with_proxies_of(running.access, wanted.access)),
        lambda settings: _with_upstreams(settings, policy=upstreams.policy),
        lambda settings: _with_upstreams(settings, named=upstreams.named),
        lambda settings: replace(settings, create_indexes=wanted.create_indexes),
        lambda settings: replace(settings, title=wanted.title),
    )
    applied = running
    for part in parts:
        candidate = part(applied)
        try:
            validate_settings(candidate)
        except ConfigurationError:
            # This part is valid only with settings that need a restart.
            continue
        applied = candidate
    return applied


def _with_upstreams(settings: Settings, **changed: Any) -> Settings:
    return replace(settings, upstreams=replace(settings.upstreams, **changed))


def _with_proxies_of(running: AccessSettings, wanted: AccessSettings) -> AccessSettings:
    """Keep the trusted proxies and their fields: connections that are open were judged by them."""
    return replace(
        wanted,
        trusted_proxies=running.trusted_proxies,
        user_header=running.user_header,
        groups_header=running.groups_header,
        groups_separator=running.groups_separator,
    )


def _nothing(_settings: Settings) -> None:
    """Do nothing."""
