"""pip and uv install through this server from upstreams that do not do what they announce."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from twisted_index.testing import make_wheel

NOISE = bytes(range(256)) * 1000
MADE = make_wheel("demo", "1.0", files={"demo/noise": NOISE}, compress=False)
assert MADE.metadata is not None
PATH, METADATA = f"/simple/demo/{MADE.filename}", f"/simple/demo/{MADE.filename}.metadata"
DIGEST = {"sha256": hashlib.sha256(MADE.metadata).hexdigest()}


@pytest.fixture
def upstream() -> Iterator[HostileUpstream]:
    upstream = HostileUpstream()
    yield upstream
    upstream.close()


@pytest.fixture
def index(upstream: HostileUpstream, live_server: Callable[..., Any], tmp_path: Path) -> str:
    folder = tmp_path / "own"
    folder.mkdir()
    options = ["--upstream", f"{upstream.origin}/simple/"]
    return str(live_server(folder, options=options).simple)


def list_files(upstream: HostileUpstream, **more: Any) -> None:
    stated = {"filename": MADE.filename, "url": MADE.filename, "hashes": {"sha256": MADE.sha256}} | more
    upstream.on("/simple/demo/", page(json.dumps({"name": "demo", "files": [stated]}).encode()))


def without_ranges(status: int) -> Callable[[socket.socket, Asked], None]:
    def serve(client: socket.socket, asked: Asked) -> None:
        client.sendall(answer(status) if "range" in asked.fields else answer(200, MADE.content))

    return serve


@pytest.mark.parametrize("status", [404, 416, 501])
def test_from_an_index_of_links_whose_server_refuses_ranges(
    installer: Any, index: str, upstream: HostileUpstream, status: int
):
    links = f'<html><body><a href="{MADE.filename}">{MADE.filename}</a></body></html>'
    upstream.on("/simple/demo/", answer(200, links.encode(), Content_Type="text/html"))
    upstream.on(PATH, without_ranges(status))

    assert installer.install("--index-url", index, "demo") == {"demo-1.0"}


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        (DIGEST, answer(403)),
        (DIGEST, answer(401)),
        (True, answer(500)),
        (True, answer(200, b"<html>Sign in</html>", Content_Type="text/html")),
        (True, answer(200, b"")),
        (True, answer(200, MADE.content)),
    ],
    ids=["403", "401", "500", "a page", "empty", "the wheel"],
)
def test_from_an_index_that_does_not_have_the_metadata_that_it_offers(
    installer: Any, index: str, upstream: HostileUpstream, promise: Any, said: bytes
):
    list_files(upstream, **{"core-metadata": promise})
    upstream.on(PATH, without_ranges(400))
    upstream.on(METADATA, said)

    assert installer.install("--index-url", index, "demo") == {"demo-1.0"}


def test_metadata_that_is_nowhere_what_was_promised_ends_in_a_sentence(
    installer: Any, index: str, upstream: HostileUpstream
):
    """At once: neither a traceback nor half a minute of asking again."""
    list_files(upstream, **{"core-metadata": {"sha256": "00" * 32}})
    upstream.on(PATH, answer(200, MADE.content))
    upstream.on(METADATA, answer(200, MADE.metadata or b""))
    outcome, found = installer.try_to_install("--index-url", index, "demo")

    assert found == set()
    assert "409" in outcome.output
    assert "Traceback" not in outcome.output
    assert upstream.targets().count(METADATA) == 1
