"""
Files of an upstream that is hostile or broken, as clients of a whole running server see them.

What is complete is right, and what is wrong is never complete, neither at a client nor in the cache.
"""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.kit.front import (
    JSON,
    NOISE,
    Front,
    entry,
    eventually,
    fetch,
    front,
    is_clear_refusal,
    page_of,
    whole_front,
)
from tests.kit.hostile_upstream import Asked, answer, page, reset
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

__all__ = ["front", "whole_front"]


class Listed(NamedTuple):
    """A file on a page of the upstream."""

    made: BuiltFile
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
    got = fetch(front, file.target + ".metadata")
    assert is_clear_refusal(got) or got.status == 409

    front.upstream.on(file.path + ".metadata", answer(200, file.made.metadata))
    assert fetch(front, file.target + ".metadata").body == file.made.metadata


def part_of(content: bytes, asked: Asked) -> tuple[int, int]:
    """Say which bytes a request wants: the first and the last position."""
    first, _, last = asked.fields["range"].removeprefix("bytes=").partition("-")
    if not first:
        return max(0, len(content) - int(last)), len(content) - 1
    return int(first), min(len(content) - 1, int(last or len(content)))


def ranged(content: bytes, asked: Asked, *, shift: int = 0, total: int = 0, **fields: str) -> bytes:
    first, last = part_of(content, asked)
    fields.setdefault("Content_Range", f"bytes {first + shift}-{last + shift}/{len(content) + total}")
    return answer(206, content[first : last + 1], **fields)


def multipart(content: bytes, asked: Asked) -> bytes:
    body = b"--x\r\nContent-Range: bytes 0-3/9\r\n\r\n" + content[:4] + b"\r\n--x--\r\n"
    return answer(206, body, Content_Type="multipart/byteranges; boundary=x")


def is_suffix(asked: Asked) -> bool:
    return asked.fields["range"].startswith("bytes=-")


RANGES: dict[str, Callable[[bytes, Asked], bytes]] = {
    **{str(status): lambda _c, _a, s=status: answer(s) for status in (400, 401, 403, 404, 405, 410, 416)},
    **{str(status): lambda _c, _a, s=status: answer(s) for status in (406, 429, 500, 501, 502, 503)},
    "suffix refused": lambda c, a: answer(501) if is_suffix(a) else ranged(c, a),
    "suffix taken for the start": lambda c, a: (
        answer(206, c[:9], Content_Range=f"bytes 0-8/{len(c)}") if is_suffix(a) else ranged(c, a)
    ),
    "another part": lambda c, a: ranged(c, a, shift=-1),
    "wrong total": lambda c, a: ranged(c, a, total=1),
    "no total": lambda c, a: ranged(c, a, Content_Range="bytes 0-9/*"),
    "no Content-Range": lambda c, a: answer(206, c),
    "multipart": multipart,
    "coded": lambda c, a: ranged(c, a, Content_Encoding="gzip"),
    "wrong bytes": lambda c, a: ranged(bytes(len(c)), a),
    "cut": lambda c, a: ranged(c, a)[:-3],
    "empty": lambda c, a: answer(206, b"", Content_Range=f"bytes 0-0/{len(c)}"),
    "whole": lambda c, _a: answer(200, c, Accept_Ranges="none"),
    "whole, HTTP/1.0": lambda c, _a: b"HTTP/1.0 200 OK\r\n\r\n" + c,
    "a page": lambda _c, _a: answer(200, b"<html>Sign in</html>", Content_Type="text/html"),
    "a redirect to nowhere": lambda _c, _a: answer(302, Location="http://127.0.0.1:1/"),
    "nothing": lambda _c, _a: b"",
    "rubbish": lambda _c, _a: b"rubbish\r\n\r\n",
}


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
@pytest.mark.parametrize("what", RANGES)
def test_metadata_is_had_whatever_an_upstream_makes_of_ranges(front: Front, what: str, sized: bool):
    """A range is a shortcut; the wheel itself is there."""
    file = listed(front, size=sized)
    content = file.made.content

    def serve(client: socket.socket, asked: Asked) -> None:
        client.sendall(RANGES[what](content, asked) if "range" in asked.fields else answer(200, content))

    front.upstream.on(file.path, serve)
    got = fetch(front, file.target + ".metadata")

    assert (got.status, got.body) == (200, file.made.metadata), got


@pytest.mark.parametrize("what", [*METADATA_LIES, "half"])
def test_metadata_that_is_promised_by_no_digest_is_the_wheels(front: Front, what: str):
    file = listed(front, **{"core-metadata": True})
    half = b"HTTP/1.0 200 OK\r\n\r\n" + file.made.metadata[:-5]
    front.upstream.on(file.path + ".metadata", METADATA_LIES.get(what, half))
    front.upstream.on(file.path, answer(200, file.made.content))

    assert fetch(front, file.target + ".metadata").body == file.made.metadata


def test_half_a_file_of_which_nothing_is_known_is_not_taken_for_the_file(front: Front):
    """Without a length and a digest only its archive tells whether it is whole."""
    name = front.name()
    made = make_sdist(name, "1.0", files={"noise.bin": NOISE})
    path = f"/simple/{name}/{made.filename}"
    stated = {"filename": made.filename, "url": made.filename, "hashes": {}}
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    plain = b"HTTP/1.0 200 OK\r\n\r\n"
    front.upstream.on(path, plain + made.content[: made.size // 2])
    assert is_clear_refusal(fetch(front, path))

    front.upstream.on(path, plain + made.content)
    assert fetch(front, path).body == made.content


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_url_that_has_expired_is_looked_up_on_its_page(front: Front, status: int):
    """Though the upstream says that the page has not changed: its validators do not tell of URLs."""
    name = front.name()
    made = make_wheel(name, "1.0")
    for number in (1, 2):
        stated = entry(name, url=f"/signed/{number}/{made.filename}")
        front.upstream.on(f"/signed/{number}/{made.filename}", answer(200, made.content))
        if number == 1:
            front.upstream.on(f"/simple/{name}/", page(page_of(name, stated), ETag='"same"'))
            assert front.server.get(f"/simple/{name}/").status == 200
    front.upstream.on(f"/signed/1/{made.filename}", answer(status))

    def renewed(client: socket.socket, asked: Asked) -> None:
        client.sendall(
            answer(304) if "if-none-match" in asked.fields else page(page_of(name, stated), ETag='"same"')
        )

    front.upstream.on(f"/simple/{name}/", renewed)

    assert fetch(front, f"/simple/{name}/{made.filename}").body == made.content


@pytest.mark.parametrize("coding", ["gzip", "br", "x-gzip"])
def test_a_file_whose_bytes_are_right_may_be_said_to_be_coded(front: Front, coding: str):
    file = listed(front)
    front.upstream.on(file.path, answer(302, Location="/storage/4711?signature=x"))
    front.upstream.on("/storage/4711", answer(200, file.made.content, Content_Encoding=coding))

    assert fetch(front, file.target).body == file.made.content


# -- Clients that stall, leave, and ask too much


def test_whoever_has_no_place_yet_waits_without_a_head(front: Front):
    """However many files are slow at once; and none of them is broken off for that."""
    go = threading.Event()
    slow, got = [listed(front) for _ in range(80)], []
    for file in slow:

        def hold(client: socket.socket, _asked: Asked, content: bytes = file.made.content) -> None:
            go.wait(30)
            client.sendall(answer(200, content))

        front.upstream.on(file.path, hold)
    clients = [
        threading.Thread(target=lambda file=file: got.append(fetch(front, file.target))) for file in slow
    ]
    for client in clients:
        client.start()
    assert eventually(lambda: sum(target.endswith(".whl") for target in front.upstream.targets()) >= 64)
    assert got == []
    go.set()
    for client in clients:
        client.join()

    assert {(one.status, one.complete) for one in got} == {(200, True)}
    assert {hashlib.sha256(one.body).hexdigest() for one in got} == {file.made.sha256 for file in slow}


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
