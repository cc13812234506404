"""
The index that pip on this machine is configured to use, so that `--upstream pip` means the same.

It blocks, for as long as pip takes to start, and is for the start of the server.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from typing import TYPE_CHECKING, Any

from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    #: Runs a command in an environment; gives what it prints, or None if it fails.
    Run: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], str | None]

#: Seconds that pip may take to say how it is configured.
_PATIENCE = 30.0

# pip's sections, each stronger than the one before; and its environment is stronger than all.
_SECTIONS = ("global", "install", ":env:")


def run_quietly(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run a command; give what it prints, or None if there is none, it fails or does not end."""
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


def urls_of(upstream: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """
    Say which URLs an upstream of the settings stands for.

    Args:
        upstream: `pip` for what pip is configured to use here, read once in the life of the process,
            as it takes a second; or a URL, which stands for itself.
        environ: As for `pip_index`.
    """
    return _of_pip_once(frozenset(environ.items())) if upstream == "pip" else (upstream,)


@cache
def _of_pip_once(environ: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    return pip_index(dict(environ))


def pip_index(environ: Mapping[str, str], run: Run = run_quietly) -> tuple[str, ...]:
    """
    Find the indexes that pip here is configured to use; without pip, those of uv.

    Args:
        environ: The environment of the server.
        run: Runs pip.

    Returns:
        URLs in the order in which they are to be asked: those of `extra-index-url` first, as uv
        does it, so that a private name stays private; the index itself last. Indexes in the file
        system (`file:`) are left out. They may hold a user and a password.

    Raises:
        ConfigurationError: There is none.
    """
    found = _of_pip(environ, run) or _of_files(environ)
    urls = tuple(dict.fromkeys(url for url in found if url.lower().startswith(("http://", "https://"))))
    if not urls:
        raise ConfigurationError(
            "upstream pip: no index is configured for pip or uv here; name its URL instead, as in"
            " --upstream https://HOST/simple/."
        )
    return urls


def _of_pip(environ: Mapping[str, str], run: Run) -> list[str]:
    """Ask pip itself; nothing if there is none."""
    # A help that is wide enough is not folded within a URL; a new pip must not ask around first.
    environ = {**environ, "COLUMNS": "2000", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}
    for pip in ([sys.executable, "-m", "pip"], ["pip"], ["pip3"]):
        listed = run([*pip, "config", "list"], environ)
        if listed is not None:
            default = _default_in(run([*pip, "install", "--help"], environ) or "")
            return _urls(dict(_parse_list(listed)), default)
    return []


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
    """Find pip's own default in what it says of `--index-url`."""
    match = re.search(r"--index-url\b.*?\(default:?\s+(\S+?)\)", help_text, re.DOTALL)
    return match[1] if match else None


def _urls(configured: Mapping[str, str], default: str | None) -> list[str]:
    """Choose among the values of all sections, as pip does."""
    if _strongest(configured, "no-index").strip().lower() in ("1", "true", "yes", "on", "y", "t"):
        return []
    index = _strongest(configured, "index-url") or default
    return [*_strongest(configured, "extra-index-url").split(), *([index] if index else [])]


def _strongest(configured: Mapping[str, str], name: str) -> str:
    for section in reversed(_SECTIONS):
        if value := configured.get(f"{section}.{name}"):
            return value
    return ""


# -- Without pip: the files that it and uv would read


def _of_files(environ: Mapping[str, str]) -> list[str]:
    configured: dict[str, str] = {}
    for path in _pip_files(environ):
        configured |= _read_ini(path)
    for name in ("index-url", "extra-index-url", "no-index"):
        if value := environ.get("PIP_" + name.replace("-", "_").upper()):
            configured[f":env:.{name}"] = value
    return _urls(configured, None) or _of_uv(environ)


def _pip_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the places of pip's configuration, each stronger than the one before (pip, "Configuration")."""
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


def _of_uv(environ: Mapping[str, str]) -> list[str]:
    """Find uv's indexes: its environment, then its files (uv, "Configuration files", "Indexes")."""
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or ""
    extra = [*environ.get("UV_INDEX", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    for path in _uv_files(environ):
        configured = _read_toml(path)
        index = index or _uv_default(configured)
        extra += _uv_extra(configured)
    named = [*extra, *([index] if index else [])]
    # An index may be given a name: `internal=https://…`.
    return [re.sub(r"^[A-Za-z0-9._-]+=", "", url) for url in named]


def _uv_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the places of uv's configuration, each weaker than the one before."""
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
    stated = configured.get("index")
    tables = stated if isinstance(stated, list) else []
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
    # An explicit index is for the packages that are pinned to it, and for no other.
    tables = [
        table for table in _uv_tables(configured) if not table.get("default") and not table.get("explicit")
    ]
    stated = configured.get("extra-index-url")
    listed = [url for url in stated if isinstance(url, str)] if isinstance(stated, list) else []
    return [*(str(table["url"]) for table in tables), *listed]
