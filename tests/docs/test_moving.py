"""What docs/moving.md says of nginx: the URLs of devpi's clients lead to this server."""

from __future__ import annotations

import hashlib
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.docs.terminal import Terminal
from tests.kit.live_server import LiveServer
from tests.kit.ports import free_port
from twisted_index.testing import make_wheel

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") is None,
    reason="nginx is not installed here",
)
WHEEL = make_wheel("demo", "1.0")


@pytest.fixture
def front(tmp_path: Path, live_server: Callable[..., LiveServer]):
    """The URL of nginx as the document configures it, before a server with one wheel."""
    packages = tmp_path / "packages"
    packages.mkdir()
    WHEEL.write_to(packages)
    server = live_server(packages, options=["--upload", "--anonymous-upload"])
    (block,) = (one.text for one in blocks_of(ROOT / "docs" / "moving.md") if one.language == "nginx")
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    site = f"server {{ listen 127.0.0.1:{port};\n{block.replace(':8080', f':{server.port}')}\n}}"
    http = f"http {{ access_log off; {temporary} {site} }}"
    (folder / "nginx.conf").write_text(f"pid {folder}/pid; error_log stderr; daemon off; events {{}}\n{http}")
    terminal = Terminal(folder, {"PATH": "/usr/sbin:/usr/bin:/usr/local/bin:/bin"}, (port,))
    terminal.serve(f"nginx -p {folder} -c {folder}/nginx.conf")
    yield f"http://127.0.0.1:{port}/team/prod"
    terminal.stop()


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def test_the_pages_of_an_index_of_devpi_stay_where_they_were(front: str):
    assert b'href="demo-1.0-py3-none-any.whl#' in read(f"{front}/+simple/demo/")
    assert read(f"{front}/+simple/demo") == read(f"{front}/+simple/demo/")


def test_the_links_on_them_lead_to_the_files(front: str):
    assert read(f"{front}/+simple/demo/{WHEEL.filename}") == WHEEL.content


def test_the_links_in_lock_files_lead_to_the_files(front: str):
    digest = hashlib.sha256(WHEEL.content).hexdigest()
    assert read(f"{front}/+f/{digest[:3]}/{digest[3:16]}/{WHEEL.filename}") == WHEEL.content


def test_files_are_uploaded_to_the_url_of_the_index(front: str):
    wheel = make_wheel("other", "1.0")
    boundary = b"--x\r\nContent-Disposition: form-data; name="
    form = boundary + b'":action"\r\n\r\nfile_upload\r\n' + boundary
    form += f'"content"; filename="{wheel.filename}"\r\n\r\n'.encode() + wheel.content + b"\r\n--x--\r\n"
    request = urllib.request.Request(f"{front}/", form, {"Content-Type": "multipart/form-data; boundary=x"})
    urllib.request.urlopen(request, timeout=20).close()
    assert read(f"{front}/+simple/other/{wheel.filename}") == wheel.content
