"""
The index that pip on this machine is configured to use, with pip's proxy and certificates.

Blocks for as long as pip takes to start; used at the start of the server only.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.tls import CHECKED, TLSOptions
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    #: Runs a command in an environment; returns its output, or None if it fails.
    Run: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], str | None]

#: Seconds that one run of pip may take.
_PATIENCE = 30.0

# pip's sections, each overriding the one before; its environment overrides all.
_SECTIONS = ("global", "install", ":env:")

#: Options about requests to an index: those that are adopted, and those that are reported as ignored.
_FOLLOWED = ("cert", "client-cert", "proxy", "trusted-host")
_IGNORED = ("find-links", "keyring-provider", "retries", "timeout")


def run_quietly(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run a command; return its output, or None if it is missing, fails or times out."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipIndex:
    """
    The index configuration of pip.

    Attributes:
        urls: In the order of requests: those of `extra-index-url` first, as in uv, so that a private
            name stays private; the index itself last. They may contain a user and a password.
        cert: Absolute path of certificates to trust instead of the default ones; None without.
        tls: The client certificate, and the hosts whose certificates are not checked.
        proxy: The URL of a proxy for all requests, perhaps with a password; empty without.
        ignored: Indexes without HTTP, and options about requests that are not adopted.
    """

    urls: tuple[str, ...]
    cert: str | None = None
    tls: TLSOptions = CHECKED
    proxy: str = ""
    ignored: tuple[str, ...] = ()

    def environ(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Return the environment, overridden by the configuration of pip."""
        own = {} if self.cert is None else {"PIP_CERT": self.cert}
        if self.proxy:
            own |= {"http_proxy": self.proxy, "https_proxy": self.proxy, "no_proxy": ""}
        return {**environ, **own}

    def describe(self) -> Iterator[str]:
        """Yield lines for the log about the configuration, without passwords."""
        yield f"pip here is configured to use {', then '.join(map(_without_user, self.urls))}"
        followed = [
            *([f"the certificates in {printable(self.cert)}"] if self.cert is not None else []),
            *([f"the proxy {_without_user(self.proxy)}"] if self.proxy else []),
            *(["a client certificate"] if self.tls.client_cert is not None else []),
        ]
        if followed:
            yield f"Taken from pip's configuration: {', '.join(followed)}"
        if self.tls.trusted_hosts:
            hosts = ", ".join(map(printable, self.tls.trusted_hosts))
            yield f"The certificates of {hosts} are not checked: pip is configured to trust these hosts"
        if self.ignored:
            yield f"Ignored from pip's configuration: {', '.join(self.ignored)}"


def resolve_upstream(upstream: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return the URLs of an upstream of the settings.

    Args:
        upstream: `pip` for the indexes that pip is configured to use here; or a URL.
        environ: As for `pip_index`.
    """
    return cached_pip_index(environ).urls if upstream == "pip" else (upstream,)


def cached_pip_index(environ: Mapping[str, str]) -> PipIndex:
    """See `pip_index`; read once per process, as it takes a second."""
    return _read_once(frozenset(environ.items()))


@cache
def _read_once(environ: frozenset[tuple[str, str]]) -> PipIndex:
    return pip_index(dict(environ))


def pip_index(environ: Mapping[str, str], run: Run = run_quietly) -> PipIndex:
    """
    Read the configuration of pip; without pip, its files and those of uv.

    Args:
        environ: The environment of the server.
        run: Runs pip.

    Returns:
        Without indexes in the file system (`file:`).

    Raises:
        ConfigurationError: No index is configured.
    """
    from_pip = _from_pip(environ, run)
    configured, default = from_pip or ({}, None)
    all_urls = _urls(configured, default)
    if not all_urls:
        configured = _from_files(environ) if from_pip is None else configured
        all_urls = _urls(configured, None) or _from_uv(environ)
    urls = tuple(dict.fromkeys(url for url in all_urls if url.lower().startswith(("http://", "https://"))))
    if not urls:
        raise ConfigurationError(
            "upstream pip: no index is configured for pip or uv here; name its URL instead, as in"
            " --upstream https://HOST/simple/."
        )
    return PipIndex(
        urls=urls,
        cert=_path(_strongest(configured, "cert")),
        tls=TLSOptions(
            client_cert=_path(_strongest(configured, "client-cert")),
            trusted_hosts=tuple(dict.fromkeys(_strongest(configured, "trusted-host").lower().split())),
        ),
        proxy=_strongest(configured, "proxy").strip(),
        ignored=(
            *(_without_user(url) for url in dict.fromkeys(all_urls) if url not in urls),
            *(name for name in _IGNORED if _strongest(configured, name)),
        ),
    )


def _path(configured: str) -> str | None:
    # pip's paths are relative to its current folder, as are this server's; twistd changes it later.
    return os.path.abspath(os.path.expanduser(configured)) if configured else None


def _without_user(url: str) -> str:
    """Return a URL without its user and password."""
    scheme, mark, rest = url.rpartition("://")
    authority, slash, path = rest.partition("/")
    return printable(f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}")


def _from_pip(environ: Mapping[str, str], run: Run) -> tuple[dict[str, str], str | None] | None:
    """Run pip to read its configuration and its default index; None if there is no pip."""
    # Wide enough that URLs in the help are not wrapped, and without a version check over the network.
    environ = {**environ, "COLUMNS": "2000", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}
    for pip in ([sys.executable, "-m", "pip"], ["pip"], ["pip3"]):
        listed = run([*pip, "config", "list"], environ)
        if listed is not None:
            default = _default_in(run([*pip, "install", "--help"], environ) or "")
            return dict(_parse_list(listed)), default
    return None


def _parse_list(text: str) -> Iterator[tuple[str, str]]:
    """Read lines like `global.index-url='https://…'`."""
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            try:
                yield key.strip(), str(ast.literal_eval(value.strip()))
            except (SyntaxError, ValueError):
                continue


def _default_in(help_text: str) -> str | None:
    """Find pip's default in its help about `--index-url`."""
    match = re.search(r"--index-url\b.*?\(default:?\s+(\S+?)\)", help_text, re.DOTALL)
    return match[1] if match else None


def _urls(configured: Mapping[str, str], default: str | None) -> list[str]:
    """Choose among the values of all sections like pip."""
    if _strongest(configured, "no-index").strip().lower() in ("1", "true", "yes", "on", "y", "t"):
        return []
    index = _strongest(configured, "index-url") or default
    return [*_strongest(configured, "extra-index-url").split(), *([index] if index else [])]


def _strongest(configured: Mapping[str, str], name: str) -> str:
    for section in reversed(_SECTIONS):
        if value := configured.get(f"{section}.{name}"):
            return value
    return ""


# -- Without pip: the configuration files of pip and uv


def _from_files(environ: Mapping[str, str]) -> dict[str, str]:
    configured: dict[str, str] = {}
    for path in _pip_files(environ):
        configured |= _read_ini(path)
    for name in ("index-url", "extra-index-url", "no-index", *_FOLLOWED):
        if value := environ.get("PIP_" + name.replace("-", "_").upper()):
            configured[f":env:.{name}"] = value
    return configured


def _pip_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield pip's configuration files, each overriding the one before (pip, "Configuration")."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    home = environ.get("HOME") or os.path.expanduser("~")
    if sys.platform == "win32":
        yield os.path.join(environ.get("PROGRAMDATA", "C:\\ProgramData"), "pip", "pip.ini")
        yield os.path.join(home, "pip", "pip.ini")
        yield os.path.join(environ.get("APPDATA", home), "pip", "pip.ini")
    else:
        for folder in reversed(environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            yield os.path.join(folder, "pip", "pip.conf")
        yield "/Library/Application Support/pip/pip.conf"
        yield "/etc/pip.conf"
        yield os.path.join(home, ".pip", "pip.conf")
        yield os.path.join(home, "Library/Application Support/pip/pip.conf")
        yield os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf")
    yield os.path.join(sys.prefix, "pip.ini" if sys.platform == "win32" else "pip.conf")
    if named:
        yield named


def _read_ini(path: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}
    return {
        f"{section}.{key.replace('_', '-')}": value
        for section in parser.sections()
        for key, value in parser.items(section)
    }


def _from_uv(environ: Mapping[str, str]) -> list[str]:
    """Read uv's indexes: its environment, then its files (uv, "Configuration files", "Indexes")."""
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or ""
    extra = [*environ.get("UV_INDEX", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    for path in _uv_files(environ):
        configured = _read_toml(path)
        index = index or _uv_default(configured)
        extra += _uv_extra(configured)
    named = [*extra, *([index] if index else [])]
    # An index may have a name: `internal=https://…`.
    return [re.sub(r"^[A-Za-z0-9._-]+=", "", url) for url in named]


def _uv_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield uv's configuration files, each overridden by the one before."""
    if named := environ.get("UV_CONFIG_FILE"):
        yield named
        return
    if environ.get("UV_NO_CONFIG"):
        return
    home = environ.get("HOME") or os.path.expanduser("~")
    if sys.platform == "win32":
        yield os.path.join(environ.get("APPDATA", home), "uv", "uv.toml")
        yield os.path.join(environ.get("PROGRAMDATA", "C:\\ProgramData"), "uv", "uv.toml")
        return
    yield os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "uv", "uv.toml")
    for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield os.path.join(folder, "uv", "uv.toml")
    yield "/etc/uv/uv.toml"


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError):
        return {}


def _uv_tables(configured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    value = configured.get("index")
    tables = value if isinstance(value, list) else []
    return [table for table in tables if isinstance(table, dict) and isinstance(table.get("url"), str)]


def _uv_default(configured: Mapping[str, Any]) -> str:
    for table in _uv_tables(configured):
        if table.get("default") is True:
            return str(table["url"])
    for place in (configured, configured.get("pip")):
        if isinstance(place, dict) and isinstance(place.get("index-url"), str):
            return str(place["index-url"])
    return ""


def _uv_extra(configured: Mapping[str, Any]) -> list[str]:
    # An explicit index is only for the packages that are pinned to it.
    tables = [
        table for table in _uv_tables(configured) if not table.get("default") and not table.get("explicit")
    ]
    value = configured.get("extra-index-url")
    listed = [url for url in value if isinstance(url, str)] if isinstance(value, list) else []
    return [*(str(table["url"]) for table in tables), *listed]
