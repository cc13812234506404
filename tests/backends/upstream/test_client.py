"""Asking another index, which may be anything."""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred

from tests.kit.hostile_upstream import JSON, Asked, HostileUpstream, Script, answer, page, reset
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.backends.upstream.remote import NOT_MODIFIED
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import BadGateway, ConfigurationError, LoopDetected, Unavailable
from twisted_index.http_client.limits import ClientLimits
from twisted_index.testing.reactor_thread import BackgroundReactor

T = TypeVar("T")

LIMITS = ClientLimits(connect=2.0, head=0.3, idle=0.3, total=5.0, back_off=0.01, max_body=200_000, parallel=4)
DEMO = "/simple/demo/"


class Asking:
    """An upstream, and our side of it."""

    def __init__(self, background: BackgroundReactor) -> None:
        self.background = background
        self.upstream = HostileUpstream()
        self.worker = ThreadPool(background.reactor, threads=1)
        self.remotes: list[HTTPUpstream] = []

    def remote(
        self, url: str | None = None, *, environ: dict[str, str] | None = None, **options: Any
    ) -> HTTPUpstream:
        options = {"limits": LIMITS, "instance": "our-index", "jitter": lambda: 0.0} | options
        made = HTTPUpstream(
            url or f"{self.upstream.origin}/simple",
            self.background.reactor,
            worker=self.worker,
            environ=environ or {},
            **options,
        )
        self.remotes.append(made)
        return made

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        results: list[T] = []

        async def run() -> None:
            results.append(await function())

        self.background.call(lambda: Deferred.fromCoroutine(run()), 20)
        return results[0]

    def page(self, remote: HTTPUpstream | None = None, **known: str) -> Any:
        asked = remote or self.remote()

        async def ask() -> Any:
            return await asked.page("demo", **known)

        return self.run(ask)

    def document(self, path: str, limit: int = 1000, remote: HTTPUpstream | None = None) -> bytes | None:
        asked = remote or self.remote()

        async def ask() -> bytes | None:
            return await asked.document(self.upstream.origin + path, limit)

        return self.run(ask)

    def fetch(self, path: str, remote: HTTPUpstream | None = None, **range_: int) -> tuple[Any, bytes]:
        asked = remote or self.remote()

        async def ask() -> tuple[Any, bytes]:
            incoming = await asked.fetch(self.upstream.origin + path, **range_)
            pieces: list[bytes] = []
            if incoming is not None:
                await incoming.deliver(pieces.append)
            return incoming, b"".join(pieces)

        return self.run(ask)

    def close(self) -> None:
        self.upstream.close()
        for remote in self.remotes:
            self.background.call(remote.stop, 10)
        self.background.call(self.worker.stop, 10)


@pytest.fixture
def asking(background: BackgroundReactor) -> Iterator[Asking]:
    asking = Asking(background)
    yield asking
    asking.close()


# -- Pages


def test_a_page_is_asked_for_as_json_first_by_a_client_that_says_who_it_is(asking: Asking) -> None:
    asking.upstream.on(
        DEMO, page(b'{"files": [{"url": "demo-1.0.tar.gz"}]}', ETag='"1"', Last_Modified="now")
    )
    found = asking.page()

    assert [file.url for file in found.files] == [f"{asking.upstream.origin}/simple/demo/demo-1.0.tar.gz"]
    assert (found.etag, found.modified) == ('"1"', "now")
    fields = asking.upstream.asked[0].fields
    assert fields["accept"].startswith(JSON)
    assert fields["user-agent"].startswith("twisted-index")
    assert fields["via"] == "1.1 our-index"
    assert "authorization" not in fields
    assert "cookie" not in fields


@pytest.mark.parametrize("means_absent", [True, False])
def test_403_means_that_there_is_no_such_project_where_that_is_set(
    asking: Asking, means_absent: bool
) -> None:
    asking.upstream.on(DEMO, answer(403))
    asking.upstream.on("/simple/", answer(403))
    asking.upstream.on("/demo-1.0.tar.gz", answer(403))
    remote = asking.remote(absent_on_403=means_absent)

    if means_absent:
        assert asking.page(remote) is None
    else:
        with pytest.raises(BadGateway, match="403"):
            asking.page(remote)
    with pytest.raises(BadGateway, match="403"):  # what is on a page is not absent
        asking.fetch("/demo-1.0.tar.gz", remote)


def test_a_page_that_is_known_is_asked_for_with_what_is_known_of_it(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(304))

    assert asking.page(etag='"1"', modified="now") is NOT_MODIFIED
    fields = asking.upstream.asked[0].fields
    assert (fields["if-none-match"], fields["if-modified-since"]) == ('"1"', "now")


@pytest.mark.parametrize("status", [400, 403, 412, 417])
def test_a_page_is_had_though_the_upstream_refuses_conditions(asking: Asking, status: int) -> None:
    """They save sending it, and no more."""

    def refusing(client: socket.socket, asked: Asked) -> None:
        is_conditional = {"if-none-match", "if-modified-since"} & asked.fields.keys()
        client.sendall(answer(status) if is_conditional else page())

    asking.upstream.on(DEMO, refusing)

    assert asking.page(etag='"1"').files == ()
    assert asking.page(modified="Sun, 29 Nov 2026 00:00:00 GMT").files == ()


def test_a_304_that_nobody_asked_for_is_no_answer(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(304))

    with pytest.raises(BadGateway):
        asking.page()


@pytest.mark.parametrize("status", [404, 410])
def test_only_the_upstream_itself_says_that_there_is_no_such_project(asking: Asking, status: int) -> None:
    asking.upstream.on(DEMO, answer(status))

    assert asking.page() is None


@pytest.mark.parametrize("status", [401, 403, 407])
def test_an_upstream_that_wants_a_password_is_told_of_and_never_taken_for_a_no(
    asking: Asking, status: int
) -> None:
    asking.upstream.on(DEMO, answer(status))

    with pytest.raises(BadGateway, match="requires a user and a password"):
        asking.page()


@pytest.mark.parametrize("status", [201, 204, 206, 300, 400, 406, 418, 451, 501, 505, 599])
def test_any_other_status_is_no_answer(asking: Asking, status: int) -> None:
    asking.upstream.on(DEMO, answer(status))

    with pytest.raises(BadGateway):
        asking.page()
    assert len(asking.upstream.asked) == 1


def test_a_loop_that_another_server_finds_is_told_as_such(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(508))

    with pytest.raises(LoopDetected):
        asking.page()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 524, 527])
def test_an_upstream_that_is_busy_is_asked_again(asking: Asking, status: int) -> None:
    asking.upstream.on(DEMO, answer(status), answer(status), page())

    assert asking.page().files == ()
    assert len(asking.upstream.asked) == 3


def test_an_upstream_that_stays_busy_is_asked_three_times(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(503))

    with pytest.raises(Unavailable):
        asking.page()
    assert len(asking.upstream.asked) == 3


def test_an_upstream_that_asks_for_a_long_rest_gets_it(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(429, Retry_After="120"))

    with pytest.raises(Unavailable) as refused:
        asking.page()
    assert refused.value.retry_after == 120
    assert len(asking.upstream.asked) == 1


@pytest.mark.parametrize("cut", [0, 1, 7, 12, 30, 60, 90])
def test_a_connection_that_is_reset_anywhere_is_tried_again(asking: Asking, cut: int) -> None:
    def broken(client: socket.socket, _: Asked) -> None:
        client.sendall(page()[:cut])
        reset(client)

    asking.upstream.on(DEMO, broken, broken, page())

    assert asking.page().files == ()


@pytest.mark.parametrize("cut", [0, 1, 20, 60, 90, 100, -1])
def test_a_page_that_stays_broken_off_is_unavailable(asking: Asking, cut: int) -> None:
    asking.upstream.on(DEMO, page(b'{"files": []}' + b" " * 100)[:cut])

    with pytest.raises(Unavailable) as refused:
        asking.page()
    assert not isinstance(refused.value, BadGateway)


def test_a_port_where_nobody_listens_is_unavailable(asking: Asking) -> None:
    asking.upstream.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unavailable, match="cannot be reached"):
        asking.page(asking.remote(f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
def test_an_upstream_that_does_not_begin_to_answer_is_given_up(asking: Asking, said: bytes) -> None:
    def silent(client: socket.socket, _: Asked) -> None:
        client.sendall(said)
        asking.upstream.wait()

    asking.upstream.on(DEMO, silent)
    remote = asking.remote(limits=ClientLimits(connect=0.1, head=0.1))

    with pytest.raises(Unavailable, match="did not start"):
        asking.page(remote)
    assert len(asking.upstream.asked) == 3


def test_an_upstream_may_take_longer_to_begin_a_file_than_a_page(asking: Asking) -> None:
    """Some fetch all of it first."""

    def slow(client: socket.socket, _: Asked) -> None:
        asking.upstream.stopping.wait(0.7)
        client.sendall(page(b'{"files": []}'))

    asking.upstream.on(DEMO, slow)
    asking.upstream.on("/f", slow)
    remote = asking.remote(limits=ClientLimits(connect=0.1, head=0.1, file_head=10.0))

    assert asking.fetch("/f", remote)[1] == b'{"files": []}'
    with pytest.raises(Unavailable, match="did not start"):
        asking.page(remote)


def test_a_page_may_come_slowly(asking: Asking) -> None:
    """Only pauses count against an upstream."""

    def dripping(client: socket.socket, _: Asked) -> None:
        whole = page()
        for at in range(len(whole) - 9, len(whole)):
            client.sendall(whole[at : at + 1] if at > len(whole) - 9 else whole[: at + 1])
            asking.upstream.stopping.wait(0.2)

    asking.upstream.on(DEMO, dripping)

    assert asking.page(asking.remote(limits=ClientLimits(idle=1.0))).files == ()
    assert ClientLimits().total >= 1800


def test_an_upstream_that_stops_in_the_middle_is_given_up(asking: Asking) -> None:
    def stopping(client: socket.socket, _: Asked) -> None:
        client.sendall(page()[:-5])
        asking.upstream.wait()

    asking.upstream.on(DEMO, stopping)

    with pytest.raises(Unavailable, match="stalled in the middle"):
        asking.page()


def test_a_page_that_drips_is_given_up_in_the_end(asking: Asking) -> None:
    def dripping(client: socket.socket, _: Asked) -> None:
        client.sendall(answer(200, length=10**6, Content_Type=JSON))
        while not asking.upstream.stopping.wait(0.05):
            client.sendall(b" ")

    asking.upstream.on(DEMO, dripping)
    remote = asking.remote(limits=ClientLimits(total=0.6))

    with pytest.raises(Unavailable, match=r"within 0\.6 seconds"):
        asking.page(remote)
    assert len(asking.upstream.asked) == 1


@pytest.mark.parametrize("piece", [b"X-More: of the same\r\n" * 500, b"HTTP/1.1 103 Wait\r\n\r\n" * 500])
def test_an_endless_head_is_cut_off(asking: Asking, piece: bytes) -> None:
    sent = 0

    def endless(client: socket.socket, _: Asked) -> None:
        nonlocal sent
        client.sendall(b"HTTP/1.1 200 OK\r\n" if piece.startswith(b"X") else b"")
        for part in asking.upstream.endless(piece):
            client.sendall(part)
            sent += len(part)

    asking.upstream.on(DEMO, endless)
    remote = asking.remote(limits=ClientLimits(connect=2.0, head=60.0, total=60.0))
    with pytest.raises(BadGateway, match="head that is too long"):
        asking.page(remote)
    assert sent < 20_000_000


def test_an_endless_page_is_cut_off(asking: Asking) -> None:
    def endless(client: socket.socket, _: Asked) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n")
        for piece in asking.upstream.endless(b"2000\r\n" + b"a" * 0x2000 + b"\r\n"):
            client.sendall(piece)

    asking.upstream.on(DEMO, endless)

    with pytest.raises(BadGateway, match="more than 200,000 bytes"):
        asking.page()


def test_a_page_that_says_it_is_too_large_is_not_read(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(200, length=200_001, Content_Type=JSON))

    with pytest.raises(BadGateway, match="more than"):
        asking.page()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZip", ",gzip", "gzip, aws-chunked"])
def test_a_page_may_come_packed(asking: Asking, coding: str) -> None:
    packed = gzip.compress(b'{"files": ') + gzip.compress(b"[]}")
    asking.upstream.on(DEMO, page(packed, Content_Encoding=coding))

    assert asking.page().files == ()
    assert asking.upstream.asked[0].fields["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "after", [b"\0" * 512, b"rubbish", b"\x1f", b"\0\x1f\x8b", gzip.compress(b"  ", mtime=0)]
)
def test_padding_after_a_packed_page_is_ignored(asking: Asking, after: bytes) -> None:
    """As gzip does; what follows may come in pieces, and another member belongs to it."""

    def dripping(client: socket.socket, _: Asked) -> None:
        whole = page(gzip.compress(b'{"files": []}') + after, Content_Encoding="gzip")
        for at in range(len(whole) - len(after) - 1, len(whole)):
            client.sendall(whole[at : at + 1] if at > len(whole) - len(after) - 1 else whole[: at + 1])

    asking.upstream.on(DEMO, dripping)

    assert asking.page().files == ()


@pytest.mark.parametrize("coding", ["", "identity", "aws-chunked", ",", "identity, identity"])
def test_a_page_that_is_coded_in_no_way_may_say_so(asking: Asking, coding: str) -> None:
    asking.upstream.on(DEMO, page(Content_Encoding=coding))

    assert asking.page().files == ()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (gzip.compress(b" " * 50_000_000, mtime=0), "more than 200,000 bytes"),
        (gzip.compress(b'{"files": []}', mtime=0)[:-9], "response is truncated"),
        (gzip.compress(b'{"files": []}', mtime=0) + b"\x1f\x8brubbish", "is not gzip"),
        (b'{"files": []}', "is not gzip"),
        (zlib.compress(b'{"files": []}'), "is not gzip"),
    ],
)
def test_a_page_that_is_packed_badly_is_refused(asking: Asking, body: bytes, sentence: str) -> None:
    asking.upstream.on(DEMO, page(body, Content_Encoding="gzip"))

    with pytest.raises(BadGateway, match=sentence):
        asking.page()


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_a_coding_that_was_not_asked_for_is_refused(asking: Asking, coding: str) -> None:
    asking.upstream.on(DEMO, page(Content_Encoding=coding))

    with pytest.raises(BadGateway, match="unrequested content coding"):
        asking.page()


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"files": 7}', b"[" * 100_000, b"\xff", b"<html>"])
def test_a_page_that_is_no_page_is_refused(asking: Asking, body: bytes) -> None:
    asking.upstream.on(DEMO, page(body))

    with pytest.raises(BadGateway, match="cannot be used"):
        asking.page()


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-x\r\n\r\n", b"\x00" * 200, b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01" * 9]
)
def test_what_is_no_http_is_refused_or_unavailable(asking: Asking, said: bytes) -> None:
    asking.upstream.on(DEMO, said)

    with pytest.raises(Unavailable):
        asking.page()


def test_an_answer_from_before_http_1_1_is_taken(asking: Asking) -> None:
    body = b"<html><body><a href='demo-1.0.tar.gz'>x</a></body></html>"
    asking.upstream.on(DEMO, b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + body)
    assert len(asking.page().files) == 1

    asking.upstream.on(DEMO, b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + body[:-20])
    with pytest.raises(BadGateway, match="truncated"):
        asking.page()


# -- Redirects


def redirect(to: str, status: int = 302) -> bytes:
    return answer(status, b"moved", Location=to)


def test_redirects_are_followed_and_links_are_joined_with_where_they_end(asking: Asking) -> None:
    asking.upstream.on(DEMO, redirect("/a/b"))
    asking.upstream.on("/a/b", redirect(f"{asking.upstream.origin}/c/d/?q=1#x", 307))
    asking.upstream.on("/c/d/", page(b'{"files": [{"url": "demo-1.0.tar.gz"}]}'))

    assert asking.page().files[0].url == f"{asking.upstream.origin}/c/d/demo-1.0.tar.gz"
    assert asking.upstream.targets() == [DEMO, "/a/b", "/c/d/?q=1"]


def test_a_redirect_may_spell_its_url_in_plain_utf_8(asking: Asking) -> None:
    asking.upstream.on(DEMO, redirect("/na\u00efve/"))
    asking.upstream.on("/na%C3%AFve/", page())

    assert asking.page().files == ()


def test_ten_thousand_redirects_are_not(asking: Asking) -> None:
    for number in range(10):
        asking.upstream.on(DEMO if not number else f"/{number}", redirect(f"/{number + 1}"))

    with pytest.raises(BadGateway, match="more than 5 times"):
        asking.page()
    assert len(asking.upstream.asked) == 6


def test_a_circle_is_found(asking: Asking) -> None:
    asking.upstream.on(DEMO, redirect("/a"))
    asking.upstream.on("/a", redirect(DEMO))

    with pytest.raises(BadGateway, match="in a loop"):
        asking.page()
    assert len(asking.upstream.asked) == 2


@pytest.mark.parametrize("to", ["", "ftp://a.example/", "http://[", "javascript:x", "//a b/", "\x01"])
def test_a_redirect_to_what_cannot_be_asked_is_refused(asking: Asking, to: str) -> None:
    asking.upstream.on(DEMO, redirect(to))

    with pytest.raises(BadGateway):
        asking.page()


def test_the_body_of_a_redirect_may_be_endless(asking: Asking) -> None:
    def endless(client: socket.socket, _: Asked) -> None:
        client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in asking.upstream.endless(b"1000\r\n" + b"a" * 0x1000 + b"\r\n"):
            client.sendall(piece)

    asking.upstream.on(DEMO, endless)
    asking.upstream.on("/next", page())

    assert asking.page().files == ()


def test_an_upstream_leads_to_no_address_that_it_may_not(asking: Asking) -> None:
    asking.upstream.on(DEMO, redirect("http://169.254.169.254/latest/meta-data/"))

    with pytest.raises(BadGateway, match="forbidden address"):
        asking.page()


# -- Credentials


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def test_a_user_in_the_url_is_told_to_the_upstream_and_shown_to_nobody(asking: Asking) -> None:
    asking.upstream.on(DEMO, page())
    remote = asking.remote(f"http://me:s%40cret@127.0.0.1:{asking.upstream.port}/simple/")
    asking.page(remote)

    assert asking.upstream.asked[0].fields["authorization"] == basic("me:s@cret")
    assert remote.url == f"{asking.upstream.origin}/simple/"


def test_a_user_in_netrc_is_told_to_the_upstream(asking: Asking, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    os.chmod(netrc, 0o600)
    asking.upstream.on(DEMO, page())
    asking.page(asking.remote(environ={"NETRC": str(netrc)}))

    assert asking.upstream.asked[0].fields["authorization"] == basic("me:secret")


def test_what_netrc_says_by_now_is_told_to_the_upstream(asking: Asking, tmp_path: Path) -> None:
    """Tokens in it live for some hours, and others take their place."""
    netrc = tmp_path / "netrc"
    asking.upstream.on(DEMO, page())
    remote = asking.remote(environ={"NETRC": str(netrc)})
    for password in (None, "first", "second and longer", None):
        if password is None:
            netrc.unlink(missing_ok=True)
        else:
            netrc.write_text(f"machine 127.0.0.1 login me password '{password}'\n".replace("'", '"'))
            os.chmod(netrc, 0o600)
        asking.page(remote)

    assert [asked.fields.get("authorization") for asked in asking.upstream.asked] == [
        None,
        basic("me:first"),
        basic("me:second and longer"),
        None,
    ]


def test_a_netrc_that_comes_after_a_denial_is_enough(asking: Asking, tmp_path: Path) -> None:
    asking.upstream.on(DEMO, answer(401), page())
    remote = asking.remote(environ={"HOME": str(tmp_path)})
    with pytest.raises(BadGateway, match="none are configured"):
        asking.page(remote)
    (tmp_path / "_netrc").write_text("default login me password secret\n")
    os.chmod(tmp_path / "_netrc", 0o600)

    assert asking.page(remote).files == ()


def test_another_server_that_wants_a_password_is_told_as_one(asking: Asking) -> None:
    other = HostileUpstream()
    other.on("/x/", answer(401))
    asking.upstream.on(DEMO, redirect(f"{other.origin}/x/"))
    with pytest.raises(BadGateway, match=r"to another server, .* ours are only for the upstream \(401\)"):
        asking.page(asking.remote(f"http://me:secret@127.0.0.1:{asking.upstream.port}/simple/"))
    other.close()

    assert "authorization" not in other.asked[0].fields


def test_a_netrc_that_is_broken_holds_no_user(asking: Asking, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine machine machine\n")
    asking.upstream.on(DEMO, page())
    asking.page(asking.remote(environ={"HOME": str(tmp_path)}))

    assert "authorization" not in asking.upstream.asked[0].fields


def test_a_password_goes_to_no_other_origin_even_of_the_same_host(asking: Asking) -> None:
    other = HostileUpstream()
    other.on("/x/", page())
    asking.upstream.on(DEMO, redirect(f"http://else:where@127.0.0.1:{other.port}/x/"))
    asking.page(asking.remote(f"http://me:secret@127.0.0.1:{asking.upstream.port}/simple/"))
    other.close()

    assert "authorization" in asking.upstream.asked[0].fields
    assert "authorization" not in other.asked[0].fields


def test_a_password_that_is_wrong_is_told_as_such(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(401))
    remote = asking.remote(f"http://me:secret@127.0.0.1:{asking.upstream.port}/simple/")

    with pytest.raises(BadGateway, match="rejected our user") as refused:
        asking.page(remote)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["pypi.example", "ftp://me:secret@a/", "http://me:secret@/", "http://me:secret@a b/"]
)
def test_a_url_that_cannot_be_an_upstream_is_refused_without_its_password(asking: Asking, url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        asking.remote(url)
    assert "secret" not in str(refused.value)


# -- Documents and files


def test_a_document_comes_whole_or_not_at_all(asking: Asking) -> None:
    asking.upstream.on("/m", answer(200, b"x" * 1000))
    assert asking.document("/m") == b"x" * 1000
    assert asking.document("/none") is None
    assert asking.upstream.asked[0].fields["accept-encoding"] == "identity"

    asking.upstream.on("/m", answer(200, b"x" * 1001))
    with pytest.raises(BadGateway):
        asking.document("/m")


def test_a_file_comes_as_it_is(asking: Asking) -> None:
    asking.upstream.on("/f.whl", answer(200, b"bytes", Content_Encoding=""))
    incoming, data = asking.fetch("/f.whl")

    assert (incoming.status, incoming.length, incoming.total, data) == (200, 5, 5, b"bytes")
    assert asking.upstream.asked[0].fields["accept-encoding"] == "identity"
    assert asking.fetch("/none") == (None, b"")


def test_a_file_of_which_the_length_is_not_told_comes_all_the_same(asking: Asking) -> None:
    asking.upstream.on("/f", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    incoming, data = asking.fetch("/f")

    assert (incoming.length, incoming.total, data) == (None, None, b"abc")


def test_an_sdist_that_a_server_calls_gzip_is_not_unpacked(asking: Asking) -> None:
    packed = gzip.compress(b"tar")
    asking.upstream.on("/f.tar.gz", answer(200, packed, Content_Encoding="x-gzip"))

    assert asking.fetch("/f.tar.gz")[1] == packed


def test_a_file_that_is_coded_says_so(asking: Asking) -> None:
    """The caller that has its name and digest decides what to do with it."""
    packed = gzip.compress(b"zip")
    asking.upstream.on("/f.whl", answer(200, packed, Content_Encoding="gzip"))
    incoming, data = asking.fetch("/f.whl")

    assert (incoming.coding, data) == ("gzip", packed)


def test_a_document_of_which_only_the_connection_told_the_end_is_not_taken_for_whole(asking: Asking) -> None:
    asking.upstream.on("/f.metadata", b"HTTP/1.0 200 OK\r\n\r\nName: demo\nVersion: 1.0\nRequires-Dist: a")

    with pytest.raises(BadGateway, match="does not delimit this document"):
        asking.document("/f.metadata")


def test_what_a_proxy_has_changed_is_an_answer(asking: Asking) -> None:
    asking.upstream.on(DEMO, page().replace(b"200", b"203", 1))
    asking.upstream.on("/f", answer(203, b"abc"))

    assert asking.page().files == ()
    incoming, data = asking.fetch("/f")
    assert (incoming.status, data) == (200, b"abc")


def test_a_range_is_asked_for_and_told_apart_from_the_whole(asking: Asking) -> None:
    asking.upstream.on("/f", answer(206, b"cde", Content_Range="bytes 2-4/9"))
    incoming, data = asking.fetch("/f", first=2, last=4)
    assert (incoming.status, incoming.length, incoming.total, data) == (206, 3, 9, b"cde")

    asking.upstream.on("/f", answer(206, b"hi", Content_Range="bytes 7-8/9"))
    assert asking.fetch("/f", last=2)[1] == b"hi"
    asking.upstream.on("/f", answer(206, b"ghi", Content_Range="bytes 6-8/9"))
    assert asking.fetch("/f", first=6)[1] == b"ghi"
    asking.upstream.on("/f", answer(200, b"abcdefghi"))
    assert asking.fetch("/f", first=6)[0].status == 200
    assert [asked.fields["range"] for asked in asking.upstream.asked] == [
        "bytes=2-4",
        "bytes=-2",
        "bytes=6-",
        "bytes=6-",
    ]


@pytest.mark.parametrize(
    "said", ["", "bytes 0-2/9", "bytes 2-9/9", "bytes 4-2/9", "bytes 2-5/9", "pages 2-4/9"]
)
def test_another_range_than_the_one_that_was_asked_for_is_refused(asking: Asking, said: str) -> None:
    asking.upstream.on("/f", answer(206, b"cde", Content_Range=said))

    with pytest.raises(BadGateway):
        asking.fetch("/f", first=2, last=4)


def test_a_part_of_a_file_is_no_answer_to_who_asks_for_all(asking: Asking) -> None:
    asking.upstream.on("/f", answer(206, b"abc", Content_Range="bytes 0-2/9"))

    with pytest.raises(BadGateway):
        asking.fetch("/f")


def test_a_file_that_breaks_off_is_not_taken_for_whole(asking: Asking) -> None:
    asking.upstream.on("/f", answer(200, b"abc", length=9))

    with pytest.raises(Unavailable):
        asking.fetch("/f")


def test_what_comes_behind_the_end_is_none_of_it(asking: Asking) -> None:
    asking.upstream.on("/f", answer(200, b"abcdef", length=3))

    assert asking.fetch("/f")[1] == b"abc"


def test_a_file_can_be_paused_for_longer_than_an_upstream_may_be_silent(asking: Asking) -> None:
    body = os.urandom(3_000_000)
    asking.upstream.on("/f", answer(200, body))
    remote = asking.remote()

    async def ask() -> bytes:
        incoming = await remote.fetch(f"{asking.upstream.origin}/f")
        assert incoming is not None
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            pieces.append(data)
            if len(pieces) == 2:
                incoming.pause()
                asking.background.reactor.callLater(LIMITS.idle * 2, incoming.resume)

        await incoming.deliver(take)
        return b"".join(pieces)

    assert asking.run(ask) == body


def test_a_file_can_be_broken_off_before_and_while_it_comes(asking: Asking) -> None:
    asking.upstream.on("/f", answer(200, b"x" * 3_000_000))
    remote = asking.remote()

    async def ask() -> None:
        early = await remote.fetch(f"{asking.upstream.origin}/f")
        assert early is not None
        early.abort()
        with pytest.raises(Unavailable):
            await early.deliver(lambda _: None)
        late = await remote.fetch(f"{asking.upstream.origin}/f")
        assert late is not None
        with pytest.raises(Unavailable):
            await late.deliver(lambda _: late.abort())

    asking.run(ask)


def test_what_a_receiver_raises_breaks_the_file_off(asking: Asking) -> None:
    asking.upstream.on("/f", answer(200, b"x" * 100))
    remote = asking.remote()

    def refuse(_: bytes) -> None:
        raise ZeroDivisionError

    async def ask() -> None:
        incoming = await remote.fetch(f"{asking.upstream.origin}/f")
        assert incoming is not None
        with pytest.raises(ZeroDivisionError):
            await incoming.deliver(refuse)

    asking.run(ask)


def test_no_more_files_come_at_once_than_may_and_the_next_gets_the_place_of_the_last(asking: Asking) -> None:
    asking.upstream.on("/f", answer(200, b"abc"))
    remote = asking.remote(limits=ClientLimits(files=1, file_queue=0.2))

    async def ask() -> None:
        first = await remote.fetch(f"{asking.upstream.origin}/f")
        assert first is not None
        with pytest.raises(Unavailable, match="Too many"):
            await remote.fetch(f"{asking.upstream.origin}/f")
        await first.deliver(lambda _: None)
        second = await remote.fetch(f"{asking.upstream.origin}/f")
        assert second is not None
        second.abort()
        with pytest.raises(BadGateway):
            await remote.fetch("ftp://127.0.0.1/f")
        third = await remote.fetch(f"{asking.upstream.origin}/f")
        assert third is not None
        third.abort()

    asking.run(ask)


# -- The way there


def test_a_proxy_is_asked_for_http_and_it_alone_is_told_its_password(asking: Asking) -> None:
    asking.upstream.on("http://pypi.example/simple/demo/", page())
    proxy = f"http://me:secret@127.0.0.1:{asking.upstream.port}"
    remote = asking.remote("http://pypi.example/simple/", environ={"HTTP_PROXY": proxy})

    assert asking.page(remote).files == ()
    assert asking.upstream.asked[0].fields["proxy-authorization"] == basic("me:secret")
    assert asking.upstream.asked[0].fields["host"] == "pypi.example"


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "127.0.0.0/8", "a.example, 127.0.0.1"])
def test_no_proxy_is_asked_for_what_needs_none(asking: Asking, no_proxy: str) -> None:
    asking.upstream.on(DEMO, page())
    environ = {"http_proxy": "http://127.0.0.1:9/", "no_proxy": no_proxy}

    assert asking.page(asking.remote(environ=environ)).files == ()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "https://127.0.0.1:1", "http://"])
def test_a_proxy_that_cannot_be_used_is_refused_at_once(asking: Asking, proxy: str) -> None:
    with pytest.raises(ConfigurationError):
        asking.remote("http://pypi.example/", environ={"ALL_PROXY": proxy})


@pytest.mark.parametrize(("status", "times"), [(403, 1), (407, 1), (429, 3), (502, 3), (503, 3)])
def test_a_proxy_that_refuses_a_tunnel_is_told_of(asking: Asking, status: int, times: int) -> None:
    """And asked again where that may help."""
    asking.upstream.on("pypi.example:443", answer(status))
    environ = {"HTTPS_PROXY": asking.upstream.origin}

    with pytest.raises(Unavailable, match=f"proxy .* {status}"):
        asking.page(asking.remote("https://pypi.example/simple/", environ=environ))
    assert asking.upstream.targets() == ["pypi.example:443"] * times


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_success_of_a_proxy_opens_the_way(asking: Asking, status: int) -> None:
    """RFC 9110 section 9.3.6. What answers at its end is no TLS, for which the proxy is not blamed."""
    asking.upstream.on("pypi.example:443", f"HTTP/1.0 {status} OK\r\n\r\nno TLS at all".encode())
    environ = {"HTTPS_PROXY": asking.upstream.origin}

    with pytest.raises(Unavailable) as caught:
        asking.page(asking.remote("https://pypi.example/simple/", environ=environ))
    assert "proxy" not in caught.value.message


# -- Connections


def keeping(*answers: bytes, seen: list[socket.socket]) -> Script:
    """Answer one request after the other on one connection, and leave it open."""

    def serve(client: socket.socket, _: Asked) -> None:
        if client not in seen:
            seen.append(client)
        for number, said in enumerate(answers):
            client.sendall(said)
            while number < len(answers) - 1 and b"\r\n\r\n" not in client.recv(65536):
                pass
        while client.recv(65536):
            pass

    return serve


def alive(said: bytes) -> bytes:
    return said.replace(b"Connection: close\r\n", b"")


@pytest.mark.parametrize(
    "said",
    [
        page().replace(b"Connection: close", b"Connection: Close"),
        page().replace(b"Connection: close", b"Connection: foo, CLOSE"),
        alive(page()).replace(b"HTTP/1.1", b"HTTP/1.0"),
        page().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"close", b"keep-alive"),
        page().replace(b"Connection: close", b"Proxy-Connection: close"),
    ],
    ids=["Close", "among others", "1.0", "1.0 keep-alive", "of a proxy"],
)
def test_a_connection_that_was_said_to_end_is_not_used_again(asking: Asking, said: bytes) -> None:
    """Though the other side leaves it open: a request on it would never get a response."""
    seen: list[socket.socket] = []
    asking.upstream.on(DEMO, keeping(said, seen=seen), page())
    remote = asking.remote()

    assert asking.page(remote).files == asking.page(remote).files == ()
    assert len(asking.upstream.asked) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_is_tried_again_goes_over_another_connection(asking: Asking, status: int) -> None:
    """One edge of many may be ill, and a connection that is kept leads to it for ever."""
    seen: list[socket.socket] = []
    asking.upstream.on(DEMO, keeping(alive(answer(status)), page(), seen=seen), page())

    assert asking.page().files == ()
    assert len(asking.upstream.asked) == 2


def test_a_kept_connection_on_which_nobody_answers_any_more_is_tried_once(asking: Asking) -> None:
    seen: list[socket.socket] = []
    asking.upstream.on(DEMO, keeping(alive(page()), seen=seen), page())
    remote = asking.remote()

    assert asking.page(remote).files == asking.page(remote).files == ()


@pytest.mark.parametrize(
    "field",
    [
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: Chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity, chunked",
        b"Content-Length: 13, 13",
        b"Content-Length: 13\r\nContent-Length: 13",
    ],
)
def test_what_two_on_the_way_have_said_is_understood_once(asking: Asking, field: bytes) -> None:
    body = b'{"files": []}'
    body = b"d\r\n" + body + b"\r\n0\r\n\r\n" if b"hunked" in field else body
    asking.upstream.on(DEMO, page(body).replace(b"Content-Length: %d" % len(body), field))

    assert asking.page().files == ()


def test_lengths_that_differ_are_not_http(asking: Asking) -> None:
    asking.upstream.on(DEMO, page().replace(b"Content-Length: 13", b"Content-Length: 13, 14"))

    with pytest.raises(BadGateway, match="is not HTTP"):
        asking.page()


@pytest.mark.parametrize(
    ("date", "until", "times"),
    [
        ("Sun, 29 Nov 2026 00:00:00 GMT", "Sun, 29 Nov 2026 00:01:00 GMT", 1),
        ("Sun, 29 Nov 2026 00:00:00 GMT", "Sat, 28 Nov 2026 00:00:00 GMT", 3),
        ("Sun, 29 Nov 2026 00:00:00 GMT", "Sunday, 29-Nov-26 00:02:00 GMT", 1),
        ("", "Sun, 29 Nov 2076 00:01:00 GMT", 1),
        ("", "Sun, 29 Nov 1976 00:01:00 GMT", 3),
        ("no date", "Sun, 29 Nov 2076 00:01:00 GMT", 3),
        ("Sun, 29 Nov 2026 00:00:00 GMT", "later", 3),
    ],
)
def test_a_rest_may_be_asked_for_by_a_date(asking: Asking, date: str, until: str, times: int) -> None:
    """By the clock of the upstream, which may differ from ours, if it tells the time."""
    asking.upstream.on(DEMO, answer(503, Retry_After=until, **({"Date": date} if date else {})))

    with pytest.raises(Unavailable):
        asking.page()
    assert len(asking.upstream.asked) == times


def test_no_proxy_is_asked_for_an_address_that_may_not_be_led_to(asking: Asking) -> None:
    asking.upstream.on("http://pypi.example/demo/", redirect("http://127.0.0.1/secrets"))
    environ = {"HTTP_PROXY": asking.upstream.origin}

    with pytest.raises(BadGateway, match="forbidden address"):
        asking.page(asking.remote("http://pypi.example/", environ=environ))
    assert len(asking.upstream.asked) == 1


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_certificates_that_are_none_are_refused_at_once(asking: Asking, tmp_path: Path, text: str) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(text)

    for path in (bundle, tmp_path / "none.pem"):
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            asking.remote("https://pypi.example/", environ={"SSL_CERT_FILE": str(path)})


def test_a_page_is_what_json_says(asking: Asking) -> None:
    asking.upstream.on(DEMO, page(json.dumps({"files": [], "versions": ["1.0"]}).encode()))

    assert asking.page().versions == ("1.0",)


# -- What is counted


def counted(remote: HTTPUpstream) -> dict[str, dict[str, float]]:
    """Give the samples that are not 0, by the label that is not `upstream`."""
    found: dict[str, dict[str, float]] = {}
    for family in remote.collect():
        for sample in family.samples:
            (label,) = sample.labels.keys() - {"upstream"}
            if sample.value:
                found.setdefault(label, {})[sample.labels[label]] = sample.value
    return found


def test_responses_are_counted_by_status_with_those_to_repeated_requests(asking: Asking) -> None:
    asking.upstream.on(DEMO, answer(503), answer(777), page(), answer(404))
    remote = asking.remote()
    with pytest.raises(BadGateway):
        asking.page(remote)
    asking.page(remote)
    assert asking.page(remote) is None

    # One 404 is that of the root, which is looked at when a page is denied.
    assert counted(remote)["status"] == {"503": 1, "other": 1, "200": 1, "404": 2}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("connection", b""),
        ("connection", b"HTTP/1.1 200 OK\r\nContent-"),
        ("invalid", b"SSH-2.0-OpenSSH\r\n\r\n"),
        ("body", page(b'{"files": []}' + b" " * 100)[:-5]),
    ],
)
def test_a_failure_is_counted_by_its_reason(asking: Asking, reason: str, said: bytes) -> None:
    asking.upstream.on(DEMO, said)
    remote = asking.remote(limits=ClientLimits(tries=1))
    with pytest.raises(Unavailable):
        asking.page(remote)

    assert counted(remote)["reason"] == {reason: 1}


@pytest.mark.parametrize(("reason", "said"), [("timeout", b""), ("body", page()[:-5])])
def test_an_upstream_that_falls_silent_is_counted(asking: Asking, reason: str, said: bytes) -> None:
    def silent(client: socket.socket, _: Asked) -> None:
        client.sendall(said)
        asking.upstream.wait()

    asking.upstream.on(DEMO, silent)
    remote = asking.remote(limits=ClientLimits(connect=0.1, head=0.1, idle=0.1, tries=1))
    with pytest.raises(Unavailable):
        asking.page(remote)

    assert counted(remote)["reason"] == {reason: 1}


@pytest.mark.parametrize(
    ("reason", "url"), [("connection", "http://127.0.0.1:1"), ("name", "http://no-such-host.invalid")]
)
def test_an_upstream_that_cannot_be_reached_is_counted(asking: Asking, reason: str, url: str) -> None:
    remote = asking.remote(url, limits=ClientLimits(tries=1))
    with pytest.raises(Unavailable):
        asking.page(remote)

    assert counted(remote)["reason"] == {reason: 1}


def test_an_upstream_that_speaks_no_tls_is_counted(asking: Asking) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = asking.remote(f"https://127.0.0.1:{listener.getsockname()[1]}", limits=ClientLimits(tries=1))

        def refuse() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(Unavailable):
            asking.page(remote)
        thread.join(10)

    assert counted(remote)["reason"] == {"tls": 1}


def test_an_upstream_is_named_by_its_host_alone(asking: Asking) -> None:
    remote = asking.remote("https://user:secret@index.example:8443/t0ken/simple")
    names = {sample.labels["upstream"] for family in remote.collect() for sample in family.samples}
    assert names == {"index.example:8443"}
