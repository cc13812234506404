"""
The servers that every run compares: this one, nginx, and `twistd web`. One class each.

Not for: other package indexes (`peers`).
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.benchmarks.processes import CannotStart, Process
from tests.kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.certificates import Certificate

REPOSITORY = Path(__file__).resolve().parent.parent.parent

_TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


class Server:
    """
    A server of a folder, on a port of the loopback interface.

    Args:
        work: An empty folder for what it writes.
        cores: Where it runs.
        certificate: What it shows over TLS; None is HTTP without TLS.
    """

    name: ClassVar[str]
    #: Below which the pages of projects are.
    prefix: ClassVar[str] = "/simple/"
    process: Process

    def __init__(self, work: Path, cores: frozenset[int], certificate: Certificate | None = None) -> None:
        self.work = work
        self.cores = cores
        self.certificate = certificate
        self.port = free_port()

    def command(self) -> Sequence[str]:
        """Give the command, and write what it reads."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Do what has to be done once before the first start."""

    def ready(self) -> None:
        """Do what has to be done while it runs, before it is asked: such as an upload."""

    def environment(self) -> dict[str, str]:
        """Give its environment: this one's without settings of package managers."""
        return quiet_environment()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.work.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.launch()
        self.ready()

    def launch(self) -> None:
        """Start the process, and wait until it listens."""
        try:
            self.process = Process(
                self.command(),
                log=self.work / "output",
                cores=self.cores,
                folder=self.work,
                environment=self.environment(),
            )
        except OSError as error:
            raise CannotStart(str(error)) from None
        try:
            self.process.await_port(self.port)
        except CannotStart:
            self.process.stop()
            raise

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def page(self, project: str) -> str:
        """Give the path of a project's page."""
        return f"{self.prefix}{project}/"

    @property
    def authority(self) -> Path | None:
        """What its certificate is verified with; None without TLS."""
        return self.certificate.authority if self.certificate else None

    @property
    def index_url(self) -> str:
        """What installers are given."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"


def quiet_environment() -> dict[str, str]:
    """This environment without what configures installers, and with nothing read from configuration files."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}


class TwistedIndex(Server):
    """
    This server, with its defaults.

    Args:
        work, cores, certificate: See `Server`.
        folders: What it serves.
        state: Where it keeps what it learns; in `work` by default.
        log: Whether it writes an access log.
        checkout: Whose code runs.
        python: The interpreter, with what that needs installed.
        options: More of the command line.
    """

    name = "twisted-index"

    def __init__(
        self,
        work: Path,
        cores: frozenset[int],
        *folders: Path,
        state: Path | None = None,
        log: bool = False,
        checkout: Path = REPOSITORY,
        python: str = sys.executable,
        options: Sequence[str] = (),
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(work, cores, certificate)
        self._checkout = checkout
        self._python = python
        self._options = options
        self._folders = folders
        self._state = state or work / "state"
        self._log = log

    def command(self) -> Sequence[str]:
        words = [self._python, *_TWISTD, "simpleindex", *map(str, self._folders), *self._options]
        words += ["--state", str(self._state), "--listen", self._endpoint()]
        return [*words, "--access-log", str(self.work / "access.log")] if self._log else words

    def _endpoint(self) -> str:
        where = f"{self.port}:interface=127.0.0.1"
        if self.certificate is None:
            return f"tcp:{where}"
        return f"ssl:{where}:privateKey={self.certificate.key}:certKey={self.certificate.chain}"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self._checkout)}


class TwistdWeb(Server):
    """`twistd web --path`: what Twisted has for folders."""

    name = "twistd web"
    prefix = "/"

    def __init__(self, work: Path, cores: frozenset[int], folder: Path) -> None:
        super().__init__(work, cores)
        self._folder = folder

    def command(self) -> Sequence[str]:
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        # Without a log of its own each request is written to the terminal's.
        log = ["--access-log", os.devnull]
        return [sys.executable, *_TWISTD, "web", "--listen", listen, "--path", str(self._folder), *log]


_NGINX = """\
{user}
daemon off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/error.log;
events {{ worker_connections 4096; }}
http {{
  types {{
    application/vnd.pypi.simple.v1+json json;
    text/html html;
  }}
  default_type application/octet-stream;
  # Pages written beforehand, in the form that is asked for.
  map $http_accept $document {{
    default index.html;
    "~application/vnd\\.pypi\\.simple\\.v1\\+json" index.json;
  }}
  access_log {log};
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  {more}
  server {{
    listen 127.0.0.1:{port} {ssl} backlog=1024;
    root {folder};
    location / {{ gzip_static on; {listing} }}
  }}
}}
"""

# TLS 1.3 is not among the defaults of nginx before 1.23.4; ciphers and buffers are the defaults.
_NGINX_TLS = """\
ssl_certificate {chain};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:sessions:10m;
  ssl_session_tickets on;
  """


class Nginx(Server):
    """nginx sending the files of a folder, with one worker process, and sendfile."""

    name = "nginx"

    def __init__(
        self,
        work: Path,
        cores: frozenset[int],
        folder: Path,
        *,
        log: bool = False,
        autoindex: bool = False,
        more: str = "",
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(work, cores, certificate)
        self._folder = folder
        self._log = f"{work}/access.log" if log else "off"
        self._listing = "autoindex on;" if autoindex else "index $document;"
        self._more = more

    def command(self) -> Sequence[str]:
        # Its workers would else be of a user who cannot read our folders.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        tls = self.certificate
        secured = _NGINX_TLS.format(chain=tls.chain, key=tls.key) if tls else ""
        settings = self.work / "nginx.conf"
        settings.write_text(
            _NGINX.format(
                user=user,
                work=self.work,
                log=self._log,
                more=secured + self._more,
                ssl="ssl" if tls else "",
                port=self.port,
                folder=self._folder,
                listing=self._listing,
            )
        )
        return ["nginx", "-c", str(settings), "-e", str(self.work / "error.log")]
