"""
Layered configuration: options over environment over file over defaults, as one Settings value.

The file is TOML and uses the names of the options; relative paths in it hang on its own folder::

    path = ["packages", "/srv/more"]      # or one string
    listen = ["tcp:8080", "unix:/run/index.sock"]
    rescan = "2s"                         # seconds, or 500ms, 30s, 5m, 2h, 7d
    state = "/var/lib/twisted-index"      # "none": keep it in memory
    logfile = "access.log"
    add-header = ["X-Served-By: attic"]
    display-tracebacks = false
    cors = false
    public-url = "https://packages.example.org"
    page-cache = "64MB"                   # bytes, or 500kB, 64MB, 1GB
    short-way = true                      # here only: false sends every request the ordinary way

    [limits]                              # here only; see settings.Limits
    header-timeout = "20s"
    idle-timeout = "1m"
    stall-timeout = "1m"
    answer-timeout = 10
    stop-timeout = 10
    max-connections = 500
    max-uri = 8192
    max-header = 16384
    threads = 4

The environment has `TWISTED_INDEX_` and the same names in capitals, and `TWISTED_INDEX_CONFIG` for
the file. Several paths are separated as in PATH, several endpoints by blanks (endpoint strings are
full of colons), several header fields by newlines. A variable that is empty is not set.

Not for: looking whether a folder is there or an endpoint can be opened (`tap` does).
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import platformdirs

from twisted_index.errors import ConfigurationError
from twisted_index.settings import Limits, Settings

#: What makes a value of what was written; what cannot be one is a ValueError that says why.
_Parser: TypeAlias = Callable[[Any], object]

#: What one layer says: Settings fields that it gives, and "config".
_Layer: TypeAlias = dict[str, Any]

_PREFIX = "TWISTED_INDEX_"

#: Kubernetes sets these in every pod beside a Service that is named twisted-index
#: (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")

#: What people write, and what it is called here.
_OTHER_WORDS = {"port": "listen", "root": "path", "packages": "path", "interface": "listen"}

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*(kB|MB|GB|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {"": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}

#: RFC 9110 section 5.6.2, token; section 5.5, field-value without obs-text.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")

#: Fields that say how an answer is framed and read: a second one would break every client.
_OWN_FIELDS = {"connection", "content-encoding", "content-length", "content-range", "content-type"}
_OWN_FIELDS |= {"date", "etag", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class _Setting:
    """
    One name that can be set.

    Attributes:
        field: Of Settings.
        parse: See _Parser.
        split: How the environment separates several values.
    """

    field: str
    parse: _Parser
    split: Callable[[str], list[str]] | None = None


def load(given: Mapping[str, object], *, environ: Mapping[str, str], folder: str) -> Settings:
    """
    Put the layers together.

    Args:
        given: Options by name, with "-" or "_"; None and empty lists are not given.
        environ: The environment.
        folder: Absolute: what relative paths in options and environment hang on.

    Raises:
        ConfigurationError: Something is wrong in any layer, be it overridden or not.
    """
    options = _from_options(given, folder)
    environment = _from_environment(environ, folder)
    named = environment.pop("config", None)
    config = options.pop("config", named)
    file = _from_file(config) if config is not None else {}
    defaults = {"paths": (folder,), "state": default_state(environ)}
    limits = Limits(**{**file.pop("limits", {}), **options.pop("limits", {})})
    return Settings(**{**defaults, **file, **environment, **options}, limits=limits)


def default_state(environ: Mapping[str, str]) -> str | None:
    """
    Say where state is kept if nobody says it: systemd's StateDirectory=, else the user's folder.

    Returns:
        An absolute path; None for a user without a home.
    """
    # Several are separated by colons (systemd.exec(5)); the first is as good as any.
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    path = given or platformdirs.user_state_dir("twisted-index", appauthor=False)
    return path if os.path.isabs(path) else None


def duration(raw: object) -> float:
    """
    Read a duration.

    Args:
        raw: A number of seconds, or text such as "2", "0.5", "500ms", "30s", "5m", "2h", "7d".

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: It is no duration.
    """
    if isinstance(raw, str) and (match := _DURATION.fullmatch(raw.strip())):
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    elif isinstance(raw, (int, float)) and not isinstance(raw, bool):
        # Comparing is exact, while float() cannot take a whole number of 400 digits.
        seconds = float(raw) if raw <= sys.float_info.max else math.inf
    else:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{raw!r} is not a duration; write seconds, or 500ms, 30s, 5m, 2h, 7d")
    return seconds


def size(raw: object) -> int:
    """
    Read a size.

    Args:
        raw: A number of bytes, or text such as "500kB", "64MB", "1.5GB" (powers of 1000) or
            "64MiB" (of 1024).

    Returns:
        Whole bytes, not negative.

    Raises:
        ValueError: It is no size.
    """
    if isinstance(raw, str) and (match := _SIZE.fullmatch(raw.strip())):
        return int(float(match[1]) * _BYTES[match[2] or ""])
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    raise ValueError(f"{raw!r} is not a size; write bytes, or 500kB, 64MB, 1GB, 64MiB")


def _from_options(given: Mapping[str, object], folder: str) -> _Layer:
    """Read what was given as options, or by a program in their place."""
    table = _settings(folder)
    layer: _Layer = {}
    for key, raw in given.items():
        name = key.replace("_", "-")
        if raw is None or raw == [] or raw == ():
            continue
        setting = _known(name, table, "--")
        layer[setting.field] = _parsed(setting.parse, raw, f"--{name}")
    return layer


def _from_environment(environ: Mapping[str, str], folder: str) -> _Layer:
    """Read the variables that begin with TWISTED_INDEX_."""
    table = {_variable(name): setting for name, setting in _settings(folder).items() if name != "limits"}
    layer: _Layer = {}
    for variable, text in environ.items():
        name = variable.removeprefix(_PREFIX)
        if name == variable or _SERVICE_LINK.fullmatch(name) or not text:
            continue
        setting = _known(variable, table, "")
        raw = setting.split(text) if setting.split else text
        layer[setting.field] = _parsed(setting.parse, raw, variable)
    return layer


def _from_file(path: str) -> _Layer:
    """Read the configuration file."""
    table = _settings(os.path.dirname(path))
    del table["config"]
    return _from_table(_toml(path), table, f"{path}: ")


def _from_table(values: Mapping[str, object], table: Mapping[str, _Setting], place: str) -> _Layer:
    """Read one table of the file: every key is known, every value is right."""
    layer: _Layer = {}
    for name, raw in values.items():
        setting = _known(name, table, place)
        layer[setting.field] = _parsed(setting.parse, raw, place + name)
    return layer


def _toml(path: str) -> Mapping[str, object]:
    """Read a TOML file, telling in one sentence what is wrong with it."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: the configuration cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: TOML is UTF-8, and byte {error.start} is not.") from error
    # TOMLDecodeError with its line, or int() at more digits than Python converts.
    except ValueError as error:
        raise ConfigurationError(f"{path}: this is not TOML: {error}.") from error


def _settings(folder: str) -> dict[str, _Setting]:
    """Name all that can be set, with relative paths hanging on a folder."""
    path = partial(_path, folder)
    return {
        "path": _Setting("paths", partial(_several, path), lambda text: text.split(os.pathsep)),
        "listen": _Setting("listen", partial(_several, _endpoint), str.split),
        "rescan": _Setting("rescan", duration),
        "state": _Setting("state", lambda raw: None if raw == "none" else path(raw)),
        "logfile": _Setting("logfile", path),
        "add-header": _Setting("add_headers", partial(_several, _header), str.splitlines),
        "display-tracebacks": _Setting("display_tracebacks", _flag),
        "cors": _Setting("cors", _flag),
        "public-url": _Setting("public_url", _url),
        "page-cache": _Setting("page_cache", size),
        "short-way": _Setting("short_way", _flag),
        "config": _Setting("config", path),
        "limits": _Setting("limits", _limits),
    }


def _limits(raw: object) -> _Layer:
    """Read the table of limits; its names are the fields of Limits, with "-"."""
    if not isinstance(raw, Mapping):
        raise ValueError("this is a table; write its settings below [limits]")
    table = {
        field.name.replace("_", "-"): _Setting(
            field.name, _timeout if field.name.endswith("_timeout") else _count
        )
        for field in fields(Limits)
    }
    return _from_table(raw, table, "")


def _variable(name: str) -> str:
    """Name the environment variable of a setting."""
    return _PREFIX + name.upper().replace("-", "_")


def _known(name: str, table: Mapping[str, _Setting], place: str) -> _Setting:
    """Look a name up, or suggest what it may have meant."""
    if name in table:
        return table[name]
    near = [_OTHER_WORDS[name]] if name in _OTHER_WORDS else difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    shown = name if name.isprintable() else repr(name)
    raise ConfigurationError(f"{place}{shown} is not a setting{hint}")


def _parsed(parse: _Parser, raw: object, label: str) -> object:
    """Read a value; what is wrong with it becomes a sentence that says where it was written."""
    try:
        return parse(raw)
    except ValueError as error:
        raise ConfigurationError(f"{label}: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}: {error.sentence}") from error


def _several(parse: _Parser, raw: object) -> tuple[object, ...]:
    """Read one value or a list of them, in order, each once."""
    values = tuple(raw) if isinstance(raw, (list, tuple)) else (raw,)
    if not values:
        raise ValueError("the list is empty")
    return tuple(dict.fromkeys(parse(value) for value in values))


def _text(raw: object) -> str:
    """Read text that is not empty; a NUL would be an error of the system much later."""
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is not text; put it in quotes")
    if not raw.strip() or "\0" in raw:
        raise ValueError(f"{raw!r} cannot be used")
    return raw


def _path(folder: str, raw: object) -> str:
    """
    Read a path and make it absolute at once: twistd changes its folder before it starts.

    The home folder is expanded here, as shells do not do it in `--path=~/packages`.
    """
    text = _text(os.fspath(raw) if isinstance(raw, os.PathLike) else raw)
    return os.path.abspath(os.path.join(folder, os.path.expanduser(text)))


def _endpoint(raw: object) -> str:
    """Read an endpoint string; a bare number is a TCP port."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    text = _text(raw).strip()
    if not re.fullmatch(r"-?\d+", text, re.ASCII):
        return text
    if not 0 <= int(text) <= 65535:
        raise ValueError(f"{text} is not a port; ports go from 0 to 65535")
    return f"tcp:{int(text)}"


def _header(raw: object) -> tuple[bytes, bytes]:
    """Read a header field."""
    name, _, value = (part.strip(" \t") for part in _text(raw).partition(":"))
    if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise ValueError(f"{raw!r} is not a header field; write 'Name: value' in one line of ASCII")
    if name.lower() in _OWN_FIELDS:
        raise ValueError(f"{name} is set by the server itself")
    return name.encode("ascii"), value.encode("ascii")


def _flag(raw: object) -> bool:
    """Read a switch: true or false, 1 or 0, or one of the words for them."""
    word = str(int(raw)) if isinstance(raw, (bool, int)) else str(raw).strip().lower()
    if word not in _YES | _NO:
        raise ValueError(f"{raw!r} is neither true nor false")
    return word in _YES


def _url(raw: object) -> str:
    """Read the URL that people are shown, without the slash at its end."""
    text = _text(raw).strip()
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, brackets without an address
        right = False
    if not right or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not a URL; write it like https://packages.example.org")
    if "?" in text or "#" in text or "@" in parts.netloc:
        raise ValueError(f"{text!r} has a query, a fragment or a user; leave that out")
    return text.rstrip("/")


def _timeout(raw: object) -> float:
    """Read a duration that is not 0: a limit of no time would let nobody through."""
    seconds = duration(raw)
    if not seconds:
        raise ValueError("this cannot be 0")
    return seconds


def _count(raw: object) -> int:
    """Read a whole number from 1."""
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 1:
        raise ValueError(f"{raw!r} is not a whole number from 1")
    return raw
