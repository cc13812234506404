"""Real web servers give an export the types that this server gives."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from tests.kit.ports import free_port
from twisted_index.http_semantics.negotiation import simple_format
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Site

JSON, V1_HTML = "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html"
ACCEPTS = [
    None,
    "*/*",
    "text/html",
    JSON,
    V1_HTML,
    "application/vnd.pypi.simple.latest+json",
    # pip, uv, a browser.
    f"{JSON}, {V1_HTML}; q=0.1, text/html; q=0.01",
    f"{JSON}, {V1_HTML};q=0.2, text/html;q=0.01",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    f"application/json, {JSON}",
    "application/json",
    "image/png",
    f"{JSON};q=0, text/html",
    f"{JSON};q=0",
    ";;;,q=",
    f"text/html;q=0.5, {JSON};q=0.5",
    f"text/html;q=0.9, {JSON};q=0.85",
    "application/*",
    "text/*;q=0.3, */*;q=0.2",
    f"{V1_HTML}, text/html",
    "APPLICATION/vnd.PyPI.simple.v1+JSON",
    f"{JSON};q=1.000, text/html;q=1",
    f"{JSON}; charset=utf-8, text/html;q=0.9",
    f"{JSON};level=1, text/html;q=0.1",
]
PAGE = "/simple/demo/"
MODULES = ("mpm_event", "authz_core", "dir", "mime", "rewrite", "headers", "deflate", "filter")
APACHE = "/usr/lib/apache2/modules"


def nginx(site: Path, work: Path, port: int) -> list[str]:
    text = (site / "nginx.conf").read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    paths = "".join(
        f"{kind}_temp_path {work};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.name == "posix" and os.geteuid() == 0 else ""
    (work / "server.conf").write_text(text)
    (work / "nginx.conf").write_text(
        f"daemon off; {user} pid {work}/pid; error_log {work}/log; events {{}}\n"
        f"http {{ access_log off; {paths} include {work}/server.conf; }}"
    )
    return ["nginx", "-p", f"{site}/", "-c", str(work / "nginx.conf")]


def caddy(site: Path, work: Path, port: int) -> list[str]:
    text = (site / "Caddyfile").read_text().replace(":8080", f"http://127.0.0.1:{port}")
    (work / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return ["caddy", "run", "--config", str(work / "Caddyfile")]


def apache2(site: Path, work: Path, port: int) -> list[str]:
    modules = "".join(f"LoadModule {name}_module {APACHE}/mod_{name}.so\n" for name in MODULES)
    (work / "apache.conf").write_text(
        f"ServerRoot {work}\nPidFile {work}/pid\nMutex file:{work}\nServerName localhost\n"
        f"Listen 127.0.0.1:{port}\n{modules}ErrorLog {work}/log\nTypesConfig /etc/mime.types\n"
        "AddEncoding x-gzip .gz .tgz\nAddOutputFilterByType DEFLATE text/html\n"
        "User www-data\nGroup www-data\n"
        f"DocumentRoot {site}\n<Directory {site}>\nAllowOverride All\nRequire all granted\n</Directory>\n"
    )
    return ["apache2", "-D", "FOREGROUND", "-f", str(work / "apache.conf")]


SERVERS = {"nginx": nginx, "caddy": caddy, "apache2": apache2}


@pytest.fixture(params=SERVERS)
def server(request, tmp_path_factory) -> str:
    if shutil.which(request.param) is None or (request.param == "apache2" and not os.path.isdir(APACHE)):
        pytest.skip(f"{request.param} is not installed here")
    return request.param


@contextlib.contextmanager
def served(server: str, site: Path, work: Path) -> Iterator[int]:
    """Serve an export by a web server; give its port."""
    work.mkdir()
    # Apache reads as another user than root.
    for folder in takewhile(lambda above: above != Path(tempfile.gettempdir()), (work, *work.parents)):
        folder.chmod(folder.stat().st_mode | 0o011)
    port = free_port()
    process = subprocess.Popen(
        SERVERS[server](site, work, port),
        cwd=site,
        env={**os.environ, "XDG_DATA_HOME": str(work), "XDG_CONFIG_HOME": str(work), "HOME": str(work)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                get(port, "/simple/")
                break
            except OSError:
                assert process.poll() is None, f"{server} does not start"
                assert time.monotonic() < until, f"{server} does not listen"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def get(port: int, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.fixture
def exported(site: Site) -> Site:
    (site.root / "demo").mkdir()
    for made in (make_wheel("demo", "1.0"), make_sdist("demo", "1.0")):
        made.write_to(site.root / "demo")
    site.export()
    return site


def test_a_web_server_gives_the_types_that_this_server_gives(server: str, exported: Site, tmp_path: Path):
    with served(server, exported.target, tmp_path / "work") as port:
        for accept in ACCEPTS:
            expected = simple_format(None if accept is None else accept.encode())
            status, headers, body = get(port, PAGE, **({} if accept is None else {"Accept": accept}))
            assert (status, headers["Content-Type"]) == (200, expected.content_type.decode()), accept
            name = "index.v1.json" if body.startswith(b"{") else "index.html"
            assert body == (exported.target / "simple/demo" / name).read_bytes()
            assert "Accept" in headers["Vary"].replace(" ", "").split(",")
            assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("accept", [JSON, V1_HTML, "text/html"])
def test_a_web_server_compresses_pages_and_no_files(server: str, exported: Site, tmp_path: Path, accept: str):
    with served(server, exported.target, tmp_path / "work") as port:
        _status, headers, packed = get(port, PAGE, Accept=accept, Accept_Encoding="gzip")
        _status, _headers, plain = get(port, PAGE, Accept=accept)
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
        sdist = make_sdist("demo", "1.0")
        _status, headers, body = get(port, f"{PAGE}{sdist.filename}", Accept_Encoding="gzip")
        assert (headers["Content-Encoding"], body) == (None, sdist.content)
        assert headers["Content-Type"] == "application/octet-stream"


def test_a_web_server_serves_json_alone(server: str, exported: Site, tmp_path: Path):
    exported.export(json_only=True)
    with served(server, exported.target, tmp_path / "work") as port:
        for path in ("/simple/", PAGE):
            status, headers, body = get(port, path, Accept="text/html")
            assert (status, headers["Content-Type"], body[:1]) == (200, JSON, b"{")


def test_a_web_server_shows_nothing_of_its_configuration(server: str, exported: Site, tmp_path: Path):
    with served(server, exported.target, tmp_path / "work") as port:
        for name in (".export", ".htaccess", "nginx.conf", "Caddyfile", "_headers"):
            assert get(port, f"/{name}")[0] in (403, 404), name
        assert get(port, "/pypi/demo/json")[1]["Content-Type"] == "application/json"
