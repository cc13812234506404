"""
`twistd simpleindex`: its options and its service.

Nothing here has side effects: twistd parses options and makes the service before it changes its folder,
forks and drops privileges, so everything that runs begins in `startService`.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from twisted.copyright import version as twisted_version
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from twisted_index.backends.folder.snapshots import taken_at
from twisted_index.config import layers, parsers
from twisted_index.config.option_order import options_first
from twisted_index.config.settings import REPLICATION, SETTINGS, UPLOADS, UPSTREAM
from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.indexes.moments import parse_moment
from twisted_index.server.listeners import ServerEndpoint
from twisted_index.service import SimpleIndexService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted_index.config.settings import Settings

#: EX_USAGE of sysexits.h, which `twist` uses too; os.EX_USAGE is not there on Windows.
_EXIT_USAGE = 64
_EXIT_FAILED = 1

#: The settings that are options, and how `--help` sorts them; those of no section come first.
_OPTIONS = [one for one in SETTINGS.values() if one.help]
_SECTIONS = (UPLOADS, UPSTREAM, REPLICATION)
_REPEATED = [one.name for one in _OPTIONS if one.split is not None]

#: The beginning of an option in the text of `usage.Options`.
_OPTION = re.compile(r"^(  (?:-\w, |    )--([\w-]+))", re.MULTILINE)

_log = Logger()

_EXAMPLE = "127.0.0.1:8080, or :8080 for all addresses"
_HTTPS_EXAMPLE = "https:8443:certificate=FILE:key=FILE"


class Options(usage.Options):
    """
    The options of `simpleindex`.

    A mapping from option names to what was given. What was not given is None or empty, so that
    environment and file have their say.
    """

    synopsis = "[options] [DIR ...]"

    longdesc = (
        "Serves folders of wheels and sdists as a Python package index. DIR is the same as --path DIR. "
        "Each option can also be set as TWISTED_INDEX_..., or in the file that --config names."
    )

    optParameters = [  # noqa: RUF012  (usage.Options reads it and leaves it alone)
        ["config", None, None, "TOML file with the same names. [default: none]"],
        *(
            [one.name, None, None, one.help]
            for one in _OPTIONS
            if one.split is None and one.parse is not parsers.flag
        ),
    ]

    optFlags = [[one.name, None, one.help] for one in _OPTIONS if one.parse is parsers.flag]  # noqa: RUF012

    compData = usage.Completions(
        multiUse=_REPEATED,
        optActions={
            "config": usage.CompleteFiles("*.toml"),
            "upstream-mode": usage.CompleteList(parsers.MODES),
            **{
                one.name: usage.CompleteDirs()
                if one.complete == "dirs"
                else usage.CompleteFiles(one.complete)
                for one in _OPTIONS
                if one.complete
            },
        },
        extraActions=[usage.CompleteDirs(descr="folder of packages", repeat=True)],
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.update({name: [] for name in _REPEATED})
        self.update({str(name): None for name, *_ in self.optFlags})

    def getUsage(self, width: int | None = None) -> str:
        """Explain the options, sorted into sections."""
        return _in_sections(usage.Options.getUsage(self, width))

    def opt_port(self, port: str) -> None:
        """Listen on a TCP port: the same as --listen tcp:PORT."""
        self["listen"].append(port)

    opt_p = opt_port

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(version())
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse, and check all that can be known before the server starts.

        Raises:
            UsageError: In one sentence.
            SystemExit: Below twistd or twist. They would print their whole help around the one
                line that matters, and a page of options does not tell anyone which folder is not
                there.
        """
        try:
            usage.Options.parseOptions(
                self, options_first(self, sys.argv[1:] if options is None else options)
            )
        except usage.UsageError as error:
            if self.parent is None:
                raise
            print(f"twisted-index: {error}", file=sys.stderr)
            raise SystemExit(_EXIT_USAGE) from error

    def parseArgs(self, *folders: str) -> None:
        """Take folders without an option before them."""
        self["path"].extend(folders)

    def postOptions(self) -> None:
        """Check the layers as a whole."""
        try:
            _settings(_layers(self))
        except ConfigurationError as error:
            raise usage.UsageError(error.message) from error


def _repeatable(name: str, text: str) -> Callable[[Options, str], None]:
    """Make the method of an option that may be repeated."""

    def append(self: Options, value: str) -> None:
        self[name].append(value)

    append.__doc__ = text
    return append


for _one in _OPTIONS:
    if _one.split is not None:
        setattr(Options, f"opt_{_one.name.replace('-', '_')}", _repeatable(_one.name, _one.help))


class StartupError(SystemExit, Exception):
    """
    The server cannot start, and the process ends without a traceback.

    It has to be both. As an Exception it is seen by twistd, which then removes its pid file and
    tells the process that waits for the daemon (for a bare SystemExit that one waits for ever).
    As a SystemExit it makes Python end quietly with an exit code.

    Args:
        reason: One sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.code = _EXIT_FAILED


class _Server(SimpleIndexService):
    """
    The service as a program of its own: when it cannot start it says why in one line, and exits.

    Inside other programs SimpleIndexService raises what went wrong, as any service does.
    """

    stands_alone = True

    def privilegedStartService(self) -> None:
        """Open the listeners, or exit."""
        _start_or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """Start, or exit."""
        _start_or_exit(super().startService)


def makeService(config: Mapping[str, object]) -> SimpleIndexService:
    """
    Make the service that options ask for.

    Args:
        config: Options, or any mapping with names of options and values as in the configuration
            file. The environment fills in what is not in it.

    Raises:
        ConfigurationError: Something in it cannot work.
    """
    layers = _layers(config)
    return _Server(_settings(layers), config_sources=layers)


def version() -> str:
    """Return which versions run, in one line."""
    import importlib.metadata

    try:
        own = importlib.metadata.version("twisted-index")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        own = "(not installed)"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"twisted-index {own}, Twisted {twisted_version}, Python {python}"


def _layers(config: Mapping[str, object]) -> layers.ConfigSources:
    """Name what settings are read from, as it is before twistd changes its folder."""
    return layers.ConfigSources(given=dict(config), environ=dict(os.environ), folder=os.getcwd())


def _settings(layers: layers.ConfigSources) -> Settings:
    """Read the configuration and look whether the system can follow it."""
    settings = layers.load()
    folders = () if settings.bucket is not None else settings.paths
    indexes = None if settings.bucket_of_indexes is not None else settings.indexes
    for path in (*folders, *filter(None, [indexes])):
        _check_folder(path)
    _check_moment(settings)
    log = settings.access_log
    if log is not None and log != "-" and not os.path.isdir(os.path.dirname(log)):
        raise ConfigurationError(f"The access log cannot be written: there is no folder for {log!r}.")
    for rule in settings.upstreams.routes:
        if rule.folder is not None:
            _check_folder(rule.folder)
    if settings.access.rights is not None:
        _check_file(settings.access.rights)
    for checker in settings.access.auth:
        if checker.startswith("htpasswd:"):
            _check_file(checker.partition(":")[2])
    for endpoint in settings.listen:
        _check_endpoint(endpoint)
    return settings


def _check_folder(path: str) -> None:
    """Make sure that a folder can be listed."""
    try:
        os.scandir(path).close()
    except OSError as error:
        # It is not made here: a mount that is away must not become an empty index.
        missing = isinstance(error, FileNotFoundError)
        advice = f" {_if_missing(path)}" if missing else ""
        raise ConfigurationError(f"The folder {path!r} cannot be read: {error.strerror}.{advice}") from error


def _if_missing(path: str) -> str:
    name = os.path.basename(path)
    # As in `python -m http.server 8000`.
    if name.isdecimal():
        return f"If {name} is a port, write -p {name}."
    return f"Create it (mkdir -p {shlex.quote(path)}), or use another."


def _check_moment(settings: Settings) -> None:
    """Make sure that the index without a name can be frozen as `as-of` says."""
    if settings.as_of is None:
        return
    if settings.default_index:
        raise ConfigurationError(
            f"as-of is of the index without a name, which is {settings.default_index}: write the moment into"
            " the file .as-of in its folder."
        )
    try:
        moment = parse_moment(settings.as_of, datetime.now(UTC))
        if isinstance(moment, str):
            taken_at(os.fsencode(settings.paths[0]), moment)
    except SimpleIndexError as error:
        raise ConfigurationError(f"as-of: {error.message}") from None


def _check_file(path: str) -> None:
    """Make sure that a file can be read."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"The file {path!r} cannot be read: {error.strerror}.") from error


def _check_endpoint(endpoint: str) -> None:
    """
    Make sure that a string describes an endpoint.

    The reactor is imported this late so that --reactor of twistd has chosen it.
    """
    from twisted.internet import reactor

    try:
        ServerEndpoint(endpoint, reactor).check()
    except ConfigurationError as error:
        raise ConfigurationError(f"Cannot listen on {endpoint!r}: {error.message}") from error
    # Each endpoint type reads its string by code of its own, plugins too; whatever is raised is about
    # this string.
    except Exception as error:
        secure = endpoint.removeprefix("haproxy:").startswith("https")
        raise ConfigurationError(
            f"Cannot listen on {endpoint!r}: {_endpoint_fault(endpoint, error)}."
            f" Write it like {_HTTPS_EXAMPLE if secure else _EXAMPLE}."
        ) from error
    _check_certificates(endpoint)


def _endpoint_fault(endpoint: str, error: Exception) -> str:
    """Return what an endpoint type raised, in words about the string and not about its code."""
    text = _one_line(error)
    if text.startswith("Unknown endpoint type"):
        return f"{endpoint.partition(':')[0]!r} is neither an address nor a type of endpoint"
    if isinstance(error, KeyError) and ":domain=" in endpoint:
        return f"systemd opened no socket named {text}"
    unknown = re.fullmatch(r"\w+\(\) got an unexpected keyword argument ('\w+')", text)
    if unknown is not None:
        return f"it has no parameter {unknown[1]}"
    missing = re.fullmatch(r"\w+\(\) missing 1 required positional argument: '(\w+)'", text)
    return text if missing is None else f"it names no {missing[1]}"


def _check_certificates(endpoint: str) -> None:
    """
    Make sure that a `tls:` endpoint has a folder of certificates.

    Twisted reads it at the first connection: it would listen, and refuse every handshake.
    """
    kind, *parts = re.split(r"(?<!\\):", endpoint)
    if kind == "tls" and parts and "=" not in parts[0]:
        _check_folder(os.path.abspath(parts[0].replace("\\:", ":")))


def _start_or_exit(start: Callable[[], None]) -> None:
    """Start; an error of the system or of the configuration ends the process."""
    try:
        start()
    # OverflowError is how Python refuses a port beyond 65535.
    except (CannotListenError, ConfigurationError, OSError, OverflowError) as error:
        reason = _reason(error)
        _log.critical("{reason}", reason=reason)
        raise StartupError(reason) from error


def _reason(error: Exception) -> str:
    """Say in one line why the server cannot start."""
    if isinstance(error, CannotListenError):
        cause = error.socketError
        hint = (
            " Is another server running there?" if getattr(cause, "errno", None) == errno.EADDRINUSE else ""
        )
        return f"Cannot listen on {_place(error)}: {getattr(cause, 'strerror', None) or cause}.{hint}"
    if isinstance(error, OSError) and error.filename is not None:
        # With two names the second is the one that could not be made.
        return f"Cannot start: {error.strerror}: {os.fsdecode(error.filename2 or error.filename)}."
    text = _one_line(error)
    return f"Cannot start: {text}{'' if text.endswith('?') else '.'}"


def _place(error: CannotListenError) -> str:
    """Return where it could not listen: at a port, of one address perhaps, or at a unix socket."""
    if isinstance(error.port, (str, bytes)):
        return os.fsdecode(error.port)
    return f"port {error.port} of {error.interface}" if error.interface else f"port {error.port}"


def _one_line(error: Exception) -> str:
    """Return the text of a foreign error on one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _in_sections(text: str) -> str:
    """Sort the options of a help text into sections."""
    listed, blank, rest = text.partition("\n\n")
    head, *parts = _OPTION.split(listed)
    begun = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    chunks = {name: f"{first}{more.rstrip()}\n" for first, name, more in begun}
    sections = {one.name: one.section for one in _OPTIONS if one.section}
    lines = [chunk for name, chunk in chunks.items() if name not in sections]
    for section in _SECTIONS:
        lines += [f"\n{section}\n", *(chunks[name] for name in sections if sections[name] == section)]
    return head + "".join(lines) + blank[1:] + rest
