"""
Files of an upstream that is hostile or broken, as clients of a whole running server see them.

What is complete is right, and what is wrong is never complete, neither at a client nor in the cache.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import random
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from trust.front import (
    JSON,
    Front,
    descriptors,
    entry,
    eventually,
    filenames,
    front,
    is_clear_refusal,
    page_of,
    resident,
    whole_cache,
    whole_front,
)
from upstream.hostile import Asked, answer, page, reset

from twisted_index.testing import MadeFile, make_sdist, make_wheel

__all__ = ["front", "whole_front"]

NOISE = random.Random(1).randbytes(300_000)


class Got(NamedTuple):
    """What a client has got, and whether it can take it for whole."""

    status: int
    body: bytes
    complete: bool
    fields: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        return next((value for field, value in self.fields if field.lower() == name.lower()), None)


def fetch(front: Front, target: str, **fields: str) -> Got:
    connection = http.client.HTTPConnection(front.server.host, front.server.port, timeout=40)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): v for name, v in fields.items()})
        response = connection.getresponse()
        told = tuple(response.getheaders())
        length, body = int(response.headers["Content-Length"]), b""
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while piece := response.read1(1 << 16):
                body += piece
        return Got(response.status, body, len(body) == length, told)
    finally:
        connection.close()


class Listed(NamedTuple):
    """A file on a page of the upstream."""

    made: MadeFile
    path: str
    target: str


def listed(front: Front, *, small: bool = False, size: bool = True, **more: Any) -> Listed:
    """List a file at the upstream, whose bytes are what a test says."""
    name = front.name()
    made = make_wheel(name, "1.0", files={} if small else {"noise.bin": NOISE}, compress=False)
    stated = entry(name) | {"hashes": {"sha256": made.sha256}}
    stated |= ({"size": made.size} if size else {}) | more
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    return Listed(made, f"/simple/{name}/{made.filename}", f"/simple/{name}/{made.filename}")


def spoiled(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def chunks(content: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"%x\r\n%s\r\n" % (len(content), content) + end


BAD: dict[str, Callable[[bytes], Any]] = {
    "last byte": lambda content: answer(200, spoiled(content)),
    "first byte": lambda content: answer(200, b"\0" + content[1:]),
    "empty": lambda _: answer(200, b""),
    "empty chunked": lambda _: chunks(b"", b""),
    "another": lambda content: answer(200, bytes(len(content))),
    "short": lambda content: answer(200, content[:-1]),
    "long": lambda content: answer(200, content + b"\0"),
    "length too long": lambda content: answer(200, content, length=len(content) + 1),
    "length too short": lambda content: answer(200, content, length=len(content) - 1),
    "length huge": lambda content: answer(200, content, length=10**18),
    "long without length": lambda content: b"HTTP/1.1 200 OK\r\n\r\n" + content + b"\0",
    "short without length": lambda content: b"HTTP/1.1 200 OK\r\n\r\n" + content[:-1],
    "wrong chunks": lambda content: chunks(spoiled(content)),
    "broken chunks": lambda content: chunks(content[:-1], b""),
    "chunks that lie": lambda content: chunks(content, b"ffffff\r\n"),
    "gzip": lambda content: answer(200, gzip.compress(content), Content_Encoding="gzip"),
    "gzip bomb": lambda _: answer(200, gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"),
    "gzip name": lambda content: answer(200, content, Content_Encoding="gzip"),
    "brotli": lambda content: answer(200, content, Content_Encoding="br"),
    "part": lambda content: answer(206, content, Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}"),
    "login": lambda _: answer(200, b"<html><input type=password>", Content_Type="text/html"),
    "304": lambda _: answer(304),
    "204": lambda _: answer(204),
    "401": lambda _: answer(401),
    "403": lambda _: answer(403),
    "404": lambda _: answer(404),
    "410": lambda _: answer(410),
    "429": lambda _: answer(429, Retry_After="99999"),
    "500": lambda _: answer(500),
    "503": lambda _: answer(503),
    "file:": lambda _: answer(302, Location="file:///etc/passwd"),
    "metadata of a cloud": lambda _: answer(302, Location="http://169.254.169.254/latest/meta-data"),
    "itself": lambda _: answer(302, Location=""),
    "garbage": lambda _: b"\0\0\0\0\r\n\r\n",
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("size", [True, False], ids=["sized", "unsized"])
@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_not_what_was_promised_is_finished_to_nobody(
    front: Front, what: str, small: bool, size: bool
):
    file = listed(front, small=small, size=size)
    front.upstream.on(file.path, BAD[what](file.made.content))
    got = fetch(front, file.target)

    assert is_clear_refusal(got) or (got.status == 200 and not got.complete), got[:1]
    assert got.status != 200 or file.made.content.startswith(got.body) or got.body != file.made.content
    # The upstream has come to its senses: nothing of the other is left.
    front.upstream.on(file.path, answer(200, file.made.content))
    assert eventually(lambda: fetch(front, file.target).body == file.made.content)


@pytest.mark.parametrize("status", [200, 206])
def test_a_file_that_breaks_off_is_put_together_right_or_not_at_all(front: Front, status: int):
    """Whatever the upstream makes of the request for the rest."""
    lies = [
        lambda rest, at, size: answer(206, rest, Content_Range=f"bytes {at}-{size - 1}/{size}"),
        lambda rest, at, size: answer(206, rest, Content_Range=f"bytes 0-{size - 1}/{size}"),
        lambda rest, at, size: answer(206, rest, Content_Range=f"bytes {at}-{size - 1}/{size + 1}"),
        lambda rest, at, size: answer(206, rest, Content_Range=f"bytes {at + 1}-{size - 1}/{size}"),
        lambda rest, at, size: answer(206, rest, Content_Range="bytes x-y/z"),
        lambda rest, at, size: answer(206, rest),
        lambda rest, at, size: answer(206, bytes(len(rest)), Content_Range=f"bytes {at}-{size - 1}/{size}"),
        lambda rest, at, size: answer(206, rest + rest, Content_Range=f"bytes {at}-{size - 1}/{size}"),
        lambda rest, at, size: answer(416, Content_Range=f"bytes */{size}"),
        lambda rest, at, size: answer(404),
        lambda rest, at, size: answer(200, rest),
    ]
    for lie in lies:
        file = listed(front)
        content = file.made.content

        def breaking(client: socket.socket, asked: Asked, content: bytes = content, lie: Any = lie) -> None:
            if "range" not in asked.fields:
                client.sendall(answer(200, content)[:150_000])
                reset(client)
                return
            at = int(asked.fields["range"].partition("=")[2].partition("-")[0])
            client.sendall(lie(content[at:], at, len(content)) if status == 206 else answer(200, content))

        front.upstream.on(file.path, breaking)
        got = fetch(front, file.target)
        right = got.status == 200 and got.complete
        assert not right or got.body == content
        assert right or is_clear_refusal(got) or not got.complete
        assert right or (lie is not lies[0] and status == 206)


def test_a_file_that_is_reset_at_any_byte_is_never_complete_and_wrong(front: Front):
    for at in [*range(0, 120, 9), 1000, 65_536, 200_000, 300_000]:
        file = listed(front)
        whole = answer(200, file.made.content)

        def breaking(client: socket.socket, _asked: Asked, part: bytes = whole[:at]) -> None:
            client.sendall(part)
            reset(client)

        front.upstream.on(file.path, breaking, whole)
        got = fetch(front, file.target)
        assert (got.status, got.body) == (200, file.made.content), at


def test_a_file_that_never_comes_whole_ends_in_an_error(front: Front):
    file = listed(front)

    def breaking(client: socket.socket, asked: Asked) -> None:
        client.sendall(answer(200, file.made.content)[:1000])
        reset(client)

    front.upstream.on(file.path, breaking)
    got = fetch(front, file.target)
    assert is_clear_refusal(got) or not got.complete


def test_a_digest_that_changes_between_two_looks_is_another_file(front: Front):
    """The old bytes are not served under the new digest, nor the other way."""
    name = front.name()
    old, new = make_wheel(name, "1.0"), make_wheel(name, "1.0", files={"more": b"x"})
    path, shown = f"/simple/{name}/{old.filename}", []
    for made in (old, new, old):
        stated = entry(name, hashes={"sha256": made.sha256}, size=made.size)
        front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
        front.upstream.on(path, answer(200, made.content))
        shown.append(fetch(front, path).body)

    assert shown == [old.content, new.content, old.content]


def test_a_file_without_a_promise_stays_what_it_was_when_it_first_came(front: Front):
    name = front.name()
    old, new = make_wheel(name, "1.0"), make_wheel(name, "1.0", files={"more": b"x"})
    path = f"/simple/{name}/{old.filename}"
    front.upstream.on(f"/simple/{name}/", page(page_of(name, entry(name, hashes={}))))
    front.upstream.on(path, answer(200, old.content))
    assert fetch(front, path).body == old.content
    assert eventually(
        lambda: old.sha256 in front.server.get(f"/simple/{name}/", headers={"Accept": JSON}).text
    )

    front.upstream.on(path, answer(200, new.content))
    assert fetch(front, path).body == old.content
    # What others promise is held to, too: here by the weakest of digests.
    other = listed(front, hashes={"md5": "0" * 32})
    front.upstream.on(other.path, answer(200, other.made.content))
    got = fetch(front, other.target)
    assert is_clear_refusal(got) or not got.complete


def test_an_sdist_that_a_web_server_calls_gzip_is_taken_as_it_is(front: Front):
    name = front.name()
    made = make_sdist(name, "1.0")
    stated = {"filename": made.filename, "url": made.filename, "hashes": {"sha256": made.sha256}}
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    front.upstream.on(f"/simple/{name}/{made.filename}", answer(200, made.content, Content_Encoding="gzip"))
    got = fetch(front, f"/simple/{name}/{made.filename}")

    assert got.body == made.content
    assert got.header("Content-Encoding") is None


def test_fields_and_types_of_a_file_are_ours(front: Front):
    file = listed(front)
    front.upstream.on(
        file.path,
        answer(
            200,
            file.made.content,
            Content_Type="text/html",
            Set_Cookie="evil=1",
            Content_Disposition="attachment; filename=evil",
            Link="</evil>",
            ETag='"evil"',
            X_Powered_By="evil",
        ),
    )
    got = fetch(front, file.target)

    assert got.body == file.made.content
    assert "evil" not in repr(got.fields)
    assert "text/html" not in repr(got.fields)


METADATA_LIES = {
    "wrong": answer(200, b"Metadata-Version: 2.1\nName: evil\nVersion: 1\n"),
    "empty": answer(200, b""),
    "huge": answer(200, b"x" * 20_000_000),
    "coded": answer(200, gzip.compress(b"x"), Content_Encoding="gzip"),
    "login": answer(200, b"<input type=password>"),
    "403": answer(403),
    "500": answer(500),
}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
@pytest.mark.parametrize("what", METADATA_LIES)
def test_metadata_that_is_not_what_was_promised_is_given_to_nobody(front: Front, what: str, algorithm: str):
    """Whichever digest is promised of it."""
    file = listed(front)
    digest = hashlib.new(algorithm, file.made.metadata).hexdigest()
    name = file.target.split("/")[2]
    stated = entry(name) | {
        "hashes": {"sha256": file.made.sha256},
        "core-metadata": {algorithm: digest},
    }
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    front.upstream.on(file.path + ".metadata", METADATA_LIES[what])
    assert is_clear_refusal(fetch(front, file.target + ".metadata"))

    front.upstream.on(file.path + ".metadata", answer(200, file.made.metadata))
    assert fetch(front, file.target + ".metadata").body == file.made.metadata


# -- Clients that stall, leave, and ask too much


def test_clients_that_stall_hold_up_nobody_who_wants_the_same_file(front: Front):
    name = front.name()
    made = make_wheel(name, "1.0", files={"noise.bin": NOISE * 40}, compress=False)
    path = f"/simple/{name}/{made.filename}"
    stated = entry(name, hashes={"sha256": made.sha256}, size=made.size)
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    front.upstream.on(path, answer(200, made.content))
    before = resident(front.server.process.pid)
    stalled = []
    try:
        for _ in range(50):
            client = socket.create_connection((front.server.host, front.server.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            stalled.append(client)
        assert fetch(front, path).body == made.content
        assert resident(front.server.process.pid) - before < 100_000_000
    finally:
        for client in stalled:
            client.close()
    assert front.upstream.targets().count(path) == 1


def test_ranges_of_a_file_that_arrives_are_right(front: Front):
    """A flood of them asks the upstream once."""
    file = listed(front)
    content, go = file.made.content, threading.Event()

    def slow(client: socket.socket, _asked: Asked) -> None:
        whole = answer(200, content)
        client.sendall(whole[:100_000])
        go.wait(20)
        client.sendall(whole[100_000:])

    front.upstream.on(file.path, slow)
    wanted = [(0, 0), (0, 99), (50_000, 200_000), (len(content) - 5, len(content) - 1), (1, 2)] * 8
    got: list[Any] = [None] * len(wanted)

    def ask(number: int) -> None:
        first, last = wanted[number]
        got[number] = fetch(front, file.target, Range=f"bytes={first}-{last}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(wanted))]
    for thread in threads:
        thread.start()
    assert eventually(lambda: file.path in front.upstream.targets())
    go.set()
    for thread in threads:
        thread.join()

    for (first, last), one in zip(wanted, got, strict=True):
        assert one.body == (content[first : last + 1] if one.status == 206 else content)
    assert front.upstream.targets().count(file.path) == 1


def test_heads_of_many_files_fetch_none_of_them(front: Front):
    name = front.name()
    names = [f"{name}-{number}.tar.gz" for number in range(50)]
    files = [entry(name) | {"filename": filename, "url": filename} for filename in names]
    for one in files:
        one["hashes"], one["size"] = {"sha256": hashlib.sha256(one["url"].encode()).hexdigest()}, 10**6
    front.upstream.on(f"/simple/{name}/", page(page_of(name, *files)))
    for one in files:
        assert front.server.head(f"/simple/{name}/{one['filename']}").status == 200

    assert not [target for target in front.upstream.targets() if target.startswith(f"/simple/{name}/{name}")]


def test_clients_that_ask_for_many_files_and_leave_at_once_leave_nothing_behind(front: Front):
    name = front.name()
    made = [make_wheel(name, f"{number}") for number in range(200)]
    stated = [entry(name, str(n), hashes={"sha256": one.sha256}) for n, one in enumerate(made)]
    front.upstream.on(f"/simple/{name}/", page(page_of(name, *stated)))
    at_once, most = 0, 0
    lock = threading.Lock()

    def serve(client: socket.socket, asked: Asked) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        front.upstream.stopping.wait(0.005)
        client.sendall(answer(200, by_name[asked.target]))
        with lock:
            at_once -= 1

    by_name = {f"/simple/{name}/{one.filename}": one.content for one in made}
    for path in by_name:
        front.upstream.on(path, serve)
    assert len(filenames(front.server.get(f"/simple/{name}/", headers={"Accept": JSON}))) == 200
    for path in by_name:
        with socket.create_connection((front.server.host, front.server.port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    path, content = next(iter(by_name.items()))

    assert eventually(lambda: fetch(front, path).body == content, 60)
    assert most <= 64
    assert eventually(lambda: descriptors(front.server.process.pid) <= front.idle + 20, 60)
    assert eventually(lambda: whole_cache(front.state, front.url)["incoming"] == 0, 60)


def test_thousands_of_absent_names_leave_nothing_on_the_disk(front: Front):
    before, pages = resident(front.server.process.pid), whole_cache(front.state, front.url)["pages"]
    names = [front.name() for _ in range(1500)]

    def ask(some: list[str]) -> None:
        with front.server.connection() as connection:
            for name in some:
                assert front.server.ask(connection, f"/simple/{name}/").status == 404

    threads = [threading.Thread(target=ask, args=(names[start::10],)) for start in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert resident(front.server.process.pid) - before < 60_000_000
    assert whole_cache(front.state, front.url)["pages"] == pages
