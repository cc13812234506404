"""
`twistd simpleindex`: options, and the service that they ask for.

Nothing here has side effects: twistd parses options and makes the service before it changes its
folder, forks and drops its rights, so all that runs begins in `startService`.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from twisted.copyright import version as twisted_version
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from twisted_index import configuration, values
from twisted_index.commandline import options_first
from twisted_index.errors import ConfigurationError
from twisted_index.service import SimpleIndexService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted_index.settings import Settings

#: EX_USAGE of sysexits.h, which `twist` uses too; os.EX_USAGE is not there on Windows.
_EXIT_USAGE = 64
_EXIT_FAILED = 1

#: The options that may be given several times and are kept as they come.
_REPEATED = ("add-header", "overwrite", "on-upload", "auth", "trusted-proxy", "upstream", "local-only")

#: How `--help` sorts the options that not everybody needs; the others come first.
_SECTIONS = {
    "Uploads and users:": (
        *("upload", "anyone-may-upload", "auth", "rights", "trusted-proxy"),
        *("max-upload", "overwrite", "on-upload"),
    ),
    "Upstream:": (
        *("upstream", "upstream-mode", "local-only", "cooldown"),
        *("cache", "cache-size", "offline"),
    ),
}

#: Where `usage.Options` begins to tell of an option.
_OPTION = re.compile(r"^(  (?:-\w, |    )--([\w-]+))", re.MULTILINE)

_log = Logger()


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
        ["rescan", None, None, "Look again for files rewritten in place after so long. [default: 2s]"],
        ["state", None, None, "Folder for what is learned and kept; none: memory. [default: per user]"],
        ["logfile", "l", None, "Access log, in Combined Log Format. [default: no access log]"],
        ["public-url", None, None, "The URL that people are shown. [default: the one they came by]"],
        ["page-cache", None, None, "How much of finished pages is kept in memory. [default: 64MB]"],
        ["config", None, None, "TOML file with the same names. [default: none]"],
        ["max-upload", None, None, "Largest file that is taken. [default: 4GB]"],
        ["rights", None, None, "File that says who may do what. [default: everyone reads, users upload]"],
        ["upstream-mode", None, None, "What to do with it: cache, proxy or redirect. [default: cache]"],
        ["cache", None, None, "Folder of the cache. [default: below the state]"],
        ["cache-size", None, None, "How much it may hold. [default: 5GiB]"],
        ["cooldown", None, None, "Leave out upstream files younger than that, as in 7d. [default: 0]"],
    ]

    optFlags = [  # noqa: RUF012
        ["display-tracebacks", None, "Show tracebacks to clients. They may expose private data!"],
        ["cors", None, "Let web pages of other sites read the index."],
        ["upload", None, "Take uploads of users; see --auth, and twisted-index token."],
        ["anyone-may-upload", None, "Take uploads of everyone, without a user."],
        ["offline", None, "Never ask an upstream; serve what is in the cache."],
    ]

    compData = usage.Completions(
        multiUse=["path", "listen", *_REPEATED],
        optActions={
            "path": usage.CompleteDirs(),
            "state": usage.CompleteDirs(),
            "cache": usage.CompleteDirs(),
            "logfile": usage.CompleteFiles("*.log"),
            "config": usage.CompleteFiles("*.toml"),
            "rights": usage.CompleteFiles("*.toml"),
            "upstream-mode": usage.CompleteList(values.MODES),
        },
        extraActions=[usage.CompleteDirs(descr="folder of packages", repeat=True)],
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.update({name: [] for name in ("path", "listen", *_REPEATED)})
        self.update({str(name): None for name, *_ in self.optFlags})

    def getUsage(self, width: int | None = None) -> str:
        """Explain the options, sorted into sections."""
        return _in_sections(usage.Options.getUsage(self, width))

    def opt_path(self, folder: str) -> None:
        """Folder of packages; repeat it for more, read in this order. [default: the current folder]"""
        self["path"].append(os.path.abspath(os.path.expanduser(folder)))

    def opt_listen(self, endpoint: str) -> None:
        """Endpoint to listen on, or just a port; repeat it for more. [default: tcp:8080]"""
        self["listen"].append(endpoint)

    def opt_port(self, port: str) -> None:
        """Listen on a TCP port: the same as --listen tcp:PORT."""
        self["listen"].append(port)

    opt_p = opt_port

    def opt_add_header(self, field: str) -> None:
        """Header field for all answers, as "Name: value"; repeat it for more."""
        self["add-header"].append(field)

    def opt_overwrite(self, pattern: str) -> None:
        """Versions whose files may get other bytes, as in "*.dev*"; repeat it for more."""
        self["overwrite"].append(pattern)

    def opt_on_upload(self, url: str) -> None:
        """URL that is told of each new file; repeat it for more."""
        self["on-upload"].append(url)

    def opt_auth(self, checker: str) -> None:
        """Where users come from, as in htpasswd:FILE; repeat it for more."""
        self["auth"].append(checker)

    def opt_trusted_proxy(self, place: str) -> None:
        """Proxy that is believed: address, network, unix; users:ADDRESS also on users; repeat it for more."""
        self["trusted-proxy"].append(place)

    def opt_upstream(self, url: str) -> None:
        """Index to ask for what is not in the folders: its URL, or pip for pip's; repeat it for more."""
        self["upstream"].append(url)

    def opt_local_only(self, pattern: str) -> None:
        """Names never to ask an upstream for, as in "acme-*"; repeat it for more."""
        self["local-only"].append(pattern)

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
        for folder in folders:
            self.opt_path(folder)

    def postOptions(self) -> None:
        """Check the layers as a whole."""
        try:
            _settings(_layers(self))
        except ConfigurationError as error:
            raise usage.UsageError(error.sentence) from error


class CannotStart(SystemExit, Exception):
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
    return _Server(_settings(layers), layers=layers)


def version() -> str:
    """Say which versions run, in one line."""
    import importlib.metadata

    try:
        own = importlib.metadata.version("twisted-index")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        own = "(not installed)"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"twisted-index {own}, Twisted {twisted_version}, Python {python}"


def _layers(config: Mapping[str, object]) -> configuration.Layers:
    """Name what settings are read from, as it is before twistd changes its folder."""
    return configuration.Layers(given=dict(config), environ=dict(os.environ), folder=os.getcwd())


def _settings(layers: configuration.Layers) -> Settings:
    """Read the configuration and look whether the system can follow it."""
    settings = layers.load()
    for path in settings.paths:
        _check_folder(path)
    if settings.logfile is not None and not os.path.isdir(os.path.dirname(settings.logfile)):
        raise ConfigurationError(f"The log cannot be written: there is no folder for {settings.logfile!r}.")
    for rule in settings.upstreams.routes:
        if rule.folder is not None:
            _check_folder(rule.folder)
    if settings.guarding.rights is not None:
        _check_file(settings.guarding.rights)
    for checker in settings.guarding.auth:
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
        advice = " Make it, or name another." if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"The folder {path!r} cannot be read: {error.strerror}.{advice}") from error


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
    from twisted.internet.endpoints import serverFromString

    try:
        serverFromString(reactor, endpoint)
    # Each endpoint type reads its string by code of its own, plugins too, and certificates are
    # loaded here; whatever is raised is about this string.
    except Exception as error:
        raise ConfigurationError(
            f"Cannot listen on {endpoint!r}: {_one_line(error)}. Write it like tcp:8080:interface=127.0.0.1."
        ) from error
    _check_certificates(endpoint)


def _check_certificates(endpoint: str) -> None:
    """
    Make sure that a `tls:` endpoint has a folder of certificates.

    Twisted looks there when somebody connects: it would listen, and refuse every handshake.
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
        raise CannotStart(reason) from error


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
    """Say where it could not listen: at a port, of one address perhaps, or at a unix socket."""
    if isinstance(error.port, (str, bytes)):
        return os.fsdecode(error.port)
    return f"port {error.port} of {error.interface}" if error.interface else f"port {error.port}"


def _one_line(error: Exception) -> str:
    """Give the text of an error of somebody else, without its line ends."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _in_sections(text: str) -> str:
    """Sort the options of a help text into sections."""
    listed, blank, rest = text.partition("\n\n")
    head, *parts = _OPTION.split(listed)
    begun = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    chunks = {name: f"{first}{more.rstrip()}\n" for first, name, more in begun}
    sorted_in = {name for names in _SECTIONS.values() for name in names}
    lines = [chunk for name, chunk in chunks.items() if name not in sorted_in]
    for heading, names in _SECTIONS.items():
        lines += [f"\n{heading}\n", *(chunks[name] for name in names)]
    return head + "".join(lines) + blank[1:] + rest
