"""The state of the server that a subcommand works for, and the user who runs it."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from twisted_index.config.layers import ConfigSources
from twisted_index.errors import ConfigurationError, Conflict
from twisted_index.replication.state_file import Role, StateFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.config.settings import Settings


def settings_of_server(given: Mapping[str, object]) -> Settings:
    """
    Load the settings of a server, whose state is there.

    Args:
        given: Options by name, as for `config.layers.load`.

    Raises:
        ConfigurationError: Also if it is unknown where the server keeps its state, or there is no such
            folder: what the subcommand writes elsewhere, the server never reads.
    """
    sources = ConfigSources(given=given, environ=os.environ, folder=os.getcwd())
    settings = sources.load()
    if not sources.names_state:
        if sources.file is not None:
            # The default is a folder of the user, and the server often runs as another one.
            raise ConfigurationError(
                f'{sources.file} does not say where its server keeps its state; write state = "DIR" in it,'
                " or give --state DIR."
            )
    elif settings.state is not None:
        _check_folder(settings.state)
    return settings


def _check_folder(state: str) -> None:
    try:
        os.stat(os.path.join(state, ""))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no state folder {state!r}; start its server, which makes it, or make it yourself."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"The state folder {state!r} cannot be used: {error.strerror}.") from None


def replication_state(settings: Settings) -> tuple[StateFile, str]:
    """
    Return what a server keeps of its part in a replication, and the path of its serials.

    Raises:
        ConfigurationError: It keeps no state.
    """
    if settings.state is None:
        raise ConfigurationError("This needs the state folder of a server; give it with --state DIR.")
    return StateFile(settings.state), os.path.join(settings.state, "keep", "serials")


def require_primary(settings: Settings) -> None:
    """
    Let only the primary among replicas be changed.

    Raises:
        Conflict: The server is none.
        Unavailable: It is not known what it is.
    """
    kept = StateFile(settings.state).read()
    if kept.role is not Role.PRIMARY:
        where = f"at {kept.primary}" if kept.primary else "on the primary"
        raise Conflict(f"This server is a {kept.role}, whose folder is to be that of another: do it {where}")


def console_user() -> str:
    """Return the user for the audit log."""
    try:
        user = getpass.getuser()
    # The user id has no name, as in many containers (KeyError before Python 3.13), or there are no ids.
    except (KeyError, OSError, ImportError):
        user = "unknown"
    return f"{user} (console)"
