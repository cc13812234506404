"""
Pages of an upstream that is hostile or broken, as clients of a whole running server see them.

A client gets a page that is right, the old page, or an answer that says clearly that there is none now:
never a 404 for a project that exists, never a page with files missing because an answer was cut.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.front import (
    HTML,
    Front,
    entry,
    filenames,
    front,
    is_clear_refusal,
    page_of,
    reply_json,
    whole_front,
)
from tests.kit.hostile_upstream import JSON, Asked, answer, page, reset
from twisted_index.testing import make_wheel

__all__ = ["front", "whole_front"]

# -- Answers that are no page

LOGIN = b"<html><form action=login><input name=u><input type=PassWord name=p></form></html>"
BOMB = gzip.compress(b" " * (200 << 20), 1)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", kind: str = JSON, more: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n{more}\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


WRONG = {
    "empty": page(b""),
    "empty-html": page(b"", Content_Type=HTML),
    "blank-html": page(b"  \n", Content_Type=HTML),
    "no-type": answer(200, b'{"files": []}'),
    "text": page(b"{}", Content_Type="text/plain"),
    "other-json": page(b'{"files": []}', Content_Type="application/json"),
    "login": page(LOGIN, Content_Type=HTML),
    "null": page(b"null"),
    "list": page(b"[]"),
    "half-json": page(b'{"files": [{"filename":'),
    "not-utf-8": page(b'{"files": [], "name": "\xff\xfe"}'),
    "files-null": page(b'{"files": null}'),
    "files-text": page(b'{"files": "none"}'),
    "files-object": page(b'{"files": {"a": 1}}'),
    "no-files": page(b"{}"),
    "version-2": page(b'{"meta": {"api-version": "2.0"}, "files": []}'),
    "deep-lists": page(b'{"files": ' + b"[" * 3_000_000),
    "deep-closed": page(b'{"files": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "deep-objects": page(b'{"a":' * 500_000),
    "big-number": page(b'{"files": [], "n": ' + b"9" * 1_000_000 + b"}"),
    "shorter": page(
        b'{"files": []}',
    ).replace(b"Content-Length: 13", b"Content-Length: 9"),
    "longer": page(b'{"files": []}').replace(b"Content-Length: 13", b"Content-Length: 99"),
    "length-minus": page(b'{"files": []}').replace(b"Content-Length: 13", b"Content-Length: -13"),
    "length-word": page(b'{"files": []}').replace(b"Content-Length: 13", b"Content-Length: many"),
    "lengths": page(b'{"files": []}').replace(
        b"Content-Length: 13", b"Content-Length: 13\r\nContent-Length: 14"
    ),
    "length-huge": page(b'{"files": []}').replace(b"Content-Length: 13", b"Content-Length: " + b"9" * 30),
    "gzip-none": page(b'{"files": []}', Content_Encoding="gzip"),
    "gzip-half": page(gzip.compress(page_of("x"))[:-9], Content_Encoding="gzip"),
    "gzip-broken": page(gzip.compress(page_of("x"))[:-6] + b"\0" * 6, Content_Encoding="gzip"),
    "gzip-bomb": page(BOMB, Content_Encoding="gzip"),
    "gzip-bomb-html": page(BOMB, Content_Encoding="gzip", Content_Type=HTML),
    "brotli": page(b"\x8b\x02\x80{}\x03", Content_Encoding="br"),
    "gzip-twice": page(gzip.compress(gzip.compress(page_of("x"))), Content_Encoding="gzip, gzip"),
    "chunk-half": chunked(b'{"files": []', end=b""),
    "chunk-open": chunked(b'{"files": []}', end=b""),
    "chunk-lies": chunked(b'{"files": []}', end=b"ffffffffffffffff\r\n"),
    "chunk-bad": chunked(b'{"files": []}', end=b"zz\r\n\r\n"),
    "transfer-gzip": page(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: gzip"),
    "html-cut": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><a href='demo-1.0.tar.gz'>",
    "http-0.9": b'{"files": []}',
    "http-0.9-page": b"<html><body></body></html>\n",
    "http-3": page().replace(b"HTTP/1.1", b"HTTP/x.y"),
    "garbage": b"\0\xff\r\n\r\n" * 50,
    "nothing": b"",
    "204": answer(204),
    "206": page().replace(b"200", b"206"),
    "304": answer(304),
    "100-only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "999": answer(999),
    "status-minus": page().replace(b" 200 ", b" -200 "),
    "401": answer(401, WWW_Authenticate='Basic realm="x"'),
    "403": answer(403),
    "407": answer(407),
    "418": answer(418),
    "500": answer(500, b"Traceback"),
    "501": answer(501),
    "502": answer(502),
    "503": answer(503),
    "508": answer(508),
    "header-long": page(X="y" * 1_000_000),
    "header-no-colon": page().replace(b"Connection:", b"Connection"),
    "300": answer(300, Location="/simple/x/"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_is_no_page_is_told_as_such(front: Front, what: str):
    """Never 404 or 200: the project may well exist."""
    reply = front.ask(front.name(), WRONG[what])

    assert is_clear_refusal(reply) or (what == "508" and reply.status == 508), reply


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_is_no_page_leaves_the_old_one(front: Front, what: str):
    name = front.name()
    first = front.ask(name, page(page_of(name, entry(name))))
    assert filenames(first) == [entry(name)["filename"]]

    # The page is looked at again at once: nothing is fresh here.
    second = front.ask(name, answer(403) if what == "304" else WRONG[what])

    assert filenames(second) == filenames(first)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("0", (0, 5)),
        ("7", (7, 7)),
        ("99999999999999999999", (1, 120)),
        ("999999", (1, 120)),
        ("-5", (1, 120)),
        ("1.5", (1, 120)),
        ("soon", (1, 120)),
        ("", (1, 120)),
        ("Wed, 21 Oct 2099 07:28:00 GMT", (1, 120)),
        ("\xb2", (1, 120)),
    ],
)
def test_an_upstream_that_wants_rest_gets_a_bounded_one(front: Front, asked: str, told: tuple[int, int]):
    """Installers sleep as long as they are told to, without a word."""
    script = answer(429).replace(b"\r\n\r\n", b"\r\nRetry-After: " + asked.encode("latin-1") + b"\r\n\r\n")
    reply = front.ask(front.name(), script)

    assert is_clear_refusal(reply)
    assert told[0] <= int(reply.header("Retry-After")) <= told[1]


# -- Redirects

LEADING_ASTRAY = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1:70/",
    "javascript:alert(1)",
    "data:application/json,{}",
    "//",
    "http://",
    "",
    "\\\\host\\share",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1%25eth0]/",
    "http://0.0.0.0/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "/" + "x" * 20_000,
]


@pytest.mark.parametrize("target", LEADING_ASTRAY, ids=lambda target: target[:40] or "empty")
def test_a_redirect_to_where_no_index_is_is_refused(front: Front, target: str):
    reply = front.ask(front.name(), answer(302, Location=target))

    assert is_clear_refusal(reply)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_in_a_circle_ends(front: Front, code: int):
    name = front.name()
    before = len(front.upstream.asked)
    front.upstream.on(f"/simple/{name}/b/", answer(code, Location=f"/simple/{name}/"))
    reply = front.ask(name, answer(code, Location="b/"))

    assert is_clear_refusal(reply)
    assert len(front.upstream.asked) - before <= 12


def test_ten_thousand_redirects_are_not_followed(front: Front):
    name = front.name()
    for number in range(100):
        front.upstream.on(f"/hop/{number}", answer(302, Location=f"/hop/{number + 1}"))
    before = len(front.upstream.asked)
    reply = front.ask(name, answer(302, Location="/hop/0"))

    assert is_clear_refusal(reply)
    assert len(front.upstream.asked) - before <= 10


# -- Pages that go on and on, or stop


def test_a_page_without_end_is_given_up(front: Front):
    def endless(client: socket.socket, _asked: Asked) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: " + JSON.encode() + b'\r\n\r\n{"files": [')
        for piece in front.upstream.endless(b" " * 65536):
            client.sendall(piece)

    assert is_clear_refusal(front.ask(front.name(), endless))


def test_a_page_of_100_mb_is_given_up(front: Front):
    reply = front.ask(front.name(), page(b'{"files": [' + b" " * 100_000_000 + b"]}"))

    assert is_clear_refusal(reply)


@pytest.mark.parametrize("piece", [b"[],", b"1,", b'{"a":{}},', b'"a":1,'])
def test_a_page_of_nothing_but_brackets_holds_nobody_up(front: Front, piece: bytes):
    """The JSON reader of Python lets no other thread run, and makes twenty times as much of such a page."""
    body = b'{"files": [' + piece * (40_000_000 // len(piece)) + b"1]}"
    reply = front.ask(front.name(), page(gzip.compress(body, 1), Content_Encoding="gzip"))

    assert is_clear_refusal(reply)


def test_an_upstream_that_falls_silent_or_drips_is_not_waited_for_too_long(front: Front):
    """Wherever in its answer it does; all of them at once, as each is given up after ten seconds."""
    whole = page(page_of("x"))

    def silent(sent: bytes) -> Any:
        def script(client: socket.socket, _asked: Asked) -> None:
            client.sendall(sent)
            front.upstream.wait()

        return script

    def dripping(client: socket.socket, _asked: Asked) -> None:
        client.sendall(page(b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 9999") + b"\r\n\r\n")
        while not front.upstream.stopping.wait(0.2):
            client.sendall(b" ")

    scripts = {
        "nothing": silent(b""),
        "status": silent(whole[:12]),
        "head": silent(whole[:40]),
        "page": silent(whole[:-10]),
        "drips": dripping,
    }
    with ThreadPoolExecutor(len(scripts)) as pool:
        replies = dict(
            zip(scripts, pool.map(lambda one: front.ask(front.name(), one), scripts.values()), strict=True)
        )

    assert {what: is_clear_refusal(reply) for what, reply in replies.items()} == dict.fromkeys(scripts, True)


def test_a_page_that_breaks_off_at_any_byte_is_no_page(front: Front):
    """Whether the length was told or pieces were counted, and whether it ends in order or not."""
    body = page_of("x", entry("x"))
    wholes = (page(body), chunked(body), chunked(body[:50], body[50:]))
    parts = [whole[:at] for whole in wholes for at in range(0, len(whole) - 4, 41)]

    def ask(part: bytes) -> Any:
        def breaking(client: socket.socket, _asked: Asked) -> None:
            client.sendall(part)
            reset(client)

        return front.ask(front.name(), *[breaking, part] * 4)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, parts))

    assert [part for part, reply in zip(parts, replies, strict=True) if not is_clear_refusal(reply)] == []


def test_bytes_behind_an_answer_are_no_answer(front: Front):
    """What an upstream says before it is asked is not taken for the page of the next project."""
    smuggled = page(page_of("evil", entry("evil"))).replace(b"Connection: close\r\n", b"")

    clients: list[socket.socket] = []

    def talkative(client: socket.socket, asked: Asked | None) -> None:
        clients.append(client)
        while asked is not None:
            name = asked.target.split("/")[2]
            body = page(page_of(name, entry(name))).replace(b"Connection: close\r\n", b"")
            client.sendall(body + smuggled)
            asked = front.upstream._read(client)

    for _ in range(20):
        name = front.name()
        assert filenames(front.ask(name, talkative)) == [entry(name)["filename"]]
    for client in clients:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


# -- Pages with odd contents

ODD = [
    None,
    True,
    False,
    0,
    -1,
    1e308,
    2**70,
    "",
    "x",
    "\0",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [None],
    {"a": None},
]
FIELDS = [
    *("hashes", "size", "upload-time", "requires-python", "core-metadata", "dist-info-metadata"),
    *("yanked", "gpg-sig", "provenance"),
]


@pytest.mark.parametrize("key", FIELDS)
def test_a_field_of_any_type_costs_no_more_than_itself(front: Front, key: str):
    for number, odd in enumerate(ODD):
        name = front.name()
        good, strange = entry(name, "1"), entry(name, "2", **{key: odd})
        reply = front.ask(name, page(page_of(name, good, strange)))
        assert filenames(reply) == [good["filename"], strange["filename"]], number
        html = front.ask(name, page(page_of(name, good, strange)), accept="text/html")
        assert html.status == 200
        assert b"\0" not in html.body


@pytest.mark.parametrize("key", ["filename", "url"])
def test_an_entry_without_name_or_place_costs_no_more_than_itself(front: Front, key: str):
    for odd in ODD:
        name = front.name()
        good, strange = entry(name, "1"), entry(name, "2", **{key: odd})
        reply = front.ask(name, page(page_of(name, strange, good)))
        assert good["filename"] in filenames(reply)


@pytest.mark.parametrize(
    "key", ["meta", "name", "versions", "project-status", "alternate-locations", "tracks"]
)
def test_a_field_of_the_page_of_any_type_costs_no_more_than_itself(front: Front, key: str):
    for odd in ODD:
        name = front.name()
        stated = json.loads(page_of(name, entry(name))) | {key: odd}
        reply = front.ask(name, page(json.dumps(stated).encode()))
        assert filenames(reply) == [entry(name)["filename"]]


def test_times_at_the_ends_of_time_are_told_or_left_out(front: Front):
    times = [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+23:59",
        "1969-01-01T00:00:00Z",
    ]
    for time_ in times:
        name = front.name()
        wheel = make_wheel(name, "1.0")
        front.upstream.on(f"/simple/{name}/{wheel.filename}", answer(200, wheel.content))
        for accept in (JSON, "text/html"):
            reply = front.ask(name, page(page_of(name, entry(name, **{"upload-time": time_}))), accept=accept)
            assert reply.status == 200
        assert front.server.get(f"/simple/{name}/{wheel.filename}").body == wheel.content


def test_other_names_and_ways_out_are_left_out_of_a_page(front: Front):
    name = front.name()
    good = entry(name)
    wheel = make_wheel(name, "9")
    others = [
        entry("other"),
        entry("mine"),
        {"filename": f"../{wheel.filename}", "url": f"..%2f{wheel.filename}"},
        {"filename": f"/etc/{wheel.filename}", "url": f"%2fetc%2f{wheel.filename}"},
        {"filename": f"x\\{wheel.filename}", "url": f"x%5c{wheel.filename}"},
        {"filename": f"{wheel.filename}\0", "url": f"{wheel.filename}%00"},
        {"filename": f"{wheel.filename}\n", "url": f"{wheel.filename}%0a"},
        {"filename": wheel.filename, "url": f"file:///{wheel.filename}"},
        {"filename": wheel.filename, "url": f"javascript:/{wheel.filename}"},
        {"filename": wheel.filename, "url": f"http://user:secret@127.0.0.1/{wheel.filename}"},
        {"filename": wheel.filename, "url": f"http://[::1/{wheel.filename}"},
        {"filename": ".yanked", "url": ".yanked"},
        {"filename": f"{name}-1.0.exe", "url": f"{name}-1.0.exe"},
    ]
    reply = front.ask(name, page(page_of(name, good, *others)))

    assert filenames(reply) == [good["filename"]]
    for target in ("mine", "other"):
        assert front.server.get(f"/simple/{name}/{entry(target)['filename']}").status == 404


def test_of_two_entries_of_one_name_the_first_counts_everywhere(front: Front):
    name = front.name()
    one, other = entry(name), entry(name, hashes={"sha256": "0" * 64}, url="elsewhere/" + entry(name)["url"])
    wheel = make_wheel(name, "1.0")
    front.upstream.on(f"/simple/{name}/{wheel.filename}", answer(200, wheel.content))
    front.upstream.on(f"/simple/{name}/elsewhere/{wheel.filename}", answer(200, b"evil"))
    reply = front.ask(name, page(page_of(name, one, other)))

    assert filenames(reply) == [wheel.filename]
    assert front.server.get(f"/simple/{name}/{wheel.filename}").body == wheel.content


HOSTILE_HTML = """<!DOCTYPE html><html><head><title>"><script>alert(1)</script></title>
<script>document.write('<a href="{name}-6.0.tar.gz">')</script><style>a{{}}</style>
<!-- <a href="{name}-7.0.tar.gz">x</a> --><template><!-- --></template></head><body onload="alert(1)">
<a href="{name}-1.0.tar.gz#sha256={digest}" onclick="alert(1)"
 data-yanked="&quot;&gt;&lt;script&gt;alert(2)&lt;/script&gt;"
 data-requires-python="&gt;=3&quot;&gt;&lt;script&gt;"
 style="x">{name}-1.0.tar.gz<script>alert(3)</script></a>
<a href="{name}-2.0.tar.gz#md5=zz&sha256=short&sha512={digest}&egg=evil&sha256={digest}">b</a>
<a href="{name}-3.0.tar.gz#sha256={digest}#sha256={other}">c</a>
<a href="{name}-4.0.tar.gz?x=1#SHA256={upper}">d</a>
<a href="javascript:alert(1)//{name}-5.0.tar.gz">e</a><a href="data:,{name}-5.0.tar.gz">e</a>
<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg><iframe src="javascript:alert(1)"></iframe>
</body></html>"""


def test_what_is_hostile_in_a_page_of_html_goes_no_further(front: Front):
    name, digest = front.name(), "ab" * 32
    body = HOSTILE_HTML.format(name=name, digest=digest, other="cd" * 32, upper=digest.upper()).encode()
    reply = front.ask(name, page(body, Content_Type=HTML))
    files = {file["filename"]: file for file in reply_json(reply)["files"]}

    assert sorted(files) == [f"{name}-{number}.0.tar.gz" for number in (1, 2, 3, 4)]
    assert {tuple(files[f"{name}-{n}.0.tar.gz"]["hashes"].items()) for n in (1, 2, 4)} == {
        (("sha256", digest),)
    }
    for accept in ("text/html", "application/vnd.pypi.simple.v1+html"):
        shown = front.server.get(f"/simple/{name}/", headers={"Accept": accept})
        assert b"<script" not in shown.body.lower().replace(b"&lt;", b"")
        assert b"onclick" not in shown.body
        assert b"javascript:" not in shown.body
    people = front.server.get(f"/project/{name}/", headers={"Accept": "text/html"})
    assert b"<script>alert" not in people.body


def test_fields_of_the_upstream_that_are_not_ours_to_pass_on_are_not(front: Front):
    name = front.name()
    reply = front.ask(
        name,
        page(
            page_of(name, entry(name)),
            Set_Cookie="evil=1",
            Keep_Alive="timeout=99",
            Upgrade="h2c",
            Proxy_Authenticate="Basic",
            Strict_Transport_Security="max-age=9999",
            Access_Control_Allow_Origin="*",
            Link="</evil>; rel=preload",
            Location="http://evil/",
            Refresh="0;url=http://evil/",
            ETag='"evil"',
            Trailer="X",
        ),
    )

    told = {name.lower() for name, _ in reply.fields}
    assert reply.status == 200
    assert not told & {
        "set-cookie",
        "keep-alive",
        "upgrade",
        "proxy-authenticate",
        "strict-transport-security",
        "access-control-allow-origin",
        "link",
        "location",
        "refresh",
        "trailer",
    }
    assert reply.header("ETag") != '"evil"'


def test_a_page_of_ten_thousand_files_is_served(front: Front):
    name = front.name()
    files = [entry_of(name, number) for number in range(10_000)]
    reply = front.ask(name, page(page_of(name, *files)))

    assert len(filenames(reply)) == 10_000


def entry_of(name: str, number: int) -> dict[str, Any]:
    filename = f"{name}-{number}-py3-none-any.whl"
    return {
        "filename": filename,
        "url": filename,
        "hashes": {"sha256": f"{number:064x}"},
        "size": number,
        "upload-time": "2024-01-01T00:00:00Z",
        "core-metadata": {"sha256": f"{number:064x}"},
        "requires-python": ">=3.8",
        "yanked": False,
    }
