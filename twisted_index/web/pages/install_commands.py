"""What to type, and what to write into files, to install from an index and to publish to it. Pure."""

from __future__ import annotations

import ipaddress
import json
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
    index, name = shlex.quote(_simple(url)), shlex.quote(requirement)
    legacy = shlex.quote(f"{url.rstrip('/')}/legacy/")
    trusted = trusted_host(url)
    trust = f" --trusted-host {shlex.quote(trusted)}" if trusted else ""
    return InstallCommands(
        pip=f"pip install --index-url {index}{trust} {name}",
        uv=f"uv pip install --default-index {index} {name}",
        twine=f"twine upload --repository-url {legacy}{'' if login else _ANY} dist/*",
        # uv asks for a password only if it is not to look for a CI service that vouches for it.
        uv_publish=f"uv publish{_ASK if login else ''} --publish-url {legacy}{'' if login else _ANY} dist/*",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCommands:
    """
    What to type in a project, so that it installs from an index from then on.

    Attributes:
        uv: For uv.
        poetry: For Poetry.
        pdm: For PDM, which has the index in a file of its own beside the project.
    """

    uv: str
    poetry: str
    pdm: str


def project_commands(url: str, source: str) -> ProjectCommands:
    """
    Return the commands of those who manage projects.

    Args:
        url: As for `install_commands`.
        source: What Poetry is to call the index.
    """
    index = shlex.quote(_simple(url))
    # PDM sees no difference between a host that needs TLS and one whose certificate it should believe.
    plain = "pdm config --local pypi.verify_ssl false\n" if trusted_host(url) else ""
    return ProjectCommands(
        uv=f"uv add --default-index {index} NAME",
        poetry=f"poetry source add --priority=primary {shlex.quote(source)} {index}\npoetry add NAME",
        pdm=f"pdm config --local pypi.url {index}\n{plain}pdm add NAME",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultCommands:
    """
    What makes an index the one that all commands of a user install from, and what ends that.

    Attributes:
        pip: For pip.
        pip_undo: Ends it.
        uv: For uv, in one shell.
        uv_undo: Ends it.
    """

    pip: str
    pip_undo: str
    uv: str
    uv_undo: str


def default_commands(url: str) -> DefaultCommands:
    """Return the commands for an index at a URL; see `install_commands`."""
    index, trusted = shlex.quote(_simple(url)), trusted_host(url)
    values = {"global.index-url": index, **({"global.trusted-host": shlex.quote(trusted)} if trusted else {})}
    return DefaultCommands(
        pip="\n".join(f"pip config set {name} {value}" for name, value in values.items()),
        pip_undo="\n".join(f"pip config unset {name}" for name in values),
        uv=f"export UV_DEFAULT_INDEX={index}",
        uv_undo="unset UV_DEFAULT_INDEX",
    )


def requirements_lines(url: str) -> str:
    """Return the lines that a file of requirements begins with; pip and uv read them."""
    trusted = trusted_host(url)
    return f"--index-url {_simple(url)}" + (f"\n--trusted-host {trusted}" if trusted else "")


def dockerfile_lines(url: str) -> str:
    """
    Return the lines of a Dockerfile that the commands after them install by.

    They hold while the image is built, and are not kept in it.
    """
    index, trusted = _simple(url), trusted_host(url)
    lines = [f"ARG PIP_INDEX_URL={index}", f"ARG UV_DEFAULT_INDEX={index}"]
    if trusted:
        lines.insert(1, f"ARG PIP_TRUSTED_HOST={trusted}")
    if _is_own_machine(urlsplit(url).hostname or ""):
        lines.insert(0, "# A container reaches this machine by docker build --network=host only.")
    return "\n".join(lines)


def netrc_lines(url: str) -> str:
    """Return the lines of `~/.netrc`, with which installers log in at a URL."""
    return f"machine {urlsplit(url).hostname or ''}\nlogin USER\npassword PASSWORD"


def pip_conf(url: str) -> str:
    """
    Write a configuration file of pip; see `install_commands`.

    It is ASCII, since pip reads it in the encoding of the machine.
    """
    trusted = trusted_host(url)
    return (
        f"# pip installs from {url}\n"
        "#\n"
        "# Save this file, for one user:\n"
        "#   Linux    ~/.config/pip/pip.conf\n"
        "#   macOS    ~/Library/Application Support/pip/pip.conf\n"
        "#   Windows  %APPDATA%\\pip\\pip.ini\n"
        "# for one environment: pip.conf in its folder (Windows: pip.ini);\n"
        "# anywhere else: name it by the environment variable PIP_CONFIG_FILE.\n"
        "\n"
        "[global]\n"
        f"index-url = {_simple(url)}\n" + (f"trusted-host = {trusted}\n" if trusted else "")
    )


def uv_toml(url: str) -> str:
    """Write a configuration file of uv; as for `pip_conf`."""
    return (
        f"# uv installs from {url}\n"
        "#\n"
        "# Save this file, for one user:\n"
        "#   Linux, macOS  ~/.config/uv/uv.toml\n"
        "#   Windows       %APPDATA%\\uv\\uv.toml\n"
        "# anywhere else: name it by --config-file or the environment variable UV_CONFIG_FILE.\n"
        "\n"
        "[[index]]\n"
        # A basic string of TOML escapes what JSON escapes.
        f"url = {json.dumps(_simple(url))}\n"
        "default = true\n"
    )


def _simple(url: str) -> str:
    return f"{url.rstrip('/')}/simple/"


def trusted_host(url: str) -> str | None:
    """
    Return the host that pip needs as `--trusted-host` for a URL, or None.

    pip trusts https, and plain http to localhost, 127.0.0.0/8 and ::1
    (https://pip.pypa.io/en/stable/cli/pip/#cmdoption-trusted-host).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or _is_own_machine(host):
        return None
    name = f"[{host}]" if ":" in host else host
    return name if parts.port is None else f"{name}:{parts.port}"


def _is_own_machine(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
