"""The commands that install from an index, and those that publish to it. Pure."""

from __future__ import annotations

import ipaddress
import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit

#: For servers that take uploads from everyone.
_ANY = " -u any -p any"
_ASK = " --trusted-publishing never"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallCommands:
    """
    What to type to install from an index, ready to paste into a POSIX shell.

    Attributes:
        pip: The pip command.
        uv: The uv command.
        twine: The twine command that publishes.
        uv_publish: The uv command that publishes.
    """

    pip: str
    uv: str
    twine: str
    uv_publish: str


def install_commands(url: str, requirement: str = "NAME", *, login: bool = True) -> InstallCommands:
    """
    Return the commands for an index at a URL.

    Args:
        url: Where the index is mounted, without `/simple/`; http or https.
        requirement: What is installed.
        login: Whether uploads need a user. twine and uv send none without a user and a password.
    """
    index, name = shlex.quote(f"{url.rstrip('/')}/simple/"), shlex.quote(requirement)
    legacy = shlex.quote(f"{url.rstrip('/')}/legacy/")
    trusted = _trusted_host(url)
    trust = f" --trusted-host {shlex.quote(trusted)}" if trusted else ""
    return InstallCommands(
        pip=f"pip install --index-url {index}{trust} {name}",
        uv=f"uv pip install --default-index {index} {name}",
        twine=f"twine upload --repository-url {legacy}{'' if login else _ANY} dist/*",
        # uv asks for a password only if it is not to look for a CI service that vouches for it.
        uv_publish=f"uv publish{_ASK if login else ''} --publish-url {legacy}{'' if login else _ANY} dist/*",
    )


def _trusted_host(url: str) -> str | None:
    """
    Return the host that pip needs as `--trusted-host` for a URL, or None.

    pip trusts https, and plain http to localhost, 127.0.0.0/8 and ::1
    (https://pip.pypa.io/en/stable/cli/pip/#cmdoption-trusted-host).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or is_loopback(host):
        return None
    name = f"[{host}]" if ":" in host else host
    return name if parts.port is None else f"{name}:{parts.port}"


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
