"""Indexes with a name, as a server with a configuration file has them."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.uploads import CONTENT_TYPE, upload_form
from twisted_index.errors import ConfigurationError
from twisted_index.service import SimpleIndexService
from twisted_index.tap import makeService
from twisted_index.testing import make_wheel
from twisted_index.testing.reactor_thread import BackgroundReactor

WHEEL = make_wheel("acme", "1.0")
BASE = 'indexes = "indexes"\nstate = "state"\nlisten = "tcp:0:interface=127.0.0.1"\n'
PLAIN, UPLOADS = 'path = "packages"\n', "upload = true\nanonymous-upload = true\n"


class Server:
    """A server of indexes in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "packages").mkdir()
        self._background: BackgroundReactor | None = None

    def make(self, name: str, settings: str = "") -> Path:
        index = self.folder / "indexes" / name
        index.mkdir(parents=True, exist_ok=True)
        if settings:
            (index / ".index.toml").write_text(settings)
        return index

    def write(self, text: str) -> None:
        (self.folder / "index.toml").write_text(BASE + text)

    def start(self, text: str) -> None:
        self.write(text)
        service = makeService({"config": str(self.folder / "index.toml")})
        assert isinstance(service, SimpleIndexService)
        self._background, self._service = BackgroundReactor(), service
        service._reactor = self._background.reactor
        self._background.call(service.startService, 20)
        self._connection = http.client.HTTPConnection("127.0.0.1", service.addresses[0].port, timeout=20)

    def get(self, path: str) -> tuple[int, Any]:
        self._connection.request("GET", path, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        return self._answer()

    def upload(self, path: str) -> tuple[int, Any]:
        content = upload_form(WHEEL.content, WHEEL.filename, name="acme", version="1.0")
        self._connection.request("POST", path, content, {"Content-Type": CONTENT_TYPE})
        return self._answer()

    def _answer(self) -> tuple[int, Any]:
        answer = self._connection.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, body

    def stop(self) -> None:
        if self._background is not None:
            self._connection.close()
            self._background.call(self._service.stopService, 20)
            self._background.stop(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def names(answer: tuple[int, Any]) -> list[str]:
    status, page = answer
    assert status == 200, page
    return [file["filename"] for file in page["files"]]


@pytest.mark.parametrize(
    ("path", "place"), [("/+staging/legacy/", "indexes/staging"), ("/legacy/", "packages")]
)
def test_an_upload_goes_into_the_index_of_its_url(server: Server, path: str, place: str):
    server.make("staging")
    server.start(PLAIN + UPLOADS)
    assert server.upload(path)[0] == 200
    assert (server.folder / place / "acme" / WHEEL.filename).exists()
    assert names(server.get(path.replace("legacy", "simple") + "acme/")) == [WHEEL.filename]


@pytest.mark.parametrize("path", ["/legacy/", "/+prod/legacy/"])
def test_both_urls_of_the_default_index_publish_into_it(server: Server, path: str):
    server.make("prod")
    server.start('default-index = "prod"\n' + UPLOADS)
    assert server.upload(path)[0] == 200
    assert (server.folder / "indexes" / "prod" / "acme" / WHEEL.filename).exists()
    for url in ("/simple/acme/", "/+prod/simple/acme/"):
        assert names(server.get(url)) == [WHEEL.filename]


def test_the_audit_log_says_into_which_index(server: Server):
    server.make("staging")
    server.start(PLAIN + UPLOADS)
    server.upload("/+staging/legacy/")
    lines = b"".join(path.read_bytes() for path in (server.folder / "state").rglob("*.jsonl"))
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["index"] for event in events if event["action"] == "upload"] == ["staging"]


def test_an_index_may_take_no_uploads(server: Server):
    server.make("prod", "upload = false")
    server.start(PLAIN + UPLOADS)
    assert server.upload("/+prod/legacy/")[0] in (403, 405)
    assert os.listdir(server.folder / "indexes" / "prod") == [".index.toml"]


def test_an_inherited_file_is_downloaded_where_the_page_says(server: Server):
    server.make("dev", 'bases = "prod"')
    WHEEL.write_to(server.make("prod") / "acme")
    server.start(PLAIN)
    (file,) = server.get("/+dev/simple/acme/")[1]["files"]
    assert file["url"] == f"../../../+prod/simple/acme/{WHEEL.filename}"
    assert server.get(f"/+prod/simple/acme/{WHEEL.filename}") == (200, WHEEL.content)


def test_other_settings_hold_in_every_index_without_a_restart(server: Server):
    server.make("staging")
    server.start(PLAIN + UPLOADS)
    server.get("/+staging/simple/")
    server.write(PLAIN)
    until: Callable[[], bool] = lambda: server.upload("/+staging/legacy/")[0] != 200  # noqa: E731
    assert any(until() for _attempt in range(500))


def test_problems_name_a_broken_file_and_the_index_says_what_is_wrong(server: Server):
    server.make("dev", "bases = [")
    server.start(PLAIN)
    status, page = server.get("/+dev/simple/acme/")
    assert (status, page["message"].startswith("The settings of the index dev cannot be used.")) == (
        503,
        True,
    )
    assert [row["path"] for row in server.get("/-/problems")[1]["problems"]] == ["dev/.index.toml"]


def test_a_folder_of_indexes_that_is_not_there_ends_the_start(server: Server):
    with pytest.raises(ConfigurationError, match=r"indexes' cannot be read: .* Create it"):
        server.start(PLAIN)
