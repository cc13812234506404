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

    upload = true                         # take uploads
    anyone-may-upload = false
    max-upload = "4GB"
    overwrite = ["*.dev*", "acme==1.*"]   # versions whose files may get other bytes
    on-upload = ["https://example.org/hook"]

    auth = ["htpasswd:users.htpasswd"]
    rights = "rights.toml"
    trusted-proxy = ["10.0.0.0/8", "unix", "users:127.0.0.1"]  # with users: it names users too

    upstream = ["https://user:password@packages.example.org/simple/", "pip"]
    upstream-mode = "cache"               # or proxy, redirect
    cache = "/var/cache/twisted-index"
    cache-size = "5GB"
    offline = false
    local-only = ["acme-*"]               # never asked for upstream
    cooldown = "7d"

    cache-ttl = "10m"                     # from here to the rules: here only
    upstream-only = ["django", "numpy*"]
    upstream-deny = ["evil-*", "django>=4,<5"]
    cooldown-except = ["certifi"]
    no-sdists = false
    also-upstream = ["torch"]             # versions of the folder and of the upstream together
    upstream-address = ["10.1.0.0/16"]    # where files of a public upstream may be, besides

    [[route]]                             # here only; the first match wins
    pattern = "acme-*"
    folder = "acme"

    [[route]]
    pattern = "torch*"
    upstream = "https://example.org/whl/cpu"

    [[route]]                             # no such projects
    pattern = "evil-*"

    [limits]                              # here only; see settings.Limits
    header-timeout = "20s"
    upload-stall-timeout = "1m"
    idle-timeout = "1m"
    stall-timeout = "1m"
    answer-timeout = 10
    stop-timeout = 10
    max-connections = 500
    max-uri = 8192
    max-header = 16384
    threads = 4

The environment has `TWISTED_INDEX_` and the same names in capitals, and `TWISTED_INDEX_CONFIG` for
the file. Several paths are separated as in PATH, header fields, credential checkers and denials by
newlines, all else by blanks (endpoint strings are full of colons). A variable that is empty is not
set. What each of these means, with its default, is in docs/configuration.md; a test compares.

Not for: what a value may look like (`values`), which go together (`combinations`), or looking
whether a folder is there or an endpoint can be opened (`tap` does).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import platformdirs

from twisted_index import values
from twisted_index.combinations import check
from twisted_index.errors import ConfigurationError
from twisted_index.settings import (
    Guarding,
    Limits,
    Policy,
    Publishing,
    RoutingRule,
    Settings,
    Upstreams,
)

if TYPE_CHECKING:
    from twisted_index.values import Parser

#: What one layer says: Settings fields that it gives, and "config".
_Layer: TypeAlias = dict[str, Any]

_PREFIX = "TWISTED_INDEX_"

#: Kubernetes sets these in every pod beside a Service that is named twisted-index
#: (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")

#: What people write, and what it is called here.
_OTHER_WORDS = {"port": "listen", "root": "path", "packages": "path", "interface": "listen"}


@dataclass(frozen=True, slots=True)
class _Setting:
    """
    One name that can be set.

    Attributes:
        field: Of Settings; of a part of it with the name of the part before it, as in
            `publishing.upload`. Policy is a part of its own here.
        parse: See Parser.
        split: How the environment separates several values.
    """

    field: str
    parse: Parser
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
    config = options.pop("config", environment.pop("config", None))
    file = _from_file(config) if config is not None else {}
    limits = Limits(**{**file.pop("limits", {}), **options.pop("limits", {})})
    defaults = {"paths": (folder,), "state": default_state(environ)}
    settings = _settings_of({**defaults, **file, **environment, **options}, limits)
    check(settings)
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """
    What settings were read from, so that they can be read again.

    Attributes:
        given: See `load`, as for all of these.
        environ: As it was.
        folder: As it was.
    """

    given: Mapping[str, object]
    environ: Mapping[str, str]
    folder: str

    def load(self) -> Settings:
        """Put the layers together; see `load`."""
        return load(self.given, environ=self.environ, folder=self.folder)

    @property
    def file(self) -> str | None:
        """The configuration file: absolute; None without one."""
        options = _from_options(self.given, self.folder)
        path: str | None = options.get("config", _from_environment(self.environ, self.folder).get("config"))
        return path


def differing(one: Settings, other: Settings) -> list[str]:
    """Name the settings, as the file does, in which two values are not the same."""
    names = [
        name
        for name, setting in _settings("/").items()
        if name != "config" and _value(one, setting.field) != _value(other, setting.field)
    ]
    return sorted(names)


def _value(settings: Settings, place: str) -> object:
    """Give what a value has for a `_Setting.field`."""
    part, _, field = place.rpartition(".")
    if not part:
        return getattr(settings, field)
    return getattr(settings.upstreams.policy if part == "policy" else getattr(settings, part), field)


def _settings_of(merged: _Layer, limits: Limits) -> Settings:
    """Make the one value of what all layers say together."""
    parts: dict[str, _Layer] = {"": {}, "publishing": {}, "guarding": {}, "upstreams": {}, "policy": {}}
    for place, value in merged.items():
        part, _, field = place.rpartition(".")
        parts[part][field] = value
    return Settings(
        **parts[""],
        limits=limits,
        publishing=Publishing(**parts["publishing"]),
        guarding=Guarding(**parts["guarding"]),
        upstreams=Upstreams(**parts["upstreams"], policy=Policy(**parts["policy"])),
    )


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
    tables = ("limits", "route")
    table = {_variable(name): setting for name, setting in _settings(folder).items() if name not in tables}
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


def _from_table(written: Mapping[str, object], table: Mapping[str, _Setting], place: str) -> _Layer:
    """Read one table of the file: every key is known, every value is right."""
    layer: _Layer = {}
    for name, raw in written.items():
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
    return {**_of_the_server(folder), **_of_uploads(folder), **_of_upstreams(folder)}


def _of_the_server(folder: str) -> dict[str, _Setting]:
    """Name what makes a server."""
    path = partial(values.path, folder)
    return {
        "path": _Setting("paths", _list_of(path), lambda text: text.split(os.pathsep)),
        "listen": _Setting("listen", _list_of(values.endpoint), str.split),
        "rescan": _Setting("rescan", values.duration),
        "state": _Setting("state", lambda raw: None if raw == "none" else path(raw)),
        "logfile": _Setting("logfile", path),
        "add-header": _Setting("add_headers", _list_of(values.header), str.splitlines),
        "display-tracebacks": _Setting("display_tracebacks", values.flag),
        "cors": _Setting("cors", values.flag),
        "public-url": _Setting("public_url", values.public_url),
        "page-cache": _Setting("page_cache", values.size),
        "short-way": _Setting("short_way", values.flag),
        "config": _Setting("config", path),
        "limits": _Setting("limits", _limits),
    }


def _of_uploads(folder: str) -> dict[str, _Setting]:
    """Name what is taken, and from whom."""
    return {
        "upload": _Setting("publishing.upload", values.flag),
        "anyone-may-upload": _Setting("publishing.anyone_may_upload", values.flag),
        "max-upload": _Setting("publishing.max_upload", values.max_upload),
        "overwrite": _Setting("publishing.overwrite", _list_of(values.word), str.split),
        "on-upload": _Setting("publishing.on_upload", _list_of(values.remote_url), str.split),
        "auth": _Setting("guarding.auth", _list_of(partial(values.checker, folder)), str.splitlines),
        "rights": _Setting("guarding.rights", partial(values.path, folder)),
        "trusted-proxy": _Setting("guarding.trusted_proxies", _list_of(values.trusted_proxy), str.split),
    }


def _of_upstreams(folder: str) -> dict[str, _Setting]:
    """Name what becomes of projects that the folders do not have."""
    return {
        "upstream": _Setting("upstreams.urls", _list_of(values.upstream), str.split),
        "upstream-mode": _Setting("upstreams.mode", values.mode),
        "cache": _Setting("upstreams.cache", partial(values.path, folder)),
        "cache-size": _Setting("upstreams.cache_size", values.size),
        "cache-ttl": _Setting("upstreams.cache_ttl", values.duration),
        "offline": _Setting("upstreams.offline", values.flag),
        "upstream-address": _Setting("upstreams.addresses", _list_of(values.network), str.split),
        "route": _Setting("upstreams.routes", partial(_routes, folder)),
        "local-only": _Setting("policy.local_only", _list_of(values.name_pattern), str.split),
        "upstream-only": _Setting("policy.upstream_only", _list_of(values.name_pattern), str.split),
        "upstream-deny": _Setting("policy.upstream_deny", _list_of(values.denial), str.splitlines),
        "cooldown": _Setting("policy.cooldown", values.duration),
        "cooldown-except": _Setting("policy.cooldown_except", _list_of(values.name_pattern), str.split),
        "no-sdists": _Setting("policy.no_sdists", values.flag),
        "also-upstream": _Setting("policy.also_upstream", _list_of(values.name_pattern), str.split),
    }


def _list_of(parse: Parser) -> Parser:
    """Read one value or several."""
    return partial(values.several, parse)


def _limits(raw: object) -> _Layer:
    """Read the table of limits; its names are the fields of Limits, with "-"."""
    if not isinstance(raw, Mapping):
        raise ValueError("this is a table; write its settings below [limits]")
    table = {
        field.name.replace("_", "-"): _Setting(
            field.name, values.timeout if field.name.endswith("_timeout") else values.count
        )
        for field in fields(Limits)
    }
    return _from_table(raw, table, "")


def _routes(folder: str, raw: object) -> tuple[RoutingRule, ...]:
    """Read the tables of the rules that say where projects come from."""
    if not isinstance(raw, (list, tuple)) or not all(isinstance(one, Mapping) for one in raw):
        raise ValueError("these are tables; write each rule below [[route]]")
    return tuple(_route(folder, one) for one in raw)


def _route(folder: str, raw: Mapping[str, object]) -> RoutingRule:
    """Read one rule."""
    table = {
        "pattern": _Setting("pattern", values.name_pattern),
        "folder": _Setting("folder", partial(values.path, folder)),
        "upstream": _Setting("upstream", values.upstream),
    }
    found = _from_table(raw, table, "")
    if "pattern" not in found:
        raise ValueError("each rule has a pattern of project names")
    if len(found) > 2:
        raise ValueError(f"{found['pattern']!r} has a folder and an upstream; a name belongs to one of them")
    return RoutingRule(**found)


def _variable(name: str) -> str:
    """Name the environment variable of a setting."""
    return _PREFIX + name.upper().replace("-", "_")


def _known(name: str, table: Mapping[str, _Setting], place: str) -> _Setting:
    """Look a name up, or suggest what it may have meant."""
    if name in table:
        return table[name]
    # Not at the top: few ever need it.
    import difflib

    near = [_OTHER_WORDS[name]] if name in _OTHER_WORDS else difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    shown = name if name.isprintable() else repr(name)
    raise ConfigurationError(f"{place}{shown} is not a setting{hint}")


def _parsed(parse: Parser, raw: object, label: str) -> object:
    """Read a value; what is wrong with it becomes a sentence that says where it was written."""
    try:
        return parse(raw)
    except ValueError as error:
        raise ConfigurationError(f"{label}: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}: {error.sentence}") from error
