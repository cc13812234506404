"""
Layered configuration: options over environment over file over defaults, as one Settings value.

The file is TOML, with the names of the options; its paths are relative to its folder. Environment
variables have `TWISTED_INDEX_` and the same names in capitals; `TWISTED_INDEX_CONFIG` names the file.
Several paths are separated as in PATH, header fields, credential checkers and denials by newlines,
everything else by blanks (endpoint strings are full of colons). An empty variable is not set.
docs/configuration.md describes every setting; a test compares.

Out of scope: the syntax of values (see `parsers`), combinations (see `validation`), and whether a folder
exists or an endpoint can be opened (see `tap`).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import platformdirs

from twisted_index.config import parsers
from twisted_index.config.settings import (
    PARTS,
    SETTINGS,
    AccessSettings,
    Limits,
    RoutingRule,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.config.validation import validate_settings
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted_index.config.parsers import Parser
    from twisted_index.config.settings import Split

#: What one layer says: Settings fields that it gives, and "config".
_Layer: TypeAlias = dict[str, Any]

_PREFIX = "TWISTED_INDEX_"

#: Kubernetes sets these in every pod beside a Service that is named twisted-index
#: (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")

#: What people write, and what it is called here.
_OTHER_WORDS = {"port": "listen", "root": "path", "packages": "path", "interface": "listen"}


@dataclass(frozen=True, slots=True)
class _Key:
    """
    A name in one layer.

    Attributes:
        place: See `Setting`; `config` for the file.
        parse: Parser of its value.
        split: Splits a variable with several values.
    """

    place: str
    parse: Parser
    split: Split | None = None


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
    validate_settings(settings)
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSources:
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


def changed_settings(one: Settings, other: Settings) -> list[str]:
    """Name the settings, as the file does, in which two values are not the same."""
    names = [
        name
        for name, setting in _settings("/").items()
        if name != "config" and _value(one, setting.place) != _value(other, setting.place)
    ]
    return sorted(names)


def _value(settings: Settings, place: str) -> object:
    """Give what a value has for a `Setting.place`."""
    part, _, field = place.rpartition(".")
    if not part:
        return getattr(settings, field)
    return getattr(settings.upstreams.policy if part == "policy" else getattr(settings, part), field)


def _settings_of(merged: _Layer, limits: Limits) -> Settings:
    """Make the one value of all layers together."""
    parts: dict[str, _Layer] = {part: {} for part in PARTS}
    for place, value in merged.items():
        part, _, field = place.rpartition(".")
        parts[part][field] = value
    return Settings(
        **parts[""],
        limits=limits,
        uploads=UploadSettings(**parts["uploads"]),
        access=AccessSettings(**parts["access"]),
        upstreams=UpstreamSettings(**parts["upstreams"], policy=UpstreamPolicy(**parts["policy"])),
    )


def default_state(environ: Mapping[str, str]) -> str | None:
    """
    Give the default state folder: systemd's StateDirectory=, else the user's.

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
        layer[setting.place] = _parsed(setting.parse, raw, f"--{name}")
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
        layer[setting.place] = _parsed(setting.parse, raw, variable)
    return layer


def _from_file(path: str) -> _Layer:
    """Read the configuration file."""
    table = _settings(os.path.dirname(path))
    del table["config"]
    return _from_table(_toml(path), table, f"{path}: ")


def _from_table(written: Mapping[str, object], table: Mapping[str, _Key], place: str) -> _Layer:
    """Read one table of the file: every key is known, every value is right."""
    layer: _Layer = {}
    for name, raw in written.items():
        setting = _known(name, table, place)
        layer[setting.place] = _parsed(setting.parse, raw, place + name)
    return layer


def _toml(path: str) -> Mapping[str, object]:
    """Read a TOML file, telling in one sentence what is wrong with it."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: the configuration cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: TOML must be UTF-8, and byte {error.start} is not.") from error
    # TOMLDecodeError with its line, or int() at more digits than Python converts.
    except ValueError as error:
        raise ConfigurationError(f"{path}: this is not TOML: {error}.") from error


def _settings(folder: str) -> dict[str, _Key]:
    """Name everything that can be set, with paths relative to a folder."""
    return {
        "config": _Key("config", partial(parsers.path, folder)),
        **{name: _Key(one.place, one.parser(folder), one.split) for name, one in SETTINGS.items()},
        "limits": _Key("limits", _limits),
        "route": _Key("upstreams.routes", partial(_routes, folder)),
    }


def _limits(raw: object) -> _Layer:
    """Read the table of limits; its names are the fields of Limits, with "-"."""
    if not isinstance(raw, Mapping):
        raise ValueError("this is a table; write its settings below [limits]")
    table = {
        one.name.replace("_", "-"): _Key(
            one.name, parsers.timeout if one.name.endswith("_timeout") else parsers.count
        )
        for one in fields(Limits)
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
        "pattern": _Key("pattern", parsers.name_pattern),
        "folder": _Key("folder", partial(parsers.path, folder)),
        "upstream": _Key("upstream", parsers.upstream),
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


def _known(name: str, table: Mapping[str, _Key], place: str) -> _Key:
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
        raise ConfigurationError(f"{label}: {error.message}") from error
