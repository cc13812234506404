"""
Layered configuration: options over environment over file over defaults, as one Settings value.

The file is TOML, with the names of the options; its paths are relative to its folder. Environment
variables have `TWISTED_INDEX_` and the same names in capitals; `TWISTED_INDEX_CONFIG` names the file.
Several paths are separated as in PATH, header fields, credential checkers and denials by newlines,
everything else by blanks (endpoint strings are full of colons). An empty variable counts as unset.
docs/configuration.md describes every setting; a test compares.

Out of scope: the syntax of values (see `parsers`), combinations (see `validation`), and whether a folder
exists or an endpoint can be opened (see `tap`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeAlias

import platformdirs

from twisted_index.config import parsers
from twisted_index.config.settings import (
    PARTS,
    SETTINGS,
    AccessSettings,
    Limits,
    NamedUpstream,
    ObjectStoreSettings,
    ReplicationSettings,
    RoutingRule,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.config.tables import TableKey, look_up, parsed, read_table, read_toml
from twisted_index.config.validation import validate_settings
from twisted_index.errors import ConfigurationError

#: The values of one layer, by `Setting.place`, and "config".
_Layer: TypeAlias = dict[str, Any]

_PREFIX = "TWISTED_INDEX_"

#: Kubernetes sets these in every pod beside a Service that is named twisted-index
#: (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


def load(given: Mapping[str, object], *, environ: Mapping[str, str], folder: str) -> Settings:
    """
    Merge the layers.

    Args:
        given: Options by name, with "-" or "_"; None and empty lists count as unset.
        environ: The environment.
        folder: Absolute; the base of relative paths in options and environment.

    Raises:
        ConfigurationError: A value in any layer is invalid, even if it is overridden.
    """
    options = _from_options(given, folder)
    environment = _from_environment(environ, folder)
    config = options.pop("config", environment.pop("config", None))
    file = _from_file(config) if config is not None else {}
    limits = Limits(**{**file.pop("limits", {}), **options.pop("limits", {})})
    chosen = {**file, **environment, **options}
    defaults = {"paths": _default_paths(chosen, folder), "state": default_state(environ)}
    settings = _build_settings({**defaults, **chosen}, limits)
    validate_settings(settings)
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSources:
    """
    The sources of settings, so that they can be read again.

    Attributes:
        given: As for `load`.
        environ: As for `load`.
        folder: As for `load`.
    """

    given: Mapping[str, object]
    environ: Mapping[str, str]
    folder: str

    def load(self) -> Settings:
        """Merge the layers; see `load`."""
        return load(self.given, environ=self.environ, folder=self.folder)

    @property
    def file(self) -> str | None:
        """The configuration file: absolute; None without one."""
        options = _from_options(self.given, self.folder)
        path: str | None = options.get("config", _from_environment(self.environ, self.folder).get("config"))
        return path

    @property
    def names_state(self) -> bool:
        """Whether any of them, or systemd, says where the state is."""
        file = self.file
        layers = (
            _from_options(self.given, self.folder),
            _from_environment(self.environ, self.folder),
            _from_file(file) if file is not None else {},
        )
        return bool(self.environ.get("STATE_DIRECTORY")) or any("state" in layer for layer in layers)


def changed_settings(one: Settings, other: Settings) -> list[str]:
    """Return the names, as in the file, of the settings in which two values differ."""
    names = [
        name
        for name, setting in _settings("/").items()
        if name != "config" and _value(one, setting.place) != _value(other, setting.place)
    ]
    return sorted(names)


def _value(settings: Settings, place: str) -> object:
    """Return the value of the field at a `Setting.place`."""
    part, _, field = place.rpartition(".")
    if not part:
        return getattr(settings, field)
    return getattr(settings.upstreams.policy if part == "policy" else getattr(settings, part), field)


def _default_paths(chosen: _Layer, folder: str) -> tuple[str, ...]:
    """Return the folders of the index without a name if none are given: that of the default index, if any."""
    indexes, name = chosen.get("indexes"), chosen.get("default_index")
    if indexes is None or name is None:
        return (folder,)
    if "paths" in chosen:
        raise ConfigurationError(
            f"path has no effect with default-index: the index without a name is {name}."
        )
    return (os.path.join(indexes, name),)


def _build_settings(merged: _Layer, limits: Limits) -> Settings:
    """Build Settings from the merged layers."""
    parts: dict[str, _Layer] = {part: {} for part in PARTS}
    for place, value in merged.items():
        part, _, field = place.rpartition(".")
        parts[part][field] = value
    return Settings(
        **parts[""],
        limits=limits,
        uploads=UploadSettings(**parts["uploads"]),
        objects=ObjectStoreSettings(**parts["objects"]),
        access=AccessSettings(**parts["access"]),
        upstreams=UpstreamSettings(**parts["upstreams"], policy=UpstreamPolicy(**parts["policy"])),
        replication=ReplicationSettings(**parts["replication"]),
    )


def default_state(environ: Mapping[str, str]) -> str | None:
    """
    Return the default state folder: systemd's StateDirectory=, else the user's.

    Returns:
        An absolute path; None for a user without a home.
    """
    # Several are separated by colons (systemd.exec(5)); the first one will do.
    from_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    path = from_systemd or platformdirs.user_state_dir("twisted-index", appauthor=False)
    return path if os.path.isabs(path) else None


def _from_options(given: Mapping[str, object], folder: str) -> _Layer:
    """Read the options of the command line, or of a program that embeds the server."""
    table = _settings(folder)
    layer: _Layer = {}
    for key, raw in given.items():
        name = key.replace("_", "-")
        if raw is None or raw == [] or raw == ():
            continue
        setting = look_up(name, table, "--")
        layer[setting.place] = parsed(setting.parse, raw, f"--{name}")
    return layer


def _from_environment(environ: Mapping[str, str], folder: str) -> _Layer:
    """Read the variables that begin with TWISTED_INDEX_."""
    tables = ("limits", "route", "upstreams")
    table = {_variable(name): setting for name, setting in _settings(folder).items() if name not in tables}
    layer: _Layer = {}
    for variable, text in environ.items():
        name = variable.removeprefix(_PREFIX)
        if name == variable or _SERVICE_LINK.fullmatch(name) or not text:
            continue
        setting = look_up(variable, table, "", _variable)
        raw = setting.split(text) if setting.split else text
        layer[setting.place] = parsed(setting.parse, raw, variable)
    return layer


def _from_file(path: str) -> _Layer:
    """Read the configuration file."""
    table = _settings(os.path.dirname(path))
    del table["config"]
    return read_table(read_toml(path), table, f"{path}: ")


def _settings(folder: str) -> dict[str, TableKey]:
    """Return all settings by name, with paths relative to a folder."""
    return {
        "config": TableKey("config", partial(parsers.path, folder)),
        **{name: TableKey(item.place, item.parser(folder), item.split) for name, item in SETTINGS.items()},
        "limits": TableKey("limits", _limits),
        "route": TableKey("upstreams.routes", partial(_routes, folder)),
        "upstreams": TableKey("upstreams.named", _named_upstreams),
    }


def _limits(raw: object) -> _Layer:
    """Read the table of limits; its keys are the fields of Limits, with "-"."""
    if not isinstance(raw, Mapping):
        raise ValueError("this is a table; write its settings below [limits]")
    table = {
        limit.name.replace("_", "-"): TableKey(
            limit.name, parsers.timeout if limit.name.endswith("_timeout") else parsers.count
        )
        for limit in fields(Limits)
    }
    return read_table(raw, table, "")


def _routes(folder: str, raw: object) -> tuple[RoutingRule, ...]:
    """Read the tables of the routing rules."""
    if not isinstance(raw, (list, tuple)) or not all(isinstance(table, Mapping) for table in raw):
        raise ValueError("these are tables; write each rule below [[route]]")
    return tuple(_route(folder, table) for table in raw)


def _route(folder: str, raw: Mapping[str, object]) -> RoutingRule:
    """Read one rule."""
    table = {
        "pattern": TableKey("pattern", parsers.name_pattern),
        "folder": TableKey("folder", partial(parsers.path, folder)),
        "upstream": TableKey("upstream", parsers.upstream),
    }
    rule = read_table(raw, table, "")
    if "pattern" not in rule:
        raise ValueError("each rule has a pattern of project names")
    if len(rule) > 2:
        raise ValueError(f"{rule['pattern']!r} has a folder and an upstream; a name belongs to one of them")
    return RoutingRule(**rule)


def _named_upstreams(raw: object) -> tuple[NamedUpstream, ...]:
    """Read the tables of the upstreams that indexes may name."""
    if not isinstance(raw, Mapping) or not all(isinstance(table, Mapping) for table in raw.values()):
        raise ValueError("these are tables; write each upstream below [upstreams.NAME]")
    return tuple(_named_upstream(name, table) for name, table in raw.items())


def _named_upstream(name: str, raw: Mapping[str, object]) -> NamedUpstream:
    """Read one upstream: its URLs, and the policy for it."""
    table = {
        "url": TableKey("urls", partial(parsers.several, parsers.upstream)),
        **{
            item.name: TableKey(item.place.removeprefix("policy."), item.parser("/"))
            for item in SETTINGS.values()
            if item.place.startswith("policy.")
        },
    }
    values = read_table(raw, table, f"{name}: ")
    if "urls" not in values:
        raise ValueError(f"the upstream {name!r} has no url")
    return NamedUpstream(name=name, urls=values.pop("urls"), policy=UpstreamPolicy(**values))


def _variable(name: str) -> str:
    """Return the name of a setting's environment variable."""
    return _PREFIX + name.upper().replace("-", "_")
